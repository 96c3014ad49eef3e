"""The edges of a mesh that are seen, as anti-aliased lines: the same in every renderer."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int

from models.geometry.cameras import Camera
from viewer.render.render_scene import Layer, RenderMesh
from viewer.render.shading import topology_of
from viewer.render.surfaces import NEAR_M, camera_of

Array = np.ndarray

SHIFT = 4
"""Fractional bits of OpenCV's drawing coordinates."""

HIDDEN_M = 0.004
"""An edge whose middle lies this far behind the surface is hidden."""

IN_FRONT_M = 0.001
"""Wires lie so much before their own surface, so that both can be drawn."""

REACH_PX = 8192.0
"""OpenCV's drawing coordinates overflow further away than this."""


def wire_layer(mesh: RenderMesh, camera: Camera, surface: Layer) -> Layer:
    """Lines on nothing. surface: the same mesh drawn as a surface, which says what is hidden."""
    region, seen = surface.region, camera_of(camera, surface.region)
    edges = topology_of(mesh.triangles, len(mesh.vertices_cam_m)).edges
    edges = edges[_is_seen(mesh.vertices_cam_m, edges, seen, surface.depth_m)]
    points_px = seen.project(mesh.vertices_cam_m)
    edges = edges[(np.abs(points_px[edges]) < REACH_PX).all((1, 2))]
    # OpenCV's pixel centres are whole numbers, ours are halves
    lines = np.rint((points_px[edges] - 0.5) * (1 << SHIFT)).astype(np.int32)
    width = max(1, round(mesh.line_width_px))
    coverage = np.zeros((region.height, region.width), np.uint8)
    colours = np.zeros((region.height, region.width, 3), np.uint8)
    cv2.polylines(coverage, list(lines), False, 255, width, cv2.LINE_AA, SHIFT)
    if mesh.vertex_colours is None:
        colours[:] = mesh.colour
    else:
        means = mesh.vertex_colours[edges].mean(1).astype(int).tolist()
        for line, colour in zip(lines, means, strict=True):
            cv2.line(colours, *line.tolist(), colour, width + 2, cv2.LINE_8, SHIFT)
    coverage = cv2.convertScaleAbs(coverage, alpha=min(1.0, mesh.line_width_px))
    premultiplied = cv2.multiply(colours, cv2.merge([coverage] * 3), scale=1 / 255)
    # lines are wider than the surface at its rim
    depth_m = cv2.erode(surface.depth_m, np.ones((3, 3), np.uint8)) - np.float32(IN_FRONT_M)
    return Layer(
        region, premultiplied, coverage, np.where(coverage > 0, depth_m, np.float32(np.inf))
    )


def _is_seen(
    vertices_cam_m: Float[Array, "v 3"],
    edges: Int[Array, "e 2"],
    camera: Camera,
    depth_m: Float[Array, "h w"],
) -> Bool[Array, "e"]:
    """Whether the edge's middle lies on the nearest surface; one outside the picture does."""
    ends = vertices_cam_m[edges]
    middle = ends.mean(1)
    column, row = camera.project(middle).clip(-1, 2**20).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < depth_m.shape[1]) & (row < depth_m.shape[0])
    seen = (ends[..., 2] > NEAR_M).all(1)
    around = cv2.dilate(np.where(np.isfinite(depth_m), depth_m, 0), np.ones((3, 3), np.uint8))
    nearest = around[row[inside], column[inside]]
    seen[inside] &= (middle[inside, 2] <= nearest + HIDDEN_M) | (nearest == 0)
    return seen
