"""A pool's mirror images are those that cutting a mirrored crop gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from demo_app.run_config import DataPart
from models.training.crop_pool import CropPool, MirrorOrder
from models.training.losses import build_targets
from models.weights import REPOSITORY_ROOT
from viewer.datasets.augment import Recrop
from viewer.datasets.face_crops import crop_face
from viewer.datasets.network_input import NetworkInput
from viewer.datasets.pose_batches import batch_of_face_crops
from viewer.datasets.training_parts import open_part
from viewer.datasets.weak_perspective import MIRROR_68

SAMPLES = REPOSITORY_ROOT / "assets/samples/synthetic"


def test_mirrored_crops_of_the_pool_have_the_labels_of_crops_cut_mirrored(
    target: NetworkInput,
) -> None:
    faces = open_part(DataPart("synthetic", Path(SAMPLES), limit=12), as_released=False)
    plain, mirrored = [], []
    for k in range(len(faces)):
        choice = Recrop(roll_deg=17.0 * k, box_shift=(0.1, -0.05), box_scale=1.1)
        plain.append(crop_face(faces.face(k), choice, target))
        shift = (-0.1, -0.05)
        mirrored.append(
            crop_face(faces.face(k), replace(choice, mirror=True, box_shift=shift), target)
        )
    as_cut, as_cut_mirrored = (batch_of_face_crops(crops, target) for crops in (plain, mirrored))
    pool = CropPool(MirrorOrder(target.mirror_vertex_ids, MIRROR_68), torch.device("cpu"), (0,))
    pool.put(as_cut)
    drawn = [pool.draw(step) for step in range(6)]
    seen = set()
    for batch in drawn:
        for k in range(len(batch)):
            row = _row_of(batch, k, as_cut, as_cut_mirrored)
            seen.add(row)
    assert {is_mirror for _, is_mirror in seen} == {False, True}
    assert len(seen) > 1.5 * len(faces)
    assert build_targets(drawn[0], target.config).vertices_crop.isfinite().all()


def _row_of(batch, k, as_cut, as_cut_mirrored) -> tuple[int, bool]:
    """Which crop it is, all its labels agreeing."""
    for is_mirror, known in ((False, as_cut), (True, as_cut_mirrored)):
        for row in range(len(known)):
            if not torch.allclose(
                batch.t_cam_from_model_m[k], known.t_cam_from_model_m[row], atol=1e-6
            ):
                continue
            for name in ("R_cam_from_model", "ray_boxes", "vertices_model_m", "landmarks_68_crop"):
                mine, theirs = getattr(batch, name)[k], getattr(known, name)[row]
                np.testing.assert_allclose(mine, theirs, atol=2e-5, err_msg=f"{name} {is_mirror}")
            pictures = [b.crops_rgb[i].float() for b, i in ((batch, k), (known, row))]
            assert (pictures[0] - pictures[1]).abs().mean() < 1.0
            return row, is_mirror
    pytest.fail("a crop with a translation of its own")
