"""The face basis: what it can make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from models.flame.open_head import HeadAssets
from models.training.initialisation import FaceBasis
from models.trg.bundle import read_bundle
from models.weights import MODELS, REPOSITORY_ROOT
from viewer.synthesis.face_basis import build_face_basis, spread_vertices
from viewer.synthesis.portraits import PortraitAsset
from viewer.synthesis.scene import SceneConfig, sample_face

WEIGHTS = REPOSITORY_ROOT / MODELS["trg-mini"].weights_file


@pytest.fixture(scope="module")
def basis(head: HeadAssets, plain_portrait: Callable[..., PortraitAsset]) -> FaceBasis:
    rng = np.random.default_rng(0)
    people = [replace(plain_portrait(), identity=rng.normal(size=60)) for _ in range(12)]
    return build_face_basis(people, head, read_bundle(WEIGHTS)[1])


def test_new_faces_of_the_same_kind_are_within_its_reach(
    basis: FaceBasis, head: HeadAssets, plain_portrait: Callable[..., PortraitAsset]
) -> None:
    rng = np.random.default_rng(99)
    portrait = replace(plain_portrait(), identity=rng.normal(size=60))
    identity, expression = sample_face(portrait, SceneConfig(), head.expression_names, rng)
    weights = dict(zip(head.expression_names, expression, strict=True))
    face = head.landmarks_468_m(head.vertices_m(identity, weights))
    offset = (face - basis.mean_vertices_m).ravel()
    flat = basis.basis_m.reshape(len(basis.basis_m), -1)
    left = offset - flat.T @ np.linalg.lstsq(flat.T, offset, rcond=None)[0]
    assert np.linalg.norm(left.reshape(-1, 3), axis=1).mean() < 0.0004
    assert np.linalg.norm(offset.reshape(-1, 3), axis=1).mean() > 0.002


def test_the_canonical_face_has_the_mean_faces_size(basis: FaceBasis) -> None:
    spread = [
        np.linalg.norm(face - face.mean(0), axis=1).mean()
        for face in (basis.canonical_vertices_m, basis.mean_vertices_m)
    ]
    assert spread[0] == pytest.approx(spread[1], rel=0.02)


def test_spread_vertices_are_far_apart(basis: FaceBasis) -> None:
    chosen = spread_vertices(basis.mean_vertices_m, 128)
    assert len(set(chosen.tolist())) == 128
    points = basis.mean_vertices_m[chosen]
    gaps = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.eye(128)
    others = np.linalg.norm(basis.mean_vertices_m[:, None] - points[None], axis=-1)
    assert gaps.min() >= others.min(1).max() - 1e-9  # the property of farthest-point sampling
