"""Two photographed faces pass each other before the bundled network: each keeps its number."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from demo_app.inference.images import read_image
from demo_app.inference.pipeline import FramePipeline
from models.estimator import HeadPoseEstimator
from models.face_detection.mtcnn import MIN_FACE_FRACTION_VIDEO
from models.geometry.cameras import camera_from_horizontal_fov

Array = np.ndarray

CUT_PX = 256
SIZE_WH_PX = (854, 480)
FACE_PART = 0.45
"""Width of the face mesh relative to a pasted head's square."""


@pytest.fixture(scope="module")
def estimator() -> HeadPoseEstimator:
    return HeadPoseEstimator.load("trg-mini", device="cpu")


@pytest.fixture(scope="module")
def heads(estimator, repo_root) -> list[tuple[Array, Array]]:
    """(picture, mask) of two faces of the example montage, cut out with a soft ellipse.

    Both are of one person, so that looks cannot tell them apart.
    """
    image_rgb = read_image(repo_root / "assets" / "examples" / "montage.jpg").image_rgb
    mask = np.zeros((CUT_PX, CUT_PX), np.float32)
    cv2.ellipse(mask, (128, 128), (90, 120), 0, 0, 360, 1, -1)
    mask = cv2.GaussianBlur(mask, (9, 9), 0)[..., None]
    cut = []
    for pose in estimator.predict(image_rgb)[:2]:
        low, high = pose.box_xyxy_px[:2], pose.box_xyxy_px[2:]
        scale = CUT_PX * FACE_PART / (high - low)[0]
        to_cut = np.array([[scale, 0, 0], [0, scale, 0]])
        to_cut[:, 2] = CUT_PX / 2 - scale * (low + high) / 2
        cut.append((cv2.warpAffine(image_rgb, to_cut, (CUT_PX, CUT_PX)).astype(np.float32), mask))
    return cut


def crossing(heads, sizes_px, px_per_frame) -> Iterator[tuple[Array, list[float]]]:
    """Frames with both heads, the larger one in front, and where each head's middle is in x."""
    rng = np.random.default_rng(0)
    wall = cv2.GaussianBlur(rng.integers(60, 200, (480, 854, 3)).astype(np.uint8), (0, 0), 15)
    for i in range(500 // px_per_frame):
        at_x = [170 + px_per_frame * i, 684 - px_per_frame * i]
        picture = wall.astype(np.float32)
        for k in np.argsort(sizes_px):
            size = sizes_px[k]
            to_frame = np.array(
                [[size / CUT_PX, 0, at_x[k] - size / 2], [0, size / CUT_PX, 240 - size / 2]]
            )
            head, alpha = (cv2.warpAffine(layer, to_frame, SIZE_WH_PX) for layer in heads[k])
            picture = picture * (1 - alpha[..., None]) + head * alpha[..., None]
        noisy = picture + 3 * rng.normal(size=picture.shape)
        yield np.clip(noisy, 0, 255).astype(np.uint8), at_x


@pytest.mark.parametrize(
    ("sizes_px", "px_per_frame"), [((240, 210), 16), ((190, 260), 16), ((240, 160), 10)]
)
def test_two_real_faces_that_cross_keep_their_numbers(estimator, heads, sizes_px, px_per_frame):
    detector = estimator.detector.with_min_face_fraction(MIN_FACE_FRACTION_VIDEO)
    pipeline = FramePipeline(estimator, detector)
    camera = camera_from_horizontal_fov(SIZE_WH_PX, 60.0)
    seen: list[dict[int, float]] = []
    truth: list[list[float]] = []
    for i, (image_rgb, at_x) in enumerate(crossing(heads, sizes_px, px_per_frame)):
        result = pipeline.process(image_rgb, i, i / 30, camera)
        boxes = {face.track_id: face.raw.box_xyxy_px for face in result.faces}
        seen.append({track_id: float(box[[0, 2]].mean()) for track_id, box in boxes.items()})
        truth.append(at_x)
    assert any(len(frame) == 1 for frame in seen), "nobody was hidden: the scene tests nothing"
    assert {track_id for frame in seen for track_id in frame} == {1, 2}
    assert len(seen[0]) == len(seen[-1]) == 2
    assert left_person_number(seen[0], truth[0]) == left_person_number(seen[-1], truth[-1])


def left_person_number(seen: dict[int, float], at_x: list[float]) -> int:
    """The number of the one who comes from the left, wherever that person is now."""
    return min(seen, key=lambda track_id: abs(seen[track_id] - at_x[0]))
