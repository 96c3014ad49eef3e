"""Which camera took a picture: EXIF, a field of view, fx fy cx cy, or one known distance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from demo_app.inference.images import LoadedImage
from models.geometry.cameras import (
    DEFAULT_HORIZONTAL_FOV_DEG,
    Camera,
    CameraError,
    camera_from_exif,
    camera_from_horizontal_fov,
    camera_from_intrinsics,
)

CameraMode = Literal["auto", "exif", "fov", "intrinsics"]

ASPECT_TOLERANCE = 0.02
"""A picture whose aspect ratio is further from the calibrated one was cropped, not resized."""


@dataclass(frozen=True)
class CameraChoice:
    """How the user wants the camera to be found.

    mode: "auto" takes EXIF where it is usable and `horizontal_fov_deg` elsewhere; "exif" insists on
        EXIF; "fov" takes `horizontal_fov_deg`; "intrinsics" takes the four numbers.
    fx_px, fy_px, cx_px, cy_px: of a calibration. None stands for fy = fx and for the middle.
    calibrated_size_wh_px: the picture size that they hold for. With it a resized picture gets them
        scaled; without it they are taken as they are, for every size.
    """

    mode: CameraMode = "auto"
    horizontal_fov_deg: float = DEFAULT_HORIZONTAL_FOV_DEG
    fx_px: float | None = None
    fy_px: float | None = None
    cx_px: float | None = None
    cy_px: float | None = None
    calibrated_size_wh_px: tuple[int, int] | None = None


def camera_for_image(loaded: LoadedImage, choice: CameraChoice | None = None) -> Camera:
    """The camera of a picture, with its origin in `source`. Raises: CameraError."""
    return camera_for_size(loaded.size_wh_px, choice, loaded.exif)


def camera_for_size(
    size_wh_px: tuple[int, int],
    choice: CameraChoice | None = None,
    exif: Mapping[str, float] | None = None,
) -> Camera:
    """The same for a video or webcam frame, which has a size and no EXIF. Raises: CameraError."""
    choice = choice or CameraChoice()
    if choice.mode == "intrinsics":
        return _camera_from_calibration(size_wh_px, choice)
    if choice.mode == "fov":
        return camera_from_horizontal_fov(
            size_wh_px,
            float(choice.horizontal_fov_deg),
            f"horizontal field of view {choice.horizontal_fov_deg:.1f} deg",
        )
    if choice.mode not in ("auto", "exif"):
        raise CameraError(
            f'The camera mode must be "auto", "exif", "fov" or "intrinsics", not "{choice.mode}".'
        )
    camera = camera_from_exif(size_wh_px, exif or {})
    if camera is not None:
        return camera
    why = _why_exif_is_not_used(exif or {})
    if choice.mode == "exif":
        raise CameraError(
            f"The focal length cannot be read from the picture ({why}): "
            "give a field of view or fx fy cx cy instead."
        )
    return camera_from_horizontal_fov(
        size_wh_px,
        float(choice.horizontal_fov_deg),
        f"assumed horizontal field of view {choice.horizontal_fov_deg:.1f} deg ({why})",
    )


def _why_exif_is_not_used(exif: Mapping[str, float]) -> str:
    if not exif:
        return "no EXIF"
    if "FocalLengthIn35mmFilm" not in exif and "FocalPlaneXResolution" not in exif:
        return "EXIF without a focal length in pixels"
    return "EXIF does not fit this picture"


def _camera_from_calibration(size_wh_px: tuple[int, int], choice: CameraChoice) -> Camera:
    if choice.fx_px is None:
        raise CameraError("The focal length fx is missing: give fx fy cx cy in pixels.")
    given_wh = choice.calibrated_size_wh_px or size_wh_px
    if min(given_wh) < 1:
        raise CameraError(f"The calibrated picture size must be positive, got {given_wh}.")
    width, height = given_wh
    cx_px = width / 2 if choice.cx_px is None else float(choice.cx_px)
    cy_px = height / 2 if choice.cy_px is None else float(choice.cy_px)
    if not (-width <= cx_px <= 2 * width and -height <= cy_px <= 2 * height):
        raise CameraError(
            f"The principal point ({cx_px:g}, {cy_px:g}) is far outside the {width} x {height} "
            "picture: cx and cy must be pixels of this picture, so scale all four numbers if the "
            "calibration was made at another size."
        )
    fx_px = float(choice.fx_px)
    fy_px = fx_px if choice.fy_px is None else float(choice.fy_px)
    camera = camera_from_intrinsics(given_wh, fx_px, fy_px, cx_px, cy_px)
    if tuple(given_wh) == tuple(size_wh_px):
        return camera
    aspect, calibrated_aspect = size_wh_px[0] / size_wh_px[1], width / height
    if abs(aspect / calibrated_aspect - 1.0) > ASPECT_TOLERANCE:
        raise CameraError(
            f"The calibration is for {width} x {height}, this picture is {size_wh_px[0]} x "
            f"{size_wh_px[1]}: it was cropped or turned, so give fx fy cx cy of this picture."
        )
    resized = camera.resized(size_wh_px)
    return Camera(resized.K_image_from_cam, size_wh_px, f"given K, scaled from {width} x {height}")


MIN_TRUE_DISTANCE_MM, MAX_TRUE_DISTANCE_MM = 100.0, 10_000.0
MIN_FOV_DEG, MAX_FOV_DEG = 3.0, 150.0
DISTANCE_TOLERANCE = 0.005
"""The calibration ends when the predicted distance is this close to the true one, relatively."""
ACCEPTED_TOLERANCE = 0.02
"""A network is no smooth function of f and may not come closer: up to here the best try counts."""
MAX_PREDICTIONS = 8


class CalibrationError(CameraError):
    """The known distance does not lead to a focal length; the message says why."""


def calibrate_from_distance(
    predict_distance_mm: Callable[[Camera], float], camera: Camera, true_distance_mm: float
) -> Camera:
    """The camera whose focal length makes the predicted distance of a face the true one.

    predict_distance_mm: distance from the camera to the face of one picture under a given camera,
        NaN or <= 0 when no face is found. It grows nearly in proportion to f, so the secant method
        on (log f, log distance) needs two or three predictions; at most `MAX_PREDICTIONS` are made.

    The principal point and fx : fy stay as they are.

    Raises: CalibrationError.
    """
    if not MIN_TRUE_DISTANCE_MM <= true_distance_mm <= MAX_TRUE_DISTANCE_MM:
        raise CalibrationError(
            f"The distance must be {MIN_TRUE_DISTANCE_MM / 10:g} cm to "
            f"{MAX_TRUE_DISTANCE_MM / 1000:g} m, got {true_distance_mm / 10:g} cm."
        )
    source = f"calibrated: face at {true_distance_mm / 10:g} cm"
    log_scale, slope = 0.0, 1.0
    tries: list[tuple[float, float]] = []  # log of the factor on f, log of predicted over true
    while len(tries) < MAX_PREDICTIONS:
        candidate = camera.with_focal_scaled(math.exp(log_scale), source)
        if tries:
            _check_field_of_view(candidate, true_distance_mm)
        error = _log_distance_error(predict_distance_mm(candidate), true_distance_mm)
        if abs(error) <= math.log1p(DISTANCE_TOLERANCE):
            return candidate
        if tries and tries[-1][0] != log_scale:
            measured = (error - tries[-1][1]) / (log_scale - tries[-1][0])
            slope = min(max(measured, 0.5), 2.0)
        tries.append((log_scale, error))
        log_scale -= error / slope
    best_log_scale, best_error = min(tries, key=lambda one: abs(one[1]))
    if abs(best_error) > math.log1p(ACCEPTED_TOLERANCE):
        raise CalibrationError(
            "The predicted distance does not settle as the focal length changes: use a sharp, "
            "frontal picture of one face."
        )
    return camera.with_focal_scaled(math.exp(best_log_scale), source)


def _log_distance_error(distance_mm: float, true_distance_mm: float) -> float:
    if not (math.isfinite(distance_mm) and distance_mm > 0):
        raise CalibrationError("No face was found to calibrate with: use a picture of one face.")
    return math.log(distance_mm / true_distance_mm)


def _check_field_of_view(camera: Camera, true_distance_mm: float) -> None:
    fov_deg = camera.horizontal_fov_deg
    if not MIN_FOV_DEG <= fov_deg <= MAX_FOV_DEG:
        raise CalibrationError(
            f"A face at {true_distance_mm / 10:g} cm would need a horizontal field of view of "
            f"{fov_deg:.1f} deg, which no ordinary camera has: check the distance."
        )
