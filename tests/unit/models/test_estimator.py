"""The estimator on real photos: how many faces, and that pose follows the picture as geometry
says."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from models.estimator import HeadPoseEstimator
from models.geometry.cameras import camera_from_horizontal_fov, camera_from_intrinsics
from models.geometry.rotations import MIRROR_X, about_z, geodesic_deg
from models.trg.preprocess import mirrored_ray_box

EXAMPLES = Path(__file__).parents[3] / "assets" / "examples"


def read_rgb(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.fixture(scope="module")
def estimator() -> HeadPoseEstimator:
    return HeadPoseEstimator.load("trg-mini", device="cpu")


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return read_rgb(EXAMPLES / "astronaut.jpg")


def test_montage_has_its_six_faces(estimator: HeadPoseEstimator) -> None:
    poses = estimator.predict(read_rgb(EXAMPLES / "montage.jpg"))
    assert len(poses) == 6
    areas = [np.prod(pose.box_xyxy_px[2:] - pose.box_xyxy_px[:2]) for pose in poses]
    assert areas == sorted(areas, reverse=True)


@pytest.mark.parametrize(("name", "faces"), [("t1.jpg", 6), ("test1.jpg", 2), ("biden.jpg", 1)])
def test_group_photos_have_their_faces(
    estimator: HeadPoseEstimator, shared_data: Path, name: str, faces: int
) -> None:
    """t1.jpg: MTCNN alone also finds a hand and a bowl."""
    poses = estimator.predict(read_rgb(shared_data / "samples" / "faces" / name))
    assert len(poses) == faces


def test_hand_and_bowl_are_found_by_the_detector_alone(
    estimator: HeadPoseEstimator, shared_data: Path
) -> None:
    found = estimator.detector.detect(read_rgb(shared_data / "samples" / "faces" / "t1.jpg"))
    assert len(found) == 8


def pictures_without_a_face() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, 400).astype(np.uint8)
    checks = np.kron(np.indices((10, 10)).sum(0) % 2, np.ones((48, 48))).astype(np.uint8) * 255
    blobs = cv2.GaussianBlur(rng.integers(0, 255, (480, 640, 3), np.uint8), (0, 0), 12)
    blobs = cv2.normalize(blobs, None, 0, 255, cv2.NORM_MINMAX)
    discs = np.full((480, 640, 3), 200, np.uint8)
    for x in range(60, 640, 110):
        cv2.circle(discs, (x, 240), 45, (180, 120, 90), -1)
        cv2.circle(discs, (x - 15, 225), 6, (20, 20, 20), -1)
    return {
        "black": np.zeros((300, 300, 3), np.uint8),
        "noise": rng.integers(0, 255, (300, 300, 3), np.uint8),
        "ramp": np.repeat(np.tile(ramp, (300, 1))[..., None], 3, 2),
        "checks": np.repeat(checks[..., None], 3, 2),
        "blobs": blobs,
        "discs": discs,
        "one pixel": np.zeros((1, 1, 3), np.uint8),
        "a line": np.zeros((2, 900, 3), np.uint8),
        "narrow": rng.integers(0, 255, (400, 17, 3), np.uint8),
    }


@pytest.mark.parametrize("name", pictures_without_a_face())
def test_picture_without_a_face_has_none(estimator: HeadPoseEstimator, name: str) -> None:
    assert estimator.predict(pictures_without_a_face()[name]) == []


@pytest.mark.parametrize("angle_deg", [-30.0, -15.0, 10.0, 25.0])
def test_turned_picture_turns_the_pose(
    estimator: HeadPoseEstimator, astronaut: np.ndarray, angle_deg: float
) -> None:
    """Content turned clockwise by a about the principal point: R -> Rz(a) R, t -> Rz(a) t."""
    height, width = astronaut.shape[:2]
    camera = camera_from_horizontal_fov((width, height), 40.0)
    A = about_z(angle_deg)[:2, :2]
    centre = np.array([width / 2, height / 2]) - 0.5
    warp = np.concatenate([A, (centre - A @ centre)[:, None]], 1)
    turned = cv2.warpAffine(astronaut, warp, (width, height), flags=cv2.INTER_CUBIC)
    before = estimator.predict(astronaut, camera)[0]
    after = estimator.predict(turned, camera)[0]
    wanted_R = about_z(angle_deg) @ before.R_cam_from_head
    wanted_t = about_z(angle_deg) @ before.t_cam_from_head_mm
    assert geodesic_deg(after.R_cam_from_head, wanted_R) < 5.0
    assert np.linalg.norm(after.t_cam_from_head_mm - wanted_t) < 0.05 * before.distance_mm
    assert geodesic_deg(after.R_cam_from_head, before.R_cam_from_head) > abs(angle_deg) - 5.0


def test_mirrored_picture_mirrors_the_pose(
    estimator: HeadPoseEstimator, astronaut: np.ndarray
) -> None:
    """R -> D R D, t -> D t: yaw, roll and x change sign, pitch does not."""
    camera = camera_from_horizontal_fov((astronaut.shape[1], astronaut.shape[0]), 40.0)
    before = estimator.predict(astronaut, camera)[0]
    after = estimator.predict(np.ascontiguousarray(astronaut[:, ::-1]), camera)[0]
    assert geodesic_deg(after.R_cam_from_head, MIRROR_X @ before.R_cam_from_head @ MIRROR_X) < 4.0
    assert np.linalg.norm(
        after.t_cam_from_head_mm - MIRROR_X @ before.t_cam_from_head_mm
    ) < 0.03 * (before.distance_mm)


def test_the_average_with_the_mirror_does_not_know_left_from_right(
    estimator: HeadPoseEstimator, astronaut: np.ndarray
) -> None:
    """The crop of a mirrored picture is the mirrored crop, so both averages are one."""
    camera = camera_from_horizontal_fov((astronaut.shape[1], astronaut.shape[0]), 40.0)
    pose = estimator.predict(astronaut, camera)[0]
    crop = estimator.ray_box_from_pose(pose)[None]
    flipped = np.ascontiguousarray(astronaut[:, ::-1])
    (plain,) = estimator.predict_boxes(astronaut, camera, crop, passes=1)
    (ours,) = estimator.predict_boxes(astronaut, camera, crop, passes=1, average_mirror=True)
    (theirs,) = estimator.predict_boxes(
        flipped, camera, mirrored_ray_box(crop), passes=1, average_mirror=True
    )
    assert geodesic_deg(ours.R_cam_from_head, MIRROR_X @ theirs.R_cam_from_head @ MIRROR_X) < 1e-3
    assert np.allclose(ours.t_cam_from_head_mm, MIRROR_X @ theirs.t_cam_from_head_mm, atol=0.01)
    assert 0.01 < geodesic_deg(ours.R_cam_from_head, plain.R_cam_from_head) < 3
    assert ours.confidence == pytest.approx(theirs.confidence, abs=1e-3)


def test_squeezed_and_off_centre_cameras_give_the_same_pose(
    estimator: HeadPoseEstimator, astronaut: np.ndarray
) -> None:
    """fx != fy and a principal point far from the middle: same rays, so the same head."""
    height, width = astronaut.shape[:2]
    camera = camera_from_horizontal_fov((width, height), 40.0)
    plain = estimator.predict(astronaut, camera)[0]
    squeezed = cv2.resize(astronaut, (width, round(height * 0.7)), interpolation=cv2.INTER_AREA)
    left_px, top_px = 120, 20
    cut = np.ascontiguousarray(squeezed[top_px:, left_px:])
    fy_scale = squeezed.shape[0] / height
    other = camera_from_intrinsics(
        (cut.shape[1], cut.shape[0]),
        camera.fx_px,
        camera.fy_px * fy_scale,
        width / 2 - left_px,
        height / 2 * fy_scale - top_px,
    )
    left, top, right, bottom = plain.box_xyxy_px
    box = [left - left_px, top * fy_scale - top_px, right - left_px, bottom * fy_scale - top_px]
    assert box[0] > 0 and box[1] > 0
    same_box = estimator.predict(astronaut, camera, [[left, top, right, bottom]])[0]
    found = estimator.predict(cut, other, [box])[0]
    assert geodesic_deg(found.R_cam_from_head, same_box.R_cam_from_head) < 1.5
    assert np.linalg.norm(found.t_cam_from_head_mm - same_box.t_cam_from_head_mm) < 0.015 * (
        plain.distance_mm
    )
    wrong = estimator.predict(
        cut, camera_from_horizontal_fov((cut.shape[1], cut.shape[0]), 40.0), [box]
    )
    assert np.linalg.norm(wrong[0].t_cam_from_head_mm - plain.t_cam_from_head_mm) > 0.05 * (
        plain.distance_mm
    )


def test_given_boxes_keep_their_order_and_are_not_rejected(
    estimator: HeadPoseEstimator, astronaut: np.ndarray
) -> None:
    face = estimator.predict(astronaut)[0].box_xyxy_px
    poses = estimator.predict(astronaut, boxes_xyxy_px=[[300, 300, 480, 480], face])
    assert len(poses) == 2
    assert poses[0].confidence < 0.5 < poses[1].confidence
    assert poses[0].uncertainty_deg > 2 * poses[1].uncertainty_deg


def test_batch_of_faces_equals_one_by_one(
    estimator: HeadPoseEstimator, astronaut: np.ndarray
) -> None:
    camera = camera_from_horizontal_fov((astronaut.shape[1], astronaut.shape[0]), 40.0)
    boxes = [[150, 40, 290, 200], [170, 60, 280, 190], [160, 50, 280, 180]]
    together = estimator.predict(astronaut, camera, boxes)
    for box, pose in zip(boxes, together, strict=True):
        alone = estimator.predict(astronaut, camera, [box])[0]
        assert geodesic_deg(alone.R_cam_from_head, pose.R_cam_from_head) < 1e-2


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((9, 9, 3), np.float32),
    ],
)
def test_other_arrays_are_refused(estimator: HeadPoseEstimator, picture: np.ndarray) -> None:
    with pytest.raises((ValueError, TypeError)):
        estimator.predict(picture)
