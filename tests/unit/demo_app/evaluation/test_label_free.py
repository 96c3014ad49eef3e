"""Protocol label-free: exact moves, and a network whose bias is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from demo_app.evaluation.columns import MIRROR_AVERAGE, SINGLE_PASS, model_columns
from demo_app.evaluation.faces import EvaluationError, PhotoFolder
from demo_app.evaluation.label_free import REFINED_CROP, evaluate_label_free
from demo_app.evaluation.picture_moves import Look, all_moves, rolled
from models.face_detection.base import FaceDetections
from models.geometry.cameras import Camera
from models.geometry.rotations import about_y, about_z
from tests.unit.demo_app.evaluation.fakes import (
    FakeModel,
    pose_of_spots,
    spot_px,
    spots_picture,
)

Detect = Callable[[np.ndarray], FaceDetections]


class AppFake:
    """Shows the faces that lie left of a column of the picture."""

    min_confidence = 0.5

    def __init__(self, model: FakeModel, refused_from_px: float = np.inf) -> None:
        self.model, self.refused_from_px = model, refused_from_px

    def predict_boxes(
        self, _: np.ndarray, camera: Camera, ray_boxes: np.ndarray, *, scores: np.ndarray
    ) -> list[SimpleNamespace]:
        assert scores.shape == (1,) and scores[0] > 0.9
        middle_px = camera.project(np.append(ray_boxes[0, :2], 1.0)[None])[0, 0]
        return [SimpleNamespace(confidence=0.9 if middle_px < self.refused_from_px else 0.4)]


@pytest.fixture
def photos(tmp_path: Path) -> PhotoFolder:
    """Two faces, a picture without one, a damaged one and a text."""
    for i, spots in enumerate(([[200, 150], [212, 190]], [[230, 180], [190, 200]])):
        image = spots_picture((400, 300), np.array(spots, float))
        cv2.imwrite(str(tmp_path / f"{i}.png"), image[..., ::-1])
    cv2.imwrite(str(tmp_path / "empty.png"), np.zeros((50, 60, 3), np.uint8))
    (tmp_path / "damaged.png").write_bytes((tmp_path / "0.png").read_bytes()[:200])
    (tmp_path / "notes.txt").write_text("no picture")
    return PhotoFolder([tmp_path])


def test_a_perfect_network_differs_by_nothing(photos: PhotoFolder, detect_spots: Detect) -> None:
    model = FakeModel(pose_of_spots)
    columns = model_columns(model)
    result = evaluate_label_free(photos, AppFake(model), columns, detect_spots)
    assert (result.photos, result.faces, result.photos_without_face) == (3, 2, 1)
    assert (result.photos_unreadable, result.other_files) == (1, 1)
    assert result.detections_left_out == 2
    assert set(result.figures) == {
        f"{column}, {crop}" for column in columns for crop in ("detector's crop", REFINED_CROP)
    }
    for column, moves in result.figures.items():
        assert set(moves) == {move.name for move in all_moves()}
        for name, figures in moves.items():
            assert figures.geodesic_mean_deg < 0.15, (column, name)
            assert figures.depth_pct < 0.3, (column, name)


def test_a_bias_that_depends_on_the_crop_is_found(
    photos: PhotoFolder, detect_spots: Detect
) -> None:
    def see(image: np.ndarray, camera: Camera, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        R, t = pose_of_spots(image, camera, box)
        return about_y(10.0 * float(np.log(box[2]))) @ R, t

    model = FakeModel(see)
    result = evaluate_label_free(photos, AppFake(model), model_columns(model), detect_spots)
    single = result.figures[f"{SINGLE_PASS}, {REFINED_CROP}"]
    near = dict(abs=0.15)
    assert single["scale 1.2"].geodesic_mean_deg == pytest.approx(10 * np.log(1.2), **near)
    assert single["scale 0.85"].geodesic_mean_deg == pytest.approx(-10 * np.log(0.85), **near)
    assert single["shift 8 %"].geodesic_mean_deg == pytest.approx(0, **near)
    assert single["mirror"].geodesic_mean_deg == pytest.approx(-20 * np.log(0.25), **near)
    averaged = result.figures[f"{MIRROR_AVERAGE}, {REFINED_CROP}"]
    assert averaged["scale 1.2"].geodesic_mean_deg == pytest.approx(0, abs=0.2)
    assert averaged["mirror"].geodesic_mean_deg == pytest.approx(0, abs=1e-6)


def test_what_the_app_does_not_show_is_left_out(photos: PhotoFolder, detect_spots: Detect) -> None:
    """The faces' middles are at columns 206 and 210."""
    model = FakeModel(pose_of_spots)
    one = evaluate_label_free(photos, AppFake(model, 208.0), model_columns(model), detect_spots)
    assert (one.faces, one.detections_refused) == (1, 1)


@pytest.mark.parametrize("angle_deg", [0.0, 15.0, -45.0, 120.0])
def test_a_roll_is_what_the_rolled_camera_sees(angle_deg: float) -> None:
    """Unequal focal lengths and a principal point out of the middle."""
    K = np.array([[500.0, 0, 150], [0, 430, 170], [0, 0, 1]])
    camera = Camera(K, (400, 300))
    points = np.array([[0.08, -0.05, 1.0], [0.15, 0.03, 1.0]])
    image = spots_picture((400, 300), camera.project(points))
    look = rolled(Look(image, camera, np.array([0.11, -0.01, 0.3])), angle_deg)
    expected = look.camera.project(points @ about_z(angle_deg).T)
    for channel in (0, 1):
        assert np.abs(spot_px(look.image_rgb, channel) - expected[channel]).max() < 0.05
    seen = look.camera.project(np.append(look.ray_box[:2], 1.0))
    assert np.allclose(seen, np.array(look.camera.size_wh_px) / 2)


def test_moves_that_only_choose_another_crop_leave_the_picture(detect_spots: Detect) -> None:
    camera = Camera(np.array([[400.0, 0, 200], [0, 400, 150], [0, 0, 1]]), (400, 300))
    image = spots_picture((400, 300), np.array([[200.0, 150], [215, 185]]))
    look = Look(image, camera, np.array([0.0, 0.02, 0.3]))
    for move in all_moves():
        moved = move.change(look)
        if move.name.startswith(("shift", "scale", "crop")):
            assert moved.image_rgb is image
            assert not np.array_equal(moved.ray_box, look.ray_box)
        if move.name == "shift 8 %":
            assert np.linalg.norm(moved.ray_box[:2] - look.ray_box[:2]) == pytest.approx(0.024)
        if move.name == "blur":
            assert moved.image_rgb.max() < image.max() and np.array_equal(
                moved.ray_box, look.ray_box
            )


def test_no_face_and_no_picture_are_said(tmp_path: Path, detect_spots: Detect) -> None:
    with pytest.raises(EvaluationError, match="no picture"):
        PhotoFolder([tmp_path])
    cv2.imwrite(str(tmp_path / "empty.png"), np.zeros((50, 60, 3), np.uint8))
    model = FakeModel(pose_of_spots)
    with pytest.raises(EvaluationError, match="No face was found in 1 photos"):
        evaluate_label_free(
            PhotoFolder([tmp_path]), AppFake(model), model_columns(model), detect_spots
        )
