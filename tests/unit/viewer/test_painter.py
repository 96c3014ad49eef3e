"""The renderer without GL: pixels where the camera projects, near before far, honest edges."""

from __future__ import annotations

import numpy as np
import pytest

from models.geometry.cameras import Camera, camera_from_intrinsics
from models.geometry.rotations import matrix_from_ypr_300wlp
from viewer.render.painter import render_mesh

WHITE = np.full((1, 3), 255, np.uint8)

CAMERAS = [
    camera_from_intrinsics((640, 480), 600.0, 600.0, 320.0, 240.0),
    camera_from_intrinsics((640, 480), 720.0, 540.0, 251.3, 301.8),
    camera_from_intrinsics((333, 501), 410.0, 800.0, 200.25, 90.5),
]


def centroid_px(alpha: np.ndarray) -> np.ndarray:
    """In continuous coordinates: the first pixel's centre is 0.5."""
    rows, columns = np.nonzero(alpha)
    weights = alpha[rows, columns].astype(np.float64)
    return np.array([weights @ (columns + 0.5), weights @ (rows + 0.5)]) / weights.sum()


def tag_at(point_cam_m: np.ndarray, half_m: float) -> tuple[np.ndarray, np.ndarray]:
    """A small square that faces along z, with its middle at the point."""
    square = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * half_m
    return point_cam_m + square, np.array([[0, 1, 2], [0, 2, 3]])


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("supersample", [2, 4])
def test_each_vertex_of_a_head_lands_where_the_camera_projects_it(
    head_mesh, camera: Camera, supersample: int
) -> None:
    R = matrix_from_ypr_300wlp(25.0, -12.0, 8.0)
    vertices = head_mesh.vertices_head_m @ R.T + [0.01, 0.02, 0.7]
    for point in vertices[::60]:
        tag, triangles = tag_at(point, 0.004)
        seen = render_mesh(tag, triangles, WHITE.repeat(2, 0), camera, supersample=supersample)
        assert np.abs(centroid_px(seen.alpha) - camera.project(point)).max() < 0.5


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_outline_is_that_of_the_projected_mesh(head_mesh, camera: Camera) -> None:
    vertices = head_mesh.vertices_head_m + np.array([0.0, 0.02, 0.7])
    colours = WHITE.repeat(len(head_mesh.triangles), 0)
    alpha = render_mesh(vertices, head_mesh.triangles, colours, camera, supersample=4).alpha
    points = camera.project(vertices)
    for axis in (0, 1):
        cover = alpha.max(axis).astype(float) / 255
        filled = np.flatnonzero(cover > 0)
        low = filled[0] + 1 - cover[filled[0]]
        high = filled[-1] + cover[filled[-1]]
        extent = [points[:, axis].min(), points[:, axis].max()]
        assert np.abs(np.array([low, high]) - extent).max() <= 0.5 + 1 / 16


def test_near_hides_far_whatever_their_order() -> None:
    camera = CAMERAS[0]
    far, triangles = tag_at(np.array([0, 0, 1.0]), 0.1)
    near, _ = tag_at(np.array([0, 0, 0.8]), 0.02)
    red, blue = [[255, 0, 0]] * 2, [[0, 0, 255]] * 2
    for first, second, colours in ((far, near, red + blue), (near, far, blue + red)):
        seen = render_mesh(
            np.concatenate([first, second]),
            np.concatenate([triangles, triangles + 4]),
            np.array(colours, np.uint8),
            camera,
            lit=False,
        ).image_rgb
        assert seen[240, 320].tolist() == [0, 0, 255]
        assert seen[240, 320 + 40].tolist() == [255, 0, 0]


def test_edges_blend_into_the_background_without_a_dark_rim() -> None:
    camera = CAMERAS[0]
    tag, triangles = tag_at(np.array([0.0003, 0.0007, 1.0]), 0.1)
    ground = np.full((480, 640, 3), 200, np.uint8)
    colours = np.full((2, 3), 200, np.uint8)
    seen = render_mesh(tag, triangles, colours, camera, background_rgb=ground, lit=False)
    assert np.abs(seen.image_rgb.astype(int) - 200).max() <= 1
    assert 0 < seen.alpha[seen.alpha > 0].min() < 255
    assert (ground == 200).all()


def test_light_comes_from_the_upper_left_on_both_windings(head_mesh) -> None:
    vertices = head_mesh.vertices_head_m + np.array([0.0, 0.0, 0.7])
    grey = np.full((len(vertices), 3), 200, np.uint8)
    one = render_mesh(vertices, head_mesh.triangles, grey, CAMERAS[0])
    other = render_mesh(vertices, head_mesh.triangles[:, ::-1], grey, CAMERAS[0])
    # OpenCV rounds edges a hair differently by the order of the corners
    assert np.abs(one.image_rgb.astype(int) - other.image_rgb).mean() < 0.02
    column = int(centroid_px(one.alpha)[0])
    left, right = one.image_rgb[:, :column], one.image_rgb[:, column:]
    assert left[left > 0].mean() > right[right > 0].mean() + 10


def test_what_is_behind_or_beside_the_camera_leaves_the_picture_alone() -> None:
    camera, ground = CAMERAS[0], np.full((480, 640, 3), 90, np.uint8)
    for middle in ([0, 0, -1.0], [0, 0, 0.001], [500.0, 0, 1.0]):
        tag, triangles = tag_at(np.array(middle), 0.1)
        seen = render_mesh(tag, triangles, WHITE.repeat(2, 0), camera, background_rgb=ground)
        assert (seen.image_rgb == 90).all() and (seen.alpha == 0).all()


def test_a_triangle_that_reaches_far_outside_still_fills_the_picture() -> None:
    tag, triangles = tag_at(np.array([0, 0, 0.02]), 1000.0)
    seen = render_mesh(tag, triangles, WHITE.repeat(2, 0), CAMERAS[0], lit=False)
    assert (seen.alpha == 255).all()


def test_wrong_sizes_are_said() -> None:
    tag, triangles = tag_at(np.array([0, 0, 1.0]), 0.1)
    with pytest.raises(ValueError, match="one per triangle"):
        render_mesh(tag, triangles, WHITE.repeat(3, 0), CAMERAS[0])
    with pytest.raises(ValueError, match="background"):
        render_mesh(
            tag,
            triangles,
            WHITE.repeat(2, 0),
            CAMERAS[0],
            background_rgb=np.zeros((2, 2, 3), np.uint8),
        )
    with pytest.raises(ValueError, match="supersample"):
        render_mesh(tag, triangles, WHITE.repeat(2, 0), CAMERAS[0], supersample=0)
