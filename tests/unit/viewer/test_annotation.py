"""What is drawn of a label: exactly where the label or its projection says, wrong ones included."""

from __future__ import annotations

import numpy as np
import pytest

from models.geometry.cameras import camera_from_intrinsics
from models.geometry.rotations import about_x, about_y, about_z
from viewer.render.annotation import (
    BOX_COLOUR,
    LAYERS,
    MESH_COLOUR,
    Annotation,
    DrawnPose,
    blank_picture,
    build_annotation,
    distant_view,
    portrait_view,
    second_colour,
    view_of_mesh,
    view_of_points,
)
from viewer.render.overlay import AXES_HEAD, AXIS_LENGTH_M, draw_overlay
from viewer.render.palette import AXIS_COLOURS, LIGHT
from viewer.render.shapes import Dots, DrawList, Segments, Triangles

SIZE = (640, 480)
CAMERA = camera_from_intrinsics(SIZE, 700.0, 560.0, 290.0, 255.0)
R = about_y(25.0) @ about_x(-12.0) @ about_z(8.0)
T_MM = np.array([40.0, -25.0, 700.0])
POSE = DrawnPose(R, T_MM, CAMERA.K_image_from_cam)
BOX = np.array([150.25, 90.5, 400.0, 333.75])


def of_colour(drawn: DrawList, kind: type, colour: object) -> list:
    return [s for s in drawn.shapes if isinstance(s, kind) and s.colour == colour]


def landmarks() -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.stack([rng.uniform(160, 390, 68), rng.uniform(100, 330, 68)], 1)


def test_a_box_is_drawn_on_its_own_numbers() -> None:
    (frame,) = of_colour(
        build_annotation(Annotation(SIZE, box_xyxy_px=BOX), {"box"}), Segments, BOX_COLOUR
    )
    np.testing.assert_array_equal(frame.points_px.reshape(-1, 2).min(0), BOX[:2])
    np.testing.assert_array_equal(frame.points_px.reshape(-1, 2).max(0), BOX[2:])


def test_axes_are_the_cameras_projection() -> None:
    drawn = build_annotation(Annotation(SIZE, pose=POSE, box_xyxy_px=BOX), {"axes"})
    for name, axis in AXES_HEAD.items():
        (shaft,) = of_colour(drawn, Segments, AXIS_COLOURS[name])
        ends = np.stack([T_MM / 1000, T_MM / 1000 + AXIS_LENGTH_M * R @ axis])
        np.testing.assert_allclose(shaft.points_px[0], CAMERA.project(ends), atol=1e-6)


def test_landmarks_stay_where_they_are_and_nan_ones_are_left_out() -> None:
    points = landmarks()
    points[[3, 40]] = np.nan
    annotation = Annotation(SIZE, landmarks_68_px=points, points_px={"21 points": points[:21]})
    drawn = build_annotation(annotation, {"landmarks", "points"})
    (dots,) = of_colour(drawn, Dots, LIGHT)
    np.testing.assert_array_equal(dots.points_px, np.delete(points, [3, 40], 0))
    lines = np.concatenate([s.points_px.reshape(-1, 2) for s in of_colour(drawn, Segments, LIGHT)])
    assert np.isfinite(lines).all()
    others = [s for s in drawn.shapes if isinstance(s, Dots) and len(s.points_px) == 20]
    np.testing.assert_array_equal(others[-1].points_px, np.delete(points[:21], 3, 0))


def test_painted_pixels_are_where_the_numbers_say() -> None:
    """A dot's centre and the box's edge, read back from the picture."""
    point = np.full((68, 2), np.nan)
    point[30] = (321.5, 200.5)
    annotation = Annotation(SIZE, box_xyxy_px=BOX, landmarks_68_px=point)
    ground = np.zeros((480, 640, 3), np.uint8)
    dot = draw_overlay(ground, build_annotation(annotation, {"landmarks"})).max(2).astype(float)
    y, x = np.mgrid[0:480, 0:640] + 0.5
    np.testing.assert_allclose(
        [(dot * x).sum(), (dot * y).sum()] / dot.sum(), [321.5, 200.5], atol=0.1
    )
    box = draw_overlay(ground, build_annotation(annotation, {"box"})).max(2).astype(float)
    row = box[200, :275]
    assert abs((row * x[200, :275]).sum() / row.sum() - BOX[0]) < 0.3


def test_mesh_and_depth_are_projected_and_only_the_front_is_painted(head_mesh) -> None:
    mesh = POSE.in_cam_m(head_mesh.vertices_head_m)
    annotation = Annotation(
        SIZE, pose=POSE, mesh_cam_m=mesh, triangles=head_mesh.triangles, depth_cam_m=mesh
    )
    projected = CAMERA.project(mesh)
    (shape,) = [
        s
        for s in build_annotation(annotation, {"mesh"}).shapes
        if isinstance(s, Triangles | Segments)
    ]
    gaps = np.linalg.norm(shape.points_px.reshape(-1, 1, 2) - projected[None], axis=2).min(1)
    assert gaps.max() < 1e-6
    dots = [s.points_px for s in build_annotation(annotation, {"depth"}).shapes]
    np.testing.assert_allclose(np.sort(np.concatenate(dots), 0), np.sort(projected, 0), atol=1e-6)
    bare = Annotation(SIZE, pose=POSE, mesh_cam_m=mesh)
    (points,) = of_colour(build_annotation(bare, {"mesh"}), Dots, MESH_COLOUR)
    np.testing.assert_allclose(points.points_px, projected, atol=1e-6)


def test_a_second_opinion_is_dashed_along_its_own_axes() -> None:
    other = DrawnPose(about_y(-30.0), T_MM, CAMERA.K_image_from_cam)
    drawn = build_annotation(Annotation(SIZE, pose=POSE, second=other, box_xyxy_px=BOX), {"axes"})
    (solid,) = of_colour(drawn, Segments, AXIS_COLOURS["nose"])
    (dashed,) = of_colour(drawn, Segments, second_colour(AXIS_COLOURS["nose"]))
    assert len(dashed.points_px) > len(solid.points_px)
    tip_m = T_MM / 1000 + AXIS_LENGTH_M * about_y(-30.0) @ AXES_HEAD["nose"]
    start, end = CAMERA.project(np.stack([T_MM / 1000, tip_m]))
    pieces = dashed.points_px[: len(dashed.points_px) - 2]
    np.testing.assert_allclose(pieces[0, 0], start, atol=1e-6)
    np.testing.assert_allclose(pieces[-1, 1], end, atol=1e-6)


def test_a_far_view_is_weak_perspective() -> None:
    points = np.random.default_rng(2).normal(0, 0.08, (50, 3))
    view = distant_view(R, np.array([200.0, 150.0]), 900.0)
    K, cam = view.K_image_from_cam, view.in_cam_m(points)
    seen = cam[:, :2] / cam[:, 2:] * K[[0, 1], [0, 1]] + K[:2, 2]
    expected = np.array([200.0, 150.0]) + 900.0 * (points @ R.T)[:, :2]
    np.testing.assert_allclose(seen, expected, atol=0.1)
    found = view_of_mesh(R, points, expected)
    np.testing.assert_allclose(found.K_image_from_cam, K, rtol=1e-9)


def test_a_label_without_a_camera_has_its_axes_in_the_middle_of_its_points() -> None:
    points = landmarks()
    view = view_of_points(R, points)
    drawn = build_annotation(Annotation(SIZE, landmarks_68_px=points, pose=view), {"axes"})
    (shaft,) = of_colour(drawn, Segments, AXIS_COLOURS["x"])
    middle = (points.min(0) + points.max(0)) / 2
    np.testing.assert_allclose(shaft.points_px[0, 0], middle, atol=0.05)


def test_a_mesh_without_a_picture_fills_its_frame(head_mesh) -> None:
    view = portrait_view(np.eye(3), head_mesh.vertices_head_m, (300, 400))
    K, cam = view.K_image_from_cam, view.in_cam_m(head_mesh.vertices_head_m)
    seen = cam[:, :2] / cam[:, 2:] * K[[0, 1], [0, 1]] + K[:2, 2]
    np.testing.assert_allclose((seen.min(0) + seen.max(0)) / 2, [150, 200], atol=0.5)
    assert np.ptp(seen, axis=0).max() > 0.8 * 300
    assert blank_picture((30, 40)).shape == (40, 30, 3)


def test_a_cut_out_moves_everything_together(head_mesh) -> None:
    mesh = POSE.in_cam_m(head_mesh.vertices_head_m)
    full = Annotation(
        SIZE,
        BOX,
        landmarks(),
        {"more": landmarks()[:5]},
        POSE,
        mesh,
        head_mesh.triangles,
        mesh[::7],
    )
    assert full.layers() == LAYERS
    part = full.seen_in((224, 224), 100.0, 60.0, 0.7)

    def spots(annotation: Annotation) -> np.ndarray:
        """Of the mesh, the axes' starts, the box, the points."""
        drawn = build_annotation(annotation, {"box", "landmarks", "points", "depth", "mesh"})
        (axes,) = of_colour(build_annotation(annotation, {"axes"}), Segments, AXIS_COLOURS["x"])
        points = [s.points_px.reshape(-1, 2) for s in drawn.shapes if not isinstance(s, Dots)]
        points += [s.points_px for s in drawn.shapes if isinstance(s, Dots)]
        return np.concatenate([axes.points_px[0], *points])

    expected = (spots(full) - [100.0, 60.0]) * 0.7
    found = spots(part)
    if len(found) == len(expected):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found.min(0), expected.min(0), atol=1e-6)
    np.testing.assert_allclose(found.max(0), expected.max(0), atol=1e-6)


def test_only_what_is_known_is_drawn_and_wrong_names_are_said() -> None:
    assert Annotation(SIZE).layers() == ()
    assert build_annotation(Annotation(SIZE), set(LAYERS)).shapes == ()
    with pytest.raises(ValueError, match="layer 'meshes'"):
        build_annotation(Annotation(SIZE), {"meshes"})


def test_impossible_numbers_draw_nothing() -> None:
    nowhere = DrawnPose(np.full((3, 3), np.nan), T_MM, CAMERA.K_image_from_cam)
    behind = DrawnPose(R, np.array([0.0, 0.0, -500.0]), CAMERA.K_image_from_cam)
    for pose in (nowhere, behind):
        annotation = Annotation(SIZE, box_xyxy_px=np.full(4, np.nan), pose=pose)
        assert build_annotation(annotation, {"axes", "box"}).shapes == ()
