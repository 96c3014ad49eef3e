"""Pictures from files: every common kind to upright 8-bit RGB, with EXIF's camera numbers."""

from __future__ import annotations

import functools
import io
import math
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, UnidentifiedImageError

from demo_app.inference.input_files import HEAD_BYTES, kind_of, printable

Array = np.ndarray

MAX_PIXELS = 120_000_000
"""A 108-megapixel phone picture passes; more is refused before it is decoded."""

MAX_FILE_BYTES = 512 * 1024**2

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF")
"""Pillow's other readers are not tried: some start programs (EPS), some take anything (TGA)."""

# What Pillow's decoders raise on damaged files besides OSError, found by feeding them such files.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
)

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what turns the stored picture upright."""

_CAMERA_TAGS = (
    ExifTags.Base.FocalLengthIn35mmFilm,
    ExifTags.Base.FocalLength,
    ExifTags.Base.FocalPlaneXResolution,
    ExifTags.Base.FocalPlaneResolutionUnit,
    ExifTags.Base.ExifImageWidth,
    ExifTags.Base.ExifImageHeight,
)


class ImageError(ValueError):
    """The picture cannot be read; the one-sentence message names the file and says what to do."""


@dataclass(frozen=True)
class LoadedImage:
    """A picture as a person sees it.

    image_rgb: upright (EXIF orientation applied), transparent parts on white.
    exif: plain numbers by tag name, as `models.geometry.cameras.camera_from_exif` takes them; may
        be empty.
    source: the path or the name as given.
    note: what was done to the picture beyond reading it, for the screen; "" if nothing.
    """

    image_rgb: UInt8[Array, "h w 3"]
    exif: dict[str, float]
    source: str
    note: str = ""

    @property
    def size_wh_px(self) -> tuple[int, int]:
        return self.image_rgb.shape[1], self.image_rgb.shape[0]


def read_image(picture: str | os.PathLike[str] | bytes, name: str | None = None) -> LoadedImage:
    """Read a picture from a path or from the bytes of a file, judged by its content.

    name: how to call it in `source` and in messages; the path itself if None. Raises: ImageError.
    """
    if isinstance(picture, bytes):
        source, data = name or "the picture", picture
    else:
        path = os.fspath(picture)
        source = name or path
        data = _read_bytes(path, printable(Path(source).name or source))
    shown = printable(Path(source).name or source)
    image = _open(data, shown)
    notes = _decode(image, shown)
    exif_tags = _exif_tags(image)
    if exif_tags is None:
        notes.append("EXIF unreadable, ignored")
        exif_tags = {}
    orientation = exif_tags.get(ExifTags.Base.Orientation.name)
    try:
        rgb, note = _to_rgb(image, shown)
        turn = _UPRIGHT.get(int(orientation)) if orientation else None
        if turn is not None:
            rgb = rgb.transpose(turn)
    except _DECODE_ERRORS as error:
        raise _damaged(shown, error) from error
    if note:
        notes.append(note)
    exif = {tag.name: exif_tags[tag.name] for tag in _CAMERA_TAGS if tag.name in exif_tags}
    return LoadedImage(np.array(rgb, np.uint8), exif, source, "; ".join(notes))


def _read_bytes(path: str, shown: str) -> bytes:
    try:
        if Path(path).is_dir():
            raise ImageError(f"{shown} is a folder: give a picture, or use the folder input.")
        if not Path(path).exists():
            raise ImageError(f"{shown} does not exist: check the path ({printable(path)}).")
        if not Path(path).is_file():
            raise ImageError(f"{shown} is no ordinary file: give the path of a picture.")
        if Path(path).stat().st_size > MAX_FILE_BYTES:
            raise ImageError(
                f"{shown} is larger than {MAX_FILE_BYTES // 1024**2} MiB: save it smaller."
            )
        return Path(path).read_bytes()
    except OSError as error:
        raise ImageError(
            f"{shown} cannot be opened ({error.strerror}): check the path and its permissions."
        ) from error
    except ValueError as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{shown} is no path ({error}): check it.") from error


@functools.cache
def _formats_here() -> tuple[str, ...]:
    """`FORMATS` without those that this build of Pillow lacks."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _open(data: bytes, shown: str) -> Image.Image:
    """The picture with its header read, nothing decoded."""
    kind = kind_of(data[:HEAD_BYTES])
    refusal = {
        "empty": f"{shown} is empty (0 bytes): save or download it again.",
        "heic": f"{shown} is a HEIC photo, which cannot be read here: export it as JPEG or PNG.",
        "video": f"{shown} is a video, not a picture: give it to the video input.",
        "text": f"{shown} holds text, not a picture: save it as JPEG or PNG.",
    }.get(kind)
    if refusal:
        raise ImageError(refusal)
    try:
        image = Image.open(io.BytesIO(data), formats=_formats_here())
    except UnidentifiedImageError as error:
        if kind == "image":
            raise _damaged(shown, "its header is broken") from error
        raise ImageError(
            f"{shown} is no picture that can be read here: save it as JPEG or PNG."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(shown, "far more") from error
    except _DECODE_ERRORS as error:
        raise _damaged(shown, error) from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_large(shown, f"{width} x {height}")
    if width < 1 or height < 1:
        raise _damaged(shown, f"its size is {width} x {height}")
    return image


def _decode(image: Image.Image, shown: str) -> list[str]:
    """Decode the first picture of the file in place; returns what there is to say about it."""
    try:
        several = getattr(image, "is_animated", False) and image.format not in ("MPO", "JPEG")
        image.load()
    except _DECODE_ERRORS as error:
        raise _damaged(shown, error) from error
    return ["first of several pictures in the file"] if several else []


def _damaged(shown: str, why: object) -> ImageError:
    reason = printable(str(why).strip().splitlines()[0] if str(why).strip() else "cut short")
    return ImageError(
        f"{shown} is damaged or cut short ({reason}): copy or export it again as JPEG or PNG."
    )


def _too_large(shown: str, how_many: str) -> ImageError:
    return ImageError(
        f"{shown} has too many pixels ({how_many}; the limit is {MAX_PIXELS // 10**6} million): "
        "save it smaller."
    )


def _exif_tags(image: Image.Image) -> dict[str, float] | None:
    """The tags that matter here as finite numbers by name; None if the EXIF block is unreadable.

    Read after decoding: PNG may carry EXIF behind the pixels, and Pillow turns a TIFF upright
    itself.
    """
    try:
        exif = image.getexif()
        values = dict(exif) | dict(exif.get_ifd(ExifTags.IFD.Exif))
    except _DECODE_ERRORS:
        return None
    numbers: dict[str, float] = {}
    for tag in (*_CAMERA_TAGS, ExifTags.Base.Orientation):
        try:
            number = float(values.get(tag, math.nan))
        except (TypeError, ValueError, ArithmeticError):
            continue
        if math.isfinite(number) and number > 0:
            numbers[tag.name] = number
    return numbers


def _to_rgb(image: Image.Image, shown: str) -> tuple[Image.Image, str]:
    """8-bit RGB and a note. Full range maps to full range: 65535 of 16 bit becomes 255."""
    if image.mode.startswith("I"):
        levels = np.asarray(image)
        if levels.min() < 0 or levels.max() > 65535:
            raise ImageError(f"{shown} has values beyond 16 bit: save it as 8-bit JPEG or PNG.")
        eight_bit = ((levels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
        return Image.fromarray(eight_bit).convert("RGB"), "16-bit picture reduced to 8 bit"
    if image.mode == "F":
        raise ImageError(f"{shown} holds floating-point values: save it as 8-bit JPEG or PNG.")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        opaque = Image.new("RGBA", rgba.size, "white")
        note = "" if rgba.getextrema()[3][0] == 255 else "transparent parts shown on white"
        return Image.alpha_composite(opaque, rgba).convert("RGB"), note
    if image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        # Pillow takes every CMYK JPEG for one of Adobe's, whose values are inverted.
        image = Image.fromarray(255 - np.asarray(image), "CMYK")
    return image.convert("RGB"), ""
