"""Pictures decoded at no more than the size that is needed.

A JPEG's blocks can be decoded at a half, a quarter, an eighth of their size, far faster; pixel k of
the smaller picture is the mean of the pixels from k n to (k + 1) n.
"""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from viewer.datasets.sample import UnreadablePictureError, decode_rgb

Array = np.ndarray
Picture = Path | bytes | UInt8[Array, "h w 3"]

_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4} | {
    8: cv2.IMREAD_REDUCED_COLOR_8
}
_JPEG_START = b"\xff\xd8"


def picture_bytes(picture: Path | bytes) -> bytes:
    """Raises: UnreadablePictureError."""
    if isinstance(picture, bytes):
        return picture
    try:
        return picture.read_bytes()
    except OSError as error:
        raise UnreadablePictureError(f"{picture} cannot be read: {error.strerror}.") from error


def size_wh_px_of(encoded: bytes, what: str) -> tuple[int, int]:
    """Of a picture's header; its pixels are not decoded. Raises: UnreadablePictureError."""
    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            return picture.size
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadablePictureError(f"{what}: {len(encoded)} bytes, no picture.") from error


def decode_shrunk(picture: Picture, most: float, what: str) -> tuple[UInt8[Array, "h w 3"], int]:
    """The picture at 1 / n of its size, and n: 1, 2, 4 or 8, at most `most`; 1 if it is no JPEG.

    Raises: UnreadablePictureError.
    """
    if isinstance(picture, np.ndarray):
        return picture, 1
    encoded = picture_bytes(picture)
    shrink = max((n for n in _REDUCED if n <= most), default=1)
    if shrink == 1 or not encoded.startswith(_JPEG_START):
        return decode_rgb(encoded, what), 1
    flags = _REDUCED[shrink] | cv2.IMREAD_IGNORE_ORIENTATION
    bgr = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    if bgr is None:
        raise UnreadablePictureError(f"{what}: {len(encoded)} bytes, no picture.")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), shrink
