"""Laws of models/geometry/cameras.py: projection against OpenCV, and where K comes from."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.geometry.cameras import (
    FULL_FRAME_DIAGONAL_MM,
    Camera,
    CameraError,
    camera_from_exif,
    camera_from_horizontal_fov,
    camera_from_intrinsics,
)

SIZE_PX = st.integers(16, 5000)


@st.composite
def cameras(draw: st.DrawFn) -> Camera:
    """Cameras with fx != fy and a principal point that may even lie outside the picture."""
    width, height = draw(SIZE_PX), draw(SIZE_PX)
    fx_px, fy_px = (draw(st.floats(0.3, 5.0)) * width for _ in range(2))
    cx_px, cy_px = draw(st.floats(-0.5, 1.5)) * width, draw(st.floats(-0.5, 1.5)) * height
    return camera_from_intrinsics((width, height), fx_px, fy_px, cx_px, cy_px)


POINT_CAM_M = st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.2, 3)).map(np.array)


@given(camera=cameras(), point_cam_m=POINT_CAM_M)
def test_projection_is_opencvs(camera: Camera, point_cam_m: np.ndarray) -> None:
    expected, _ = cv2.projectPoints(
        point_cam_m[None], np.zeros(3), np.zeros(3), camera.K_image_from_cam, None
    )
    np.testing.assert_allclose(camera.project(point_cam_m), expected[0, 0], rtol=1e-9, atol=1e-9)


@given(camera=cameras(), point_cam_m=POINT_CAM_M)
def test_normalise_undoes_projection(camera: Camera, point_cam_m: np.ndarray) -> None:
    ray = camera.normalise(camera.project(point_cam_m))
    np.testing.assert_allclose(ray, point_cam_m[:2] / point_cam_m[2], atol=1e-9)


def test_projection_of_a_batch_and_behind_the_camera() -> None:
    camera = camera_from_horizontal_fov((640, 480))
    points = np.array([[[0.1, 0.2, 1.0], [0.0, 0.0, 2.0]], [[0.0, 0.0, 0.0], [0.1, 0.0, -1.0]]])
    pixels = camera.project(points)
    assert pixels.shape == (2, 2, 2)
    assert np.isfinite(pixels).all()
    np.testing.assert_allclose(pixels[0, 1], (320, 240))


@given(camera=cameras(), new_w=SIZE_PX, new_h=SIZE_PX, point_cam_m=POINT_CAM_M)
def test_resized_moves_pixels_with_the_picture(
    camera: Camera, new_w: int, new_h: int, point_cam_m: np.ndarray
) -> None:
    scale = np.array([new_w, new_h]) / camera.size_wh_px
    resized = camera.resized((new_w, new_h))
    assert resized.size_wh_px == (new_w, new_h)
    np.testing.assert_allclose(
        resized.project(point_cam_m), camera.project(point_cam_m) * scale, rtol=1e-9, atol=1e-7
    )
    np.testing.assert_allclose(resized.horizontal_fov_deg, camera.horizontal_fov_deg, rtol=1e-9)


@given(width=SIZE_PX, height=SIZE_PX, fov_deg=st.floats(1.0, 179.0))
def test_field_of_view_spans_the_picture(width: int, height: int, fov_deg: float) -> None:
    camera = camera_from_horizontal_fov((width, height), fov_deg)
    assert camera.horizontal_fov_deg == pytest.approx(fov_deg)
    np.testing.assert_allclose(camera.principal_point_px, (width / 2, height / 2))
    assert camera.fx_px == camera.fy_px
    left, right = camera.normalise(np.array([[0.0, 0.0], [width, height]]))[:, 0]
    seen_deg = np.degrees(np.arctan(right) - np.arctan(left))
    assert seen_deg == pytest.approx(fov_deg)


@pytest.mark.parametrize("fov_deg", [0.0, 0.5, 179.5, -60.0, float("nan")])
def test_impossible_field_of_view(fov_deg: float) -> None:
    with pytest.raises(CameraError, match="1 to 179"):
        camera_from_horizontal_fov((640, 480), fov_deg)


def test_field_of_view_of_an_off_centre_principal_point() -> None:
    camera = camera_from_intrinsics((200, 100), 100.0, 100.0, 0.0, 50.0)
    assert camera.horizontal_fov_deg == pytest.approx(np.degrees(np.arctan(2)))


@given(camera=cameras(), factor=st.floats(0.1, 10))
def test_scaled_focal_keeps_the_principal_point(camera: Camera, factor: float) -> None:
    K = camera.K_image_from_cam.copy()
    scaled = camera.with_focal_scaled(factor, "calibrated")
    assert (scaled.fx_px, scaled.fy_px) == pytest.approx(
        (camera.fx_px * factor, camera.fy_px * factor)
    )
    np.testing.assert_array_equal(scaled.principal_point_px, camera.principal_point_px)
    assert scaled.source == "calibrated"
    np.testing.assert_array_equal(camera.K_image_from_cam, K)


BAD_K = {
    "finite": np.array([[np.nan, 0, 1], [0, 1, 1], [0, 0, 1.0]]),
    "positive": np.array([[-5.0, 0, 1], [0, 5, 1], [0, 0, 1]]),
    "skew": np.array([[5.0, 1, 1], [0, 5, 1], [0, 0, 1]]),
}


@pytest.mark.parametrize("word", BAD_K)
def test_bad_matrices_are_named(word: str) -> None:
    with pytest.raises(CameraError, match=word):
        Camera(BAD_K[word], (640, 480))


def test_transposed_matrix_and_empty_picture_are_refused() -> None:
    K = camera_from_horizontal_fov((640, 480)).K_image_from_cam
    with pytest.raises(CameraError):
        Camera(K.T, (640, 480))
    with pytest.raises(CameraError, match="size"):
        Camera(K, (0, 480))


# ---- EXIF

PHONE = {"FocalLengthIn35mmFilm": 26.0, "ExifImageWidth": 4032.0, "ExifImageHeight": 3024.0}


def test_35_mm_equivalent_goes_through_the_diagonal() -> None:
    camera = camera_from_exif((4032, 3024), PHONE)
    diagonal_px = 5040.0
    assert camera.fx_px == camera.fy_px == pytest.approx(26 / FULL_FRAME_DIAGONAL_MM * diagonal_px)
    # the angle over the diagonal is that of 26 mm on the 24 x 36 frame, whose diagonal is 43.27 mm
    assert np.degrees(2 * np.arctan(diagonal_px / 2 / camera.fx_px)) == pytest.approx(79.5, abs=0.1)
    np.testing.assert_allclose(camera.principal_point_px, (2016, 1512))
    assert "26 mm" in camera.source
    assert "resized" not in camera.source


@pytest.mark.parametrize("size_wh_px", [(1008, 756), (100, 75), (756, 1008)])
def test_resized_and_rotated_pictures_keep_their_angle(size_wh_px: tuple[int, int]) -> None:
    camera = camera_from_exif(size_wh_px, PHONE)
    diagonal_px = np.hypot(*size_wh_px)
    assert camera.fx_px == pytest.approx(26 / FULL_FRAME_DIAGONAL_MM * diagonal_px)
    assert "resized" in camera.source


def test_rotated_picture_of_full_size_is_not_called_resized() -> None:
    assert "resized" not in camera_from_exif((3024, 4032), PHONE).source


@pytest.mark.parametrize("size_wh_px", [(3024, 3024), (1920, 1080), (512, 512)])
def test_cropped_picture_has_stale_exif(size_wh_px: tuple[int, int]) -> None:
    assert camera_from_exif(size_wh_px, PHONE) is None


@pytest.mark.parametrize(
    ("unit", "per_unit"), [(2, 25.4 * 250.0), (3, 10 * 250.0), (4, 250.0), (2.0, 25.4 * 250.0)]
)
def test_focal_length_and_sensor_resolution(unit: float, per_unit: float) -> None:
    exif = {
        "FocalLength": 8.0,
        "FocalPlaneXResolution": per_unit,
        "FocalPlaneResolutionUnit": unit,
        "ExifImageWidth": 2000.0,
        "ExifImageHeight": 1500.0,
    }
    assert camera_from_exif((2000, 1500), exif).fx_px == pytest.approx(8.0 * 250.0)
    assert camera_from_exif((1000, 750), exif).fx_px == pytest.approx(8.0 * 250.0 / 2)


USELESS = {
    "nothing": {},
    "zero": {"FocalLengthIn35mmFilm": 0.0},
    "absurd": {"FocalLengthIn35mmFilm": 65535.0},
    "not a number": {"FocalLengthIn35mmFilm": float("nan")},
    "focal length alone": {"FocalLength": 5.0},
    "no unit": {
        "FocalLength": 5.0,
        "FocalPlaneXResolution": 200.0,
        "FocalPlaneResolutionUnit": 1.0,
    },
    "unit not a number": {
        "FocalLength": 5.0,
        "FocalPlaneXResolution": 5000.0,
        "FocalPlaneResolutionUnit": float("nan"),
    },
    "infinite": {"FocalLength": float("inf"), "FocalPlaneXResolution": 5000.0},
    "a lens of half a pixel": {"FocalLength": 0.001, "FocalPlaneXResolution": 5000.0},
}


@pytest.mark.parametrize("case", USELESS)
def test_useless_exif_gives_no_camera(case: str) -> None:
    assert camera_from_exif((640, 480), USELESS[case]) is None
