"""Scenes: what is drawn at random keeps its limits and follows from the seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from models.flame.open_head import HeadAssets
from viewer.synthesis.portraits import PortraitAsset
from viewer.synthesis.scene import (
    SceneConfig,
    cut_out_camera,
    sample_pose,
    sample_scene,
    to_ray,
)

MANY = 1500


def test_the_optical_axis_goes_to_the_ray() -> None:
    for seed in range(20):
        ray = np.append(np.random.default_rng(seed).uniform(-0.8, 0.8, 2), 1.0)
        R = to_ray(ray)
        assert pytest.approx(ray / np.linalg.norm(ray)) == R @ [0, 0, 1]
        assert np.linalg.det(R) == pytest.approx(1.0)


def test_poses_keep_their_limits_as_seen_along_the_line_of_sight() -> None:
    config = SceneConfig(roll_sd_deg=0.0)
    rng = np.random.default_rng(1)
    seen, distances = [], []
    for _ in range(MANY):
        R, t = sample_pose(config, rng)
        nose = (to_ray(t / t[2]).T @ R) @ np.array([0.0, 0.0, -1.0])
        seen.append([np.degrees(np.arctan2(np.hypot(*nose[:2]), -nose[2])), nose[0]])
        distances.append(t[2])
    turned, side = np.array(seen).T
    assert turned.max() < 115 and (turned > 90).mean() > 0.02
    assert abs((side > 0).mean() - 0.5) < 0.06
    assert min(distances) >= 0.2 and max(distances) <= 3.0
    assert np.median(distances) == pytest.approx(np.sqrt(0.2 * 3.0), rel=0.15)


def test_any_roll_is_any_roll() -> None:
    rng = np.random.default_rng(2)
    config = SceneConfig(any_roll=1.0, yaw_max_deg=1e-6, pitch_max_deg=1e-6, off_axis_max=0.0)
    rolls = [Rotation.from_matrix(sample_pose(config, rng)[0]).magnitude() for _ in range(400)]
    assert np.degrees(max(rolls)) > 160


def test_a_seed_gives_one_scene(
    head: HeadAssets, plain_portrait: Callable[..., PortraitAsset]
) -> None:
    people = [plain_portrait("a/1"), plain_portrait("bb/2")]

    def draw(seed: int) -> tuple[object, ...]:
        rng = np.random.default_rng([7, seed])
        scene = sample_scene(people, SceneConfig(negatives=0.3), head.expression_names, rng)
        return scene.person, scene.negative, scene.things, scene.R_cam_from_head.tolist()

    assert draw(3) == draw(3) and draw(3) != draw(4)
    negatives = [draw(n)[1] for n in range(400)]
    share = 1 - negatives.count(None) / 400
    assert 0.22 < share < 0.38 and {"background", "back of a head"} <= set(negatives)


def test_faces_stay_near_their_portrait(
    head: HeadAssets, plain_portrait: Callable[..., PortraitAsset]
) -> None:
    rng = np.random.default_rng(3)
    scenes = [
        sample_scene([plain_portrait()], SceneConfig(), head.expression_names, rng)
        for _ in range(200)
    ]
    identity = np.array([scene.identity for scene in scenes])
    assert np.abs(identity).max() <= 3 and identity.std() == pytest.approx(0.45, rel=0.1)
    weights = np.array([scene.expression for scene in scenes])
    assert weights.min() >= -0.1 and weights.max() <= 1
    assert (weights[:, head.expression_names.index("tongueOut")] == 0).all()


def test_focal_lengths_are_drawn_whatever_the_distance(
    head: HeadAssets, plain_portrait: Callable[..., PortraitAsset]
) -> None:
    rng = np.random.default_rng(4)
    scenes = [
        sample_scene([plain_portrait()], SceneConfig(), head.expression_names, rng)
        for _ in range(600)
    ]
    focal_px = np.array([scene.whole_focal_px for scene in scenes])
    assert 450 <= focal_px.min() < 500 and 4500 < focal_px.max() <= 5000
    assert np.median(focal_px) == pytest.approx(1500, rel=0.1)
    distance = [scene.t_cam_from_head_m[2] for scene in scenes]
    assert abs(np.corrcoef(np.log(focal_px), np.log(distance))[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("whole_focal_px", "distance_m", "extent_px"),
    [(500.0, 0.2, 128.0), (5000.0, 3.0, 128.0), (1000.0, 2.0, None), (450.0, 3.0, 64.0)],
)
def test_a_face_has_the_pixels_that_its_camera_gave_it(
    head: HeadAssets, whole_focal_px: float, distance_m: float, extent_px: float | None
) -> None:
    """None: as many as the whole picture has, neither scaled down nor looked at from nearer."""
    landmarks = head.landmarks_468_m(head.template_vertices_m) @ np.diag([1.0, -1.0, -1.0])
    landmarks += np.array([0.2, -0.1, 1.0]) * distance_m
    camera = cut_out_camera(landmarks, whole_focal_px, 256)
    points = camera.project(landmarks)
    np.testing.assert_allclose((points.min(0) + points.max(0)) / 2, 128.0, atol=1e-6)
    assert camera.fx_px == camera.fy_px <= whole_focal_px or extent_px == 64.0
    if extent_px is None:
        assert camera.fx_px == pytest.approx(whole_focal_px)
    else:
        assert np.ptp(points, 0).max() == pytest.approx(extent_px)
