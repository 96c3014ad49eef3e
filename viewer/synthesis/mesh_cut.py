"""Cut a mesh along a smooth line instead of along its triangles' edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray


@dataclass(frozen=True)
class MeshCut:
    """What is left of a mesh of n vertices: v vertices and f triangles.

    A vertex lies `share` of the way between its two `ends`, vertices of the whole mesh; one that
    was there has itself for both and comes first. parents: the triangle that each was part of.
    corner_weights: where its corners lie in that one (barycentric).
    """

    ends: Int[Array, "v 2"]
    share: Float[Array, "v"]
    triangles: Int[Array, "f 3"]
    parents: Int[Array, "f"]
    corner_weights: Float[Array, "f 3 3"]

    def of(self, values: Float[Array, "n *d"]) -> Float[Array, "v *d"]:
        """Facts about the vertices of the whole mesh, for those that are left."""
        share = self.share.astype(values.dtype).reshape(-1, *(1,) * (values.ndim - 1))
        first, second = values[self.ends.T]
        return first + share * (second - first)


_Vertex = tuple[bool, int, int, float]
"""Whether the cut made it, its ends and its share: in this order they sort as they shall stand."""


def cut_mesh(triangles: Int[Array, "n 3"], inside: Float[Array, "m"]) -> MeshCut:
    """The part of a mesh where `inside`, given at its vertices and linear between them, is > 0."""
    corners: list[_Vertex] = []
    weights: list[Array] = []
    parents: list[int] = []
    for parent, triangle in enumerate(triangles.tolist()):
        polygon = _clipped(triangle, inside)
        for k in range(1, len(polygon) - 1):
            parents.append(parent)
            for vertex, weight in (polygon[0], polygon[k], polygon[k + 1]):
                corners.append(vertex)
                weights.append(weight)
    vertices = sorted(set(corners))
    number = {vertex: n for n, vertex in enumerate(vertices)}
    return MeshCut(
        ends=np.array([vertex[1:3] for vertex in vertices], np.int64).reshape(-1, 2),
        share=np.array([vertex[3] for vertex in vertices], np.float64),
        triangles=np.array([number[corner] for corner in corners], np.int64).reshape(-1, 3),
        parents=np.array(parents, np.int64),
        corner_weights=np.array(weights, np.float64).reshape(-1, 3, 3),
    )


def _clipped(triangle: list[int], inside: Float[Array, "m"]) -> list[tuple[_Vertex, Array]]:
    """The corners of what is left of one triangle, and where they lie in it."""
    kept: list[tuple[_Vertex, Array]] = []
    for k, a in enumerate(triangle):
        b = triangle[(k + 1) % 3]
        at_a, at_b = np.eye(3)[k], np.eye(3)[(k + 1) % 3]
        if inside[a] > 0:
            kept.append(((False, a, a, 0.0), at_a))
        if (inside[a] > 0) != (inside[b] > 0):
            if a > b:  # the same numbers from both sides of an edge, so that it stays one vertex
                a, b, at_a, at_b = b, a, at_b, at_a
            share = float(inside[a] / (inside[a] - inside[b]))
            kept.append(((True, a, b, share), at_a + share * (at_b - at_a)))
    return kept
