"""What is behind the heads: parts of portraits and photos without a face, patches, textures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from viewer.synthesis.portraits import PICTURE_SUFFIXES, PortraitAsset, PortraitError

Array = np.ndarray

TRIES = 12

PHOTO_SHARE = 0.35
"""Of the backgrounds, where there are photos without a face."""
PHOTO_MAX_PX, PHOTO_MIN_CROP_PX = 1024, 40
MIXED_SHARE = 0.12
"""Of the backgrounds: two of them, one seen through the other."""


def read_face_free(folder: Path) -> list[UInt8[Array, "_h _w 3"]]:
    """The photos of a folder that a person has looked through: none of them shows a face.

    Longer sides are shrunk to PHOTO_MAX_PX. Raises: PortraitError if there is none.
    """
    photos = []
    for path in sorted(folder.iterdir()):
        image = cv2.imread(str(path)) if path.suffix.lower() in PICTURE_SUFFIXES else None
        if image is None:
            continue
        scale = min(1.0, PHOTO_MAX_PX / max(image.shape[:2]))
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        photos.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    if not photos:
        raise PortraitError(f"{folder} holds no readable picture.")
    return photos


def face_box_px(portrait: PortraitAsset) -> Float[Array, "4"]:
    """What of a portrait shows the head: left, top, right, bottom, with a margin."""
    low, high = portrait.texture_px.min(0) - 12, portrait.texture_px.max(0) + 12
    return np.concatenate([low, high])


def sample_background(
    portraits: Sequence[PortraitAsset],
    face_boxes_px: Float[Array, "n 4"],
    size_px: int,
    rng: np.random.Generator,
    photos: Sequence[UInt8[Array, "_h _w 3"]] = (),
) -> UInt8[Array, "size size 3"]:
    """A square background without a face.

    face_boxes_px: of the portraits, by `face_box_px`. photos: as `read_face_free` gives them.
    """

    def one() -> UInt8[Array, "size size 3"]:
        if photos and rng.random() < PHOTO_SHARE:
            return _part_of_photo(photos, size_px, rng)
        kind = rng.random()
        if kind < 0.10:
            return _gradient(size_px, rng)
        if kind < 0.22:
            return _patches(size_px, rng)
        if kind < 0.36:
            return _texture(size_px, rng)
        return _part_of_portrait(portraits, face_boxes_px, size_px, rng)

    image = one()
    if rng.random() < MIXED_SHARE:
        share = rng.uniform(0.3, 0.7)
        image = cv2.addWeighted(image, share, one(), 1.0 - share, 0.0)
    return image


def _part_of_portrait(
    portraits: Sequence[PortraitAsset],
    face_boxes_px: Float[Array, "n 4"],
    size_px: int,
    rng: np.random.Generator,
) -> UInt8[Array, "size size 3"]:
    """A square of a portrait that leaves out the head, whatever else it shows of the person."""
    for _ in range(TRIES):
        chosen = rng.integers(len(portraits))
        side = int(rng.uniform(60, 320))
        left, top = rng.integers(0, 512 - side, 2)
        x0, y0, x1, y1 = face_boxes_px[chosen]
        if left + side < x0 or left > x1 or top + side < y0 or top > y1:
            break
    else:
        return _patches(size_px, rng)
    part = portraits[chosen].image_rgb[top : top + side, left : left + side]
    return _varied(part, size_px, rng)


def _part_of_photo(
    photos: Sequence[UInt8[Array, "_h _w 3"]], size_px: int, rng: np.random.Generator
) -> UInt8[Array, "size size 3"]:
    """A square of a photo, of any size."""
    photo = photos[rng.integers(len(photos))]
    height, width = photo.shape[:2]
    largest = min(height, width)
    smallest = min(PHOTO_MIN_CROP_PX, largest)
    side = round(np.exp(rng.uniform(np.log(smallest), np.log(largest))))
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    return _varied(photo[top : top + side, left : left + side], size_px, rng)


def _varied(
    part: UInt8[Array, "_s _s 3"], size_px: int, rng: np.random.Generator
) -> UInt8[Array, "size size 3"]:
    """Brought to size, mirrored, turned, tinted at random."""
    shrinks = len(part) > size_px
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    image = cv2.resize(part, (size_px, size_px), interpolation=how)
    if rng.random() < 0.5:
        image = cv2.flip(image, 1)
    if rng.random() < 0.15:
        image = np.rot90(image, int(rng.integers(1, 4)))
    if rng.random() < 0.5:
        gain = rng.uniform(0.5, 1.5, 3).astype(np.float32)
        image = cv2.LUT(np.ascontiguousarray(image), _gained_levels(gain))
    return np.ascontiguousarray(image)


def _gained_levels(gain: Float[Array, "3"]) -> UInt8[Array, "1 256 3"]:
    """What each channel's gain makes of every level."""
    levels = np.arange(256, dtype=np.float32)[None, :, None] * gain
    return np.clip(levels, 0, 255).astype(np.uint8)


def _gradient(size_px: int, rng: np.random.Generator) -> UInt8[Array, "size size 3"]:
    first, second = rng.uniform(0, 255, (2, 3))
    ramp = np.linspace(0, 1, size_px)[:, None, None]
    image = np.broadcast_to(first * (1 - ramp) + second * ramp, (size_px, size_px, 3))
    if rng.random() < 0.5:
        image = image.transpose(1, 0, 2)
    return image.clip(0, 255).astype(np.uint8)


def _patches(size_px: int, rng: np.random.Generator) -> UInt8[Array, "size size 3"]:
    """Random colours on a coarse grid, smooth or with hard edges, and some lines."""
    cells = int(rng.integers(2, 9))
    level, spread = rng.uniform(30, 220), rng.uniform(8, 70)
    coarse = level + rng.normal(0, spread, (cells, cells, 1)) + rng.normal(0, 18, (cells, cells, 3))
    how = cv2.INTER_CUBIC if rng.random() < 0.7 else cv2.INTER_NEAREST
    image = cv2.resize(coarse.astype(np.float32), (size_px, size_px), interpolation=how)
    image = image.clip(0, 255).astype(np.uint8)
    for _ in range(rng.integers(0, 8)):
        ends = rng.integers(0, size_px, 4).tolist()
        colour = rng.uniform(0, 255, 3).tolist()
        cv2.line(image, ends[:2], ends[2:], colour, int(rng.integers(1, 14)), cv2.LINE_AA)
    return image


def _texture(size_px: int, rng: np.random.Generator) -> UInt8[Array, "size size 3"]:
    """Noise whose amplitude falls with a power of its frequency, from sand to clouds, some of it
    drawn out along a line or cut into two tones; or waves, such as bars and tiles."""
    across = np.fft.rfftfreq(size_px).astype(np.float32)
    down = np.fft.fftfreq(size_px).astype(np.float32)[:, None]
    angle, stretch = rng.uniform(0, np.pi), np.exp(rng.uniform(0, 2) * (rng.random() < 0.4))
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along, beside = cos * across + sin * down, cos * down - sin * across
    if rng.random() < 0.3:
        x = np.linspace(0, 1, size_px, endpoint=False, dtype=np.float32)
        y = x[:, None]
        waves = np.float32(2 * np.pi * rng.uniform(3, 40)) * (cos * x + sin * y)
        crossed = np.float32(2 * np.pi * rng.uniform(3, 40)) * (cos * y - sin * x)
        field = np.sin(waves) + np.float32(rng.choice([0.0, 1.0])) * np.sin(crossed)
    else:
        squared = (np.float32(stretch) * along) ** 2 + beside**2
        noise = np.fft.rfft2(rng.normal(size=(size_px, size_px)).astype(np.float32))
        power = np.float32(-rng.uniform(0.3, 2.0) / 2)
        noise *= squared.clip(np.float32(size_px) ** -2) ** power
        field = np.fft.irfft2(noise, (size_px, size_px))
    field = (field - field.mean()) / (field.std() + 1e-9)
    if rng.random() < 0.3:
        field = np.tanh(field * np.float32(np.exp(rng.uniform(0, 3))))
    colour = rng.normal(0, 1, 3) * 0.3 + rng.choice([-1.0, 1.0])
    middle, contrast = rng.uniform(40, 215, 3), rng.uniform(10, 70)
    image = cv2.transform(field, np.column_stack([contrast * colour, middle]))
    return image.clip(0, 255).astype(np.uint8)
