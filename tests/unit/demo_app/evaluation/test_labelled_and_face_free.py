"""Protocols labelled and face-free on written imitations."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from demo_app.evaluation.columns import SINGLE_PASS, model_columns
from demo_app.evaluation.face_free import evaluate_face_free, random_boxes_xyxy_px
from demo_app.evaluation.faces import EvaluationError, PhotoFolder
from demo_app.evaluation.labelled import evaluate_labelled
from models.face_detection.base import FaceDetections
from models.geometry.boxes import bounding_box_xyxy
from models.geometry.rotations import about_x, matrix_from_ypr_300wlp
from tests.unit.demo_app.evaluation.fakes import FakeDataset, FakeModel

POSES_RAD = ([0.1, 0.2, 0.05], [-0.3, 1.2, 0.4], [0.5, -0.6, -0.2])
POINTS_PX = np.random.default_rng(0).uniform(100, 200, (2, 68))


@pytest.fixture
def aflw(tmp_path: Path) -> Path:
    """Three samples; the first pixel is the number."""
    for i, pose_rad in enumerate(POSES_RAD):
        image = np.full((300, 300, 3), 7, np.uint8)
        image[:8, :8] = 40 * i
        cv2.imwrite(str(tmp_path / f"image{i:05d}.jpg"), image)
        pose = np.array([[*pose_rad, 0, 0, 0, 1e-3]], np.float32)
        points = np.vstack([POINTS_PX, np.zeros(68)])
        savemat(tmp_path / f"image{i:05d}.mat", {"Pose_Para": pose, "pt3d_68": points})
    return tmp_path


def detect_points(image_rgb: np.ndarray) -> FaceDetections:
    """Nothing in the third picture; elsewhere another face first."""
    if image_rgb[2, 2, 0] > 60:
        return FaceDetections.empty()
    box = bounding_box_xyxy(POINTS_PX.T)
    return FaceDetections(np.stack([box * 0.1, box + 5]), np.ones(2), np.zeros((2, 5, 2)))


def test_labelled_samples_and_the_faces_that_were_lost(aflw: Path) -> None:
    def see(image: np.ndarray, _: object, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pitch, yaw, roll = np.degrees(POSES_RAD[round(int(image[2, 2, 0]) / 40)])
        assert abs(box[2] - 1.4 * 2 * np.tan(np.radians(20)) / 3) < 0.03, "the detector's, x 1.4"
        R = matrix_from_ypr_300wlp(float(yaw), float(pitch), float(roll))
        return about_x(-5.0) @ R, np.array([0, 0, 0.8])

    columns = {SINGLE_PASS: model_columns(FakeModel(see))[SINGLE_PASS]}
    result = evaluate_labelled([aflw], columns, detect_points)
    (name,) = result.sets
    found = result.sets[name]
    assert (name, found.samples, found.faces_lost) == ("AFLW2000", 3, ("image00002",))
    assert found.camera == "assumed horizontal field of view 40.0 deg"
    figures = found.figures[SINGLE_PASS]["all"]
    assert figures.heads == 2
    assert figures.ge_mean_deg == pytest.approx(5.0, abs=1e-4)
    assert figures.pitch_bias_deg == pytest.approx(5.0, abs=1e-4)
    assert figures.euler_mae_deg == pytest.approx(5.0 / 3, abs=1e-4)
    assert figures.t_mean_mm is None
    few = evaluate_labelled([aflw], columns, detect_points, count=2).sets["AFLW2000"]
    assert few.samples == 2
    with pytest.raises(EvaluationError, match="is no folder"):
        evaluate_labelled([aflw / "absent"], columns, detect_points)


class FakeEstimator:
    """Takes every second crop for a face by its own rule."""

    min_confidence = 0.5

    def __init__(self, presence: float | None) -> None:
        dataset = FakeDataset(1)
        self.model = FakeModel(lambda *_: (dataset.R[0], dataset.t_mm[0]), presence=presence)

    def predict_boxes(self, _: object, __: object, boxes: np.ndarray) -> list[SimpleNamespace]:
        return [SimpleNamespace(confidence=0.9 if i % 2 else 0.1) for i in range(len(boxes))]


def test_face_free_counts_false_accepts(tmp_path: Path) -> None:
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((90, 130, 3), 40 * i, np.uint8))
    result = evaluate_face_free(
        FakeEstimator(presence=0.6),
        PhotoFolder([tmp_path]),
        [FakeDataset(4, negatives=3)],
        count=30,
    )
    crops, negatives = result.figures.values()
    assert (result.pictures, crops.crops, negatives.crops) == (3, 30, 3)
    assert crops.presence_false_accepts_pct == 100.0
    assert crops.answer_false_accepts_pct == 50.0
    without = evaluate_face_free(FakeEstimator(None), PhotoFolder([tmp_path]), count=4)
    assert next(iter(without.figures.values())).presence_false_accepts_pct is None
    assert any("no presence head" in note for note in without.notes)
    with pytest.raises(EvaluationError, match="nothing without a face"):
        evaluate_face_free(FakeEstimator(None), None)


def test_random_crops_are_inside_and_of_many_sizes() -> None:
    boxes = random_boxes_xyxy_px((640, 480), 2000, np.random.default_rng(0))
    sides = boxes[:, 2] - boxes[:, 0]
    assert np.allclose(sides, boxes[:, 3] - boxes[:, 1])
    assert (
        boxes.min() >= 0 and (boxes[:, 2] <= 640 + 1e-9).all() and (boxes[:, 3] <= 480 + 1e-9).all()
    )
    assert 0.45 < np.mean(sides < np.sqrt(24 * 480)) < 0.55, "log-uniform"
    tiny = random_boxes_xyxy_px((10, 8), 5, np.random.default_rng(0))
    assert np.allclose(tiny[:, 2] - tiny[:, 0], 8)
