"""The parts of a GLB file: binary chunk with its views and accessors, camera, container."""

from __future__ import annotations

import json
import struct

import numpy as np
from jaxtyping import Float, Int

from models.geometry.cameras import Camera
from models.geometry.rotations import quat_wxyz_from_matrix
from viewer.render.palette import RGB

Array = np.ndarray

FLOAT, UNSIGNED_INT = 5126, 5125
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963


class GlbBuffer:
    """The binary chunk as it grows, with its views and accessors."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, int]] = []
        self.accessors: list[dict[str, object]] = []

    def add_vectors(self, vectors: Float[Array, "v 3"], bounds: bool = False) -> int:
        """The number of the new accessor. bounds: for positions, where glTF wants them."""
        values = vectors.astype("<f4")
        extra = {"min": values.min(0).tolist(), "max": values.max(0).tolist()} if bounds else {}
        return self._add(values.tobytes(), FLOAT, len(values), "VEC3", ARRAY_BUFFER, extra)

    def add_indices(self, triangles: Int[Array, "f 3"]) -> int:
        """The number of the new accessor."""
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


def glb_bytes(
    scene: str,
    nodes: list[dict[str, object]],
    meshes: list[dict[str, object]],
    materials: list[dict[str, object]],
    chunks: GlbBuffer,
    camera: Camera | None = None,
) -> bytes:
    """The file: all nodes are roots of its one scene."""
    document: dict[str, object] = {
        "asset": {"version": "2.0", "generator": "TRG Studio"},
        "scene": 0,
        "scenes": [{"name": scene, "nodes": list(range(len(nodes)))}],
        "nodes": nodes,
    }
    if camera is not None:
        document["cameras"] = [_perspective(camera)]
    if meshes:
        document |= {
            "meshes": meshes,
            "materials": materials,
            "accessors": chunks.accessors,
            "bufferViews": chunks.views,
            "buffers": [{"byteLength": len(chunks.data)}],
        }
    return _container(document, bytes(chunks.data))


def placed(R: Float[Array, "3 3"], t_m: Float[Array, "3"]) -> dict[str, object]:
    """A node's rotation and translation, in glTF's axes."""
    w, x, y, z = quat_wxyz_from_matrix(R).tolist()
    return {"rotation": [x, y, z, w], "translation": t_m.tolist()}


def camera_node(camera: Camera) -> dict[str, object]:
    """The node of the file's only camera; K as it is stands in `extras`."""
    return {
        "name": "camera",
        "camera": 0,
        "extras": {
            "K_image_from_cam": camera.K_image_from_cam.tolist(),
            "size_wh_px": list(camera.size_wh_px),
            "source": camera.source,
        },
    }


def plain_material(name: str, colour: RGB) -> dict[str, object]:
    """Matt paint. colour: sRGB."""
    linear = (np.array(colour) / 255.0) ** 2.2
    return {
        "name": name,
        "doubleSided": True,
        "pbrMetallicRoughness": {
            "baseColorFactor": [*linear.tolist(), 1.0],
            "metallicFactor": 0.0,
            "roughnessFactor": 0.7,
        },
    }


def vertex_normals(vertices: Float[Array, "v 3"], faces: Int[Array, "f 3"]) -> Float[Array, "v 3"]:
    """Unit normals, weighted by the areas of the triangles around a vertex."""
    a, b, c = vertices[faces].transpose(1, 0, 2)
    normals = np.zeros_like(vertices)
    np.add.at(normals, faces.ravel(), np.repeat(np.cross(b - a, c - a), 3, 0))
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 0, normals / np.where(length > 0, length, 1), [0.0, 0.0, 1.0])


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


def _container(document: dict[str, object], data: bytes) -> bytes:
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    parts = [struct.pack("<I4s", len(text), b"JSON"), text]
    if data:
        parts += [struct.pack("<I4s", len(data), b"BIN\0"), data]
    body = b"".join(parts)
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body
