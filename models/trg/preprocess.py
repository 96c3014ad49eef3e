"""From a picture to what the network eats: ONE definition for inference and training.

A crop is a `RayBox`. It is cut with the exact affine of the picture's camera, so it is what a
square-pixel camera would have seen whatever fx, fy and the principal point are; the network is
then told about a virtual camera that looks through the middle of its image, for which the released
network's assumptions hold exactly.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from models.geometry.boxes import crop_affine
from models.geometry.cameras import Camera
from models.geometry.rotations import about_z
from models.trg.config import TrgConfig

Array = np.ndarray

SHRINK_FIRST_BELOW = 0.5
"""Below this scale bilinear sampling skips pixels; the region is averaged down first."""

_WARP_LIMIT_PX = 32_000
"""cv2's warps address pixels with 16 bits."""


def cut_crop(
    image_rgb: UInt8[Array, "h w 3"],
    camera: Camera,
    ray_box: Float[Array, "3"],
    config: TrgConfig,
    *,
    mirror: bool = False,
    turn_deg: float = 0.0,
) -> UInt8[Array, "c c 3"]:
    """The square crop of a ray box, black where it reaches outside the picture.

    turn_deg: the crop of the picture turned clockwise by this about the optical axis, at the turned
        place (the network sees the box of `turned_ray_boxes`).
    mirror: the crop of the mirrored picture, at the mirrored place (the network sees the box at
        -centre_x); mirrored after the turn.
    Raises: ValueError if the box is not finite or has no size.
    """
    affine = _crop_from_image(image_rgb, camera, ray_box, config, mirror)
    size_px = config.crop_px
    if turn_deg:
        affine = _turned_crop(affine, size_px, -turn_deg if mirror else turn_deg)
    scale_x, scale_y = np.linalg.norm(affine[:, :2], axis=0)
    if min(scale_x, scale_y) < SHRINK_FIRST_BELOW or max(image_rgb.shape) > _WARP_LIMIT_PX:
        image_rgb, affine = _shrunk_region(image_rgb, affine, size_px)
    if image_rgb.size == 0:
        return np.zeros((size_px, size_px, 3), np.uint8)
    return cv2.warpAffine(
        image_rgb,
        affine,
        (size_px, size_px),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0, 0, 0),
    )


def _crop_from_image(
    image_rgb: UInt8[Array, "h w 3"],
    camera: Camera,
    ray_box: Float[Array, "3"],
    config: TrgConfig,
    mirror: bool,
) -> Float[Array, "2 3"]:
    """Affine map in OpenCV's pixel indices from the picture, mirrored if wanted, to the crop."""
    ray_box = np.asarray(ray_box, np.float64)
    if not np.isfinite(ray_box).all() or ray_box[2] <= 0:
        raise ValueError(f"A crop needs a finite centre and a positive side, got {ray_box}.")
    aligned = config.corner_aligned_crop
    if not mirror:
        return crop_affine(camera, ray_box, config.crop_px, corner_aligned=aligned)
    width = image_rgb.shape[1]
    affine = crop_affine(
        mirrored_camera(camera), mirrored_ray_box(ray_box), config.crop_px, corner_aligned=aligned
    )
    affine[:, 2] += affine[:, 0] * (width - 1)
    affine[:, 0] *= -1
    return affine


def _turned_crop(affine: Float[Array, "2 3"], crop_px: int, turn_deg: float) -> Float[Array, "2 3"]:
    """The affine of a crop whose content is turned clockwise about the crop's middle: crops have
    square pixels, so this is a turn about the optical axis and a shift to the turned place."""
    middle = np.array([0.0, 0.0, (crop_px - 1) / 2])
    return about_z(turn_deg)[:2, :2] @ (affine - middle) + middle


def turned_ray_boxes(
    ray_boxes: Float[Array, "n 3"], turn_deg: Float[Array, "n"]
) -> Float[Array, "n 3"]:
    """Where boxes are in the picture turned clockwise about the optical axis."""
    boxes = np.asarray(ray_boxes, np.float64).copy()
    angle = np.radians(turn_deg)
    cos, sin, x, y = np.cos(angle), np.sin(angle), boxes[:, 0].copy(), boxes[:, 1].copy()
    boxes[:, 0], boxes[:, 1] = cos * x - sin * y, sin * x + cos * y
    return boxes


def mirrored_camera(camera: Camera) -> Camera:
    """The camera of the left-right mirrored picture."""
    K = camera.K_image_from_cam.copy()
    K[0, 2] = camera.size_wh_px[0] - K[0, 2]
    return Camera(K, camera.size_wh_px, camera.source)


def mirrored_ray_box(ray_box: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
    """Where a box is in the mirrored picture."""
    return np.asarray(ray_box, np.float64) * [-1.0, 1.0, 1.0]


def _shrunk_region(
    image_rgb: UInt8[Array, "h w 3"], affine: Float[Array, "2 3"], crop_px: int
) -> tuple[UInt8[Array, "i j 3"], Float[Array, "2 3"]]:
    """The part of the picture that the crop shows, averaged down to about twice the crop's
    resolution, and its affine.

    Axes are handled one by one, so fx != fy is no special case. The part is empty where the crop
    misses the picture.
    """
    linear, offset = affine[:, :2], affine[:, 2]
    ends = np.array([-1.0, crop_px])
    corners = np.stack(np.meshgrid(ends, ends), -1).reshape(4, 2)
    seen = np.linalg.solve(linear, (corners - offset).T)
    out = affine.copy()
    slices, sizes = [], []
    for axis in (0, 1):
        n = image_rgb.shape[1 - axis]
        low, high = seen[axis].min() - 2, seen[axis].max() + 3
        first, last = (max(int(np.clip(end, -1, n)), 0) for end in (low, high))
        shrink = min(float(np.linalg.norm(linear[:, axis])) / SHRINK_FIRST_BELOW, 1.0)
        size = max(1, round((last - first) * shrink))
        step = (last - first) / size  # picture pixels per pixel of the region
        slices.append(slice(first, last))
        sizes.append(size)
        # picture index = first + (region index + 0.5) * step - 0.5
        out[:, axis] = linear[:, axis] * step
        out[:, 2] += linear[:, axis] * (first + 0.5 * step - 0.5)
    region = image_rgb[slices[1], slices[0]]
    if region.size == 0 or (region.shape[1], region.shape[0]) == tuple(sizes):
        return region, out
    return cv2.resize(region, tuple(sizes), interpolation=cv2.INTER_AREA), out


def virtual_camera_inputs(
    ray_boxes: Float[Array, "n 3"], crop_px: int
) -> tuple[Float[Array, "n 4 3"], Float[Array, "n 7"]]:
    """K_crop_row and box_info (see `Trg.forward`) of ray boxes, in float32.

    The virtual camera has the crop's own resolution, so its box is crop_px pixels wide, and its
    principal point is the middle of an image of crop_px x crop_px; the box may lie anywhere, also
    outside that image.
    """
    boxes = np.asarray(ray_boxes, np.float64).reshape(-1, 3)
    focal = crop_px / boxes[:, 2]
    left, top = focal * boxes[:, 0], focal * boxes[:, 1]
    K = np.zeros((len(boxes), 4, 3), np.float32)
    K[:, 0, 0] = K[:, 1, 1] = focal
    K[:, 2, 0], K[:, 2, 1], K[:, 2, 2] = crop_px / 2 - left, crop_px / 2 - top, 1.0
    side = np.full_like(focal, crop_px)
    box_info = np.stack([left, top, left + side, top + side, focal, side, side], -1)
    return K, box_info.astype(np.float32)


def normalise_crops(
    crops_rgb: UInt8[Tensor, "n c c 3"], config: TrgConfig
) -> Float[Tensor, "n 3 c c"]:
    """The network's image input, on the crops' device: RGB / 255, then mean and deviation."""
    image = crops_rgb.permute(0, 3, 1, 2).float() / 255.0
    if config.pixel_mean == (0.0, 0.0, 0.0) and config.pixel_std == (1.0, 1.0, 1.0):
        return image
    mean = torch.tensor(config.pixel_mean, device=image.device).view(1, 3, 1, 1)
    std = torch.tensor(config.pixel_std, device=image.device).view(1, 3, 1, 1)
    return (image - mean) / std
