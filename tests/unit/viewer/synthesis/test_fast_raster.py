"""The compiled loops against the plain numpy rasterizer, and against what is known of a sphere."""

from __future__ import annotations

import numpy as np
import pytest

from models.flame.open_head import HeadAssets
from models.geometry.cameras import Camera, camera_from_intrinsics
from models.geometry.rotations import GL_FROM_CV, about_y
from viewer.synthesis.fast_raster import (
    rasterize_into,
    shade_over,
    soften_edges,
    vertex_normals_into,
)
from viewer.synthesis.painted_head import vertex_normals
from viewer.synthesis.rasterizer import rasterize
from viewer.synthesis.surfaces import ellipsoid

Array = np.ndarray
SIZE = 160


@pytest.fixture
def camera() -> Camera:
    return camera_from_intrinsics((SIZE, SIZE), 300.0, 300.0, 83.0, 77.0)


def _buffers(size: int = SIZE) -> tuple[Array, ...]:
    empty = [np.zeros((size, size), np.float32) for _ in range(3)]
    return np.zeros((size, size), np.int32), *empty


def _drawn(
    vertices_cam_m: Array, triangles: Array, camera: Camera, n_closed: int = 0
) -> tuple[Array, ...]:
    points = camera.project(vertices_cam_m).astype(np.float32)
    buffers = _buffers()
    rasterize_into(
        points[:, 0].copy(),
        points[:, 1].copy(),
        vertices_cam_m[:, 2].astype(np.float32),
        triangles.astype(np.int32),
        n_closed,
        *buffers,
    )
    return buffers


@pytest.mark.parametrize("yaw_deg", [0.0, 55.0, 180.0])
@pytest.mark.parametrize("closed", [False, True])
def test_it_draws_what_the_numpy_rasterizer_draws(
    head: HeadAssets, camera: Camera, yaw_deg: float, closed: bool
) -> None:
    R = about_y(yaw_deg) @ GL_FROM_CV
    vertices = head.template_vertices_m @ R.T + np.array([0.0, 0.02, 0.6])
    skin = head.triangles_of("skin")
    plain = rasterize(vertices, skin, camera, cull_backfaces=closed)
    ids, first, second, inverse_z = _drawn(vertices, skin, camera, len(skin) * closed)
    expected = np.full((SIZE, SIZE), -1)
    expected[plain.rows, plain.columns] = plain.triangle_ids
    assert (ids == expected).mean() > 0.997
    same = ids[plain.rows, plain.columns] == plain.triangle_ids
    rows, columns = plain.rows[same], plain.columns[same]
    assert np.abs(1.0 / inverse_z[rows, columns] - plain.depth_m[same]).max() < 2e-5
    found = np.stack([first[rows, columns], second[rows, columns]], 1)
    assert np.abs(found - plain.weights[same, :2]).max() < 5e-3


def test_the_backs_of_a_closed_surface_are_left_out(camera: Camera) -> None:
    vertices, triangles = ellipsoid(np.array([0.0, 0.0, 0.5]), np.full(3, 0.1))
    outwards = _drawn(vertices, triangles, camera, len(triangles))
    inwards = _drawn(vertices, triangles[:, ::-1].copy(), camera, len(triangles))
    middle = (77, 83)
    near, far = 1 / outwards[3][middle], 1 / inwards[3][middle]
    assert sorted([round(float(near), 2), round(float(far), 2)]) == [0.4, 0.6]


def test_triangles_behind_the_camera_are_not_drawn(camera: Camera) -> None:
    vertices = np.array([[0.0, 0.0, 0.5], [0.1, 0.0, -0.2], [0.0, 0.1, 0.5]])
    assert (_drawn(vertices, np.array([[0, 1, 2]]), camera)[0] == -1).all()


def test_normals_are_those_of_the_painted_head(head: HeadAssets) -> None:
    vertices = head.template_vertices_m.astype(np.float32)
    found = np.zeros_like(vertices)
    vertex_normals_into(vertices, head.triangles.astype(np.int32), found)
    expected = vertex_normals(head.template_vertices_m, head.triangles)
    assert np.abs(found - expected).max() < 2e-3


def _shaded(alpha: float, lamp_z: float) -> tuple[Array, Array]:
    """A square that fills the picture 1 m away, painted (100, 50, 25), over white."""
    buffers = _buffers(8)
    triangles = np.array([[0, 1, 2]], np.int32)
    x, y = np.array([-20.0, 40.0, -20.0], np.float32), np.array([-20.0, -20.0, 40.0], np.float32)
    rasterize_into(x, y, np.ones(3, np.float32), triangles, 0, *buffers)
    paint = np.zeros((3, 10), np.float32)
    paint[:, 3:6] = [100.0, 50.0, 25.0]
    paint[:, 9] = alpha
    normals = np.tile(np.array([0.0, 0.0, -1.0], np.float32), (3, 1))
    light = np.array([[0, 0, lamp_z], [1, 1, 1], [0.5, 0.5, 0.5], [0.6, 0, 0]], np.float32)
    image, nearest = np.full((8, 8, 3), 255, np.uint8), np.zeros((8, 8), np.float32)
    texture, strands = np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4), np.float32)
    lit = np.ones((8, 8), np.float32)
    shade_over(
        image, nearest, buffers, triangles, normals, paint, texture, strands, light, lit, False
    )
    return image, nearest


def test_light_and_transparency() -> None:
    image, nearest = _shaded(1.0, -1.0)
    assert image[4, 4].tolist() == pytest.approx([150, 75, 37], abs=1) and nearest[
        4, 4
    ] == pytest.approx(1.0)
    assert _shaded(1.0, 1.0)[0][4, 4].tolist() == pytest.approx(
        [50, 25, 12], abs=1
    )  # the lamp is behind
    half, untouched = _shaded(0.4, 1.0)
    assert half[4, 4].tolist() == pytest.approx([173, 163, 157], abs=1) and untouched[4, 4] == 0


def test_only_edges_are_softened() -> None:
    image = np.zeros((9, 9, 3), np.uint8)
    image[:, 5:] = 200
    inverse_z = np.where(image[..., 0] > 0, 2.0, 1.0).astype(np.float32)
    out = np.empty_like(image)
    soften_edges(image, inverse_z, out)
    assert out[4, 4, 0] == 50 and out[4, 5, 0] == 150
    assert (out[:, :4] == 0).all() and (out[:, 6:] == 200).all()
