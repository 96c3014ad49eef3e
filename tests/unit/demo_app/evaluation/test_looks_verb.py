"""The verb `calibrate`: what it looks at, and that it writes what it found into the weights."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from demo_app.evaluation import looks
from demo_app.evaluation.columns import APP_ANSWER, SINGLE_PASS, app_answer, model_columns
from demo_app.evaluation.held_out import evaluate_held_out, true_box_xyxy
from models.estimator import HeadPoseEstimator
from models.face_detection.base import FaceDetections
from models.geometry.boxes import ray_box_from_xyxy
from models.geometry.cameras import Camera
from models.trg.bundle import read_looks, write_bundle
from models.trg.looks import VIEWS
from models.trg.pose_model import PosePrediction
from tests.unit.demo_app.evaluation.fakes import FakeDataset, FakeModel
from tests.unit.models.small_trg import small_basis, small_network


class FakeEstimator:
    """Knows the faces; the detector finds each face, a place beside it and one half on it."""

    def __init__(self, dataset: FakeDataset, presence: bool = True) -> None:
        self.dataset, self.detector = dataset, self
        sure = 0.97 if presence else None
        self.model = FakeModel(dataset.truth, presence=sure, sigma_rad=0.02)

    def look(
        self, image_rgb: np.ndarray, camera: Camera, ray_boxes: np.ndarray, views: np.ndarray
    ) -> tuple[PosePrediction, np.ndarray]:
        assert views is VIEWS and len(ray_boxes) == 1
        seen = self.model.predict(image_rgb, camera, np.repeat(ray_boxes, len(views), 0))
        return seen, np.full((1, 1), 0.5)

    def detect(self, image_rgb: np.ndarray, lenient: bool = False) -> FaceDetections:
        row = 256 * int(image_rgb[0, 0, 0]) + int(image_rgb[0, 0, 1])
        if image_rgb.shape[0] != 128 or row >= len(self.dataset.R):
            return FaceDetections.empty()
        left, top, right, bottom = true_box_xyxy(self.dataset.posed_picture(row))
        side = np.array([right - left, 0, right - left, 0])
        box = np.array([left, top, right, bottom])
        boxes = np.stack([box, box + 3 * side, box + 0.8 * side])[: 3 if lenient else 1]
        return FaceDetections(
            boxes, np.array([0.99, 0.6, 0.8])[: len(boxes)], np.zeros((len(boxes), 5, 2))
        )

    def ray_boxes_from_detections(self, camera: Camera, found: FaceDetections) -> np.ndarray:
        boxes = [ray_box_from_xyxy(camera, box, 1.4) for box in found.boxes_xyxy_px]
        return np.reshape(boxes, (-1, 3))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.full((90, 130, 3), 80, np.uint8))
    return folder


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "trg_mini.safetensors"
    write_bundle(path, small_network(), small_basis().bundle_arrays(), {})
    return path


def run(
    monkeypatch: pytest.MonkeyPatch, estimator: FakeEstimator, weights: Path, photos: Path | None
) -> int:
    monkeypatch.setattr(HeadPoseEstimator, "load", lambda *_, **__: estimator)
    monkeypatch.setattr(looks, "SyntheticDataset", lambda _: estimator.dataset)
    return looks.Calibrate(weights=weights, data=Path("data"), photos=photos, photo_crops=70).run()


def test_it_looks_at_all_kinds_and_writes_the_header(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    weights: Path,
    photos: Path,
) -> None:
    estimator = FakeEstimator(FakeDataset(120, negatives=70))
    assert run(monkeypatch, estimator, weights, photos) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (said["face_crops"], said["other_crops"]) == (120, 70 + 70)
    assert (said["right_finds"], said["false_finds"]) == (2 * 120, 120), "half on a face: neither"
    written = read_looks(weights)
    assert written is not None and written.find.score == said["find"]["score"] > 1.0


def test_too_little_data_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], weights: Path
) -> None:
    before = weights.read_bytes()
    assert run(monkeypatch, FakeEstimator(FakeDataset(20, negatives=5)), weights, None) == 2
    assert "20 faces and 5 others are too few crops" in capsys.readouterr().err
    silent = FakeEstimator(FakeDataset(20, negatives=5), presence=False)
    assert run(monkeypatch, silent, weights, None) == 2
    assert "say nothing of presence" in capsys.readouterr().err
    assert weights.read_bytes() == before


def test_the_app_s_answer_is_a_column_with_its_evidence() -> None:
    dataset = FakeDataset(12, negatives=3)
    model = FakeModel(dataset.truth, presence=0.9, sigma_rad=0.02)

    def predict_boxes(image: np.ndarray, *_: object) -> list[SimpleNamespace]:
        R, t_m = dataset.truth(image)
        return [
            SimpleNamespace(
                R_cam_from_head=R,
                t_cam_from_head_mm=1000 * t_m,
                vertices_head_m=model.vertices_m,
                rotation_covariance_cam=np.eye(3) * 0.04**2,
                t_sigma_mm=np.ones(3),
                confidence=0.3 if np.allclose(R, np.eye(3)) else 0.8,
            )
        ]

    answers = app_answer(SimpleNamespace(predict_boxes=predict_boxes))
    columns = model_columns(model) | {APP_ANSWER: answers}
    result = evaluate_held_out(dataset, columns)
    assert result.figures[APP_ANSWER]["all"].ge_mean_deg == pytest.approx(0.0, abs=1e-4)
    assert set(result.presence) == {SINGLE_PASS, APP_ANSWER} < set(result.coverage)
    one, two = result.coverage[SINGLE_PASS], result.coverage[APP_ANSWER]
    assert two.expected_ge_mean_deg == pytest.approx(2 * one.expected_ge_mean_deg)
    assert result.presence[SINGLE_PASS].false_accepts_pct == 100.0
    assert result.presence[APP_ANSWER].false_accepts_pct == 0.0
    assert result.presence[APP_ANSWER].false_rejects_pct == 0.0
