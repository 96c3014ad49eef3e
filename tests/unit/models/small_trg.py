"""A TRG small enough to train in a test, and random batches for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from models.geometry.rotations import matrix_from_rotation_vector
from models.training.initialisation import FaceBasis, build_mini_network
from models.trg.batch import PoseBatch
from models.trg.config import TrgConfig
from models.trg.network import Trg

N_VERTICES, N_COEFFICIENTS, CROP_PX = 12, 4, 64
FRONTAL = np.diag([1.0, -1.0, -1.0])


def small_config(**changes: object) -> TrgConfig:
    """Both heads, dropout, one cell at the deepest map."""
    small = replace(
        TrgConfig.mini(),
        n_vertices=N_VERTICES,
        n_samples=6,
        n_shape_coefficients=N_COEFFICIENTS,
        grid_side=3,
        neck_channels=4,
        point_channels=(2,),
        hidden=16,
        dropout=0.2,
        crop_px=CROP_PX,
        presence_head=True,
        uncertainty_head=True,
    )
    return replace(small, **changes)


def small_basis() -> FaceBasis:
    rng = np.random.default_rng(0)
    mean = rng.normal(0, 0.05, (N_VERTICES, 3))
    return FaceBasis(
        mean_vertices_m=mean,
        basis_m=rng.normal(0, 0.002, (N_COEFFICIENTS, N_VERTICES, 3)),
        sample_index=np.arange(6),
        triangles=np.array([[0, 1, 2], [3, 4, 5]]),
        landmark_68_ids=np.arange(68) % N_VERTICES,
        canonical_vertices_m=mean,
    )


def small_network(seed: int = 0, **changes: object) -> Trg:
    torch.manual_seed(seed)
    return build_mini_network(small_basis(), small_config(**changes))


def random_batch(seed: int, b: int = 4) -> PoseBatch:
    """The last crop is a negative with labels of zeros."""
    rng = np.random.default_rng(seed)
    R = matrix_from_rotation_vector(rng.normal(0, 0.4, (b, 3))) @ FRONTAL
    t = rng.uniform([-0.05, -0.05, 0.4], [0.05, 0.05, 0.8], (b, 3))
    vertices = small_basis().mean_vertices_m + rng.normal(0, 0.002, (b, N_VERTICES, 3))
    is_face = np.arange(b) < b - 1
    for labels in (R, t, vertices):
        labels[~is_face] = 0.0
    boxes = np.stack([np.zeros(b), np.zeros(b), rng.uniform(0.3, 0.5, b)], 1)
    return PoseBatch(
        torch.from_numpy(rng.integers(0, 256, (b, CROP_PX, CROP_PX, 3), np.uint8)),
        torch.from_numpy(boxes).float(),
        torch.from_numpy(is_face),
        torch.from_numpy(R).float(),
        torch.from_numpy(t).float(),
        torch.from_numpy(vertices).float(),
    )


def random_batches(start_step: int) -> Iterator[PoseBatch]:
    """Step n always gets the same batch."""
    step = start_step
    while True:
        yield random_batch(1000 + step)
        step += 1


def small_released_network(seed: int = 0) -> Trg:
    """The released network's backbone, neck and heads with few vertices on small crops."""
    torch.manual_seed(seed)
    config = replace(
        TrgConfig.released(),
        n_vertices=N_VERTICES,
        n_samples=6,
        grid_side=3,
        neck_channels=4,
        point_channels=(2,),
        hidden=16,
        dropout=0.0,
        crop_px=CROP_PX,
    )
    network = Trg(config, np.arange(6))
    with torch.no_grad():
        for regressor in network.regressor:
            regressor.init_face.copy_(torch.from_numpy(small_basis().mean_vertices_m)[None])
    return network


def labelled_batch(seed: int, b: int) -> PoseBatch:
    """With every label of some crops and not of others, so that no two parts count alike; the last
    is a negative."""
    plain, rng = random_batch(seed, b), np.random.default_rng(seed)
    known = torch.arange(b) % 3 != 2
    landmarks = rng.uniform(-1.0, 1.0, (b, 68, 3))
    landmarks[..., 2] = rng.random((b, 68)) < 0.8
    K = np.tile(np.array([[500.0, 0.0, 160.0], [0.0, 500.0, 120.0], [0.0, 0.0, 1.0]]), (b, 1, 1))
    return replace(
        plain,
        has_3d=known,
        has_rotation=known | (torch.arange(b) == 2),
        has_translation=known,
        landmarks_68_crop=torch.from_numpy(landmarks).float(),
        K_image_from_cam=torch.from_numpy(K).float(),
    )


def labelled_batches(start_step: int, b: int) -> Iterator[PoseBatch]:
    """Step n always gets the same batch."""
    step = start_step
    while True:
        yield labelled_batch(1000 + step, b)
        step += 1
