"""The alignment against Umeyama's formula, cv2's estimate, and a real photo."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.face_detection.base import FaceDetections
from models.weights import REPOSITORY_ROOT
from viewer.mica.arcface import (
    TEMPLATE_112_PX,
    NoAlignmentError,
    align_face,
    arcface_input,
    crop_bytes,
    nearest_to_centre,
    npy_bytes,
    similarity_onto,
)
from viewer.mica.decoding import decode_upright
from viewer.mica.picture import build_mtcnn


def umeyama(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Umeyama 1991, equations 34 to 43, by singular values."""
    mean, target_mean = points.mean(0), targets.mean(0)
    centred, target_centred = points - mean, targets - target_mean
    covariance = target_centred.T @ centred / len(points)
    U, sizes, Vt = np.linalg.svd(covariance)
    sign = np.diag([1.0, np.sign(np.linalg.det(U) * np.linalg.det(Vt))])
    R = U @ sign @ Vt
    scale = np.trace(np.diag(sizes) @ sign) / (centred**2).sum(1).mean()
    return np.column_stack([scale * R, target_mean - scale * R @ mean])


@given(st.integers(0, 10_000))
def test_the_similarity_is_umeyamas(seed: int) -> None:
    """Also for points far from any face, and for mirrored ones: no reflection comes out."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-500, 2000, (5, 2))
    if seed % 2:
        points = TEMPLATE_112_PX * [-3, 3] + rng.normal(0, 5, (5, 2))
    ours = similarity_onto(points, TEMPLATE_112_PX)
    assert np.allclose(ours, umeyama(points, TEMPLATE_112_PX), atol=1e-9)
    assert np.linalg.det(ours[:, :2]) > 0


def test_a_known_similarity_is_found_again_and_agrees_with_cv2() -> None:
    angle, scale = np.radians(25), 0.4
    A = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    expected = np.column_stack([A, [12.0, -30.0]])
    points = (TEMPLATE_112_PX - expected[:, 2]) @ np.linalg.inv(A).T
    ours = similarity_onto(points, TEMPLATE_112_PX)
    theirs, _ = cv2.estimateAffinePartial2D(points, TEMPLATE_112_PX, method=cv2.LMEDS)
    assert np.allclose(ours, expected, atol=1e-12) and np.allclose(ours, theirs, atol=1e-6)
    with pytest.raises(NoAlignmentError):
        similarity_onto(np.ones((5, 2)), TEMPLATE_112_PX)


def test_crops_and_arrays() -> None:
    """Drawn dots land on the template at 112 and at 224 px; the array is what MICA reads."""
    points = TEMPLATE_112_PX * 5 + [200, 40]
    picture = np.zeros((800, 900, 3), np.uint8)
    for x, y in points:
        cv2.circle(picture, (round(8 * x), round(8 * y)), 8 * 12, (255, 128, 0), -1, shift=3)
    for side in (112, 224):
        crop = align_face(picture, points, side)
        assert crop.shape == (side, side, 3)
        count, _, _, centres = cv2.connectedComponentsWithStats((crop[:, :, 0] > 127).astype("u1"))
        assert count == 6
        for x, y in TEMPLATE_112_PX * side / 112:
            assert np.linalg.norm(centres[1:] - [x, y], axis=1).min() < 0.6
    aligned = align_face(picture, points, 112)
    array = arcface_input(aligned)
    assert array.dtype == np.float32 and array.shape == (3, 112, 112)
    assert array[0].max() == 1.0 and array.min() == -1.0 and array[2].max() == -1.0, "RGB"
    blob = cv2.dnn.blobFromImages([aligned[:, :, ::-1]], 1 / 127.5, (112, 112), [127.5] * 3, True)
    assert np.abs(array - blob[0]).max() < 1e-6
    assert npy_bytes(array)[:6] == b"\x93NUMPY"
    again = decode_upright(crop_bytes(aligned, ".PNG"))
    assert np.array_equal(again, aligned)


def test_the_face_nearest_to_the_centre() -> None:
    boxes = np.array([[0.0, 0, 40, 40], [90, 40, 130, 90], [60, 20, 100, 70]])
    faces = FaceDetections(boxes, np.array([0.99, 0.98, 0.5]), np.zeros((3, 5, 2)))
    assert nearest_to_centre(faces, (160, 90)) == 2
    assert nearest_to_centre(faces, (20, 20)) == 0


def eyes_and_mouth_error(path: Path) -> np.ndarray:
    """How far the detector finds the five points from the template, in the aligned crop."""
    detector, picture = build_mtcnn(), decode_upright(path.read_bytes())
    first = detector.detect(picture)
    crop = align_face(picture, first.landmarks5_px[0], 224)
    second = detector.detect(crop)
    return np.abs(second.landmarks5_px[0] - 2 * TEMPLATE_112_PX)


def test_a_real_face_lies_on_the_template() -> None:
    """MTCNN, looking again at the crop, finds the eyes where the template has them."""
    error_px = eyes_and_mouth_error(REPOSITORY_ROOT / "assets" / "examples" / "astronaut.jpg")
    assert error_px[:2].max() < 10 and error_px.max() < 20


def test_real_samples_lie_on_the_template(shared_data: Path) -> None:
    for name in ("biwi/hpdb/01/frame_00003_rgb.png", "AFLW2000/image00050.jpg"):
        error_px = eyes_and_mouth_error(shared_data / "samples" / name)
        assert error_px[:2].max() < 10 and error_px.max() < 20, name
