"""Light on a mesh: colours of its vertices under two lamps that stand with the camera.

All renderers take their colours from here, so that a head looks the same in each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.sparse import csr_array

Array = np.ndarray

KEY_LIGHT_CAM = np.array([-0.58, -0.58, -0.57])
FILL_LIGHT_CAM = np.array([0.80, 0.05, -0.60])
"""From the surface to the lamps: a strong one over the camera's left shoulder, a weak one right."""

AMBIENT, KEY, FILL = 0.27, 0.72, 0.16
SHINE, SHININESS = 0.13, 14.0
CAVITY = 2.2
"""How much hollows (eye sockets, beside the nose) darken; see `hollowness`."""


@dataclass(frozen=True)
class Topology:
    """What follows from the triangles alone.

    edges: each once; owners: the one or two triangles on them (the same twice at a rim).
    vertex_from_triangle: sums what triangles have at their corners.
    vertex_from_vertex: sums what the neighbours have, whose number is `neighbours`.
    vertex_from_edge: sums over a vertex's edges.
    """

    triangles: Int[Array, "f 3"]
    edges: Int[Array, "e 2"]
    owners: Int[Array, "e 2"]
    vertex_from_triangle: csr_array
    vertex_from_vertex: csr_array
    neighbours: Float[Array, "v"]
    vertex_from_edge: csr_array


def topology_of(triangles: Int[Array, "f 3"], count: int) -> Topology:
    """Topology of a mesh of so many vertices; the last eight are kept."""
    return _topology(triangles.tobytes(), triangles.dtype.str, count)


@lru_cache(maxsize=8)
def _topology(data: bytes, dtype: str, count: int) -> Topology:
    triangles = np.frombuffer(data, dtype).reshape(-1, 3).astype(np.int64)
    pairs = np.sort(
        np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1
    )
    owner = np.tile(np.arange(len(triangles)), 3)
    edges, inverse = np.unique(pairs, axis=0, return_inverse=True)
    owners = np.zeros((len(edges), 2), np.int64)
    owners[inverse.ravel()[::-1], 0] = owner[::-1]
    owners[inverse.ravel(), 1] = owner
    ends = edges.T.ravel()
    vertex_from_vertex = _sum_matrix(ends, edges[:, ::-1].T.ravel(), (count, count))
    return Topology(
        triangles,
        edges,
        owners,
        _sum_matrix(triangles.T.ravel(), owner, (count, len(triangles))),
        vertex_from_vertex,
        np.asarray(vertex_from_vertex.sum(1)),
        _sum_matrix(ends, np.tile(np.arange(len(edges)), 2), (count, len(edges))),
    )


def _sum_matrix(rows: Int[Array, "n"], columns: Int[Array, "n"], shape: tuple) -> csr_array:
    return csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)


def unit(vectors: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
    """Vectors of length 1; of none stays none."""
    lengths = np.sqrt(np.einsum("nk,nk->n", vectors, vectors))
    return vectors / np.maximum(lengths, 1e-12)[:, None]


def triangle_normals(
    vertices_m: Float[Array, "v 3"], triangles: Int[Array, "f 3"]
) -> tuple[Float[Array, "f 3"], Float[Array, "f 3"]]:
    """Unit normals as the triangles are wound, and the triangles' centres."""
    a, b, c = (vertices_m[triangles[:, k]] for k in range(3))
    x, y = b - a, c - a
    normals = np.empty_like(x)
    for k, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        normals[:, k] = x[:, i] * y[:, j] - x[:, j] * y[:, i]
    return unit(normals), (a + b + c) / 3


def point_outward(normals: Float[Array, "f 3"], centres: Float[Array, "f 3"]) -> bool:
    """A head is convex as a whole: outward normals point away from the middle of its triangles."""
    return float(np.einsum("fk,fk->", centres - centres.mean(0), normals)) >= 0


def vertex_normals(normals: Float[Array, "f 3"], topology: Topology) -> Float[Array, "v 3"]:
    """Unit normals at the vertices, from those of the triangles around them."""
    return unit(topology.vertex_from_triangle @ normals)


def hollowness(
    vertices_m: Float[Array, "v 3"], normals: Float[Array, "v 3"], topology: Topology
) -> Float[Array, "v"]:
    """How far a vertex lies behind its neighbours, in edge lengths: > 0 hollow, < 0 bulge."""
    offsets = topology.vertex_from_vertex @ vertices_m
    offsets -= topology.neighbours[:, None] * vertices_m
    along = vertices_m[topology.edges[:, 1]] - vertices_m[topology.edges[:, 0]]
    lengths = topology.vertex_from_edge @ np.sqrt(np.einsum("ek,ek->e", along, along))
    return np.einsum("vk,vk->v", offsets, normals) / np.maximum(lengths, 1e-12)


def lit(
    normals: Float[Array, "n 3"],
    views: Float[Array, "n 3"],
    hollow: Float[Array, "n"],
    tone: Float[Array, "*n 3"],
) -> UInt8[Array, "n 3"]:
    """Lambert with two lamps, a soft highlight, darker hollows and rims. tone: 0 to 255."""
    level, shine = light_and_shine(normals, views, hollow)
    return np.clip(level[:, None] * tone + shine[:, None], 0, 255).astype(np.uint8)


def light_and_shine(
    normals: Float[Array, "n 3"], views: Float[Array, "n 3"], hollow: Float[Array, "n"]
) -> tuple[Float[Array, "n"], Float[Array, "n"]]:
    """What a colour is multiplied with, and the highlight that is added (of 255)."""
    lamps = np.array([KEY_LIGHT_CAM, FILL_LIGHT_CAM], normals.dtype)
    key, fill = unit(lamps)
    level = AMBIENT + KEY * np.clip(normals @ key, 0, 1) + FILL * np.clip(normals @ fill, 0, 1)
    level *= 1.0 - np.clip(CAVITY * hollow, -0.12, 0.5)
    level *= 0.72 + 0.28 * np.clip(np.einsum("nk,nk->n", normals, views), 0, 1)
    half = np.clip(np.einsum("nk,nk->n", normals, unit(views + key)), 0, 1)
    return level, 255.0 * SHINE * half ** normals.dtype.type(SHININESS)
