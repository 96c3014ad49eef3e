"""Meshes as OBJ text and as binary PLY. Metres; the axes are those of the vertices given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray


@dataclass(frozen=True)
class NamedMesh:
    """One object of a file; the name without blanks."""

    name: str
    vertices_m: Float[Array, "v 3"]
    triangles: Int[Array, "f 3"]


def obj_bytes(meshes: Sequence[NamedMesh], remark: str = "") -> bytes:
    """A Wavefront OBJ file, one `o` for each mesh. remark: its first line."""
    parts, first = [f"# {remark}"] if remark else [], 1
    for mesh in meshes:
        parts.append(f"o {mesh.name}")
        parts += [f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in mesh.vertices_m.tolist()]
        parts += [f"f {a} {b} {c}" for a, b, c in (mesh.triangles + first).tolist()]
        first += len(mesh.vertices_m)
    return ("\n".join(parts) + "\n").encode("ascii")


def ply_bytes(meshes: Sequence[NamedMesh], remark: str = "") -> bytes:
    """A binary PLY file; it has no objects, so the meshes are one. remark: its comment."""
    counts = np.cumsum([0, *(len(mesh.vertices_m) for mesh in meshes)])
    vertices = np.concatenate([mesh.vertices_m for mesh in meshes]).astype("<f4")
    corners = np.concatenate(
        [mesh.triangles + first for mesh, first in zip(meshes, counts[:-1], strict=True)]
    )
    faces = np.zeros(len(corners), [("count", "u1"), ("ids", "<i4", 3)])
    faces["count"], faces["ids"] = 3, corners
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        *([f"comment {remark}"] if remark else []),
        f"element vertex {len(vertices)}",
        *(f"property float {axis}" for axis in "xyz"),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    return ("\n".join(lines) + "\n").encode("ascii") + vertices.tobytes() + faces.tobytes()
