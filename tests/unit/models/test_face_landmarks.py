"""FaceMesh: the bundled weights, its frame, and the two passes on a picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from models.face_detection.mtcnn import MtcnnDetector
from models.face_landmarks.face_mesh import (
    CROP_PX,
    FACEMESH_PATH,
    FaceLandmarks468,
    FaceLandmarksError,
    load_face_landmarks,
)
from models.face_landmarks.in_picture import (
    TurnedSquare,
    cut_square,
    locate_landmarks,
    square_of_landmarks,
)

LEFT_EYE, RIGHT_EYE, NOSE_TIP, MOUTH_LEFT, MOUTH_RIGHT = (33, 133), (362, 263), 1, 61, 291


@pytest.fixture(scope="module")
def network() -> FaceLandmarks468:
    return load_face_landmarks()


@pytest.fixture(scope="module")
def astronaut(repo_root: Path) -> np.ndarray:
    path = repo_root / "assets/examples/astronaut.jpg"
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


@pytest.fixture(scope="module")
def astronaut_points(network: FaceLandmarks468, astronaut: np.ndarray) -> np.ndarray:
    return points_of(network, astronaut)


def points_of(network: FaceLandmarks468, image_rgb: np.ndarray) -> np.ndarray:
    faces = MtcnnDetector("cpu", min_face_fraction=1 / 8).detect(image_rgb)
    found = locate_landmarks(network, image_rgb, faces.boxes_xyxy_px[0], faces.landmarks5_px[0])
    assert found.presence > 0.9
    return found.points_px


def test_points_lie_on_the_features(astronaut: np.ndarray, astronaut_points: np.ndarray) -> None:
    """Where MTCNN, another network, sees eyes, nose and mouth corners."""
    five = MtcnnDetector("cpu", min_face_fraction=1 / 8).detect(astronaut).landmarks5_px[0]
    xy = astronaut_points[:, :2]
    ours = np.stack(
        [
            xy[list(LEFT_EYE)].mean(0),
            xy[list(RIGHT_EYE)].mean(0),
            xy[NOSE_TIP],
            xy[MOUTH_LEFT],
            xy[MOUTH_RIGHT],
        ]
    )
    between_eyes_px = np.linalg.norm(ours[1] - ours[0])
    assert np.linalg.norm(ours - five, axis=1).max() < 0.2 * between_eyes_px
    assert astronaut_points[NOSE_TIP, 2] < astronaut_points[[234, 454], 2].min(), "nose in front"


@pytest.mark.parametrize("roll_deg", [-50.0, 35.0])
def test_points_turn_with_the_picture(
    network: FaceLandmarks468,
    astronaut: np.ndarray,
    astronaut_points: np.ndarray,
    roll_deg: float,
) -> None:
    """Crops are turned with the head, so a turned picture gives turned points."""
    middle = astronaut_points[:, :2].mean(0)
    turn = cv2.getRotationMatrix2D(tuple(middle - 0.5), roll_deg, 1.0)
    box = np.concatenate([middle - 55, middle + 55])
    turned = cv2.warpAffine(astronaut, turn, (512, 512), borderMode=cv2.BORDER_REFLECT)
    found = locate_landmarks(network, turned, box, passes=4)
    expected = (astronaut_points[:, :2] - 0.5) @ turn[:, :2].T + turn[:, 2] + 0.5
    error_px = np.linalg.norm(found.points_px[:, :2] - expected, axis=1)
    assert error_px.mean() < 0.02 * np.ptp(astronaut_points[:, 0])


def test_points_scale_with_the_picture(
    network: FaceLandmarks468, astronaut: np.ndarray, astronaut_points: np.ndarray
) -> None:
    large = cv2.resize(astronaut, (2048, 2048), interpolation=cv2.INTER_CUBIC)
    error_px = points_of(network, large) - 4 * astronaut_points
    assert np.abs(error_px).mean() < 0.02 * 4 * np.ptp(astronaut_points[:, 0])


def test_presence_is_low_without_a_face(network: FaceLandmarks468) -> None:
    rng = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(rng.integers(0, 255, (192, 192, 3)).astype(np.uint8), (0, 0), 6)
    _, presence = network.predict(np.stack([smooth, np.full_like(smooth, 127)]))
    assert presence.max() < 0.3


def test_nothing_in_nothing_out(network: FaceLandmarks468) -> None:
    points_px, presence = network.predict(np.zeros((0, CROP_PX, CROP_PX, 3), np.uint8))
    assert points_px.shape == (0, 468, 3)
    assert len(presence) == 0


def test_a_square_maps_its_own_points() -> None:
    """A white dot in the picture comes out where the square's affine says, to half a pixel."""
    square = TurnedSquare(np.array([120.0, 90.0]), 96.0, np.radians(25.0))
    affine = square.image_from_square()
    in_crop = np.array([60.0, 130.0])
    x, y = affine[:, :2] @ in_crop + affine[:, 2]
    rows, columns = np.mgrid[:240, :240] + 0.5
    dot = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
    crop = cut_square(np.repeat(dot[..., None], 3, -1).astype(np.uint8), square)[..., 0]
    weight = np.where(crop > 60, crop, 0).astype(float)
    row, column = np.mgrid[:CROP_PX, :CROP_PX] + 0.5
    seen = np.array([(weight * column).sum(), (weight * row).sum()]) / weight.sum()
    np.testing.assert_allclose(seen, in_crop, atol=0.1)


def test_square_of_landmarks_is_upright_with_the_eyes(astronaut_points: np.ndarray) -> None:
    square = square_of_landmarks(astronaut_points)
    affine = square.image_from_square()
    inverse = np.linalg.inv(np.vstack([affine, [0, 0, 1]]))
    in_crop = astronaut_points[:, :2] @ inverse[:2, :2].T + inverse[:2, 2]
    assert in_crop[33, 1] == pytest.approx(in_crop[263, 1], abs=1e-6)
    assert np.ptp(in_crop, 0).max() == pytest.approx(CROP_PX / 1.5)
    np.testing.assert_allclose((in_crop.min(0) + in_crop.max(0)) / 2, CROP_PX / 2, atol=1e-6)


def test_bad_files_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FaceLandmarksError, match="missing"):
        load_face_landmarks(tmp_path / "no.safetensors")
    whole = FACEMESH_PATH.read_bytes()
    for name, content in {"cut": whole[: len(whole) // 2], "page": b"<html>", "empty": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FaceLandmarksError, match="assets/"):
            load_face_landmarks(tmp_path / name)
    other = FACEMESH_PATH.with_name("selfie_mask.safetensors")
    with pytest.raises(FaceLandmarksError, match="assets/"):
        load_face_landmarks(other)
