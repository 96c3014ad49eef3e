"""Portraits that need no picture: one colour of skin, no texture, another colour of hair."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from models.flame.open_head import HeadAssets, load_open_head
from models.geometry.cameras import camera_from_intrinsics
from models.geometry.rotations import GL_FROM_CV
from viewer.synthesis.portraits import PortraitAsset


@pytest.fixture(scope="session")
def head() -> HeadAssets:
    return load_open_head()


@pytest.fixture(scope="session")
def plain_portrait(head: HeadAssets) -> Callable[..., PortraitAsset]:
    """A portrait of uniform paint; fill_rgb may be given for every vertex."""

    def build(person: str = "plain/1", fill_rgb: np.ndarray | None = None) -> PortraitAsset:
        n = len(head.template_vertices_m)
        rng = np.random.default_rng(len(person))
        skin = np.array([200.0, 150.0, 120.0])
        return PortraitAsset(
            person=person,
            image_rgb=rng.integers(60, 200, (512, 512, 3)).astype(np.uint8),
            person_mask=np.zeros((512, 512), np.uint8),
            camera=camera_from_intrinsics((512, 512), 870.0, 870.0, 256.0, 256.0),
            R_cam_from_open_head=GL_FROM_CV,
            t_cam_from_open_head_m=np.array([0.0, 0.0, 0.7]),
            identity=np.zeros(60),
            expression=np.zeros(52),
            texture_px=np.full((n, 2), 200.0),
            texture_weight=np.zeros(n),
            fill_rgb=np.tile(skin, (n, 1)) if fill_rgb is None else fill_rgb,
            hair_rgb=np.array([50.0, 35.0, 25.0]),
            skin_rgb=skin,
            inflation=np.ones(n),
            sheet_vertices_open_head_m=np.zeros((0, 3)),
            sheet_px=np.zeros((0, 2)),
            sheet_triangles=np.zeros((0, 3), np.int64),
            fit_error_px=0.0,
        )

    return build
