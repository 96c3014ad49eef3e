"""Surfaces drawn by OpenCV's z-buffer: no OpenGL needed, fast enough for live video.

OpenCV knows a camera by its vertical field of view alone, so the points are moved, each at its own
depth, to where such a camera sees them on the pixels that ours gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from models.geometry.cameras import Camera
from models.geometry.rotations import GL_FROM_CV
from viewer.render.render_scene import Layer, Region
from viewer.render.surfaces import NEAR_M, Surface, camera_of

Array = np.ndarray

MAX_SUPERSAMPLED_PX = 1_500_000
"""Regions up to this are drawn at twice the resolution; in larger ones a step does not show."""

REACH = 4.0
"""Triangles further outside the region than this, in its longer sides, are left out."""

RIM_SIGMA_PX = 0.7

SAME_SURFACE_M = 0.01
"""Samples of a pixel whose depths differ by less are averaged; otherwise the nearest counts."""


class OpenCvRenderer:
    """See `SurfaceRenderer`. May be called from any thread."""

    name = "OpenCV"

    def __init__(self, is_live: bool = False) -> None:
        """is_live: half as long, with rims smoothed over from single samples."""
        self._is_live = is_live

    def draw(self, surfaces: Sequence[Surface], camera: Camera, region: Region) -> Layer:
        """Never raises."""
        is_small = region.width * region.height <= MAX_SUPERSAMPLED_PX
        scale = 2 if is_small and not self._is_live else 1
        size_wh = (region.width * scale, region.height * scale)
        seen = camera_of(camera, region).resized(size_wh)
        far_m = np.float32(2.0 * max(s.vertices_cam_m[:, 2].max() for s in surfaces))
        colours = np.zeros((size_wh[1], size_wh[0], 3), np.float32)
        depth_m = np.full((size_wh[1], size_wh[0]), far_m, np.float32)
        for surface in surfaces:
            _rasterize(surface, seen, far_m, colours, depth_m)
        return _layer(region, colours, depth_m, far_m, scale)


def _rasterize(
    surface: Surface,
    camera: Camera,
    far_m: np.float32,
    colours: Float[Array, "h w 3"],
    depth_m: Float[Array, "h w"],
) -> None:
    """Draw into the two buffers, which are changed."""
    size = np.array(camera.size_wh_px, np.float64)
    points_px = camera.project(surface.vertices_cam_m)
    near = (np.abs(points_px - size / 2) < REACH * size.max()).all(1)
    triangles = surface.triangles
    if not near.all():
        triangles = triangles[near[triangles].all(1)]
    if len(triangles) == 0:
        return
    z = surface.vertices_cam_m[:, 2:]
    moved = np.concatenate([(points_px - size / 2) / camera.fy_px * z, z], 1)
    moved[~near] = [0.0, 0.0, 1.0]
    sides = [(surface.colours, cv2.RASTERIZE_CULLING_CW)]
    if surface.has_inside:
        sides.append((surface.inside_colours, cv2.RASTERIZE_CULLING_CCW))
    for side_colours, culled in sides:
        cv2.triangleRasterize(
            (moved @ GL_FROM_CV).astype(np.float32),
            np.ascontiguousarray(triangles, np.int32),
            side_colours.astype(np.float32) / 255.0,
            colours,
            depth_m,
            np.eye(4, dtype=np.float32),
            2.0 * np.arctan(size[1] / 2 / camera.fy_px),
            NEAR_M / 2,
            float(far_m),
            _settings(culled),
        )


@cache
def _settings(culled: int) -> cv2.TriangleRasterizeSettings:
    settings = cv2.TriangleRasterizeSettings()
    settings.setShadingType(cv2.RASTERIZE_SHADING_SHADED)
    settings.setCullingMode(culled)
    return settings


def _layer(region: Region, colours: Array, depth_m: Array, far_m: np.float32, scale: int) -> Layer:
    """The buffers at the picture's own resolution."""
    covered = depth_m < 0.75 * far_m  # OpenCV rounds what it leaves as it was
    coverage = covered.astype(np.uint8) * np.uint8(255)
    rgb = cv2.convertScaleAbs(colours, alpha=255.0)
    depth_m = np.where(covered, depth_m, np.float32(np.inf))
    if scale > 1:
        size_wh = (region.width, region.height)
        rgb = cv2.resize(rgb, size_wh, interpolation=cv2.INTER_AREA)
        coverage = cv2.resize(coverage, size_wh, interpolation=cv2.INTER_AREA)
        depth_m = _pixel_depth_m(depth_m)
    else:
        rgb, coverage = _smooth_rims(rgb, coverage)
    return Layer(region, rgb, coverage, depth_m)


def _smooth_rims(rgb: UInt8[Array, "h w 3"], coverage: UInt8[Array, "h w"]) -> tuple[Array, Array]:
    """Both averaged over 3 x 3 pixels where that touches the rim; the inside stays as sharp."""
    smooth_rgb = cv2.GaussianBlur(rgb, (3, 3), RIM_SIGMA_PX)
    is_inside = cv2.erode(coverage, np.ones((3, 3), np.uint8), borderValue=255)
    cv2.copyTo(rgb, is_inside, smooth_rgb)
    return smooth_rgb, cv2.GaussianBlur(coverage, (3, 3), RIM_SIGMA_PX)


def _pixel_depth_m(depth_m: Float[Array, "h2 w2"]) -> Float[Array, "h w"]:
    """Depth of each pixel from its four samples."""
    samples = np.stack([depth_m[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    nearest, farthest = samples.min(0), samples.max(0)
    with np.errstate(invalid="ignore"):
        is_one = farthest - nearest < SAME_SURFACE_M
    return np.where(is_one, samples.mean(0), nearest)
