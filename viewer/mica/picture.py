"""One picture of the prepared set: read, find the face, align, write. Runs in worker processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path, PurePosixPath
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from models.face_detection.base import FaceDetections, FaceDetector
from models.face_detection.mtcnn import THRESHOLDS, MtcnnDetector
from viewer.datasets.mica_layout import ARCFACE, IMAGES
from viewer.datasets.sample import UnreadablePictureError
from viewer.mica.arcface import (
    ARCFACE_SIDE_PX,
    CROP_SIDE_PX,
    NoAlignmentError,
    align_face,
    arcface_input,
    crop_bytes,
    nearest_to_centre,
    npy_bytes,
)
from viewer.mica.decoding import decode_upright
from viewer.mica.output_files import OutputFiles

Array = np.ndarray
State = Literal["ready", "no face", "unreadable", "missing", "clash", "not yet"]

MAX_PICTURE_BYTES = 256 << 20
MIN_FACE_FRACTION = 1 / 14
"""insightface looks for faces in MICA's 224 px, where its smallest box has 16 px."""


@dataclass(frozen=True)
class DetectorChoice:
    """build: makes it, in each worker process; a function of a module. title: for the report."""

    title: str
    build: Callable[[], FaceDetector]


def build_mtcnn() -> FaceDetector:
    return MtcnnDetector("cpu", min_face_fraction=MIN_FACE_FRACTION)


MTCNN = DetectorChoice(
    f"MTCNN (facenet-pytorch, limits {' '.join(map(str, THRESHOLDS))} of its three stages), faces "
    "from 1/14 of the longer side of the picture",
    build_mtcnn,
)


@dataclass(frozen=True)
class PictureTask:
    """signature: of the source file; another one as soon as its size or time is another."""

    actor: str
    name: str
    source: Path
    signature: str


@dataclass(frozen=True)
class PictureResult:
    """What became of a picture. reason: why it is not ready, else "".

    faces: how many the detector found. score: of the face that was chosen, the detector's own.
    kept: files that an earlier run, or somebody else, had put there with another content.
    """

    actor: str
    name: str
    source: str
    signature: str
    state: State
    reason: str = ""
    faces: int = 0
    score: float | None = None
    kept: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """What all pictures of a run have in common. folder: of the subset."""

    folder: Path
    min_score: float
    overwrite: bool
    detector: DetectorChoice

    @property
    def settings(self) -> str:
        """Results of other settings do not count."""
        return f"{self.detector.title}; score >= {self.min_score:g}"


def output_names(actor: str, name: str) -> tuple[str, str, str]:
    """The picture, its aligned crop, its array; relative to the subset's folder."""
    stem = PurePosixPath(name).stem
    return (
        f"{IMAGES}/{actor}/{name}",
        f"{ARCFACE}/{actor}/{name}",
        f"{ARCFACE}/{actor}/{stem}.npy",
    )


def prepare_picture(task: PictureTask, job: Job, detector: FaceDetector) -> PictureResult:
    """Raises: OSError where the outputs cannot be written."""
    about = (task.actor, task.name, str(task.source), task.signature)
    try:
        encoded = _content(task.source)
        image_rgb = decode_upright(encoded)
    except UnreadablePictureError as error:
        return PictureResult(*about, "unreadable", str(error))
    files = OutputFiles(job.folder, job.overwrite)
    image_name, crop_name, array_name = output_names(task.actor, task.name)
    files.put(image_name, encoded)
    faces = detector.detect(image_rgb)
    try:
        reason, score, crop, array = _aligned(image_rgb, faces, job.min_score, task.source.suffix)
    except NoAlignmentError as error:
        reason, score, crop, array = str(error), None, None, None
    if crop is None or array is None:
        files.drop(crop_name)
        files.drop(array_name)
        state: State = "no face"
    else:
        files.put(crop_name, crop)
        files.put(array_name, array)
        state = "ready"
    return PictureResult(*about, state, reason, len(faces), score, tuple(files.kept))


def _aligned(
    image_rgb: UInt8[Array, "h w 3"], faces: FaceDetections, min_score: float, ending: str
) -> tuple[str, float | None, bytes | None, bytes | None]:
    """Why there is none, the score, the crop's file and the array's."""
    if not len(faces):
        return "No face was found.", None, None, None
    chosen = nearest_to_centre(faces, (image_rgb.shape[1], image_rgb.shape[0]))
    score, points_px = float(faces.scores[chosen]), faces.landmarks5_px[chosen]
    if score < min_score:
        reason = f"The face nearest to the centre has a score of {score:.2f}."
        return reason, score, None, None
    small = align_face(image_rgb, points_px, ARCFACE_SIDE_PX)
    large = align_face(image_rgb, points_px, CROP_SIDE_PX)
    return "", score, crop_bytes(large, ending), npy_bytes(arcface_input(small))


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_PICTURE_BYTES:
            raise UnreadablePictureError(f"{size} bytes are too many for a picture.")
        return path.read_bytes()
    except OSError as error:
        raise UnreadablePictureError(f"It cannot be read: {error.strerror}.") from error


class _Worker:
    job: Job
    detector: FaceDetector


def start_worker(job: Job) -> None:
    """In a new process: ends with the process that started it, even if that one is killed."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    _Worker.job, _Worker.detector = job, job.detector.build()


def _end_with(parent: object) -> None:
    parent.join()
    os._exit(1)


def prepare_in_worker(tasks: tuple[PictureTask, ...]) -> list[PictureResult]:
    """In a worker."""
    return [prepare_picture(task, _Worker.job, _Worker.detector) for task in tasks]
