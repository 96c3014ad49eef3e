"""What happens to a picture between the face and the file: occluders, light, lens, sensor, JPEG.

Labels do not change. Every effect takes a crop, which it may change, and gives a
crop; the order is that of the light.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from models.weights import CROP_SCALE
from viewer.datasets.augment_config import AugmentConfig

Array = np.ndarray
Rgb = UInt8[Array, "h w 3"]

_NOISE_SIDE_PX = 192
_NOISE_MARGIN_PX = 32
_NOISE_FIELDS = 8
_SMALLEST_OCCLUDER_PX = 4


def photo_effects(
    crop_rgb: UInt8[Array, "c c 3"],
    rng: np.random.Generator,
    config: AugmentConfig,
    patch_rgb: Rgb,
) -> UInt8[Array, "c c 3"]:
    """The crop as a worse camera would have taken it.

    patch_rgb: another picture, pieces of which occlude.
    """
    if rng.random() < config.p_occluder:
        for _ in range(int(rng.integers(1, 3))):
            crop_rgb = with_occluder(crop_rgb, rng, config, patch_rgb)
    if rng.random() < config.p_cut_off:
        crop_rgb = cut_off(crop_rgb, rng, config, patch_rgb)
    if rng.random() < config.p_side_light:
        crop_rgb = side_lit(crop_rgb, rng, config)
    crop_rgb = _recoloured(crop_rgb, rng, config)
    crop_rgb = _blurred(crop_rgb, rng, config)
    if rng.random() < config.p_low_light:
        crop_rgb = low_light(crop_rgb, rng)
    return _sampled(crop_rgb, rng, config)


def with_occluder(
    crop_rgb: UInt8[Array, "c c 3"],
    rng: np.random.Generator,
    config: AugmentConfig,
    patch_rgb: Rgb,
) -> UInt8[Array, "c c 3"]:
    """A rectangle or an ellipse of one colour, or a piece of another picture."""
    side_px = len(crop_rgb)
    width, height = (int(n * side_px) for n in rng.uniform(*config.occluder_side, 2))
    x = int(rng.uniform(-width / 2, side_px - width / 2))
    y = int(rng.uniform(-height / 2, side_px - height / 2))
    left, right = max(0, x), min(side_px, x + width)
    top, bottom = max(0, y), min(side_px, y + height)
    size = (right - left, bottom - top)
    if min(size) < _SMALLEST_OCCLUDER_PX:
        return crop_rgb
    filling = _filling(size, rng, patch_rgb)
    region = crop_rgb[top:bottom, left:right]
    if rng.random() < 0.5:
        region[:] = filling
        return crop_rgb
    shape = np.zeros(size[::-1], np.uint8)
    middle = (size[0] // 2, size[1] // 2)
    cv2.ellipse(shape, middle, middle, float(rng.uniform(0, 180)), 0, 360, 255, -1)
    cv2.copyTo(filling, shape, region)
    return crop_rgb


def cut_off(
    crop_rgb: UInt8[Array, "c c 3"],
    rng: np.random.Generator,
    config: AugmentConfig,
    patch_rgb: Rgb,
) -> UInt8[Array, "c c 3"]:
    """All beyond a line is black, gray, or another picture: a face that is half visible."""
    side_px = len(crop_rgb)
    # Mostly along an edge of the picture, as where a face leaves it.
    angle = rng.integers(0, 4) * np.pi / 2 + rng.normal(0, 0.15)
    if rng.random() < 0.3:
        angle = rng.uniform(0, 2 * np.pi)
    across = _across(side_px, float(angle))
    beyond = (across > rng.uniform(*config.cut_off_distance)).astype(np.uint8)
    if rng.random() < 0.5:
        filling = np.full_like(crop_rgb, 0 if rng.random() < 0.6 else rng.integers(0, 256))
    else:
        filling = _filling((side_px, side_px), rng, patch_rgb)
    return cv2.copyTo(filling, beyond, crop_rgb)


def _filling(
    size_wh_px: tuple[int, int], rng: np.random.Generator, patch_rgb: Rgb
) -> UInt8[Array, "i j 3"]:
    """One colour, or a random piece of a picture."""
    if rng.random() < 0.4:
        filling = np.empty((size_wh_px[1], size_wh_px[0], 3), np.uint8)
        filling[:] = rng.integers(0, 256, 3)
        return filling
    height, width = patch_rgb.shape[:2]
    share = rng.uniform(0.2, 0.6, 2)
    piece_width, piece_height = max(1, int(width * share[0])), max(1, int(height * share[1]))
    left = int(rng.integers(0, width - piece_width + 1))
    top = int(rng.integers(0, height - piece_height + 1))
    piece = patch_rgb[top : top + piece_height, left : left + piece_width]
    return cv2.resize(piece, size_wh_px)


def side_lit(
    crop_rgb: UInt8[Array, "c c 3"], rng: np.random.Generator, config: AugmentConfig
) -> UInt8[Array, "c c 3"]:
    """Light from one side, with a soft or a hard shadow edge."""
    across = _across(len(crop_rgb), float(rng.uniform(0, 2 * np.pi)))
    hardness = np.exp(rng.uniform(np.log(0.7), np.log(12.0)))
    edge = np.float32(hardness) * (across - np.float32(rng.uniform(-0.4, 0.4)))
    shade = 1.0 / (1.0 + np.exp(-2.0 * edge))
    gain = 1.0 + rng.uniform(0, 0.4) - rng.uniform(*config.side_light_strength) * shade
    return _multiplied(crop_rgb, gain.astype(np.float32))


def _recoloured(
    crop_rgb: UInt8[Array, "c c 3"], rng: np.random.Generator, config: AugmentConfig
) -> UInt8[Array, "c c 3"]:
    """Gamma, contrast, brightness and white balance; sometimes gray or infrared."""
    kind = rng.random()
    if kind < config.p_infrared:
        crop_rgb = infrared(crop_rgb, rng)
    elif kind < config.p_infrared + config.p_gray:
        crop_rgb = cv2.cvtColor(cv2.cvtColor(crop_rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    gamma = np.exp(rng.normal(0, config.gamma_log))
    contrast = np.exp(rng.normal(0, config.contrast_log))
    brightness = rng.normal(0, config.brightness)
    gains = np.exp(rng.normal(0, config.channel_log, 3))
    if kind < config.p_infrared + config.p_gray:
        gains[:] = gains[0]
    curve = (_LEVELS**gamma - 0.5) * contrast + 0.5 + brightness
    table = np.clip(curve[:, None] * gains * 255.0, 0, 255).astype(np.uint8)
    return cv2.LUT(crop_rgb, table[None])


_LEVELS = np.arange(256) / 255.0


def infrared(crop_rgb: UInt8[Array, "c c 3"], rng: np.random.Generator) -> UInt8[Array, "c c 3"]:
    """As near-infrared cameras with their own lamp see: no colour, hair and dark clothes bright,
    the corners dark."""
    side_px = len(crop_rgb)
    gray = cv2.cvtColor(crop_rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    window = side_px // 6
    slow = cv2.blur(gray, (window, window))
    inverted = np.float32(rng.uniform(0.0, 0.45))
    slow_new = slow * (1 - inverted) + (np.float32(200.0) - slow) * inverted
    radius2 = _across(side_px, 0.0) ** 2 + _across(side_px, np.pi / 2) ** 2
    lamp = 1.0 - np.float32(rng.uniform(0.1, 0.45)) * radius2
    out = (slow_new + (gray - slow) * np.float32(rng.uniform(0.6, 1.7))) * lamp
    return cv2.cvtColor(np.clip(out, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2RGB)


def _blurred(
    crop_rgb: UInt8[Array, "c c 3"], rng: np.random.Generator, config: AugmentConfig
) -> UInt8[Array, "c c 3"]:
    """Out of focus, or moved, or neither."""
    kind = rng.random()
    if kind < config.p_gaussian_blur:
        return cv2.GaussianBlur(crop_rgb, (0, 0), float(rng.uniform(*config.gaussian_blur_px)))
    if kind >= config.p_gaussian_blur + config.p_motion_blur:
        return crop_rgb
    length = int(rng.integers(config.motion_blur_px[0], config.motion_blur_px[1] + 1))
    angle = rng.uniform(0, np.pi)
    along = np.arange(length) - (length - 1) / 2
    kernel = np.zeros((length, length), np.float32)
    rows = np.rint(along * np.sin(angle) + (length - 1) / 2).astype(int)
    columns = np.rint(along * np.cos(angle) + (length - 1) / 2).astype(int)
    kernel[rows, columns] = 1.0
    return cv2.filter2D(crop_rgb, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def low_light(crop_rgb: UInt8[Array, "c c 3"], rng: np.random.Generator) -> UInt8[Array, "c c 3"]:
    """Few photons, amplified in part: dark, strong noise, few levels."""
    light = rng.uniform(0.08, 0.4)
    amplified = rng.uniform(0.3, 1.0) / light
    dark = crop_rgb * np.float32(light)
    dark = cv2.add(dark, _noise(crop_rgb.shape, rng) * np.float32(rng.uniform(1.0, 5.0)))
    return cv2.convertScaleAbs(np.maximum(dark, 0), alpha=float(np.clip(amplified, 0.8, 6.0)))


def _sampled(
    crop_rgb: UInt8[Array, "c c 3"], rng: np.random.Generator, config: AugmentConfig
) -> UInt8[Array, "c c 3"]:
    """Noise and compression, at the resolution of the crop or of a small face."""
    side_px = len(crop_rgb)
    is_small = rng.random() < config.p_small
    noise_first = rng.random() < 0.5
    if is_small:
        low, high = config.small_face_px
        face_px = np.exp(rng.uniform(np.log(low), np.log(high)))
        small_px = min(side_px, round(face_px * CROP_SCALE))
        crop_rgb = cv2.resize(crop_rgb, (small_px, small_px), interpolation=cv2.INTER_AREA)
        if not noise_first:
            crop_rgb = _enlarged(crop_rgb, side_px, rng)
    if rng.random() < config.p_noise:
        crop_rgb = noisy(crop_rgb, rng, config)
    if rng.random() < config.p_jpeg:
        crop_rgb = _compressed(crop_rgb, int(rng.integers(*config.jpeg_quality, endpoint=True)))
    return _enlarged(crop_rgb, side_px, rng) if len(crop_rgb) != side_px else crop_rgb


def _enlarged(crop_rgb: Rgb, side_px: int, rng: np.random.Generator) -> UInt8[Array, "c c 3"]:
    """Mostly bilinear, as crops of small faces are cut."""
    method = cv2.INTER_LINEAR if rng.random() < 0.8 else cv2.INTER_CUBIC
    return cv2.resize(crop_rgb, (side_px, side_px), interpolation=method)


def noisy(
    crop_rgb: UInt8[Array, "c c 3"], rng: np.random.Generator, config: AugmentConfig
) -> UInt8[Array, "c c 3"]:
    """Read noise, the same everywhere, or shot noise, stronger where it is bright."""
    noise = _noise(crop_rgb.shape, rng) * np.float32(rng.uniform(*config.noise_level))
    if rng.random() < 0.4:
        noise *= cv2.LUT(crop_rgb, _SHOT_NOISE)
    return cv2.add(crop_rgb, noise, dtype=cv2.CV_8U)


_SHOT_NOISE = np.sqrt(np.arange(256, dtype=np.float32) / 128.0)


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> Float[Array, "h w 3"]:
    """A piece of the drawn fields, standard deviation 1."""
    bank = _noise_bank(max(_NOISE_SIDE_PX, *shape[:2]) + _NOISE_MARGIN_PX)
    which, y, x = rng.integers(0, [_NOISE_FIELDS, _NOISE_MARGIN_PX, _NOISE_MARGIN_PX])
    return bank[which, y : y + shape[0], x : x + shape[1]]


@lru_cache(maxsize=2)
def _noise_bank(side_px: int) -> Float[Array, "n s s 3"]:
    rng = np.random.default_rng(5)
    return rng.standard_normal((_NOISE_FIELDS, side_px, side_px, 3), np.float32)


def _compressed(crop_rgb: Rgb, quality: int) -> Rgb:
    bgr = cv2.cvtColor(crop_rgb, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, quality))
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)


def _multiplied(crop_rgb: Rgb, gain: Float[Array, "h w"]) -> Rgb:
    return cv2.multiply(crop_rgb, cv2.merge((gain, gain, gain)), dtype=cv2.CV_8U)


def _across(side_px: int, angle_rad: float) -> Float[Array, "s s"]:
    """Position along a direction, -1 to 1 between the edges if it is parallel to one."""
    steps = (np.arange(side_px, dtype=np.float32) + 0.5) / (side_px / 2) - 1.0
    along_x, along_y = np.float32(np.cos(angle_rad)), np.float32(np.sin(angle_rad))
    return steps * along_x + (steps * along_y)[:, None]
