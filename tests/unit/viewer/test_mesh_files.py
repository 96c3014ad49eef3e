"""OBJ, PLY and GLB files with morph targets, read back by trimesh and by hand."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest
import trimesh

from models.geometry.cameras import camera_from_horizontal_fov
from models.geometry.rotations import about_x, about_y
from viewer.render.mesh_files import NamedMesh, obj_bytes, ply_bytes
from viewer.render.mesh_glb import MorphMesh, glb_from_morph_meshes

TRIANGLES = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
CORNERS = np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.2, 0], [0, 0, 0.15]], np.float64)


def morph(name: str, shift_m: float) -> MorphMesh:
    rng = np.random.default_rng(1)
    return MorphMesh(
        name=name,
        vertices_m=CORNERS + shift_m,
        triangles=TRIANGLES,
        target_names=("jawOpen", "tongueOut"),
        target_offsets_m=0.01 * rng.normal(size=(2, 4, 3)),
        weights=np.array([0.75, 0.0]),
        R_gl_from_mesh=about_y(30.0) @ about_x(10.0),
        t_gl_from_mesh_m=np.array([0.1, -0.2, -0.7]),
        colour=(255, 176, 0),
    )


def opened(glb: bytes) -> tuple[dict, bytes]:
    size = struct.unpack_from("<I", glb, 12)[0]
    return json.loads(glb[20 : 20 + size]), glb[28 + size :]


def vectors(document: dict, data: bytes, number: int) -> np.ndarray:
    one = document["accessors"][number]
    view = document["bufferViews"][one["bufferView"]]
    assert one["type"] == "VEC3" and one["componentType"] == 5126 and len(one["min"]) == 3
    flat = np.frombuffer(data, "<f4", 3 * one["count"], view["byteOffset"])
    return flat.reshape(-1, 3)


def test_expressions_are_named_morph_targets() -> None:
    heads = [morph("head_1", 0.0), morph("head_2", 0.3)]
    document, data = opened(glb_from_morph_meshes(heads, camera_from_horizontal_fov((640, 480))))
    assert [node["name"] for node in document["nodes"]] == ["camera", "head_1", "head_2"]
    for head, mesh in zip(heads, document["meshes"], strict=True):
        (primitive,) = mesh["primitives"]
        assert mesh["extras"]["targetNames"] == ["jawOpen", "tongueOut"]
        assert mesh["weights"] == [0.75, 0.0]
        base = vectors(document, data, primitive["attributes"]["POSITION"])
        offsets = [vectors(document, data, one["POSITION"]) for one in primitive["targets"]]
        np.testing.assert_allclose(base, head.vertices_m, atol=1e-7)
        np.testing.assert_allclose(offsets, head.target_offsets_m, atol=1e-7)
        shown = base + 0.75 * offsets[0]
        placed = shown @ head.R_gl_from_mesh.T + head.t_gl_from_mesh_m
        np.testing.assert_allclose(placed, head.shown_vertices_m(), atol=1e-6)


def test_trimesh_reads_the_neutral_head_in_its_place() -> None:
    head = morph("head_1", 0.0)
    scene = trimesh.load(io.BytesIO(glb_from_morph_meshes([head])), file_type="glb")
    T, name = scene.graph["head_1"]
    read = scene.geometry[name]
    np.testing.assert_allclose(read.vertices, head.vertices_m, atol=1e-6)
    np.testing.assert_array_equal(read.faces, TRIANGLES)
    np.testing.assert_allclose(T[:3, :3], head.R_gl_from_mesh, atol=1e-6)
    np.testing.assert_allclose(T[:3, 3], head.t_gl_from_mesh_m, atol=1e-6)


@pytest.mark.parametrize(("kind", "write"), [("obj", obj_bytes), ("ply", ply_bytes)])
def test_two_meshes_come_back(kind: str, write) -> None:
    meshes = [NamedMesh("head_1", CORNERS, TRIANGLES), NamedMesh("head_2", CORNERS + 1, TRIANGLES)]
    data = write(meshes, "metres")
    options = {"process": False} | ({"maintain_order": True} if kind == "obj" else {})
    read = trimesh.load(io.BytesIO(data), file_type=kind, force="mesh", **options)
    np.testing.assert_allclose(read.vertices, np.concatenate([CORNERS, CORNERS + 1]), atol=1e-6)
    np.testing.assert_array_equal(read.faces, np.concatenate([TRIANGLES, TRIANGLES + 4]))
    assert b"metres" in data.splitlines()[0 if kind == "obj" else 2]
