"""Pictures and the faces that the detector finds in them, for the protocols."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from demo_app.inference.camera_choice import camera_for_image
from demo_app.inference.images import ImageError, read_image
from demo_app.inference.input_files import list_images
from models.estimator import DETECTOR_BOX_SCALE
from models.face_detection.base import FaceDetections
from models.face_detection.mtcnn import MtcnnDetector
from models.geometry.boxes import iou_xyxy, ray_box_from_xyxy
from models.geometry.cameras import Camera

Array = np.ndarray

SAME_FACE_IOU = 0.2
"""A detection that overlaps the true box less is another face, or none."""

Detect = Callable[[Array], FaceDetections]
Progress = Callable[[int, int, str], None]
"""(done, total, of what); total 0: not known."""


class EvaluationError(ValueError):
    """The protocol cannot run on what was given; the message says why."""


@dataclass(frozen=True)
class Photo:
    """A picture of a folder with its camera: EXIF's, or the default field of view."""

    name: str
    image_rgb: UInt8[Array, "h w 3"]
    camera: Camera


@dataclass
class PhotoFolder:
    """Reads the pictures of files and folders one by one.

    unreadable: damaged pictures so far. other_files: what is no picture.
    """

    inputs: Sequence[Path]
    recursive: bool = True
    unreadable: int = 0
    other_files: int = 0

    def __post_init__(self) -> None:
        """Raises: EvaluationError if there is no picture."""
        listing = list_images([str(path) for path in self.inputs], self.recursive)
        self.paths, self.other_files = listing.paths, len(listing.skipped)
        if not self.paths:
            raise EvaluationError(
                "There is no picture: give --photos a folder that holds some. "
                + listing.skipped_text(3)
            )

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Photo]:
        for path in self.paths:
            try:
                loaded = read_image(path)
            except ImageError as error:
                self.unreadable += 1
                sys.stderr.write(f"{error}\n")
                continue
            yield Photo(path, loaded.image_rgb, camera_for_image(loaded))


def mtcnn(device: str | None = None) -> Detect:
    """The project's detector: strict first, lenient where that finds nothing."""
    detector = MtcnnDetector(device or "cpu")

    def detect(image_rgb: Array) -> FaceDetections:
        found = detector.detect(image_rgb)
        return found if len(found) else detector.detect(image_rgb, lenient=True)

    return detect


def detector_ray_box(camera: Camera, box_xyxy_px: Float[Array, "4"]) -> Float[Array, "3"]:
    """The first crop of a detected face, as the app takes it."""
    return ray_box_from_xyxy(camera, box_xyxy_px, DETECTOR_BOX_SCALE)


def box_of_face(
    found: FaceDetections, true_box_xyxy_px: Float[Array, "4"] | None
) -> Float[Array, "4"] | None:
    """The detection of this face: the one that overlaps it most, or the best where no box is known.

    None if the face was not found.
    """
    if len(found) == 0:
        return None
    if true_box_xyxy_px is None:
        return found.boxes_xyxy_px[0]
    overlap = iou_xyxy(found.boxes_xyxy_px, true_box_xyxy_px[None])[:, 0]
    best = int(overlap.argmax())
    return found.boxes_xyxy_px[best] if overlap[best] >= SAME_FACE_IOU else None


def stderr_progress(every_s: float = 5.0) -> Progress:
    """A line on stderr every few seconds."""
    last_s = time.monotonic()

    def say(done: int, total: int, what: str) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= every_s or 0 < total == done:
            last_s = time.monotonic()
            of_all = f" of {total}" if total else ""
            sys.stderr.write(f"{done}{of_all} {what}\n")
            sys.stderr.flush()

    return say


def no_progress(done: int, total: int, what: str) -> None:
    """Says nothing."""
