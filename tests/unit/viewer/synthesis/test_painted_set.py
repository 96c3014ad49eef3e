"""The set of painted heads: complete, readable, true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.flame.open_head import HeadAssets
from models.weights import T_HEAD_FROM_TRG_MINI
from viewer.datasets.synthetic import SyntheticDataset
from viewer.synthesis.painted_set import painted_picture, write_painted_set


def test_a_written_set_is_read_back(tmp_path: Path) -> None:
    write_painted_set(tmp_path, 3, seed=4)
    found = SyntheticDataset(tmp_path)
    assert len(found) == 3 and found.persons() == ("painted/0", "painted/1", "painted/2")
    again = painted_picture(4, 1)
    assert np.abs(found[1].image_rgb.astype(int) - again.image_rgb).mean() < 3
    assert (found[1].mask == again.mask).all()


@pytest.mark.parametrize("n", range(4))
def test_its_labels_are_true(head: HeadAssets, n: int) -> None:
    made = painted_picture(7, n)
    weights = dict(zip(head.expression_names, made.expression, strict=True))
    landmarks = head.landmarks_468_m(head.vertices_m(made.identity, weights))
    T = T_HEAD_FROM_TRG_MINI
    assert np.abs(landmarks @ T[:3, :3].T + T[:3, 3] - made.landmarks_468_head_m).max() < 1e-6
    assert ((made.depth_m > 0) == (made.mask > 0)).all() and made.visible_468.sum() > 120
    seen = np.flatnonzero(made.visible_468)
    cam = made.landmarks_468_head_m @ made.R_cam_from_head.T + made.t_cam_from_head_mm / 1000
    column, row = np.floor(made.landmarks_468_px()[seen]).astype(int).T
    assert np.median(np.abs(made.depth_m[row, column] - cam[seen, 2])) < 0.002
