"""Heads and camera as one GLB file: right side up and in metres in Blender, three.js and viewers.

glTF has y up and a camera that looks along -z, so camera-frame points are written with y and z
turned. The nodes: `head_<id>` with the mesh in the `head` frame (y and z turned alike) under its
pose, and `camera` at the origin with the picture's field of view.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from models.estimator import HeadPose
from models.geometry.cameras import Camera
from models.geometry.rotations import GL_FROM_CV, quat_wxyz_from_matrix
from viewer.render.mesh_shapes import drawable, outward_triangles
from viewer.render.palette import track_colour

Array = np.ndarray

FLOAT, UNSIGNED_INT = 5126, 5125
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963


def glb_from_poses(
    poses: Sequence[HeadPose],
    ids: Sequence[int],
    triangles: Int[Array, "f 3"],
    camera: Camera,
) -> bytes:
    """The bytes of a .glb file.

    A glTF camera cannot have its principal point off the middle; K stands unchanged in the camera
    node's `extras`, and the field of view is that of fy (yfov) and the picture's aspect, in
    pixels of equal size. A head whose numbers are not finite is left out: glTF cannot hold it.
    """
    chunks = _Buffer()
    nodes: list[dict[str, object]] = [_camera_node(camera)]
    meshes, materials = [], []
    for pose, number in zip(poses, ids, strict=True):
        if not drawable(pose):
            continue
        vertices = pose.vertices_head_m @ GL_FROM_CV
        faces = outward_triangles(vertices, triangles)
        primitive = {
            "attributes": {
                "POSITION": chunks.add_vectors(vertices, bounds=True),
                "NORMAL": chunks.add_vectors(_vertex_normals(vertices, faces)),
            },
            "indices": chunks.add_indices(faces),
            "material": len(materials),
        }
        meshes.append({"name": f"head_{number}", "primitives": [primitive]})
        materials.append(_material(number))
        nodes.append(_head_node(pose, number, len(meshes) - 1))
    document: dict[str, object] = {
        "asset": {"version": "2.0", "generator": "TRG Studio"},
        "scene": 0,
        "scenes": [{"name": "heads", "nodes": list(range(len(nodes)))}],
        "nodes": nodes,
        "cameras": [_perspective(camera)],
    }
    if meshes:
        document |= {
            "meshes": meshes,
            "materials": materials,
            "accessors": chunks.accessors,
            "bufferViews": chunks.views,
            "buffers": [{"byteLength": len(chunks.data)}],
        }
    return _container(document, bytes(chunks.data))


class _Buffer:
    """The binary chunk as it grows, with its views and accessors."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, int]] = []
        self.accessors: list[dict[str, object]] = []

    def add_vectors(self, vectors: Float[Array, "v 3"], bounds: bool = False) -> int:
        values = vectors.astype("<f4")
        extra = {"min": values.min(0).tolist(), "max": values.max(0).tolist()} if bounds else {}
        return self._add(values.tobytes(), FLOAT, len(values), "VEC3", ARRAY_BUFFER, extra)

    def add_indices(self, triangles: Int[Array, "f 3"]) -> int:
        values = triangles.astype("<u4").ravel()
        return self._add(
            values.tobytes(), UNSIGNED_INT, len(values), "SCALAR", ELEMENT_ARRAY_BUFFER, {}
        )

    def _add(
        self, data: bytes, component: int, count: int, kind: str, target: int, extra: dict
    ) -> int:
        self.views.append(
            {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data), "target": target}
        )
        self.data += data + b"\0" * (-len(data) % 4)
        self.accessors.append(
            {
                "bufferView": len(self.views) - 1,
                "componentType": component,
                "count": count,
                "type": kind,
                **extra,
            }
        )
        return len(self.accessors) - 1


def _perspective(camera: Camera) -> dict[str, object]:
    width, height = camera.size_wh_px
    yfov = 2 * np.arctan(height / 2 / camera.fy_px)
    # fx != fy means pixels that are not square: the aspect is that of the rays
    aspect = (width / camera.fx_px) / (height / camera.fy_px)
    return {
        "name": "camera",
        "type": "perspective",
        "perspective": {
            "yfov": float(yfov),
            "aspectRatio": float(aspect),
            "znear": 0.01,
            "zfar": 100.0,
        },
    }


def _camera_node(camera: Camera) -> dict[str, object]:
    return {
        "name": "camera",
        "camera": 0,
        "extras": {
            "K_image_from_cam": camera.K_image_from_cam.tolist(),
            "size_wh_px": list(camera.size_wh_px),
            "source": camera.source,
        },
    }


def _head_node(pose: HeadPose, number: int, mesh: int) -> dict[str, object]:
    R_gl = GL_FROM_CV @ pose.R_cam_from_head @ GL_FROM_CV
    w, x, y, z = quat_wxyz_from_matrix(R_gl).tolist()
    yaw, pitch, roll = pose.ypr_deg
    return {
        "name": f"head_{number}",
        "mesh": mesh,
        "rotation": [x, y, z, w],
        "translation": (GL_FROM_CV @ pose.t_cam_from_head_mm / 1000.0).tolist(),
        "extras": {
            "yaw_deg": yaw,
            "pitch_deg": pitch,
            "roll_deg": roll,
            "uncertainty_deg": (
                pose.uncertainty_deg if np.isfinite(pose.uncertainty_deg) else None
            ),
            "model": pose.model,
        },
    }


def _material(number: int) -> dict[str, object]:
    linear = (np.array(track_colour(number)) / 255.0) ** 2.2
    return {
        "name": f"head_{number}",
        "doubleSided": True,
        "pbrMetallicRoughness": {
            "baseColorFactor": [*linear.tolist(), 1.0],
            "metallicFactor": 0.0,
            "roughnessFactor": 0.7,
        },
    }


def _vertex_normals(vertices: Float[Array, "v 3"], faces: Int[Array, "f 3"]) -> Array:
    a, b, c = vertices[faces].transpose(1, 0, 2)
    normals = np.zeros_like(vertices)
    np.add.at(normals, faces.ravel(), np.repeat(np.cross(b - a, c - a), 3, 0))
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 0, normals / np.where(length > 0, length, 1), [0.0, 0.0, 1.0])


def _container(document: dict[str, object], data: bytes) -> bytes:
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    parts = [struct.pack("<I4s", len(text), b"JSON"), text]
    if data:
        parts += [struct.pack("<I4s", len(data), b"BIN\0"), data]
    body = b"".join(parts)
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body
