"""What the browser and the server say to each other in live mode, and the limits that hold.

Browser to server: a binary message is a frame, 4 bytes of its number (little endian) and a JPEG; a
text message is JSON, {"type": "settings", "settings": {...PoseOptions}}, {"type": "zero"},
{"type": "clear_zero"} or {"type": "stop"}.
Server to browser, all JSON by "type": "ready", "frame" (the answer to one frame), "error", "bye".
"""

from __future__ import annotations

import io
import json
import struct
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from demo_app.actions.options import OptionError, PoseOptions

Array = np.ndarray

MAX_FRAME_BYTES = 2 * 1024**2
MAX_TEXT_BYTES = 16 * 1024
MAX_SIDE_PX = 1920
_NUMBER = struct.Struct("<I")


class LiveMessageError(ValueError):
    """The browser sent something that cannot be used; the message says what."""


@dataclass(frozen=True)
class LiveFrame:
    """A frame as it came in, still a JPEG."""

    number: int
    jpeg: bytes


@dataclass(frozen=True)
class LiveCommand:
    """kind: "settings", "zero", "clear_zero" or "stop". options: only of "settings"."""

    kind: str
    options: PoseOptions | None = None


def read_frame_message(message: bytes) -> LiveFrame:
    """Split a binary message. Raises: LiveMessageError."""
    if len(message) > MAX_FRAME_BYTES:
        raise LiveMessageError(f"A frame may have {MAX_FRAME_BYTES // 1024**2} MiB at most.")
    if len(message) <= _NUMBER.size:
        raise LiveMessageError("A frame must be its number (4 bytes) and a JPEG.")
    return LiveFrame(_NUMBER.unpack_from(message)[0], message[_NUMBER.size :])


def frame_message(number: int, jpeg: bytes) -> bytes:
    """The binary message of a frame: what `live.js` sends."""
    return _NUMBER.pack(number) + jpeg


def read_text_message(text: str) -> LiveCommand:
    """Understand a text message. Raises: LiveMessageError."""
    if len(text) > MAX_TEXT_BYTES:
        raise LiveMessageError(f"A message may have {MAX_TEXT_BYTES // 1024} KiB at most.")
    try:
        message = json.loads(text)
    except ValueError as error:
        raise LiveMessageError(f"The message is no JSON: {error}.") from error
    kind = message.get("type") if isinstance(message, dict) else None
    if kind in ("zero", "clear_zero", "stop"):
        return LiveCommand(kind)
    if kind != "settings" or not isinstance(message.get("settings"), dict):
        raise LiveMessageError("A message must be settings, zero, clear_zero or stop.")
    try:
        return LiveCommand("settings", PoseOptions.from_message(message["settings"]))
    except OptionError as error:
        raise LiveMessageError(str(error)) from error


def decode_jpeg(jpeg: bytes) -> UInt8[Array, "h w 3"]:
    """The picture of a frame; its size is read from the header first. Raises: LiveMessageError."""
    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as header:
            width, height = header.size
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise LiveMessageError("The frame is no JPEG.") from error
    if max(width, height) > MAX_SIDE_PX or min(width, height) < 16:
        raise LiveMessageError(
            f"The frame is {width} x {height}: its sides must be 16 to {MAX_SIDE_PX} pixels."
        )
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    image_rgb = cv2.imdecode(np.frombuffer(jpeg, np.uint8), flags)
    if image_rgb is None:
        raise LiveMessageError("The frame is a damaged JPEG.")
    return image_rgb


def error_message(text: str, fatal: bool = False) -> dict[str, Any]:
    """fatal: the server closes the connection after it."""
    return {"type": "error", "message": text, "fatal": fatal}
