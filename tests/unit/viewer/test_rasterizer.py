"""The z-buffer against geometry done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.geometry.cameras import camera_from_horizontal_fov, camera_from_intrinsics
from viewer.synthesis.rasterizer import rasterize

CAMERA = camera_from_intrinsics((120, 90), 150.0, 110.0, 50.0, 52.0)
TRIANGLE = np.array([[0, 1, 2]])


def square_at(z_m: float, half_m: float) -> tuple[np.ndarray, np.ndarray]:
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half_m
    return np.c_[corners, np.full(4, z_m)], np.array([[0, 1, 2], [0, 2, 3]])


def test_every_pixel_lies_on_its_ray_and_on_its_triangle() -> None:
    rng = np.random.default_rng(0)
    vertices = rng.uniform((-0.4, -0.4, 0.6), (0.4, 0.4, 2.0), (60, 3))
    triangles = rng.integers(0, 60, (40, 3))
    raster = rasterize(vertices, triangles, CAMERA)
    assert len(raster.rows) > 1000
    np.testing.assert_allclose(raster.weights.sum(1), 1.0)
    assert raster.weights.min() > -1e-9
    surface = raster.interpolate(triangles, vertices)
    centres_px = np.stack([raster.columns + 0.5, raster.rows + 0.5], -1)
    np.testing.assert_allclose(CAMERA.project(surface), centres_px, atol=1e-6)
    np.testing.assert_allclose(surface[:, 2], raster.depth_m)


def test_what_is_seen_is_the_nearest() -> None:
    """Each pixel against a ray cast at every triangle (Cramer's rule)."""
    rng = np.random.default_rng(1)
    vertices = rng.uniform((-0.4, -0.4, 0.6), (0.4, 0.4, 2.0), (30, 3))
    triangles = np.arange(30).reshape(10, 3)
    raster = rasterize(vertices, triangles, CAMERA)
    depth_m = np.full((90, 120), np.inf)
    depth_m[raster.rows, raster.columns] = raster.depth_m
    rows, columns = np.mgrid[:90, :120]
    rays = np.concatenate(
        [CAMERA.normalise(np.stack([columns, rows], -1) + 0.5), np.ones((90, 120, 1))], -1
    )
    nearest = np.full((90, 120), np.inf)
    for corners in vertices[triangles]:
        weights = rays @ np.linalg.inv(corners)
        z = 1 / weights.sum(-1)
        hit = ((weights >= 0).all(-1) | (weights <= 0).all(-1)) & (z > 0)
        nearest = np.where(hit & (z < nearest), z, nearest)
    np.testing.assert_allclose(depth_m, nearest)


def test_area_and_edges_of_a_square() -> None:
    """A square of 40 x 40 px between pixel edges covers exactly those pixels, once each."""
    camera = camera_from_intrinsics((100, 100), 100.0, 100.0, 50.0, 50.0)
    vertices, triangles = square_at(1.0, 0.2)
    raster = rasterize(vertices, triangles, camera)
    assert len(raster.rows) == 1600
    assert (raster.rows.min(), raster.rows.max()) == (30, 69)
    assert (raster.columns.min(), raster.columns.max()) == (30, 69)


def test_colours_are_interpolated_in_perspective() -> None:
    """A floor that runs away: the value half-way along it is seen far above the middle."""
    camera = camera_from_horizontal_fov((200, 200), 90.0)
    floor = np.array([[-1, 1, 1.0], [1, 1, 1.0], [1, 1, 9.0], [-1, 1, 9.0]])
    triangles = np.array([[0, 1, 2], [0, 2, 3]])
    raster = rasterize(floor, triangles, camera)
    z = raster.interpolate(triangles, floor[:, 2:])[:, 0]
    np.testing.assert_allclose(z, 100 / (raster.rows + 0.5 - 100), rtol=1e-9)


def test_backfaces_are_left_out_only_on_request() -> None:
    """Two walls beside each other; the right one shows its back (its outside points away)."""
    towards = np.array([[-0.2, -0.1, 1.0], [-0.2, 0.1, 1.0], [0.0, -0.1, 1.0]])
    away = np.array([[0.0, 0.1, 1.0], [0.2, -0.1, 1.0], [0.2, 0.1, 1.0]])
    vertices, triangles = np.concatenate([towards, away]), np.arange(6).reshape(2, 3)
    outside_z = [np.cross(b - a, c - a)[2] for a, b, c in vertices[triangles]]
    assert outside_z[0] < 0 < outside_z[1]
    both = rasterize(vertices, triangles, CAMERA)
    assert set(both.triangle_ids.tolist()) == {0, 1}
    front = rasterize(vertices, triangles, CAMERA, cull_backfaces=True)
    assert set(front.triangle_ids.tolist()) == {0}


@pytest.mark.parametrize(
    "vertices",
    [
        [[0, 0, -1], [0.1, 0, -1], [0, 0.1, -1]],
        [[5, 5, 1], [5.1, 5, 1], [5, 5.1, 1]],
        [[0, 0, 1], [0.1, 0, 1], [0.2, 0, 1]],
    ],
    ids=["behind", "outside", "edge-on"],
)
def test_nothing_to_see(vertices: list[list[float]]) -> None:
    raster = rasterize(np.array(vertices, float), TRIANGLE, CAMERA)
    assert len(raster.rows) == 0
    assert raster.interpolate(TRIANGLE, np.ones((3, 2))).shape == (0, 2)


def test_a_close_up_is_cut_at_the_picture_and_done_in_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vertices, triangles = square_at(0.05, 1.0)
    whole = rasterize(vertices, triangles, CAMERA)
    assert len(whole.rows) == 120 * 90
    monkeypatch.setattr("viewer.synthesis.rasterizer.MAX_CANDIDATES", 1000)
    parts = rasterize(vertices, triangles, CAMERA)
    np.testing.assert_array_equal(parts.depth_m, whole.depth_m)
