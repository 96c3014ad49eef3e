"""Meshes as the renderers want them: lit, wound outward, in front of the camera, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int, UInt8

from models.geometry.cameras import Camera
from viewer.render.render_scene import Layer, Region, RenderMesh
from viewer.render.shading import (
    hollowness,
    light_and_shine,
    point_outward,
    topology_of,
    triangle_normals,
    unit,
    vertex_normals,
)

Array = np.ndarray

NEAR_M = 0.02
"""Triangles with a corner nearer than this to the camera's plane are left out, not clipped."""

INSIDE = 0.3
"""Brightness of the backs of triangles, which are seen through mouth, neck and lids."""

MARGIN_PX = 2


class RendererError(RuntimeError):
    """A renderer could not draw; the message says why."""


@dataclass(frozen=True)
class Surface:
    """Triangles, counter-clockwise from outside, with colours as they are shown.

    has_inside: the backs of triangles are drawn too, in `inside_colours`.
    """

    vertices_cam_m: Float[Array, "v 3"]
    triangles: Int[Array, "f 3"]
    colours: UInt8[Array, "v 3"]
    has_inside: bool

    @property
    def inside_colours(self) -> UInt8[Array, "v 3"]:
        return (self.colours * np.float32(INSIDE)).astype(np.uint8)


class SurfaceRenderer(Protocol):
    """Draws opaque surfaces with smooth rims, the nearest in front."""

    name: str

    def draw(self, surfaces: Sequence[Surface], camera: Camera, region: Region) -> Layer:
        """All surfaces in one picture, of which only the region is made. Raises: RendererError."""


def surface_of(mesh: RenderMesh) -> Surface:
    """The mesh in the light, without what the camera's plane cuts."""
    vertices, triangles = mesh.vertices_cam_m, mesh.triangles
    # single precision is enough for light, and half the time
    local = (vertices - vertices[0]).astype(np.float32)
    normals, centres = triangle_normals(local, triangles)
    if not point_outward(normals, centres):
        triangles, normals = triangles[:, ::-1], -normals
    if vertices[:, 2].min() <= NEAR_M:
        triangles = triangles[vertices[triangles, 2].min(1) > NEAR_M]
    colours = mesh.base_colours().astype(np.float32)
    if mesh.shading > 0:
        topology = topology_of(mesh.triangles, len(vertices))
        smooth = vertex_normals(normals, topology)
        hollow = hollowness(local, smooth, topology)
        level, shine = light_and_shine(smooth, -unit(vertices.astype(np.float32)), hollow)
        colours *= (1.0 + mesh.shading * (level - 1.0))[:, None]
        colours += mesh.shading * shine[:, None]
    lit = np.clip(colours, 0, 255).astype(np.uint8)
    return Surface(vertices, triangles, lit, not mesh.is_closed)


def region_of(surfaces: Sequence[Surface], camera: Camera) -> Region | None:
    """The part of the picture that the surfaces touch; None if they are all outside."""
    points_px = np.concatenate([np.zeros((0, 2)), *(_used_px(s, camera) for s in surfaces)])
    if len(points_px) == 0:
        return None
    size = np.array(camera.size_wh_px)
    low = np.clip(np.floor(points_px.min(0)) - MARGIN_PX, 0, size).astype(int)
    high = np.clip(np.ceil(points_px.max(0)) + MARGIN_PX, 0, size).astype(int)
    if (high <= low).any():
        return None
    return Region(int(low[0]), int(low[1]), *map(int, high - low))


def _used_px(surface: Surface, camera: Camera) -> Float[Array, "n 2"]:
    used = np.zeros(len(surface.vertices_cam_m), bool)
    used[surface.triangles] = True
    return camera.project(surface.vertices_cam_m[used])


def camera_of(camera: Camera, region: Region) -> Camera:
    """The camera that sees only the region."""
    K = camera.K_image_from_cam.copy()
    K[:2, 2] -= [region.x, region.y]
    return Camera(K, (region.width, region.height), camera.source)
