"""The GLB file, taken apart by hand and loaded by trimesh."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest
import trimesh

from models.geometry.cameras import camera_from_horizontal_fov, camera_from_intrinsics
from models.geometry.rotations import about_x, about_y, about_z, matrix_from_quat_wxyz
from viewer.render.mesh_glb import glb_from_poses

SIZE = (640, 480)
CAMERA = camera_from_horizontal_fov(SIZE)
OBLONG = camera_from_intrinsics(SIZE, 700.0, 560.0, 320.0, 240.0)
R_TURNED = about_y(35.0) @ about_x(-15.0) @ about_z(10.0)


def parts(glb: bytes) -> tuple[dict, bytes]:
    """The JSON and the BIN chunk, with every rule of the container checked."""
    magic, version, length = struct.unpack_from("<4sII", glb)
    assert (magic, version, length) == (b"glTF", 2, len(glb))
    size, kind = struct.unpack_from("<I4s", glb, 12)
    assert kind == b"JSON"
    assert size % 4 == 0
    document = json.loads(glb[20 : 20 + size], parse_constant=lambda name: pytest.fail(name))
    rest = glb[20 + size :]
    if not rest:
        return document, b""
    bin_size, kind = struct.unpack_from("<I4s", rest)
    assert kind == b"BIN\0"
    assert bin_size == len(rest) - 8
    assert bin_size % 4 == 0
    return document, rest[8:]


def accessor(document: dict, data: bytes, number: int) -> np.ndarray:
    one = document["accessors"][number]
    view = document["bufferViews"][one["bufferView"]]
    assert view["byteOffset"] % 4 == 0
    assert view["byteOffset"] + view["byteLength"] <= document["buffers"][0]["byteLength"]
    dtype, width = {5126: "<f4", 5125: "<u4"}[one["componentType"]], {"VEC3": 3, "SCALAR": 1}
    values = np.frombuffer(
        data, dtype, one["count"] * width[one["type"]], view["byteOffset"]
    ).reshape(one["count"], -1)
    for name, reduced in (("min", values.min(0)), ("max", values.max(0))):
        if name in one:
            np.testing.assert_array_equal(np.float32(one[name]), reduced)
    return values


def node_matrix(node: dict) -> np.ndarray:
    x, y, z, w = node.get("rotation", [0, 0, 0, 1])
    T = np.eye(4)
    T[:3, :3] = matrix_from_quat_wxyz(np.array([w, x, y, z], np.float64))
    T[:3, 3] = node.get("translation", [0, 0, 0])
    return T


def gl_perspective(yfov: float, aspect: float, near: float, far: float) -> np.ndarray:
    """The projection matrix of the glTF 2.0 specification, section 3.10.3."""
    f = 1 / np.tan(yfov / 2)
    return np.array(
        [
            [f / aspect, 0, 0, 0],
            [0, f, 0, 0],
            [0, 0, (far + near) / (near - far), 2 * far * near / (near - far)],
            [0, 0, -1, 0],
        ]
    )


@pytest.mark.parametrize("camera", [CAMERA, OBLONG], ids=["square pixels", "fx!=fy"])
def test_a_viewer_of_the_file_sees_the_head_on_the_same_pixels(
    make_pose, head_mesh, camera
) -> None:
    poses = [make_pose(camera, (60, -40, 700), R_TURNED), make_pose(camera, (-150, 30, 1100))]
    document, data = parts(glb_from_poses(poses, [1, 2], head_mesh.triangles, camera))
    nodes = {node["name"]: node for node in document["nodes"]}
    lens = document["cameras"][nodes["camera"]["camera"]]["perspective"]
    P = gl_perspective(lens["yfov"], lens["aspectRatio"], lens["znear"], lens["zfar"])
    view = np.linalg.inv(node_matrix(nodes["camera"]))
    for pose, name in zip(poses, ("head_1", "head_2"), strict=True):
        mesh = document["meshes"][nodes[name]["mesh"]]
        local = accessor(document, data, mesh["primitives"][0]["attributes"]["POSITION"])
        world = np.c_[local, np.ones(len(local))] @ node_matrix(nodes[name]).T
        clip = world @ view.T @ P.T
        ndc = clip[:, :3] / clip[:, 3:]
        assert (np.abs(ndc[:, 2]) < 1).all()
        pixels = (ndc[:, :2] * [1, -1] + 1) / 2 * SIZE
        ours = camera.project(pose.vertices_cam_m())
        assert np.abs(pixels - ours).max() < 0.5


def test_the_camera_node_keeps_the_true_k(make_pose, head_mesh) -> None:
    camera = camera_from_intrinsics(SIZE, 700.0, 560.0, 290.0, 255.0)
    document, _ = parts(
        glb_from_poses([make_pose(camera, (0, 0, 700))], [1], head_mesh.triangles, camera)
    )
    (node,) = [node for node in document["nodes"] if "camera" in node]
    np.testing.assert_allclose(node["extras"]["K_image_from_cam"], camera.K_image_from_cam)
    lens = document["cameras"][0]["perspective"]
    assert np.degrees(lens["yfov"]) == pytest.approx(2 * np.degrees(np.arctan(240 / 560)))
    assert lens["aspectRatio"] == pytest.approx((640 / 700) / (480 / 560))


def test_trimesh_loads_the_heads_in_metres_with_outward_triangles(make_pose, head_mesh) -> None:
    poses = [make_pose(CAMERA, (60, -40, 700), R_TURNED), make_pose(CAMERA, (-150, 30, 1100))]
    glb = glb_from_poses(poses, [4, 9], head_mesh.triangles, CAMERA)
    scene = trimesh.load(io.BytesIO(glb), file_type="glb", process=False)
    assert set(scene.geometry) == {"head_4", "head_9"}
    assert {"head_4", "head_9", "camera"} <= set(scene.graph.nodes)
    for pose, name in zip(poses, ("head_4", "head_9"), strict=True):
        mesh = scene.geometry[name]
        assert mesh.vertices.shape == pose.vertices_head_m.shape
        assert mesh.faces.shape == head_mesh.triangles.shape
        placed = trimesh.transform_points(mesh.vertices, scene.graph[name][0])
        np.testing.assert_allclose(placed, pose.vertices_cam_m() * [1, -1, -1], atol=1e-5)
        a, b, c = placed[mesh.faces].transpose(1, 0, 2)
        outward = (np.cross(b - a, c - a) * ((a + b + c) / 3 - placed.mean(0))).sum(1)
        assert outward.mean() > 0
        assert (outward > 0).mean() > 0.75


def test_normals_are_unit_and_point_out_of_the_face(make_pose, head_mesh) -> None:
    document, data = parts(
        glb_from_poses([make_pose(CAMERA, (0, 0, 700))], [1], head_mesh.triangles, CAMERA)
    )
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    normals = accessor(document, data, attributes["NORMAL"])
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    assert normals[:, 2].mean() > 0.3, "glTF's +z is towards the camera of a frontal head"
    assert normals[head_mesh.landmark_68_ids[30], 2] > 0.5


def test_the_material_has_the_tracks_colour_and_the_numbers_are_there(make_pose, head_mesh) -> None:
    pose = make_pose(CAMERA, (0, 0, 700), R_TURNED, uncertainty_deg=float("nan"))
    document, _ = parts(glb_from_poses([pose], [2], head_mesh.triangles, CAMERA))
    (node,) = [node for node in document["nodes"] if "mesh" in node]
    assert node["extras"]["yaw_deg"] == pytest.approx(pose.ypr_deg.yaw_deg)
    assert node["extras"]["uncertainty_deg"] is None
    red, green, blue, alpha = document["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"]
    assert (blue > green > red, alpha) == (True, 1.0)


@pytest.mark.parametrize("t_mm", [None, (0, np.nan, 700)])
def test_without_heads_the_file_is_still_valid(make_pose, head_mesh, t_mm) -> None:
    poses = [] if t_mm is None else [make_pose(CAMERA, t_mm)]
    glb = glb_from_poses(poses, [1] * len(poses), head_mesh.triangles, CAMERA)
    document, data = parts(glb)
    assert [node["name"] for node in document["nodes"]] == ["camera"]
    assert data == b""
    assert not {"meshes", "buffers", "accessors", "bufferViews", "materials"} & set(document)
    trimesh.load(io.BytesIO(glb), file_type="glb")
