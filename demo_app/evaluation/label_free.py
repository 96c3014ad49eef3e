"""Protocol `label-free`: photos without labels. A moved picture must give the moved pose.

The detector runs once, on the photo as it is. A difference says how far two answers about one
face lie apart; at least one of them is off by half of it. It says nothing about errors that stay
the same, such as a constant bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from demo_app.evaluation.columns import Column, Poses, boxes_around
from demo_app.evaluation.errors import mean, percentile
from demo_app.evaluation.faces import (
    Detect,
    EvaluationError,
    Photo,
    PhotoFolder,
    Progress,
    detector_ray_box,
    no_progress,
)
from demo_app.evaluation.picture_moves import Look, Move, all_moves
from models.estimator import HeadPoseEstimator
from models.geometry.rotations import geodesic_deg

Array = np.ndarray

MIN_SCORE = 0.9
"""Detections that the detector itself doubts are left out, and counted; so are those that the app
would not show."""

DETECTOR_CROP, REFINED_CROP = "detector's crop", "refined crop"


@dataclass(frozen=True)
class MoveFigures:
    """How far the answer after a move is from the moved answer before it.

    t_mean_mm: distance of the origins. depth_pct: |difference of z| / z, mean.
    """

    pairs: int
    geodesic_mean_deg: float | None
    geodesic_median_deg: float | None
    geodesic_p95_deg: float | None
    depth_pct: float | None
    t_mean_mm: float | None


@dataclass(frozen=True)
class LabelFree:
    """figures: by crop of the original and column, then by move.

    detections_left_out: by the detector's score. detections_refused: not
    shown by the app, see `HeadPoseEstimator`.
    """

    data: tuple[str, ...]
    photos: int
    photos_unreadable: int
    other_files: int
    photos_without_face: int
    faces: int
    detections_left_out: int
    detections_refused: int
    figures: dict[str, dict[str, MoveFigures]]
    protocol: str = "label-free"
    notes: tuple[str, ...] = field(default=())


NOTES = (
    f"{DETECTOR_CROP}: 1.4 x the detector's box. {REFINED_CROP}: the one that the network asks for "
    "after it has seen the former, as the app does. Either is moved together with the picture.",
    "resampled: the roll's resampling without a roll, the floor of the roll rows. Roll: both "
    "directions about the optical axis. Shift: 8 % of the side in four directions. Blur: sigma 1.5 "
    "px of a crop of 192.",
    "The mirror row of a mirror average is zero by construction.",
)


class _Differences:
    """Collected by column and move."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, list[tuple[float, float, float]]]] = {}

    def add(self, column: str, move: Move, before: Poses, after: Poses) -> None:
        R, t_mm = move.expected(before.R_cam_from_head[0], before.t_cam_from_head_mm[0])
        apart_deg = float(geodesic_deg(after.R_cam_from_head[0], R))
        apart_mm = after.t_cam_from_head_mm[0] - t_mm
        depth_pct = 100.0 * abs(float(apart_mm[2])) / float(t_mm[2])
        row = (apart_deg, depth_pct, float(np.linalg.norm(apart_mm)))
        self.rows.setdefault(column, {}).setdefault(move.name, []).append(row)

    def figures(self) -> dict[str, dict[str, MoveFigures]]:
        return {
            column: {name: move_figures(np.array(rows)) for name, rows in moves.items()}
            for column, moves in self.rows.items()
        }


def move_figures(differences: Float[Array, "n 3"]) -> MoveFigures:
    """Rows of (degrees, per cent of depth, millimetres)."""
    return MoveFigures(
        pairs=len(differences),
        geodesic_mean_deg=mean(differences[:, 0]),
        geodesic_median_deg=percentile(differences[:, 0], 50),
        geodesic_p95_deg=percentile(differences[:, 0], 95),
        depth_pct=mean(differences[:, 1]),
        t_mean_mm=mean(differences[:, 2]),
    )


def evaluate_label_free(
    photos: PhotoFolder,
    estimator: HeadPoseEstimator,
    columns: Mapping[str, Column],
    detect: Detect,
    *,
    count: int | None = None,
    progress: Progress = no_progress,
) -> LabelFree:
    """Every face of every photo, or of the first `count` photos.

    Raises: EvaluationError if no face is found.
    """
    total = len(photos) if count is None else min(count, len(photos))
    moves, collected = all_moves(), _Differences()
    faces = empty = left_out = refused = seen = 0
    for photo in photos:
        if seen == total:
            break
        seen += 1
        found = detect(photo.image_rgb)
        sure = np.flatnonzero(found.scores >= MIN_SCORE)
        left_out += len(found) - len(sure)
        empty += len(sure) == 0
        for i in sure:
            crops = _crops(photo, found.boxes_xyxy_px[i], found.scores[i : i + 1], estimator)
            if crops is None:
                refused += 1
                continue
            faces += 1
            _compare(photo, crops, columns, moves, collected)
        progress(seen, total, "photos")
    if not faces:
        raise EvaluationError(f"No face was found in {seen} photos.")
    return LabelFree(
        data=tuple(str(path) for path in photos.inputs),
        photos=seen,
        photos_unreadable=photos.unreadable,
        other_files=photos.other_files,
        photos_without_face=empty,
        faces=faces,
        detections_left_out=left_out,
        detections_refused=refused,
        figures=collected.figures(),
        notes=NOTES,
    )


def _crops(
    photo: Photo,
    box_xyxy_px: Float[Array, "4"],
    score: Float[Array, "1"],
    estimator: HeadPoseEstimator,
) -> dict[str, Float[Array, "3"]] | None:
    """The crops to start from, by name; None if the app would not show the face."""
    crop = detector_ray_box(photo.camera, box_xyxy_px)
    (answer,) = estimator.predict_boxes(photo.image_rgb, photo.camera, crop[None], scores=score)
    if answer.confidence < estimator.min_confidence:
        return None
    first = estimator.model.predict(photo.image_rgb, photo.camera, crop[None])
    return {DETECTOR_CROP: crop, REFINED_CROP: boxes_around(estimator.model, first)[0]}


def _compare(
    photo: Photo,
    crops: Mapping[str, Float[Array, "3"]],
    columns: Mapping[str, Column],
    moves: Sequence[Move],
    collected: _Differences,
) -> None:
    for name, ray_box in crops.items():
        look = Look(photo.image_rgb, photo.camera, ray_box)
        before = {key: _pose(column, look) for key, column in columns.items()}
        for move in moves:
            moved = move.change(look)
            for key, column in columns.items():
                collected.add(f"{key}, {name}", move, before[key], _pose(column, moved))


def _pose(column: Column, look: Look) -> Poses:
    return column(look.image_rgb, look.camera, look.ray_box[None])
