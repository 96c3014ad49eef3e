"""Pictures of the original data sets, whole and the right way up."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from viewer.datasets.sample import UnreadablePictureError

Array = np.ndarray

MAX_PICTURE_PIXELS = 120_000_000
_FORMATS = ("JPEG", "PNG", "BMP")
_COLOUR_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


def decode_upright(encoded: bytes) -> UInt8[Array, "h w 3"]:
    """The picture as it is looked at, with EXIF's rotation; one that is cut short is refused.

    Raises: UnreadablePictureError.
    """
    try:
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as picture:
            width, height = picture.size
            if width * height > MAX_PICTURE_PIXELS:
                raise UnreadablePictureError(f"{width} x {height} pixels are too many.")
            if picture.mode not in _COLOUR_MODES:
                raise UnreadablePictureError(f"Pixels of the kind {picture.mode} are not read.")
            return np.array(ImageOps.exif_transpose(picture).convert("RGB"))
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        if isinstance(error, UnreadablePictureError):
            raise
        raise UnreadablePictureError(f"Not a whole picture: {error}"[:200]) from error
