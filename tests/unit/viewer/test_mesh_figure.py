"""The 3D figure: metres, up is up, the camera where it is."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.geometry.cameras import camera_from_horizontal_fov, camera_from_intrinsics
from models.geometry.rotations import about_y
from viewer.render.mesh_figure import build_heads_figure
from viewer.render.palette import AXIS_COLOURS, hex_colour

SIZE = (640, 480)
CAMERA = camera_from_horizontal_fov(SIZE)
SKEWED = camera_from_intrinsics(SIZE, 700.0, 560.0, 290.0, 255.0)


def cam_points(trace) -> np.ndarray:
    """A trace's points back in the camera frame."""
    x, y, z = (np.asarray(getattr(trace, k), np.float64) for k in "xyz")
    return np.stack([x, -z, y], 1)


def test_heads_stand_in_metres_where_they_are(make_pose, head_mesh) -> None:
    poses = [make_pose(CAMERA, (-150, 40, 800), about_y(20.0)), make_pose(CAMERA, (200, 0, 1500))]
    figure = build_heads_figure(poses, [3, 7], head_mesh.triangles, CAMERA)
    meshes = [trace for trace in figure.data if trace.type == "mesh3d"]
    assert [mesh.name for mesh in meshes] == ["head 3", "head 7"]
    for mesh, pose in zip(meshes, poses, strict=True):
        np.testing.assert_allclose(cam_points(mesh), pose.vertices_cam_m())
        np.testing.assert_array_equal(np.stack([mesh.i, mesh.j, mesh.k], 1), head_mesh.triangles)
        light = np.array([sum(bytes.fromhex(one[1:])) for one in mesh.vertexcolor])
        assert light.shape == (len(pose.vertices_head_m),)
        assert np.ptp(light) > 200, "lit, not flat"
        assert f"yaw {pose.ypr_deg.yaw_deg:.1f}" in mesh.hovertemplate


def test_up_is_up_and_the_face_looks_at_the_camera(make_pose, head_mesh) -> None:
    figure = build_heads_figure([make_pose(CAMERA, (0, 0, 800))], [1], head_mesh.triangles, CAMERA)
    (mesh,) = [trace for trace in figure.data if trace.type == "mesh3d"]
    chin, brow, nose = head_mesh.landmark_68_ids[[8, 19, 30]]
    assert mesh.z[brow] > mesh.z[chin] + 0.05
    assert mesh.y[nose] < np.median(mesh.y), "the nose is the part nearest to the camera"
    assert figure.layout.scene.camera.up.to_plotly_json() == {"x": 0, "y": 0, "z": 1}
    assert figure.layout.scene.camera.eye.y < 0, "seen from the camera's side"
    axes = {trace.line.color: cam_points(trace) for trace in figure.data if len(trace.x) == 3}
    up = axes[hex_colour(AXIS_COLOURS["up"])]
    np.testing.assert_allclose(up[1] - up[0], [0, -0.12, 0], atol=1e-9)


@pytest.mark.parametrize("camera", [CAMERA, SKEWED], ids=["centred", "fx!=fy"])
def test_the_frustum_goes_through_the_corners_of_the_picture(make_pose, head_mesh, camera) -> None:
    pose = make_pose(camera, (0, 0, 800))
    figure = build_heads_figure([pose], [1], head_mesh.triangles, camera)
    points = cam_points(figure.data[0])
    points = points[np.isfinite(points).all(1)]
    rim = points[points[:, 2] > 0]
    depth = rim[0, 2]
    assert 0.05 <= depth < pose.vertices_cam_m()[:, 2].min()
    np.testing.assert_allclose(rim[:, 2], depth)
    corners = {tuple(corner) for corner in camera.project(rim).round(3).tolist()}
    assert {(0.0, 0.0), (640.0, 0.0), (640.0, 480.0), (0.0, 480.0)} <= corners
    assert (points[points[:, 2] <= 0] == 0).all()


def test_the_look_and_the_users_view_are_kept(make_pose, head_mesh) -> None:
    figure = build_heads_figure([make_pose(CAMERA, (0, 0, 800))], [1], head_mesh.triangles, CAMERA)
    scene = figure.layout.scene
    spans = [np.ptp(scene[name].range) for name in ("xaxis", "yaxis", "zaxis")]
    ratios = [scene.aspectratio[name] for name in "xyz"]
    assert scene.aspectmode == "manual"
    assert np.divide(ratios, spans) == pytest.approx(np.full(3, ratios[0] / spans[0])), "one scale"
    for trace in figure.data:
        for values, name in zip(
            (trace.x, trace.y, trace.z), ("xaxis", "yaxis", "zaxis"), strict=True
        ):
            low, high = scene[name].range
            assert low < np.nanmin(values) and np.nanmax(values) < high, "all of it is in view"
    assert figure.layout.uirevision == "heads"
    assert figure.layout.paper_bgcolor == "rgba(0,0,0,0)"
    assert figure.layout.scene.xaxis.backgroundcolor == "rgba(0,0,0,0)"


@pytest.mark.parametrize("count", [0, 1])
def test_it_is_json_without_heads_and_with_an_absurd_one(make_pose, head_mesh, count: int) -> None:
    poses = [make_pose(CAMERA, (0, np.nan, 800))] * count
    figure = build_heads_figure(poses, [1] * count, head_mesh.triangles, CAMERA)
    data = json.loads(figure.to_json())
    assert {trace["type"] for trace in data["data"]} == {"scatter3d"}


def test_ids_must_match_the_heads(make_pose, head_mesh) -> None:
    with pytest.raises(ValueError, match="shorter"):
        build_heads_figure([make_pose(CAMERA, (0, 0, 800))], [], head_mesh.triangles, CAMERA)
