"""Boxes: xyxy pixel boxes, and the square crop seen as a cone of rays.

A `RayBox` is how every TRG of this project sees a crop: centre and side in normalised coordinates
(x/z, y/z). It does not care about fx != fy or where the principal point is; the pixel warp that
cuts it out does (`crop_affine`).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from models.geometry.cameras import Camera

Array = np.ndarray
RayBox = np.ndarray
"""(3,) float64: centre x, centre y, side; all in units of x/z."""


def iou_xyxy(a_xyxy_px: Float[Array, "n 4"], b_xyxy_px: Float[Array, "m 4"]) -> Float[Array, "n m"]:
    """Intersection over union of every pair; 0 where both are empty."""
    a, b = np.asarray(a_xyxy_px, np.float64)[:, None], np.asarray(b_xyxy_px, np.float64)[None]
    inter = np.clip(
        np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None
    ).prod(-1)
    area_a = np.clip(a[..., 2:] - a[..., :2], 0, None).prod(-1)
    area_b = np.clip(b[..., 2:] - b[..., :2], 0, None).prod(-1)
    union = area_a + area_b - inter
    return np.where(union > 0, inter / np.where(union > 0, union, 1.0), 0.0)


def bounding_box_xyxy(points: Float[Array, "n 2"]) -> Float[Array, "4"]:
    """Smallest box around points."""
    return np.concatenate([points.min(0), points.max(0)])


def ray_box_from_points(points_normalised: Float[Array, "n 2"], scale: float) -> RayBox:
    """Square around the points' extent: centre of the extent, side = scale x the longer extent."""
    low, high = points_normalised.min(0), points_normalised.max(0)
    return np.array([*(low + high) / 2, scale * (high - low).max()])


def ray_box_from_xyxy(camera: Camera, box_xyxy_px: Float[Array, "4"], scale: float = 1.0) -> RayBox:
    """Square ray box around a pixel box."""
    return ray_box_from_points(
        camera.normalise(np.asarray(box_xyxy_px, np.float64).reshape(2, 2)), scale
    )


def xyxy_from_ray_box(camera: Camera, ray_box: RayBox) -> Float[Array, "4"]:
    """Pixel box of a ray box (square only where fx = fy)."""
    half = ray_box[2] / 2
    corners = np.array([ray_box[:2] - half, ray_box[:2] + half])
    return (corners * [camera.fx_px, camera.fy_px] + camera.principal_point_px).reshape(4)


def crop_affine(
    camera: Camera, ray_box: RayBox, crop_px: int, *, corner_aligned: bool
) -> Float[Array, "2 3"]:
    """Affine map from image to crop for cv2.warpAffine: pixel indices, centres on whole numbers.

    corner_aligned=False is exact: the box's edges land on the crop's edges. True is what the
    released TRG was trained with: the box's corners, read as pixel indices, land on the crop's
    corner pixels, a scale of (crop_px - 1) / side.
    """
    left, top, right, bottom = xyxy_from_ray_box(camera, ray_box)
    span, half = (crop_px - 1, 0.0) if corner_aligned else (crop_px, 0.5)
    sx, sy = span / (right - left), span / (bottom - top)
    return np.array([[sx, 0, sx * (half - left) - half], [0, sy, sy * (half - top) - half]])
