"""Where the camera comes from, against focal lengths worked out by hand; the calibration."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from demo_app.inference.camera_choice import (
    CalibrationError,
    CameraChoice,
    calibrate_from_distance,
    camera_for_image,
    camera_for_size,
)
from demo_app.inference.images import LoadedImage, read_image
from models.geometry.cameras import (
    DEFAULT_HORIZONTAL_FOV_DEG,
    Camera,
    CameraError,
    camera_from_horizontal_fov,
)


def _photo(size_wh: tuple[int, int], orientation: int = 1, **tags: object) -> LoadedImage:
    """A JPEG with these EXIF tags, read back; size_wh as stored in the file."""
    numbers = {"f35_mm": 41989, "f_mm": 37386, "per_unit": 41486, "unit": 41488, "wh": 0}
    exif = Image.Exif()
    exif[0x0112] = orientation
    block = exif.get_ifd(0x8769)
    for name, value in tags.items():
        if name == "wh":
            block[40962], block[40963] = value
        else:
            block[numbers[name]] = value
    buffer = io.BytesIO()
    Image.new("RGB", size_wh, "grey").save(buffer, "JPEG", exif=exif)
    return read_image(buffer.getvalue(), "photo.jpg")


def test_35_mm_equivalent_goes_through_the_diagonal() -> None:
    # 800 x 600: diagonal 1000 px; 26 mm of 43.27 mm -> f = 26 / 43.27 * 1000 = 600.878 px
    camera = camera_for_image(_photo((800, 600), f35_mm=26))
    assert camera.fx_px == pytest.approx(600.878, abs=1e-3) and camera.fy_px == camera.fx_px
    assert camera.principal_point_px.tolist() == [400, 300]
    assert camera.source.startswith("EXIF 26 mm")


def test_orientation_turns_the_size_and_keeps_the_focal_length() -> None:
    loaded = _photo((800, 600), orientation=6, f35_mm=26, wh=(800, 600))
    camera = camera_for_image(loaded)
    assert camera.size_wh_px == (600, 800) == loaded.size_wh_px
    assert camera.fx_px == pytest.approx(600.878, abs=1e-3)
    assert camera.principal_point_px.tolist() == [300, 400]


def test_sensor_resolution_and_focal_length() -> None:
    # 5 mm at 160 pixels per mm (4064 per inch) -> 800 px
    per_inch = camera_for_image(_photo((800, 600), f_mm=5, per_unit=4064, unit=2, wh=(800, 600)))
    per_cm = camera_for_image(_photo((800, 600), f_mm=5, per_unit=1600, unit=3, wh=(800, 600)))
    assert per_inch.fx_px == pytest.approx(800) and per_cm.fx_px == pytest.approx(800)
    # The same picture at half the size: half the focal length.
    half = camera_for_image(_photo((400, 300), f_mm=5, per_unit=1600, unit=3, wh=(800, 600)))
    assert half.fx_px == pytest.approx(400) and "resized" in half.source


def test_stale_exif_of_a_cropped_picture_is_not_used() -> None:
    cropped = _photo((600, 600), f35_mm=26, wh=(800, 600))
    camera = camera_for_image(cropped, CameraChoice(horizontal_fov_deg=60.0))
    assert "assumed" in camera.source and "does not fit" in camera.source
    # tan 30 deg = 0.57735: f = 300 / 0.57735
    assert camera.fx_px == pytest.approx(519.615, abs=1e-3)
    with pytest.raises(CameraError, match="EXIF does not fit this picture"):
        camera_for_image(cropped, CameraChoice("exif"))


def test_without_exif_the_assumption_is_said() -> None:
    plain = LoadedImage(np.zeros((600, 800, 3), np.uint8), {}, "x.png")
    camera = camera_for_image(plain)
    fov_deg = DEFAULT_HORIZONTAL_FOV_DEG
    assert camera.source == f"assumed horizontal field of view {fov_deg:.1f} deg (no EXIF)"
    assert camera.fx_px == pytest.approx(400 / math.tan(math.radians(fov_deg / 2)))
    assert camera_for_image(plain, CameraChoice(horizontal_fov_deg=90)).fx_px == pytest.approx(400)
    with pytest.raises(CameraError, match=r"no EXIF.*field of view"):
        camera_for_image(plain, CameraChoice("exif"))


def test_exif_without_enough_in_it_is_told_apart() -> None:
    for tags in ({"f_mm": 5}, {"wh": (800, 600)}):
        camera = camera_for_image(_photo((800, 600), **tags))
        assert "EXIF without a focal length" in camera.source


def test_a_chosen_field_of_view_beats_exif() -> None:
    camera = camera_for_image(_photo((800, 600), f35_mm=26), CameraChoice("fov", 90.0))
    assert (
        camera.fx_px == pytest.approx(400) and camera.source == "horizontal field of view 90.0 deg"
    )
    with pytest.raises(CameraError, match="1 to 179"):
        camera_for_size((800, 600), CameraChoice("fov", 0.0))


def test_intrinsics_as_given_and_with_defaults() -> None:
    given = CameraChoice("intrinsics", fx_px=700, fy_px=710, cx_px=390, cy_px=310)
    K = camera_for_size((800, 600), given).K_image_from_cam
    assert K.tolist() == [[700, 0, 390], [0, 710, 310], [0, 0, 1]]
    K = camera_for_size((800, 600), CameraChoice("intrinsics", fx_px=700)).K_image_from_cam
    assert K.tolist() == [[700, 0, 400], [0, 700, 300], [0, 0, 1]]


def test_intrinsics_of_another_size_are_scaled_or_refused() -> None:
    given = CameraChoice(
        "intrinsics", fx_px=700, fy_px=710, cx_px=390, cy_px=310, calibrated_size_wh_px=(800, 600)
    )
    camera = camera_for_size((1600, 1200), given)
    assert camera.K_image_from_cam.tolist() == [[1400, 0, 780], [0, 1420, 620], [0, 0, 1]]
    assert "scaled from 800 x 600" in camera.source
    with pytest.raises(CameraError, match="cropped or turned"):
        camera_for_size((600, 800), given)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({}, "fx is missing"),
        ({"fx_px": -700.0}, "must be positive"),
        ({"fx_px": float("nan")}, "finite"),
        ({"fx_px": 700.0, "cx_px": 1601.0}, "far outside"),
        ({"fx_px": 700.0, "cy_px": -601.0}, "far outside"),
        ({"fx_px": 700.0, "cx_px": float("inf")}, "far outside"),
        ({"fx_px": 700.0, "calibrated_size_wh_px": (0, 600)}, "must be positive"),
    ],
)
def test_unusable_intrinsics(numbers: dict, expected: str) -> None:
    with pytest.raises(CameraError, match=expected):
        camera_for_size((800, 600), CameraChoice("intrinsics", **numbers))
    with pytest.raises(CameraError, match="camera mode"):
        camera_for_size((800, 600), CameraChoice("magic"))


# --- calibration from one distance

START = camera_from_horizontal_fov((640, 480), 60.0)


class _Face:
    """A face in one picture: its distance under a camera, and how often that was asked."""

    def __init__(self, power: float = 1.0, offset_mm: float = 0.0, ripple: float = 0.0) -> None:
        self.power, self.offset_mm, self.ripple = power, offset_mm, ripple
        self.asked = 0

    def __call__(self, camera: Camera) -> float:
        self.asked += 1
        factor = camera.fx_px / START.fx_px
        wave = 1.0 + self.ripple * math.sin(97.0 * factor)
        return 500.0 * factor**self.power * wave + self.offset_mm


@pytest.mark.parametrize("true_mm", [300.0, 500.0, 600.0, 1200.0])
@pytest.mark.parametrize(("power", "offset_mm"), [(1.0, 0.0), (0.9, 60.0), (1.15, -40.0)])
def test_calibration_finds_the_focal_length(true_mm: float, power: float, offset_mm: float) -> None:
    face = _Face(power, offset_mm)
    camera = calibrate_from_distance(face, START, true_mm)
    assert face.asked <= 5
    assert face(camera) == pytest.approx(true_mm, rel=0.005)
    assert camera.source == f"calibrated: face at {true_mm / 10:g} cm"


def test_calibration_by_hand() -> None:
    # 500 mm at f, proportional: 600 mm needs 1.2 f. Aspect and principal point stay.
    K = np.array([[500.0, 0, 300], [0, 520.0, 250], [0, 0, 1]])
    camera = calibrate_from_distance(
        lambda c: 500.0 * c.fx_px / 500.0, Camera(K, (640, 480)), 600.0
    )
    expected = [[600.0, 0, 300], [0, 624.0, 250], [0, 0, 1]]
    np.testing.assert_allclose(camera.K_image_from_cam, expected, rtol=1e-12)


def test_a_slightly_unsteady_network_is_good_enough() -> None:
    face = _Face(ripple=0.004)
    camera = calibrate_from_distance(face, START, 620.0)
    assert face(camera) == pytest.approx(620.0, rel=0.02) and face.asked <= 9


def test_calibration_that_cannot_work_says_why() -> None:
    for distance_mm in (5.0, 60_000.0, float("nan")):
        with pytest.raises(CalibrationError, match="10 cm to 10 m"):
            calibrate_from_distance(_Face(), START, distance_mm)
    for nothing in (float("nan"), 0.0, -3.0, float("inf")):
        with pytest.raises(CalibrationError, match="No face"):
            calibrate_from_distance(lambda _, d=nothing: d, START, 600.0)
    with pytest.raises(CalibrationError, match="field of view"):
        calibrate_from_distance(lambda c: 0.005 * c.fx_px, START, 6000.0)
    with pytest.raises(CalibrationError, match=r"does not settle|field of view"):
        calibrate_from_distance(lambda _: 500.0, START, 700.0)
    with pytest.raises(CalibrationError, match="does not settle"):
        calibrate_from_distance(_Face(ripple=0.8), START, 620.0)
