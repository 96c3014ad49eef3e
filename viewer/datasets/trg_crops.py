"""The released TRG's variations of a training picture: turn, mirror, box, mask, colours.

As released, but with exact labels: the picture is turned about its principal point, pose and all
(TRG turned it about the box and left t as it was), a mirror takes x to w - x (TRG's picture was a
pixel off), and a turned crop keeps the place that was drawn for its box.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import UInt8

from viewer.datasets.augment import Recrop
from viewer.datasets.augment_config import TrgAugmentConfig

Array = np.ndarray

MASK_SHARE = 5
"""The mask's side is the crop's, divided by this."""


def draw_trg_recrop(rng: np.random.Generator, config: TrgAugmentConfig, *, is_flat: bool) -> Recrop:
    """A random crop. is_flat: of a set of landmarks, which is mirrored already."""
    p_rotate = config.landmarks_p_rotate if is_flat else config.p_rotate
    shift = config.landmarks_box_shift if is_flat else config.box_shift
    turned, mirrored = rng.random(2)
    angle_deg = float(rng.uniform(-config.rotate_deg, config.rotate_deg))
    x, y = map(float, rng.uniform(-shift, shift, 2))
    return Recrop(
        roll_deg=angle_deg if turned < p_rotate else 0.0,
        mirror=bool(mirrored < config.p_mirror) and not is_flat,
        box_scale=float(rng.uniform(1.0 - config.box_scale, 1.0 + config.box_scale)),
        box_shift=(x, y),
    )


def trg_photo_effects(
    crop_rgb: UInt8[Array, "c c 3"],
    rng: np.random.Generator,
    config: TrgAugmentConfig,
    *,
    is_flat: bool,
) -> UInt8[Array, "c c 3"]:
    """The crop with the mask and other colours, as torchvision's ColorJitter changes them."""
    if rng.random() < (config.landmarks_p_mask if is_flat else config.p_mask):
        crop_rgb = _masked(crop_rgb, rng)
    effects = (
        (_brightened, 1.0 + rng.uniform(-config.brightness, config.brightness)),
        (_contrasted, 1.0 + rng.uniform(-config.contrast, config.contrast)),
        (_saturated, 1.0 + rng.uniform(-config.saturation, config.saturation)),
        (_hue_turned, rng.uniform(-config.hue, config.hue)),
    )
    for k in rng.permutation(len(effects)):
        effect, strength = effects[k]
        crop_rgb = effect(crop_rgb, strength)
    return crop_rgb


def _masked(crop_rgb: UInt8[Array, "c c 3"], rng: np.random.Generator) -> UInt8[Array, "c c 3"]:
    side = len(crop_rgb) // MASK_SHARE
    top, left = (int(n) for n in rng.uniform(0, len(crop_rgb) - side - 1, 2))
    masked = crop_rgb.copy()
    masked[top : top + side, left : left + side] = rng.integers(0, 256, 3)
    return masked


def _blended(crop_rgb: Array, other: Array | float, factor: float) -> UInt8[Array, "c c 3"]:
    """factor * crop + (1 - factor) * other, cut off at 0 and 255."""
    if isinstance(other, np.ndarray):
        return cv2.addWeighted(crop_rgb, factor, other, 1.0 - factor, 0.0)
    levels = np.arange(256) * factor + (1.0 - factor) * other
    return cv2.LUT(crop_rgb, np.clip(np.rint(levels), 0, 255).astype(np.uint8))


def _brightened(crop_rgb: Array, factor: float) -> Array:
    return _blended(crop_rgb, 0.0, factor)


def _contrasted(crop_rgb: Array, factor: float) -> Array:
    return _blended(crop_rgb, float(_gray(crop_rgb).mean()), factor)


def _saturated(crop_rgb: Array, factor: float) -> Array:
    return _blended(crop_rgb, cv2.cvtColor(_gray(crop_rgb), cv2.COLOR_GRAY2RGB), factor)


def _hue_turned(crop_rgb: Array, turns: float) -> Array:
    hsv = cv2.cvtColor(crop_rgb, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(round(turns * 255) % 256)  # wraps around
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


def _gray(crop_rgb: Array) -> Array:
    return cv2.cvtColor(crop_rgb, cv2.COLOR_RGB2GRAY)
