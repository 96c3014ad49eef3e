"""Which triangle each pixel sees, and where on it: a z-buffer in plain numpy.

No colours here: the caller interpolates whatever it likes over the pixels (`Raster.interpolate`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from models.geometry.cameras import Camera

Array = np.ndarray

NEAR_M = 0.01
"""Triangles with a corner nearer than this to the camera's plane are left out, not clipped."""

MAX_CANDIDATES = 4_000_000
"""Pixels tested against triangles at once; bounds the memory of close-ups (about 300 MB)."""


@dataclass(frozen=True)
class Raster:
    """The n pixels that see a triangle.

    rows, columns: of the pixels. triangle_ids: the nearest triangle at each pixel's centre.
    weights: perspective-correct barycentric weights of its three corners.
    depth_m: z of the surface there.
    """

    size_wh_px: tuple[int, int]
    rows: Int[Array, "n"]
    columns: Int[Array, "n"]
    triangle_ids: Int[Array, "n"]
    weights: Float[Array, "n 3"]
    depth_m: Float[Array, "n"]

    def interpolate(
        self, triangles: Int[Array, "f 3"], values: Float[Array, "v c"]
    ) -> Float[Array, "n c"]:
        """Values given at the vertices, at each pixel."""
        corners = values[triangles[self.triangle_ids]]
        return np.einsum("nk,nkc->nc", self.weights, corners)


def rasterize(
    vertices_cam_m: Float[Array, "v 3"],
    triangles: Int[Array, "f 3"],
    camera: Camera,
    *,
    cull_backfaces: bool = False,
) -> Raster:
    """The visible surface of a mesh.

    cull_backfaces: leave out triangles that run clockwise on screen, which are those seen from
        behind if the mesh is counter-clockwise from outside; half the work for a closed surface.
    """
    width, height = camera.size_wh_px
    points_px = camera.project(vertices_cam_m)
    shown = np.flatnonzero((vertices_cam_m[triangles, 2] > NEAR_M).all(1))
    if cull_backfaces:
        a, b, c = points_px[triangles[shown]].transpose(1, 2, 0)
        # counter-clockwise from outside is counter-clockwise on screen; its y points down
        shown = shown[(b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) < 0]
    corners_px = points_px[triangles[shown]]
    low = np.maximum(np.ceil(corners_px.min(1) - 0.5), 0).astype(np.int64)
    high = np.minimum(np.floor(corners_px.max(1) - 0.5), [width - 1, height - 1]).astype(np.int64)
    spans = np.maximum(high - low + 1, 0)
    areas = spans.prod(1)
    batches = np.searchsorted(np.cumsum(areas), np.arange(0, areas.sum(), MAX_CANDIDATES)[1:])
    found = [
        _covered(shown[part], low[part], spans[part], corners_px[part], vertices_cam_m, triangles)
        for part in np.split(np.arange(len(shown)), batches)
    ]
    return _nearest(found, (width, height))


def _covered(
    ids: Int[Array, "m"],
    low: Int[Array, "m 2"],
    spans: Int[Array, "m 2"],
    corners_px: Float[Array, "m 3 2"],
    vertices_cam_m: Float[Array, "v 3"],
    triangles: Int[Array, "f 3"],
) -> tuple[Array, ...]:
    """Pixels whose centre lies in a triangle: (column, row), triangle id, weights / z, 1 / z."""
    areas = spans.prod(1)
    owner = np.repeat(np.arange(len(ids)), areas)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(areas) - areas, areas)
    down, right = np.divmod(within, np.repeat(spans[:, 0], areas))
    # each weight is linear in the pixel: its value at the first pixel's centre, and its two slopes
    start, slope_x, slope_y = _edge_functions(corners_px, low + 0.5)
    weights = np.repeat(start, areas, 0)
    weights += np.repeat(slope_x, areas, 0) * right[:, None]
    weights += np.repeat(slope_y, areas, 0) * down[:, None]
    inside = np.flatnonzero((weights[:, 0] >= 0) & (weights[:, 1] >= 0) & (weights[:, 2] >= 0))
    owner = owner[inside]
    pixel = low[owner] + np.stack([right[inside], down[inside]], -1)
    weights_over_z = weights[inside] / vertices_cam_m[triangles[ids[owner]], 2]
    return pixel, ids[owner], weights_over_z, weights_over_z.sum(1)


def _edge_functions(
    corners_px: Float[Array, "m 3 2"], origin_px: Float[Array, "m 2"]
) -> tuple[Float[Array, "m 3"], Float[Array, "m 3"], Float[Array, "m 3"]]:
    """Barycentric weights at a point of the picture, and their slopes along x and y.

    A triangle seen edge-on has weights of -1 everywhere: it covers nothing.
    """
    first, second = np.roll(corners_px, -1, 1), np.roll(corners_px, -2, 1)
    edge = second - first
    to_origin = origin_px[:, None] - first
    start = edge[..., 0] * to_origin[..., 1] - edge[..., 1] * to_origin[..., 0]
    doubled_area = start.sum(1, keepdims=True)
    flat = np.abs(doubled_area) < 1e-9
    scale = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, doubled_area))
    return np.where(flat, -1.0, start * scale), -edge[..., 1] * scale, edge[..., 0] * scale


def _nearest(found: list[tuple[Array, ...]], size_wh_px: tuple[int, int]) -> Raster:
    """Of everything at a pixel, what is nearest to the camera."""
    pixel, ids, weights_over_z, inverse_z = (
        np.concatenate(parts) for parts in zip(*found, strict=True)
    )
    width, height = size_wh_px
    # written in the order far to near, so that the nearest is what stays
    far_to_near = np.argsort(inverse_z, kind="stable")
    nearest = np.full(height * width, -1)
    nearest[(pixel[:, 1] * width + pixel[:, 0])[far_to_near]] = far_to_near
    first = nearest[nearest >= 0]
    depth_m = 1.0 / inverse_z[first]
    return Raster(
        size_wh_px=size_wh_px,
        rows=pixel[first, 1],
        columns=pixel[first, 0],
        triangle_ids=ids[first],
        weights=weights_over_z[first] * depth_m[:, None],
        depth_m=depth_m,
    )
