"""Protocol `face-free`: what is taken for a face where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from demo_app.evaluation.calibration import percent, presence_figures
from demo_app.evaluation.columns import SINGLE_PASS, Column, model_columns
from demo_app.evaluation.faces import EvaluationError, PhotoFolder, Progress, no_progress
from models.estimator import HeadPoseEstimator
from models.geometry.boxes import ray_box_from_xyxy
from models.geometry.cameras import Camera
from viewer.datasets.synthetic import SyntheticDataset

Array = np.ndarray

SEED = 11
SMALLEST_CROP_PX = 24
DEFAULT_COUNT = 2000


@dataclass(frozen=True)
class FaceFreeFigures:
    """Of the crops of one source.

    presence: of the network's single look; None without that head. answer: what the app would show,
    by its confidence, see `HeadPoseEstimator`.
    """

    crops: int
    presence_false_accepts_pct: float | None
    answer_false_accepts_pct: float


@dataclass(frozen=True)
class FaceFree:
    """By source of the crops."""

    data: tuple[str, ...]
    pictures: int
    pictures_unreadable: int
    figures: dict[str, FaceFreeFigures]
    protocol: str = "face-free"
    notes: tuple[str, ...] = field(default=())


def random_boxes_xyxy_px(
    size_wh_px: tuple[int, int], count: int, rng: np.random.Generator
) -> Float[Array, "n 4"]:
    """Squares inside a picture, their sides log-uniform from 24 px to the picture's shorter one."""
    width, height = size_wh_px
    largest = float(min(width, height))
    smallest = min(float(SMALLEST_CROP_PX), largest)
    sides = np.exp(rng.uniform(np.log(smallest), np.log(largest), count))
    left = rng.uniform(0.0, 1.0, count) * (width - sides)
    top = rng.uniform(0.0, 1.0, count) * (height - sides)
    return np.stack([left, top, left + sides, top + sides], -1)


@dataclass
class _Judged:
    presence: list[Array] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)

    def look(
        self,
        estimator: HeadPoseEstimator,
        single: Column,
        image: Array,
        camera: Camera,
        boxes: Array,
    ) -> None:
        seen = single(image, camera, boxes)
        if seen.presence is not None:
            self.presence.append(seen.presence)
        poses = estimator.predict_boxes(image, camera, boxes)
        self.confidence += [pose.confidence for pose in poses]

    def figures(self, min_confidence: float) -> FaceFreeFigures:
        known = presence_figures(None, np.concatenate(self.presence)) if self.presence else None
        return FaceFreeFigures(
            crops=len(self.confidence),
            presence_false_accepts_pct=None if known is None else known.false_accepts_pct,
            answer_false_accepts_pct=percent(np.array(self.confidence) >= min_confidence),
        )


def evaluate_face_free(
    estimator: HeadPoseEstimator,
    photos: PhotoFolder | None,
    negatives: Sequence[SyntheticDataset] = (),
    *,
    count: int = DEFAULT_COUNT,
    progress: Progress = no_progress,
) -> FaceFree:
    """`count` random crops of the pictures, evenly over them, and every negative of the data sets.

    Raises: EvaluationError if there is neither.
    """
    single = model_columns(estimator.model)[SINGLE_PASS]
    rng, sources = np.random.default_rng(SEED), {}
    pictures = 0
    if photos is not None:
        judged = sources["random crops of pictures"] = _Judged()
        quotas = np.diff(np.linspace(0, count, len(photos) + 1).round().astype(int))
        for photo, quota in zip(photos, quotas, strict=False):
            pictures += 1
            if quota:
                found = random_boxes_xyxy_px(photo.camera.size_wh_px, int(quota), rng)
                boxes = np.stack([ray_box_from_xyxy(photo.camera, box) for box in found])
                judged.look(estimator, single, photo.image_rgb, photo.camera, boxes)
            progress(pictures, len(photos), "pictures")
    for dataset in negatives:
        judged = sources[f"negatives of {dataset.root}"] = _Judged()
        rows = np.flatnonzero(~dataset.is_face_of_row)
        for done, row in enumerate(rows, start=1):
            shown = dataset.posed_picture(int(row))
            w, h = shown.camera.size_wh_px
            box = ray_box_from_xyxy(shown.camera, _centre_square(w, h))
            judged.look(estimator, single, shown.image_rgb, shown.camera, box[None])
            progress(done, len(rows), "negatives")
    figures = {
        name: judged.figures(estimator.min_confidence)
        for name, judged in sources.items()
        if judged.confidence
    }
    if not figures:
        raise EvaluationError("There is nothing without a face: give --photos or --data.")
    return FaceFree(
        data=tuple(str(path) for path in photos.inputs) if photos else (),
        pictures=pictures,
        pictures_unreadable=0 if photos is None else photos.unreadable,
        figures=figures,
        notes=_notes(any(judged.presence for judged in sources.values())),
    )


def _centre_square(width_px: int, height_px: int) -> Float[Array, "4"]:
    side = min(width_px, height_px)
    left, top = (width_px - side) / 2, (height_px - side) / 2
    return np.array([left, top, left + side, top + side])


def _notes(has_presence: bool) -> tuple[str, ...]:
    notes = (
        "Nobody checks that the pictures show no face; a face in them counts as a false accept. "
        "answer: after a second pass, with mirrored and shifted views of the crop; no detector's "
        "score.",
    )
    if has_presence:
        return notes
    return (*notes, "These weights have no presence head: its false accepts are absent.")
