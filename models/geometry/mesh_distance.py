"""From points to a mesh: the nearest point of its surface, exactly.

Points are taken in small groups of neighbours. A triangle whose bounding sphere is too far for any
point of the group is not looked at again, nor one that is too far for the single point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray

_GROUP = 48
_MAX_PAIRS = 500_000
"""Pairs of points and triangles compared at once: at most about 300 MB."""


@dataclass(frozen=True)
class NearestPoints:
    """For n points: how far the surface is, where, and on which triangle. In the points' unit."""

    distance: Float[Array, "n"]
    point: Float[Array, "n 3"]
    triangle_id: Int[Array, "n"]


@dataclass(frozen=True)
class _Surface:
    """Triangles and their bounding spheres. slack: more than a distance's rounding error."""

    corners: Float[Array, "f 3 3"]
    centres: Float[Array, "f 3"]
    radii: Float[Array, "f"]
    slack: float


def nearest_on_surface(
    points: Float[Array, "n 3"], vertices: Float[Array, "v 3"], triangles: Int[Array, "f 3"]
) -> NearestPoints:
    """The nearest point of the surface to each point; of equally near triangles the first.

    Raises: ValueError for a mesh without triangles, and for numbers that are not finite.
    """
    corners = vertices[triangles].astype(np.float64)
    if not len(corners) or not np.isfinite(corners).all() or not np.isfinite(points).all():
        raise ValueError("Distances need finite points and a mesh with at least one triangle.")
    middle = corners.reshape(-1, 3).mean(0)
    points, corners = points.astype(np.float64) - middle, corners - middle
    centres = corners.mean(1)
    radii = np.linalg.norm(corners - centres[:, None], axis=2).max(1)
    size = max(float(np.abs(points).max(initial=0.0)), float(np.abs(corners).max()))
    surface = _Surface(corners, centres, radii, 1e-7 * size)
    nearest, ids = np.zeros_like(points), np.zeros(len(points), np.int64)
    for group in _groups(points, np.arange(len(points))):
        near = _near_triangles(points[group], surface)
        step = max(1, _MAX_PAIRS // len(near))
        for start in range(0, len(group), step):
            part = group[start : start + step]
            nearest[part], ids[part] = _nearest(points[part], surface, near)
    return NearestPoints(np.linalg.norm(points - nearest, axis=1), nearest + middle, ids)


def _groups(points: Float[Array, "n 3"], ids: Int[Array, "k"]) -> Iterator[Int[Array, "_m"]]:
    """The points in groups that lie together: halved along the longest side until small."""
    if len(ids) <= _GROUP:
        if len(ids):
            yield ids
        return
    axis = int(np.ptp(points[ids], axis=0).argmax())
    ids, half = ids[np.argsort(points[ids, axis], kind="stable")], len(ids) // 2
    yield from _groups(points, ids[:half])
    yield from _groups(points, ids[half:])


def _near_triangles(points: Float[Array, "n 3"], surface: _Surface) -> Int[Array, "_m"]:
    """Those that may hold a point nearest to one of the group: no other is nearer to any of them.

    With the group's radius, one triangle's middle is within `bound` of every point.
    """
    centre = points.mean(0)
    radius = float(np.linalg.norm(points - centre, axis=1).max())
    distances = np.linalg.norm(surface.centres - centre, axis=1)
    bound = distances.min() + radius + surface.slack
    return np.flatnonzero(distances - radius - surface.radii <= bound)


def _nearest(
    points: Float[Array, "n 3"], surface: _Surface, near: Int[Array, "m"]
) -> tuple[Float[Array, "n 3"], Int[Array, "n"]]:
    """Nearest points on the triangles `near`, and the triangles."""
    centres = surface.centres[near]
    squares = (points**2).sum(1)[:, None] + (centres**2).sum(1) - 2.0 * points @ centres.T
    distances = np.sqrt(np.maximum(squares, 0.0))
    bounds = distances.min(1) + surface.slack
    rows, columns = np.nonzero(distances - surface.radii[near] <= bounds[:, None])
    places = nearest_on_triangles(points[rows], surface.corners[near[columns]])
    gaps = np.linalg.norm(points[rows] - places, axis=1)
    order = np.lexsort((columns, gaps, rows))
    first = order[np.searchsorted(rows[order], np.arange(len(points)))]
    return places[first], near[columns[first]]


def nearest_on_triangles(
    points: Float[Array, "n 3"], corners: Float[Array, "n 3 3"]
) -> Float[Array, "n 3"]:
    """Nearest point of the n-th triangle to the n-th point; a triangle may be a line or a point.

    It is the foot on the plane where that lies inside, and else on one of the edges.
    """
    edges = np.roll(corners, -1, 1) - corners
    from_corners = points[:, None] - corners
    lengths = (edges**2).sum(2)
    along = (edges * from_corners).sum(2)
    shares = np.clip(np.divide(along, lengths, out=np.zeros_like(along), where=lengths > 0), 0, 1)
    on_edges = corners + shares[..., None] * edges
    gaps = ((points[:, None] - on_edges) ** 2).sum(2)
    nearest = on_edges[np.arange(len(points)), gaps.argmin(1)]
    normals = np.cross(edges[:, 0], -edges[:, 2])
    squares = (normals**2).sum(1)
    sides = (np.cross(edges, from_corners) * normals[:, None]).sum(2)
    inside = (sides >= 0).all(1) & (squares > (1e-12 * lengths.max(1)) ** 2)
    heights = (from_corners[:, 0] * normals).sum(1)[inside] / squares[inside]
    nearest[inside] = points[inside] - heights[:, None] * normals[inside]
    return nearest
