"""The verb `calibrate`: how several looks of one network count, found on held-out heads."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from demo_app.evaluation.face_free import random_boxes_xyxy_px
from demo_app.evaluation.faces import EvaluationError, PhotoFolder, Progress, stderr_progress
from demo_app.evaluation.held_out import jittered, true_box_xyxy, true_ray_box, whole_picture
from models.estimator import HeadPoseEstimator
from models.geometry.boxes import iou_xyxy, ray_box_from_xyxy
from models.geometry.cameras import Camera
from models.training.looks_calibration import LookedAt, calibrate_looks
from models.trg.bundle import write_looks
from models.trg.checkpoints import CheckpointError
from models.trg.looks import VIEWS
from viewer.datasets.synthetic import SyntheticDataset
from viewer.datasets.synthetic_format import SyntheticDataError

Array = np.ndarray

SEED = 7
NO_FACE_IOU, FACE_IOU = 0.05, 0.3
"""Overlap with the true box at which a find is certainly wrong, or right."""


@dataclass(frozen=True)
class Calibrate:
    """Find out how several looks of a trg-mini at one head count together, and write it into the
    weights' header; without it the app takes views that contradict each other for no face. The last
    line printed is one JSON object."""

    weights: Path
    """trg_mini.safetensors of a training; the numbers of the network stay as they are."""
    data: Path
    """Synthetic heads, with and without a face, of persons that the training has not seen."""
    photos: Path | None = None
    """Folder of photos, looked through by you, that show no face."""
    count: int = 2500
    """At most so many pictures of data."""
    photo_crops: int = 1000
    """So many random crops of the photos."""

    def run(self) -> int:
        try:
            estimator = HeadPoseEstimator.load("trg-mini", path=self.weights)
            looks = _Looks(estimator, stderr_progress())
            looks.at_heads(SyntheticDataset(self.data), self.count)
            if self.photos is not None:
                looks.at_photos(PhotoFolder([self.photos]), self.photo_crops)
            found = calibrate_looks(looks.crops, looks.finds)
        except (CheckpointError, EvaluationError, SyntheticDataError, ValueError) as error:
            sys.stderr.write(f"{error}\n")
            return 2
        write_looks(self.weights, found)
        sys.stdout.write(f"{json.dumps({**asdict(found), **looks.counts()})}\n")
        return 0


class _Looks:
    """Collected: crops by source, and finds of the detector."""

    def __init__(self, estimator: HeadPoseEstimator, progress: Progress) -> None:
        self.crops: list[list[LookedAt]] = []
        self.finds: list[LookedAt] = []
        self._estimator, self._progress = estimator, progress

    def counts(self) -> dict[str, int]:
        """How many of which kind."""
        crops = [looked for source in self.crops for looked in source]
        return {
            "face_crops": sum(looked.R_true is not None for looked in crops),
            "other_crops": sum(looked.R_true is None for looked in crops),
            "right_finds": sum(looked.R_true is not None for looked in self.finds),
            "false_finds": sum(looked.R_true is None for looked in self.finds),
        }

    def at_heads(self, dataset: SyntheticDataset, count: int) -> None:
        """The first `count` pictures: faces in jittered boxes, others whole, and all finds."""
        rng, rows = np.random.default_rng(SEED), min(count, len(dataset))
        crops: list[LookedAt] = []
        for row in range(rows):
            shown = dataset.posed_picture(row)
            R_true, true_box = None, None
            box = whole_picture(shown)
            if shown.is_face:
                box = jittered(true_ray_box(shown), rng)
                R_true, true_box = shown.R_cam_from_head, true_box_xyxy(shown)
            crops.append(self._looked(shown.image_rgb, shown.camera, box, R_true))
            self._find(shown.image_rgb, shown.camera, R_true, true_box)
            self._progress(row + 1, rows, "pictures")
        self.crops.append(crops)

    def at_photos(self, photos: PhotoFolder, count: int) -> None:
        """`count` random squares, evenly over the photos, none of which shows a face; and finds."""
        rng, done = np.random.default_rng(SEED), 0
        crops: list[LookedAt] = []
        quotas = np.diff(np.linspace(0, count, len(photos) + 1).round().astype(int))
        for photo, quota in zip(photos, quotas, strict=False):
            for box in random_boxes_xyxy_px(photo.camera.size_wh_px, int(quota), rng):
                ray_box = ray_box_from_xyxy(photo.camera, box)
                crops.append(self._looked(photo.image_rgb, photo.camera, ray_box, None))
            self._find(photo.image_rgb, photo.camera, None, None)
            done += int(quota)
            self._progress(done, count, "crops of photos")
        self.crops.append(crops)

    def _find(
        self,
        image_rgb: UInt8[Array, "h w 3"],
        camera: Camera,
        R_true: Float[Array, "3 3"] | None,
        true_box_xyxy_px: Float[Array, "4"] | None,
    ) -> None:
        """What the detector finds, strict and lenient; between a face and none is left out."""
        for lenient in (False, True):
            found = self._estimator.detector.detect(image_rgb, lenient=lenient)
            ray_boxes = self._estimator.ray_boxes_from_detections(camera, found)
            for box, ray_box, score in zip(
                found.boxes_xyxy_px, ray_boxes, found.scores, strict=True
            ):
                overlap = 0.0
                if true_box_xyxy_px is not None:
                    overlap = float(iou_xyxy(box[None], true_box_xyxy_px[None])[0, 0])
                if overlap <= NO_FACE_IOU or overlap >= FACE_IOU:
                    R = R_true if overlap >= FACE_IOU else None
                    looked = self._looked(image_rgb, camera, ray_box, R)
                    self.finds.append(replace(looked, score=float(score)))

    def _looked(
        self,
        image_rgb: UInt8[Array, "h w 3"],
        camera: Camera,
        ray_box: Float[Array, "3"],
        R_true: Float[Array, "3 3"] | None,
    ) -> LookedAt:
        seen, before = self._estimator.look(image_rgb, camera, ray_box[None], views=VIEWS)
        if seen.presence is None or seen.rotation_covariance_cam is None:
            raise ValueError("These weights say nothing of presence or of their errors.")
        return LookedAt(
            R_true,
            seen.R_cam_from_head,
            seen.t_cam_from_head_m,
            seen.rotation_covariance_cam,
            np.concatenate([before[0], seen.presence]),
        )
