"""Sample: one head in one picture of any data set, in the project's conventions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from models.geometry.cameras import Camera

Array = np.ndarray


class UnreadablePictureError(ValueError):
    """The picture's bytes are missing or no picture."""


@dataclass(frozen=True)
class Sample:
    """What a data set says about one head of one picture; None: the data set does not say.

    dataset: its name in `viewer.datasets.registry`. key: unique in the data set, printable, with
    "/" between its parts. group: the person or the photo, which a split into training and test may
    not cut.
    image: a file, or the bytes of one; None: the data set has a mesh and no picture.
    landmarks_68_px: iBUG's order (0 at image left of a frontal face).
    split, subject, sequence: as the data set names them, "" where it has none. frame: the number
    in the sequence.
    """

    dataset: str
    key: str
    group: str
    image: Path | bytes | None
    camera: Camera | None
    R_cam_from_head: Float[Array, "3 3"] | None
    t_cam_from_head_mm: Float[Array, "3"] | None
    landmarks_68_px: Float[Array, "68 2"] | None
    box_xyxy_px: Float[Array, "4"] | None
    split: str = ""
    subject: str = ""
    sequence: str = ""
    frame: int | None = None

    def read_image_rgb(self) -> UInt8[Array, "h w 3"]:
        """The picture as stored: labels are about these pixels, so an EXIF rotation is ignored.

        Raises: UnreadablePictureError.
        """
        encoded = self.image
        if encoded is None:
            raise UnreadablePictureError(f"{self.dataset}/{self.key} has no picture.")
        if isinstance(encoded, Path):
            if not encoded.is_file():
                raise UnreadablePictureError(f"{self.dataset}/{self.key}: no file {encoded}.")
            encoded = encoded.read_bytes()
        return decode_rgb(encoded, f"{self.dataset}/{self.key}")


def decode_rgb(encoded: bytes | UInt8[Array, "n"], what: str) -> UInt8[Array, "h w 3"]:
    """Picture of the bytes of a JPEG, PNG, ... file; what: named in the error.

    Raises: UnreadablePictureError.
    """
    data = np.frombuffer(encoded, np.uint8)
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    picture = cv2.imdecode(data, flags) if data.size else None
    if picture is None:
        raise UnreadablePictureError(f"{what}: {data.size} bytes that are no picture.")
    return picture
