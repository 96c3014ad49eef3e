"""Small data sets of painted landmarks: known heads without a renderer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.flame.open_head import HeadAssets, load_open_head
from models.geometry.cameras import camera_from_intrinsics
from models.geometry.rotations import matrix_from_rotation_vector
from models.trg.bundle import read_bundle
from models.trg.config import TrgConfig
from models.weights import MODELS, REPOSITORY_ROOT, T_HEAD_FROM_TRG_MINI
from viewer.datasets.network_input import NetworkInput
from viewer.datasets.synthetic import SyntheticHead
from viewer.datasets.synthetic_format import SyntheticInfo
from viewer.datasets.synthetic_writer import SyntheticWriter

Array = np.ndarray

MakeHead = Callable[..., SyntheticHead]


@pytest.fixture(scope="session")
def head_model() -> HeadAssets:
    return load_open_head()


@pytest.fixture(scope="session")
def make_head(head_model: HeadAssets) -> MakeHead:
    """make_head(index, is_face=True, side_px=256) -> a head of its own shape, pose and camera."""

    def make(index: int, is_face: bool = True, side_px: int = 256) -> SyntheticHead:
        rng = np.random.default_rng(index)
        identity = rng.normal(0, 0.5, 60) * is_face
        expression = np.where(rng.random(52) < 0.1, rng.random(52), 0.0) * is_face
        vertices = head_model.vertices_m(
            identity, dict(zip(head_model.expression_names, expression, strict=True))
        )
        T = T_HEAD_FROM_TRG_MINI
        landmarks = head_model.landmarks_468_m(vertices) @ T[:3, :3].T + T[:3, 3]
        distance_m = rng.uniform(0.5, 1.5)
        f_px = 0.55 * side_px * distance_m / 0.2
        camera = camera_from_intrinsics(
            (side_px, side_px),
            f_px,
            f_px * rng.uniform(0.9, 1.1),
            side_px * rng.uniform(0.4, 0.6),
            side_px * rng.uniform(0.4, 0.6),
        )
        centre = camera.normalise(np.full(2, side_px / 2))
        t_mm = np.array([*centre, 1.0]) * distance_m * 1000
        return SyntheticHead(
            key=f"test/0/{index}",
            image_rgb=_smooth_picture(rng, side_px),
            camera=camera,
            is_face=is_face,
            R_cam_from_head=(
                matrix_from_rotation_vector(rng.normal(0, 0.4, 3)) if is_face else np.eye(3)
            ),
            t_cam_from_head_mm=t_mm if is_face else np.zeros(3),
            landmarks_468_head_m=landmarks if is_face else np.zeros((468, 3)),
            visible_468=rng.random(468) < 0.7,
            identity=identity,
            expression=expression,
            eye_angles_deg=rng.normal(0, 10, (2, 2)),
            person=f"female/{index // 4}",
            tags=("long hair", "mask") if index % 2 else (),
            mask=_disc(side_px) if index % 3 else cv2.GaussianBlur(_disc(side_px), (9, 9), 0),
            depth_m=None if index % 5 == 4 else _bumpy_depth(rng, side_px, distance_m),
        )

    return make


def _smooth_picture(rng: np.random.Generator, side_px: int) -> Array:
    coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (side_px, side_px), interpolation=cv2.INTER_CUBIC)


def _disc(side_px: int) -> Array:
    mask = np.zeros((side_px, side_px), np.uint8)
    return cv2.circle(mask, (side_px // 2, side_px // 2), side_px // 3, 255, -1)


def _bumpy_depth(rng: np.random.Generator, side_px: int, distance_m: float) -> Array:
    bumps = cv2.resize(rng.normal(0, 0.02, (6, 6)), (side_px, side_px))
    return np.where(_disc(side_px) > 0, distance_m + bumps, 0.0)


@pytest.fixture(scope="session")
def write_dataset(make_head: MakeHead) -> Callable[..., Path]:
    """write_dataset(root, count=..., shard_rows=..., is_face=True) -> root of a finished set."""

    def write(root: Path, count: int, shard_rows: int = 5, is_face: bool = True) -> Path:
        info = SyntheticInfo(0, count, "test", 256, "0" * 64, shard_rows)
        writer = SyntheticWriter(root, info)
        for shard in writer.missing_shards():
            rows = info.rows_of_shard(shard)
            writer.write_shard(shard, (make_head(k, is_face=is_face) for k in rows))
        return root

    return write


@pytest.fixture(scope="session")
def target() -> NetworkInput:
    """What trg-mini wants to see."""
    _, arrays = read_bundle(REPOSITORY_ROOT / MODELS["trg-mini"].weights_file)
    return NetworkInput(
        TrgConfig.mini(),
        T_HEAD_FROM_TRG_MINI,
        arrays.mirror_vertex_ids(),
        arrays.landmark_68_ids,
        arrays.canonical_vertices_m,
    )
