"""Training crops: the camera rolled, the picture mirrored, the box moved: what is drawn, and the
warp. `viewer.datasets.face_crops` takes the labels along.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from models.geometry.cameras import Camera
from models.trg.config import TrgConfig
from models.trg.preprocess import SHRINK_FIRST_BELOW
from viewer.datasets.augment_config import AugmentConfig

Array = np.ndarray

Border = Literal["black", "reflect", "replicate", "colour"]
_CV2_BORDERS = {
    "black": cv2.BORDER_CONSTANT,
    "colour": cv2.BORDER_CONSTANT,
    "reflect": cv2.BORDER_REFLECT_101,
    "replicate": cv2.BORDER_REPLICATE,
}


@dataclass(frozen=True)
class Recrop:
    """How a crop is taken.

    roll_deg: positive turns the picture's content clockwise. mirror: left and right exchanged,
    after the roll.
    box_scale, box_shift: of the nominal box, whose side is CROP_SCALE x the extent of the points;
    the shift is in extents. For a picture without a face: of the picture's own square, shift in
    its sides.
    border: what is seen beyond the picture's edge; border_rgb for "colour".
    """

    roll_deg: float = 0.0
    mirror: bool = False
    box_scale: float = 1.0
    box_shift: tuple[float, float] = (0.0, 0.0)
    border: Border = "black"
    border_rgb: tuple[int, int, int] = (0, 0, 0)


def draw_recrop(rng: np.random.Generator, config: AugmentConfig, *, is_face: bool) -> Recrop:
    """A random crop for training."""
    if is_face:
        scale, shift = _drawn_box(rng, config)
    else:
        scale = _log_uniform(rng, config.negative_box_scale)
        shift = rng.uniform(-0.5, 0.5, 2)
    border, colour = _drawn_border(rng, config)
    return Recrop(
        roll_deg=_drawn_roll_deg(rng, config),
        mirror=bool(rng.random() < config.p_mirror),
        box_scale=scale,
        box_shift=(float(shift[0]), float(shift[1])),
        border=border,
        border_rgb=colour,
    )


def _drawn_roll_deg(rng: np.random.Generator, config: AugmentConfig) -> float:
    kind = rng.random()
    if kind < config.p_roll_normal:
        return float(rng.normal(0.0, config.roll_normal_deg))
    if kind < config.p_roll_normal + config.p_roll_any:
        return float(rng.uniform(-180.0, 180.0))
    return float(rng.uniform(-config.roll_wide_deg, config.roll_wide_deg))


def _drawn_box(rng: np.random.Generator, config: AugmentConfig) -> tuple[float, Float[Array, "2"]]:
    """Scale and shift of the box around a face."""
    if rng.random() < config.p_box_strong:
        limit = config.box_strong_shift
        return _log_uniform(rng, config.box_strong_scale), rng.uniform(-limit, limit, 2)
    scale = float(np.exp(rng.uniform(-config.box_log_scale, config.box_log_scale)))
    limit = config.box_shift_limit
    return scale, np.clip(rng.normal(0.0, config.box_shift, 2), -limit, limit)


def _drawn_border(
    rng: np.random.Generator, config: AugmentConfig
) -> tuple[Border, tuple[int, int, int]]:
    red, green, blue = map(int, rng.integers(0, 256, 3))
    kind = rng.random() - config.p_border_reflect
    if kind < 0:
        return "reflect", (0, 0, 0)
    kind -= config.p_border_replicate
    if kind < 0:
        return "replicate", (0, 0, 0)
    if kind < config.p_border_colour:
        return "colour", (red, green, blue)
    return "black", (0, 0, 0)


def _log_uniform(rng: np.random.Generator, ends: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(np.log(ends[0]), np.log(ends[1]))))


def plane_map(choice: Recrop) -> Float[Array, "2 2"]:
    """What roll and mirror do to (x/z, y/z), and to x and y of the camera frame."""
    angle = np.radians(choice.roll_deg)
    cos, sin = np.cos(angle), np.sin(angle)
    rolled = np.array([[cos, -sin], [sin, cos]])
    return np.diag([-1.0, 1.0]) @ rolled if choice.mirror else rolled


def negative_ray_box(
    camera: Camera, new_from_old: Float[Array, "2 2"], choice: Recrop
) -> Float[Array, "3"]:
    """A box somewhere on a picture without a face."""
    size = np.array(camera.size_wh_px, np.float64)
    side = (size / [camera.fx_px, camera.fy_px]).min()
    centre = camera.normalise(size / 2) + np.array(choice.box_shift) * side
    return np.array([*(new_from_old @ centre), side * choice.box_scale])


def warped_crop(
    image_rgb: UInt8[Array, "h w 3"],
    camera: Camera,
    new_from_old: Float[Array, "2 2"],
    ray_box: Float[Array, "3"],
    config: TrgConfig,
    choice: Recrop,
    stored_camera: Camera | None = None,
) -> UInt8[Array, "c c 3"]:
    """One warp from the picture to the crop of a box of the new camera.

    new_from_old: what the new camera does to (x/z, y/z).
    stored_camera: of the picture as stored, where image_rgb is a smaller version of it.
    """
    stored = camera if stored_camera is None else stored_camera
    span = config.crop_px - 1 if config.corner_aligned_crop else config.crop_px
    px_per_unit = span / ray_box[2]
    scale = px_per_unit / max(camera.fx_px, camera.fy_px)
    if scale < SHRINK_FIRST_BELOW:
        shrink = scale / SHRINK_FIRST_BELOW
        width, height = (max(1, round(n * shrink)) for n in camera.size_wh_px)
        image_rgb = cv2.resize(image_rgb, (width, height), interpolation=cv2.INTER_AREA)
        camera = camera.resized((width, height))
    linear = px_per_unit * new_from_old / [camera.fx_px, camera.fy_px]
    low = ray_box[:2] - ray_box[2] / 2
    # crop index = px_per_unit * (new_from_old @ normalise(picture index + 0.5) - low) - shift;
    # a corner-aligned crop reads indices of the new picture, turned and mirrored, as coordinates
    shift = 0.5 * px_per_unit / np.array([stored.fx_px, stored.fy_px])
    shift = shift if config.corner_aligned_crop else 0.5
    offset = linear @ (0.5 - camera.principal_point_px) - px_per_unit * low - shift
    return cv2.warpAffine(
        image_rgb,
        np.column_stack([linear, offset]),
        (config.crop_px, config.crop_px),
        flags=cv2.INTER_LINEAR,
        borderMode=_CV2_BORDERS[choice.border],
        borderValue=choice.border_rgb if choice.border == "colour" else (0, 0, 0),
    )
