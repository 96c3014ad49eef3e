"""A mesh as a picture without any GL: OpenCV fills the triangles, far ones first.

Works on every machine and for every pinhole camera (fx != fy, principal point anywhere). The price
of the painter's algorithm: triangles that run through each other are not cut, the farther one is
hidden as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from models.geometry.cameras import Camera

Array = np.ndarray

NEAR_M = 0.01
"""Triangles with a corner nearer than this to the camera's plane are left out, not clipped."""

SHIFT = 4
"""Fractional bits of OpenCV's drawing coordinates."""

MAX_COORDINATE_PX = 1e7
"""Times 2^SHIFT and a supersampling of 8 this still fits OpenCV's 32 bits."""

LAMP_CAM = np.array([-0.35, -0.5, -0.79])
"""From the surface to the lamp: over the camera's left shoulder."""

AMBIENT = 0.3


@dataclass(frozen=True)
class RenderedMesh:
    """A rendered picture and how much of each pixel the mesh covers (255: all of it)."""

    image_rgb: UInt8[Array, "h w 3"]
    alpha: UInt8[Array, "h w"]


def render_mesh(
    vertices_cam_m: Float[Array, "v 3"],
    triangles: Int[Array, "f 3"],
    colours_rgb: UInt8[Array, "n 3"],
    camera: Camera,
    *,
    background_rgb: UInt8[Array, "h w 3"] | None = None,
    supersample: int = 2,
    lit: bool = True,
) -> RenderedMesh:
    """The mesh as the camera sees it, both sides of every triangle, composited on a picture.

    colours_rgb: one per triangle or one per vertex. lit: Lambert's shading by one lamp; False keeps
        the colours as they are. background_rgb: of the camera's size; black where it is None.
    supersample: 1 to 8 samples along each side of a pixel.
    Raises: ValueError if the colours or the background have another size, or supersample is out of
        range.
    """
    if not 1 <= supersample <= 8:
        raise ValueError(f"supersample must be 1 to 8, got {supersample}.")
    width, height = camera.size_wh_px
    if background_rgb is None:
        background_rgb = np.zeros((height, width, 3), np.uint8)
    elif background_rgb.shape != (height, width, 3):
        raise ValueError(
            f"The background must be {(height, width, 3)}, like the camera's picture; got "
            f"{background_rgb.shape}."
        )
    colours = _triangle_colours(colours_rgb, triangles, len(vertices_cam_m))
    order = _far_to_near(vertices_cam_m, triangles)
    if lit:
        colours[order] *= _brightness(vertices_cam_m[triangles[order]])[:, None]
    painted = np.clip(np.rint(colours[order]), 0, 255).astype(np.uint8)
    return _painted(
        camera.project(vertices_cam_m)[triangles[order]], painted, background_rgb, supersample
    )


def _triangle_colours(
    colours_rgb: UInt8[Array, "n 3"], triangles: Int[Array, "f 3"], vertex_count: int
) -> Float[Array, "f 3"]:
    """Colours of vertices are averaged over each triangle."""
    if len(colours_rgb) == len(triangles):
        return colours_rgb.astype(np.float64)
    if len(colours_rgb) == vertex_count:
        return colours_rgb.astype(np.float64)[triangles].mean(1)
    raise ValueError(
        f"Colours must be one per triangle ({len(triangles)}) or one per vertex ({vertex_count}), "
        f"got {len(colours_rgb)}."
    )


def _far_to_near(
    vertices_cam_m: Float[Array, "v 3"], triangles: Int[Array, "f 3"]
) -> Int[Array, "n"]:
    """Triangles in front of the camera, by the distance of their middles."""
    corners = vertices_cam_m[triangles]
    shown = np.flatnonzero((corners[..., 2] > NEAR_M).all(1))
    return shown[np.argsort(-np.linalg.norm(corners[shown].mean(1), axis=1), kind="stable")]


def _brightness(corners_cam_m: Float[Array, "n 3 3"]) -> Float[Array, "n"]:
    """Lambert's cosine on the side that the camera sees."""
    a, b, c = corners_cam_m.transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
    normals *= np.where((normals * (a + b + c)).sum(1, keepdims=True) > 0, -1.0, 1.0)
    lamp = LAMP_CAM / np.linalg.norm(LAMP_CAM)
    return AMBIENT + (1 - AMBIENT) * np.clip(normals @ lamp, 0, 1)


def _painted(
    corners_px: Float[Array, "n 3 2"],
    colours: UInt8[Array, "n 3"],
    background_rgb: UInt8[Array, "h w 3"],
    supersample: int,
) -> RenderedMesh:
    """Paints the part of the picture that the mesh touches, several samples to a pixel."""
    size = np.array([background_rgb.shape[1], background_rgb.shape[0]])
    image, alpha = background_rgb.copy(), np.zeros(background_rgb.shape[:2], np.uint8)
    corners_px = np.clip(corners_px, -MAX_COORDINATE_PX, MAX_COORDINATE_PX)
    inside = ((corners_px.max(1) >= -1) & (corners_px.min(1) <= size + 1)).all(1)
    corners_px, colours = corners_px[inside], colours[inside]
    if len(corners_px) == 0:
        return RenderedMesh(image, alpha)
    low = np.clip(np.floor(corners_px.min((0, 1))) - 1, 0, size).astype(int)
    high = np.clip(np.ceil(corners_px.max((0, 1))) + 1, 0, size).astype(int)
    columns, rows = high - low
    samples = np.zeros((rows * supersample, columns * supersample, 4), np.uint8)
    # OpenCV's pixel centres are whole numbers, ours are halves
    local = np.rint(((corners_px - low) * supersample - 0.5) * (1 << SHIFT)).astype(np.int32)
    for corners, colour in zip(local, colours.tolist(), strict=True):
        cv2.fillConvexPoly(samples, corners, (*colour, 255), cv2.LINE_8, SHIFT)
    if supersample > 1:
        samples = cv2.resize(samples, (int(columns), int(rows)), interpolation=cv2.INTER_AREA)
    cover = samples[..., 3]
    part = image[low[1] : high[1], low[0] : high[0]]
    # empty samples are black, so the averaged colour is already weighted by the cover
    behind = part * ((255 - cover.astype(np.float32)) / 255)[..., None]
    part[:] = np.clip(np.rint(samples[..., :3] + behind), 0, 255).astype(np.uint8)
    alpha[low[1] : high[1], low[0] : high[0]] = cover
    return RenderedMesh(image, alpha)
