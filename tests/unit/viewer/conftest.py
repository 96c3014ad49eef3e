"""Heads made from the bundled mesh: known poses for the tests of the renderers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

Array = np.ndarray


@dataclass(frozen=True)
class HeadMesh:
    """The bundled model's neutral face in the `head` frame."""

    vertices_head_m: Array
    triangles: Array
    landmark_68_ids: Array


@pytest.fixture(scope="session")
def head_mesh() -> HeadMesh:
    from models.weights import T_HEAD_FROM_TRG_MINI, load_pose_model

    model = load_pose_model("trg-mini", device="cpu")
    T = T_HEAD_FROM_TRG_MINI
    vertices = model.mesh.template_vertices_m.astype(np.float64) @ T[:3, :3].T + T[:3, 3]
    return HeadMesh(vertices, model.triangles, model.landmark_68_ids)


@pytest.fixture(scope="session")
def make_pose(head_mesh: HeadMesh) -> Callable[..., object]:
    """make_pose(camera, t_mm, R=identity, **fields) -> HeadPose of the neutral face."""
    from models.estimator import HeadPose
    from models.geometry.boxes import bounding_box_xyxy

    def make(camera, t_mm, R=None, **fields):
        R = np.eye(3) if R is None else R
        t_mm = np.asarray(t_mm, np.float64)
        vertices = fields.pop("vertices_head_m", head_mesh.vertices_head_m)
        with np.errstate(all="ignore"):
            projected = camera.project(vertices @ R.T + t_mm / 1000)
        values = {
            "R_cam_from_head": R,
            "t_cam_from_head_mm": t_mm,
            "K_image_from_cam": camera.K_image_from_cam,
            "box_xyxy_px": bounding_box_xyxy(projected),
            "confidence": 0.9,
            "uncertainty_deg": 2.9,
            "uncertainty_source": "typical of the model",
            "vertices_head_m": vertices,
            "landmarks_68_head_m": vertices[head_mesh.landmark_68_ids],
            "model": "trg-mini",
        }
        return HeadPose(**(values | fields))

    return make
