"""Heads fitted to meshes and landmarks whose parameters are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.flame.assets import FlameAssets, open_head_assets
from models.flame.fit import FitError, FitOptions, FlameFitter
from models.flame.fit_points import HeadState, PosedPoints, SurfacePoints
from models.flame.layer import FlameLayer
from models.flame.open_head import load_open_head
from models.geometry.rotations import (
    GL_FROM_CV,
    about_y,
    matrix_from_rotation_vector,
    rotation_vector_from_matrix,
)

K = np.array([[800.0, 0, 330], [0, 810, 235], [0, 0, 1]])


@pytest.fixture(scope="module")
def fitter() -> FlameFitter:
    return FlameFitter(open_head_assets())


def flame_like(vertices: int = 400, shapes: int = 30, expressions: int = 12) -> FlameAssets:
    """Smooth random directions on a part of the open head, with FLAME's joints and bends."""
    rng, head = np.random.default_rng(5), open_head_assets()
    some = np.linspace(0, len(head.template_vertices_m) - 1, vertices).astype(int)
    template = head.template_vertices_m[some]

    def fields(count: int, size_m: float) -> np.ndarray:
        waves = np.einsum("vk,nkl->nvl", template, 25 * rng.normal(size=(count, 3, 3)))
        return size_m * np.cos(waves + rng.uniform(0, 6.28, (count, 1, 3)))

    landmarks = replace(
        head.landmarks,
        static_vertex_ids=np.clip(
            np.searchsorted(some, head.landmarks.static_vertex_ids), 0, vertices - 1
        ),
    )
    return FlameAssets(
        name="made by the test",
        is_open_head=False,
        template_vertices_m=template,
        triangles=rng.integers(0, vertices, (50, 3)),
        shape_directions_m=fields(shapes, 3e-3),
        expression_directions_m=fields(expressions, 2e-3),
        pose_directions_m=fields(36, 2e-3),
        joint_regressor=rng.dirichlet(np.ones(vertices), 5),
        skinning_weights=rng.dirichlet(np.ones(5), vertices),
        joint_parents=np.array([-1, 0, 1, 1, 1]),
        landmarks=landmarks,
    )


def layer_vertices(
    assets: FlameAssets, shape: np.ndarray, expression: np.ndarray, pose: np.ndarray, t: np.ndarray
) -> np.ndarray:
    layer = FlameLayer(assets, dtype=torch.float64)
    numbers = (torch.tensor(a)[None] for a in (shape, expression, pose.ravel(), t))
    return layer(*numbers).vertices_flame_m[0].numpy()


def a_head(seed: int, turn_deg: float = 25.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(vertices, 468 landmarks, shape) of a person of the open head before a camera."""
    rng, head = np.random.default_rng(seed), load_open_head()
    shape = head.shape_samples[rng.integers(len(head.shape_samples))]
    weights = dict(zip(head.expression_names, 0.25 * rng.random(52) ** 2, strict=True))
    own = head.vertices_m(shape, weights)
    R = about_y(turn_deg) @ matrix_from_rotation_vector(rng.normal(size=3) * 0.1)
    vertices = own @ R.T + [0.05, -0.02, -0.6]
    return vertices, head.landmarks_468_m(vertices), shape


@pytest.mark.parametrize("in_one_piece", [False, True])
def test_derivatives_are_those_of_the_positions(in_one_piece: bool) -> None:
    rng, assets = np.random.default_rng(1), flame_like()
    fitter = FlameFitter(assets)
    landmarks = assets.landmarks
    points = PosedPoints(
        assets,
        fitter._directions,
        fitter._joint_directions,
        SurfacePoints(landmarks.static_vertex_ids, landmarks.static_weights),
        in_one_piece=in_one_piece,
    )
    free = (0,) if in_one_piece else (0, 1, 2, 3, 4)
    turns = np.zeros((5, 3))
    turns[list(free)] = 0.4 * rng.normal(size=(len(free), 3))
    state = HeadState(rng.normal(size=42), matrix_from_rotation_vector(turns), rng.normal(size=3))

    def after(step: np.ndarray) -> np.ndarray:
        R = state.R.copy()
        for slot, joint in enumerate(free):
            turn = step[42 + 3 * slot : 45 + 3 * slot]
            R[joint] = matrix_from_rotation_vector(turn) @ R[joint]
        moved = HeadState(state.coefficients + step[:42], R, state.translation_m + step[-3:])
        return points.positions_m(moved)

    _, moves = points.with_derivatives(state, free)
    for k, step in enumerate(1e-6 * np.eye(moves.shape[-1])):
        wanted = (after(step) - after(-step)) / 2e-6
        np.testing.assert_allclose(moves[..., k], wanted, atol=1e-8)


def test_a_mesh_of_known_parameters_is_recovered() -> None:
    rng, assets = np.random.default_rng(2), flame_like()
    shape, expression = rng.normal(size=30), rng.normal(size=12)
    pose, t = 0.3 * rng.normal(size=(5, 3)), np.array([0.1, -0.2, -0.8])
    pose[0] = rotation_vector_from_matrix(about_y(70.0))
    wanted = layer_vertices(assets, shape, expression, pose, t)
    fit = FlameFitter(assets).to_vertices(wanted)
    off_mm = 1000 * np.linalg.norm(fit.vertices_flame_m - wanted, axis=1)
    assert off_mm.max() < 0.1 and fit.residual_max_mm == pytest.approx(off_mm.max())
    again = layer_vertices(assets, fit.shape, fit.expression, fit.pose_rad, fit.translation_m)
    np.testing.assert_allclose(again, fit.vertices_flame_m, atol=1e-9)
    assert fit.iterations <= 20


def test_the_open_heads_mesh_is_recovered(fitter: FlameFitter) -> None:
    wanted, _, _ = a_head(3)
    fit = fitter.to_vertices(wanted)
    assert 1000 * np.linalg.norm(fit.vertices_flame_m - wanted, axis=1).max() < 0.1
    assert ((fit.expression >= 0) & (fit.expression <= 1)).all()
    np.testing.assert_allclose(fit.vertices_cam_m, fit.vertices_flame_m * [1, -1, -1])


@pytest.mark.parametrize("count", [68, 468])
def test_noise_makes_it_worse_little_by_little(fitter: FlameFitter, count: int) -> None:
    ids = load_open_head().landmark_68_of_468 if count == 68 else np.arange(468)
    errors_mm, largest = [], []
    for noise_mm in (0.0, 1.0, 2.0, 4.0, 8.0):
        of_seeds = []
        for seed in range(4):
            vertices, landmarks, _ = a_head(seed)
            noise = noise_mm / 1000 * np.random.default_rng(seed).normal(size=(count, 3))
            options = FitOptions(noise_m=max(noise_mm, 0.3) / 1000)
            fit = fitter.to_landmarks(landmarks[ids] + noise, options)
            of_seeds.append(1000 * np.linalg.norm(fit.vertices_flame_m - vertices, axis=1).mean())
            largest.append(np.abs(fit.shape).max())
        errors_mm.append(float(np.mean(of_seeds)))
    bounds = (4.0, 4.5, 5.0, 6.0, 8.0)
    assert all(error < bound for error, bound in zip(errors_mm, bounds, strict=True)), errors_mm
    growth = np.diff(errors_mm)
    assert (growth > -0.3).all() and (growth < 2.5).all(), errors_mm
    assert max(largest) < 5, "a person no one has"


def test_a_network_s_landmarks_put_the_head_before_the_camera(fitter: FlameFitter) -> None:
    vertices, landmarks, _ = a_head(7, turn_deg=-40.0)
    in_cam = landmarks @ GL_FROM_CV
    fit = fitter.to_camera(in_cam, K)
    off_mm = 1000 * np.linalg.norm(fit.vertices_cam_m - vertices @ GL_FROM_CV, axis=1)
    assert off_mm.mean() < 2.0 and fit.residual_median_mm < 0.5

    def seen(points: np.ndarray) -> np.ndarray:
        return (points @ K.T)[:, :2] / points[:, 2:]

    moved_px = seen(in_cam) + np.array([6.0, -4.0])
    asked = FitOptions(noise_m=0.05)
    moved = fitter.to_camera(in_cam, K, moved_px, asked)
    head = load_open_head()
    shown_px = seen(head.landmarks_468_m(moved.vertices_cam_m))
    assert np.linalg.norm(shown_px - moved_px, axis=1).mean() < 0.5, "the picture has its say"


def test_a_video_keeps_an_identity_and_starts_where_it_was(fitter: FlameFitter) -> None:
    _, landmarks, shape = a_head(8)
    first = fitter.to_landmarks(landmarks)
    known = fitter.to_landmarks(landmarks, FitOptions(fixed_shape=shape, start=first))
    np.testing.assert_array_equal(known.shape, shape)
    again = fitter.to_landmarks(landmarks, FitOptions(start=first))
    assert again.iterations <= first.iterations
    np.testing.assert_allclose(again.vertices_flame_m, first.vertices_flame_m, atol=2e-4)


def test_morphs_add_up_to_what_was_fitted() -> None:
    rng, assets = np.random.default_rng(4), flame_like()
    fitter = FlameFitter(assets)
    shape, pose = rng.normal(size=30), 0.4 * rng.normal(size=15)
    t = np.array([0.1, 0.2, -0.7])
    for expression in (rng.normal(size=12), np.zeros(12)):
        morphs = fitter.morphs(shape, expression, pose, t)
        for weights in (expression, rng.normal(size=12)):
            own = morphs.neutral_m + np.tensordot(weights, morphs.offsets_m, 1)
            placed = own @ morphs.R_flame_from_neutral.T + morphs.t_flame_from_neutral_m
            wanted = layer_vertices(assets, shape, weights, pose, t)
            np.testing.assert_allclose(placed, wanted, atol=1e-9)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (np.zeros((70, 3)), "70 landmarks were given; open head has 68 or 468"),
        (np.full((68, 3), np.nan), "not finite"),
    ],
)
def test_what_cannot_be_fitted_is_said(fitter: FlameFitter, target: np.ndarray, said: str) -> None:
    with pytest.raises(FitError, match=said):
        fitter.to_landmarks(target)


def test_other_targets_that_are_refused(fitter: FlameFitter) -> None:
    with pytest.raises(FitError, match="behind the camera"):
        fitter.to_camera(np.full((68, 3), -1.0), K)
    with pytest.raises(FitError, match="no joint 'tail'"):
        fitter.to_landmarks(np.zeros((68, 3)), FitOptions(free_joints=("tail",)))
    with pytest.raises(FitError, match="has 5297"):
        fitter.to_vertices(np.zeros((5023, 3)))
    with pytest.raises(FitError, match="468 landmarks"):
        FlameFitter(flame_like()).to_landmarks(np.zeros((468, 3)))


def test_all_landmarks_in_one_place_end_in_numbers(fitter: FlameFitter) -> None:
    fit = fitter.to_landmarks(np.tile([0.0, 0.1, -0.5], (68, 1)))
    assert np.isfinite(fit.vertices_flame_m).all()


@pytest.mark.parametrize("seed", range(6, 12))
def test_a_frame_takes_few_steps(fitter: FlameFitter, seed: int) -> None:
    """Each is on the landmarks alone, so what a frame costs does not grow with the mesh."""
    _, landmarks, _ = a_head(seed)
    assert 2 <= fitter.to_camera(landmarks @ GL_FROM_CV, K).iterations <= 5
