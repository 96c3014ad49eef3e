"""The predicted mesh as lines and shaded triangles."""

from __future__ import annotations

import numpy as np
import pytest

from models.geometry.cameras import camera_from_horizontal_fov
from models.geometry.rotations import MIRROR_X, about_x, about_y
from viewer.render.mesh_shapes import drawable, outward_triangles, shaded_mesh, wireframe

CAMERA = camera_from_horizontal_fov((640, 480))
AMBER = (255, 176, 0)
TURNS = [np.eye(3), about_y(40.0), about_x(-30.0)]


def signed_areas(points_px: np.ndarray) -> np.ndarray:
    a, b = points_px[:, 1] - points_px[:, 0], points_px[:, 2] - points_px[:, 0]
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


@pytest.mark.parametrize("R", TURNS)
def test_each_edge_is_drawn_once(make_pose, head_mesh, R) -> None:
    (lines,) = wireframe(make_pose(CAMERA, (0, 0, 700), R), head_mesh.triangles, AMBER, 1.0)
    ends = {tuple(sorted(map(tuple, line))) for line in lines.points_px.round(6).tolist()}
    assert len(ends) == len(lines.points_px)
    assert len(ends) > 600


def test_the_edges_are_those_of_the_triangles_seen_from_the_front(make_pose, head_mesh) -> None:
    pose = make_pose(CAMERA, (30, 10, 700), about_y(40.0))
    points = CAMERA.project(pose.vertices_cam_m())
    triangles = head_mesh.triangles
    seen = triangles[signed_areas(points[triangles]) < 0]
    assert 0.3 < len(seen) / len(triangles) < 0.9
    sides = np.concatenate([seen[:, [0, 1]], seen[:, [1, 2]], seen[:, [2, 0]]])
    wanted = {tuple(sorted(pair)) for pair in sides.tolist()}
    (lines,) = wireframe(pose, triangles, AMBER, 1.0)
    found = np.linalg.norm(lines.points_px[:, :, None] - points, axis=3).argmin(2)
    assert {tuple(sorted(pair)) for pair in found.tolist()} == wanted


@pytest.mark.parametrize("turn", [about_y(180.0), about_x(180.0)])
def test_nothing_of_a_face_is_seen_from_behind(make_pose, head_mesh, turn) -> None:
    """Only the few triangles of folds (lids, lips, nostrils) may face backwards."""
    pose = make_pose(CAMERA, (0, 0, 700), turn)
    frontal = make_pose(CAMERA, (0, 0, 700))
    for build in (
        lambda p: wireframe(p, head_mesh.triangles, AMBER, 1.0),
        lambda p: shaded_mesh(p, head_mesh.triangles, AMBER),
    ):
        behind = sum(len(shape.points_px) for shape in build(pose))
        assert behind < 0.06 * sum(len(shape.points_px) for shape in build(frontal))


def test_a_sphere_shows_its_near_half(make_pose) -> None:
    import trimesh

    ball = trimesh.creation.icosphere(2, 0.08)
    pose = make_pose(CAMERA, (0, 0, 700), vertices_head_m=np.tile(ball.vertices, (3, 1)))
    (shape,) = shaded_mesh(pose, np.asarray(ball.faces, np.int64), AMBER)
    assert len(shape.points_px) == pytest.approx(len(ball.faces) / 2, rel=0.15)
    for k, sign in ((0, 1), (1, 1)):
        assert len(shape.points_px) > 50
        assert sign * np.ptp(shape.points_px[..., k]) > 150
    flipped = np.asarray(ball.faces, np.int64)[:, ::-1]
    (other,) = shaded_mesh(pose, np.ascontiguousarray(flipped), AMBER)
    assert len(other.points_px) == len(shape.points_px)
    for k in range(3):  # neighbours at one depth may change places
        np.testing.assert_array_equal(np.sort(other.colours[:, k]), np.sort(shape.colours[:, k]))


def test_a_mirrored_mesh_shows_its_mirror_image(make_pose, head_mesh) -> None:
    pose = make_pose(CAMERA, (0, 0, 700), about_y(25.0))
    mirrored = make_pose(
        CAMERA,
        (0, 0, 700),
        MIRROR_X @ about_y(25.0) @ MIRROR_X,
        vertices_head_m=head_mesh.vertices_head_m @ MIRROR_X,
    )
    for build in (
        lambda p: wireframe(p, head_mesh.triangles, AMBER, 1.0),
        lambda p: shaded_mesh(p, head_mesh.triangles, AMBER),
    ):
        (one,), (other,) = build(pose), build(mirrored)
        np.testing.assert_allclose(one.points_px, [640, 0] + other.points_px * [-1, 1], atol=1e-6)


@pytest.mark.parametrize("R", TURNS)
def test_shaded_triangles_go_from_far_to_near(make_pose, head_mesh, R) -> None:
    pose = make_pose(CAMERA, (0, 0, 700), R)
    (shape,) = shaded_mesh(pose, head_mesh.triangles, AMBER)
    vertices_cam_m = pose.vertices_cam_m()
    points = CAMERA.project(vertices_cam_m)
    ids = np.linalg.norm(shape.points_px[:, :, None] - points, axis=3).argmin(2)
    depths = vertices_cam_m[ids, 2].mean(1)
    assert (np.diff(depths) <= 1e-9).all()
    assert len(shape.colours) == len(shape.points_px)


def test_the_form_is_seen_in_the_shade(make_pose, head_mesh) -> None:
    """Lamp at the upper left: the left cheek is lighter than the right, the brow than the jaw."""
    pose = make_pose(CAMERA, (0, 0, 700))
    (shape,) = shaded_mesh(pose, head_mesh.triangles, AMBER)
    light = shape.colours.astype(float).sum(1)
    centre = shape.points_px.mean(1)
    x, y = (centre - np.median(centre, 0)).T / np.ptp(centre, 0)[:, None]
    assert light[x < -0.25].mean() > 1.25 * light[x > 0.25].mean()
    assert light[y < -0.25].mean() > 1.15 * light[y > 0.3].mean()
    assert np.ptp(light) > 250


def test_triangles_are_turned_outward_for_files(head_mesh) -> None:
    vertices, triangles = head_mesh.vertices_head_m, head_mesh.triangles

    def outward(v: np.ndarray, t: np.ndarray) -> float:
        a, b, c = v[t].transpose(1, 0, 2)
        return float((np.cross(b - a, c - a) * ((a + b + c) / 3 - v.mean(0))).sum(1).mean())

    for v, t in (
        (vertices, triangles),
        (vertices, np.ascontiguousarray(triangles[:, ::-1])),
        (vertices @ MIRROR_X, triangles),
    ):
        assert outward(v, outward_triangles(v, t)) > 0


def test_only_finite_poses_are_drawable(make_pose) -> None:
    assert drawable(make_pose(CAMERA, (0, 0, 700)))
    assert not drawable(make_pose(CAMERA, (0, np.nan, 700)))
