"""Protocol held-out with fake networks whose errors are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from demo_app.evaluation.columns import (
    MIRROR_AVERAGE,
    SINGLE_PASS,
    TWO_PASSES,
    model_columns,
)
from demo_app.evaluation.faces import EvaluationError
from demo_app.evaluation.held_out import (
    SAY_PRESENCE,
    TRUE_BOXES_TOO,
    as_of_a_worse_camera,
    evaluate_held_out,
    jittered,
    true_ray_box,
)
from models.face_detection.base import FaceDetections
from models.geometry.boxes import bounding_box_xyxy
from models.geometry.rotations import about_x
from tests.unit.demo_app.evaluation.fakes import FACE_M, FakeDataset, FakeModel


def test_three_degrees_about_x_are_three_degrees_of_pitch() -> None:
    dataset = FakeDataset(60, negatives=5)

    def see(image: np.ndarray, *_: object) -> tuple[np.ndarray, np.ndarray]:
        R, t = dataset.truth(image)
        return about_x(3.0) @ R, t * 1.02

    model = FakeModel(
        see, FACE_M + np.array([0.001, 0, 0]), presence=0.8, sigma_rad=np.radians(3.1)
    )
    result = evaluate_held_out(dataset, {SINGLE_PASS: model_columns(model)[SINGLE_PASS]})
    figures = result.figures[SINGLE_PASS]["all"]
    assert (result.faces, result.faces_not_found, result.negatives) == (60, 0, 5)
    assert figures.heads == 60
    assert figures.ge_mean_deg == pytest.approx(3.0)
    assert figures.ge_p95_deg == pytest.approx(3.0)
    assert figures.pitch_mae_deg == pytest.approx(3.0)
    assert figures.pitch_bias_deg == pytest.approx(-3.0)
    assert figures.yaw_mae_deg == pytest.approx(0, abs=1e-6)
    assert figures.roll_mae_deg == pytest.approx(0, abs=1e-6)
    assert figures.depth_error_pct == pytest.approx(2.0)
    assert figures.canonical_vertices_mm == pytest.approx(1.0)
    counts = [
        result.figures[SINGLE_PASS][f"yaw {b} deg"].heads for b in ("0-30", "30-60", "60-100")
    ]
    assert sum(counts) == 60 and min(counts) > 5
    views = result.figures[SINGLE_PASS]
    assert (views["something in front"].heads, views["nothing in front"].heads) == (20, 40)
    assert 0 < views["nothing in front, roll within 40 deg"].heads < 20
    assert result.coverage[SINGLE_PASS].rotation_x_1_sigma_pct == 100.0
    presence = result.presence[SINGLE_PASS]
    assert presence.false_rejects_pct == 0.0
    assert (presence.negatives, presence.false_accepts_pct) == (5, 100.0)


def test_the_second_pass_sees_the_refined_crop() -> None:
    """A network that errs by its crop's distance from the face: the second pass is right."""
    dataset = FakeDataset(20)

    def see(image: np.ndarray, _: object, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        R, t = dataset.truth(image)
        off = np.linalg.norm(
            box[:2] - ((FACE_M @ R.T + t).mean(0) / (FACE_M @ R.T + t).mean(0)[2])[:2]
        )
        return about_x(100.0 * float(off)) @ R, t

    result = evaluate_held_out(dataset, model_columns(FakeModel(see)))
    assert result.figures[SINGLE_PASS]["all"].ge_mean_deg > 0.1
    assert result.figures[TWO_PASSES]["all"].ge_mean_deg < 0.3 * (
        result.figures[SINGLE_PASS]["all"].ge_mean_deg
    )
    assert result.coverage == result.presence == {}
    assert any("no uncertainty head" in note for note in result.notes)


def test_the_mirror_average_loses_an_error_of_one_side() -> None:
    """An error in yaw turns round in the mirror; the average of both is right."""
    dataset = FakeDataset(10)
    angle = np.radians(4.0)
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )

    class OneSided(FakeModel):
        def predict(self, image_rgb, camera, ray_boxes, mirror=False, turn_deg=0.0):
            R, t = dataset.truth(image_rgb)
            self.see = lambda *_: ((turn.T if mirror else turn) @ R, t)
            return super().predict(image_rgb, camera, ray_boxes)

    result = evaluate_held_out(dataset, model_columns(OneSided(dataset.truth)))
    assert result.figures[SINGLE_PASS]["all"].ge_mean_deg == pytest.approx(4.0)
    assert result.figures[MIRROR_AVERAGE]["all"].ge_mean_deg == pytest.approx(0.0, abs=1e-4)


def test_detected_boxes_and_the_faces_that_are_not_found() -> None:
    dataset = FakeDataset(12)

    def detect(image: np.ndarray) -> FaceDetections:
        row = int(image[0, 0, 1])
        if row % 4 == 0:
            return FaceDetections.empty()
        R, t = dataset.truth(image)
        box = bounding_box_xyxy(dataset.camera.project(FACE_M @ R.T + t))
        far = row % 4 == 1  # another face than this one
        boxes = np.stack([box + 500.0 * far])
        return FaceDetections(boxes, np.ones(1), np.zeros((1, 5, 2)))

    columns = model_columns(FakeModel(dataset.truth))
    result = evaluate_held_out(dataset, columns, detect=detect)
    assert (result.faces, result.faces_not_found) == (12, 6)
    assert result.figures[SINGLE_PASS]["all"].heads == 6
    beside = TRUE_BOXES_TOO.format(SINGLE_PASS)
    assert result.figures[beside]["all"].heads == 6
    assert "true boxes" not in "".join(evaluate_held_out(dataset, columns).figures)
    with pytest.raises(EvaluationError, match="no head"):
        evaluate_held_out(dataset, columns, detect=lambda _: FaceDetections.empty())


def test_a_detectors_boxes_stand_beside_true_ones_in_the_same_column() -> None:
    """A network that errs by the size of its box: 3 deg in the detector's, none in the true."""
    dataset = FakeDataset(5)
    sides: dict[int, list[float]] = {}

    def see(image: np.ndarray, _: object, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        R, t = dataset.truth(image)
        seen = sides.setdefault(int(image[0, 0, 1]), [])
        seen.append(float(box[2]))
        true_side = true_ray_box(dataset.posed_picture(int(image[0, 0, 1])))[2]
        return about_x(3.0 if box[2] > 1.3 * true_side else 0.0) @ R, t

    def detect(image: np.ndarray) -> FaceDetections:
        R, t = dataset.truth(image)
        low, high = np.split(bounding_box_xyxy(dataset.camera.project(FACE_M @ R.T + t)), 2)
        wide = np.concatenate([low - 0.3 * (high - low), high + 0.3 * (high - low)])
        return FaceDetections(wide[None], np.ones(1), np.zeros((1, 5, 2)))

    columns = {name: model_columns(FakeModel(see))[SINGLE_PASS] for name in SAY_PRESENCE}
    found = evaluate_held_out(dataset, columns, detect=detect).figures
    for name in SAY_PRESENCE:
        assert found[name]["all"].ge_mean_deg == pytest.approx(3.0)
        beside = TRUE_BOXES_TOO.format(name)
        assert found[beside]["all"].ge_mean_deg == pytest.approx(0.0, abs=1e-4)


def test_degraded_pictures_are_what_every_column_sees() -> None:
    dataset, seen = FakeDataset(4), []

    class Noticing(FakeModel):
        def predict(self, image_rgb, camera, ray_boxes, mirror=False, turn_deg=0.0):
            seen.append(image_rgb.copy())
            return super().predict(image_rgb, camera, ray_boxes, mirror, turn_deg)

    still = np.full((128, 128, 3), 100, np.uint8)
    dataset.posed_picture = lambda row: replace(
        FakeDataset.posed_picture(dataset, row), image_rgb=still
    )
    columns = model_columns(Noticing(lambda *_: (np.eye(3), np.array([0.0, 0, 1]))))
    plain = evaluate_held_out(dataset, columns)
    assert plain.pictures == "as rendered" and all((one == still).all() for one in seen)
    seen.clear()
    worse = evaluate_held_out(dataset, columns, degrade=True)
    assert "JPEG" in worse.pictures and (still == 100).all()
    once = [one for one in seen if (one != still).any()]
    assert len(once) == len(seen) and len({one.tobytes() for one in once}) == len(dataset)
    first = as_of_a_worse_camera(dataset.posed_picture(0), 0).image_rgb
    assert (first == seen[0]).all(), "the row alone decides"
    wide = replace(FakeDataset.posed_picture(dataset, 0), image_rgb=still[:100])
    with pytest.raises(EvaluationError, match="128 x 100"):
        as_of_a_worse_camera(wide, 0)


def test_boxes_and_their_jitter_are_the_same_every_time() -> None:
    head = FakeDataset(3).posed_picture(1)
    box = true_ray_box(head)
    cam = FACE_M @ head.R_cam_from_head.T + head.t_cam_from_head_mm / 1000
    extent = np.ptp(cam[:, :2] / cam[:, 2:], axis=0).max()
    assert box[2] == pytest.approx(1.5 * extent)
    rng = np.random.default_rng(0)
    boxes = np.array([jittered(box, rng) for _ in range(500)])
    assert np.abs(np.log(boxes[:, 2] / box[2])).max() <= 0.12
    assert np.abs((boxes[:, :2] - box[:2]) / box[2]).max() <= 0.08 + 1e-12
    assert np.array_equal(boxes[0], jittered(box, np.random.default_rng(0)))
