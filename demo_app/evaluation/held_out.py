"""Protocol `held-out`: renders of people that no training has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float

from demo_app.evaluation.calibration import (
    CoverageFigures,
    PresenceFigures,
    coverage_figures,
    presence_figures,
)
from demo_app.evaluation.columns import APP_ANSWER, SINGLE_PASS, Column, Poses, poses_stacked
from demo_app.evaluation.errors import PoseFigures, binned_figures, readable_ypr_deg
from demo_app.evaluation.faces import (
    Detect,
    EvaluationError,
    Progress,
    box_of_face,
    detector_ray_box,
    no_progress,
)
from models.geometry.boxes import bounding_box_xyxy, ray_box_from_points
from models.weights import CROP_SCALE
from viewer.datasets.augment_config import WORSE_CAMERA
from viewer.datasets.photo_effects import photo_effects
from viewer.datasets.synthetic import PosedPicture, SyntheticDataset
from viewer.datasets.synthetic_format import THINGS

Array = np.ndarray
Figures = TypeVar("Figures")

SEED = 3
SCALE_JITTER_LOG, SHIFT_SIGMA, SHIFT_LIMIT = 0.12, 0.03, 0.08
JITTER = (
    f"true boxes: side x exp(uniform +-{SCALE_JITTER_LOG}), shift normal {SHIFT_SIGMA} of the side "
    f"cut at {SHIFT_LIMIT}, seed {SEED}"
)
PLAIN_ROLL_DEG = 40.0
"""Heads of the prototype's test were rolled no further, and nothing was in front of them."""
SAY_PRESENCE = (SINGLE_PASS, APP_ANSWER)
TRUE_BOXES_TOO = "{}, true boxes of the same faces"
"""Of a column, beside that from the detector's boxes."""
AS_RENDERED = "as rendered"
DEGRADED = (
    "side light, colour, blur, low light, noise, few pixels and JPEG on each, drawn as for "
    f"training crops, seed {SEED} and row"
)


@dataclass(frozen=True)
class HeldOut:
    """figures: by column, then by bin; see `demo_app.evaluation.errors.bins_of` and `_views`.

    coverage, presence: by column, where it says something of its errors and of presence.
    """

    data: str
    pictures: str
    boxes: str
    faces: int
    faces_not_found: int
    negatives: int
    figures: dict[str, dict[str, PoseFigures]]
    coverage: dict[str, CoverageFigures]
    presence: dict[str, PresenceFigures]
    protocol: str = "held-out"
    notes: tuple[str, ...] = field(default=())


def true_ray_box(head: PosedPicture) -> Float[Array, "3"]:
    """The square around the 468 landmarks, as trg-mini is trained to see a head; for all models."""
    cam_m = _landmarks_cam_m(head)
    return ray_box_from_points(cam_m[:, :2] / np.maximum(cam_m[:, 2:], 0.01), CROP_SCALE)


def true_box_xyxy(head: PosedPicture) -> Float[Array, "4"]:
    """Extent of the 468 landmarks in the picture, pixels."""
    return bounding_box_xyxy(head.camera.project(_landmarks_cam_m(head)))


def jittered(ray_box: Float[Array, "3"], rng: np.random.Generator) -> Float[Array, "3"]:
    """The box as a detector might have given it, see `JITTER`."""
    scale = np.exp(rng.uniform(-SCALE_JITTER_LOG, SCALE_JITTER_LOG))
    shift = np.clip(rng.normal(0.0, SHIFT_SIGMA, 2), -SHIFT_LIMIT, SHIFT_LIMIT)
    return np.array([*(ray_box[:2] + shift * ray_box[2]), ray_box[2] * scale])


def as_of_a_worse_camera(head: PosedPicture, row: int) -> PosedPicture:
    """The same picture with the effects of `WORSE_CAMERA`, if square. Raises: EvaluationError."""
    height, width = head.image_rgb.shape[:2]
    if height != width:
        raise EvaluationError(f"Only square pictures can be degraded, not {width} x {height}.")
    rng = np.random.default_rng([SEED, row])
    image = photo_effects(head.image_rgb.copy(), rng, WORSE_CAMERA, head.image_rgb)
    return replace(head, image_rgb=image)


def evaluate_held_out(
    dataset: SyntheticDataset,
    columns: Mapping[str, Column],
    *,
    detect: Detect | None = None,
    degrade: bool = False,
    count: int | None = None,
    progress: Progress = no_progress,
) -> HeldOut:
    """Every head of the data set, or the first `count` rows.

    detect: use the detector's boxes on the whole picture; heads that it does not find are counted
        and left out of every column. None: jittered true boxes.
    degrade: every picture as of a worse camera, before anything looks at it.
    Raises: EvaluationError if there is no head.
    """
    rng = np.random.default_rng(SEED)
    rows = len(dataset) if count is None else min(count, len(dataset))
    found: dict[str, list[Poses]] = {name: [] for name in columns}
    same_faces: dict[str, list[Poses]] = {name: [] for name in SAY_PRESENCE if name in columns}
    true: list[Poses] = []
    has_things: list[bool] = []
    of_negatives: dict[str, list[Poses]] = {name: [] for name in columns if name in SAY_PRESENCE}
    lost = negatives = 0
    for row in range(rows):
        head = dataset.posed_picture(row)
        head = as_of_a_worse_camera(head, row) if degrade else head
        progress(row + 1, rows, "pictures")
        if not head.is_face:
            negatives += 1
            _look(of_negatives, columns, head, whole_picture(head))
            continue
        box = true_box = jittered(true_ray_box(head), rng)
        if detect is not None:
            box = _detected(detect, head)
            if box is None:
                lost += 1
                continue
            _look(same_faces, columns, head, true_box)
        true.append(_truth(head))
        has_things.append(not set(THINGS).isdisjoint(dataset.tags_of_row[row]))
        _look(found, columns, head, box)
    if not true:
        raise EvaluationError(f"{dataset.root} has no head among {rows} pictures ({lost} lost).")
    truth, stacked = poses_stacked(true), {k: poses_stacked(v) for k, v in found.items()}
    single, views = stacked[SINGLE_PASS], _views(truth, np.array(has_things))
    if detect is not None:
        stacked |= {TRUE_BOXES_TOO.format(k): poses_stacked(v) for k, v in same_faces.items()}
    return HeldOut(
        data=str(dataset.root),
        pictures=DEGRADED if degrade else AS_RENDERED,
        boxes=JITTER if detect is None else "MTCNN's on the whole picture",
        faces=len(truth) + lost,
        faces_not_found=lost,
        negatives=negatives,
        figures={name: binned_figures(poses, truth, views) for name, poses in stacked.items()},
        coverage=_known({k: coverage_figures(poses, truth) for k, poses in stacked.items()}),
        presence=_known({k: _presence(stacked[k], seen) for k, seen in of_negatives.items()}),
        notes=_notes(single),
    )


def _look(
    answers: dict[str, list[Poses]],
    columns: Mapping[str, Column],
    head: PosedPicture,
    ray_box: Float[Array, "3"],
) -> None:
    """Add what each column of `answers` sees in a box."""
    for name, seen in answers.items():
        seen.append(columns[name](head.image_rgb, head.camera, ray_box[None]))


def _presence(of_faces: Poses, of_negatives: list[Poses]) -> PresenceFigures | None:
    return presence_figures(of_faces.presence, poses_stacked(of_negatives).presence)


def _known(figures: Mapping[str, Figures | None]) -> dict[str, Figures]:
    return {name: value for name, value in figures.items() if value is not None}


def _views(truth: Poses, has_things: Bool[Array, "n"]) -> dict[str, Bool[Array, "n"]]:
    """Bins by what is worn or held before the face."""
    roll_deg = np.abs(readable_ypr_deg(truth.R_cam_from_head)[:, 2])
    return {
        "something in front": has_things,
        "nothing in front": ~has_things,
        f"nothing in front, roll within {PLAIN_ROLL_DEG:g} deg": ~has_things
        & (roll_deg < PLAIN_ROLL_DEG),
    }


def _notes(single: Poses) -> tuple[str, ...]:
    notes = [
        "GE: geodesic error. Angles: 300W-LP's order; of two equal triples the nearer to the truth "
        "counts. add_mm: the true mesh under both poses; camera_vertices_mm: the predicted mesh "
        "under the predicted pose; canonical_vertices_mm: the meshes in the head frame."
    ]
    if single.covariance_rad2 is None:
        notes.append("These weights have no uncertainty head: no coverage.")
    if single.presence is None:
        notes.append("These weights have no presence head: no false accepts or rejects.")
    return tuple(notes)


def _truth(head: PosedPicture) -> Poses:
    return Poses(
        np.asarray(head.R_cam_from_head, np.float64)[None],
        np.asarray(head.t_cam_from_head_mm, np.float64)[None],
        1000.0 * np.asarray(head.landmarks_468_head_m, np.float64)[None],
    )


def _detected(detect: Detect, head: PosedPicture) -> Float[Array, "3"] | None:
    box = box_of_face(detect(head.image_rgb), true_box_xyxy(head))
    return None if box is None else detector_ray_box(head.camera, box)


def _landmarks_cam_m(head: PosedPicture) -> Float[Array, "468 3"]:
    points = np.asarray(head.landmarks_468_head_m, np.float64)
    return points @ head.R_cam_from_head.T + head.t_cam_from_head_mm / 1000.0


def whole_picture(head: PosedPicture) -> Float[Array, "3"]:
    """What a negative shows is in its middle."""
    w, h = head.camera.size_wh_px
    centre = head.camera.normalise(np.array([w / 2, h / 2]))
    return np.array([*centre, min(w / head.camera.fx_px, h / head.camera.fy_px)])
