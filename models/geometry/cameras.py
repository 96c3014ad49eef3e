"""Pinhole cameras: the Camera record, projection, and where K comes from (FOV, EXIF, fx fy cx cy).

Pixel coordinates are continuous: the first pixel spans 0 to 1 and its centre is 0.5, so the middle
of an image is (w/2, h/2) and a mirror is x -> w - x. OpenCV's functions put pixel centres on whole
numbers; the half pixel is added where they are called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

Array = np.ndarray

DEFAULT_HORIZONTAL_FOV_DEG = 40.0
"""Assumed for a picture or video that says nothing: a normal lens (50 mm on full frame: 39.6)."""

WEBCAM_HORIZONTAL_FOV_DEG = 60.0
"""Assumed for a live webcam: laptop webcams have 55 to 65 degrees."""

FULL_FRAME_DIAGONAL_MM = 43.27
"""Diagonal of the 36 x 24 mm frame; EXIF's 35-mm-equivalent relates to it (CIPA DC-008)."""


class CameraError(ValueError):
    """The camera parameters cannot be used; the message says why."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion.

    K_image_from_cam: (3, 3), pixels; may have fx != fy and an off-centre principal point, but no
    skew.
    size_wh_px: the image's width and height.
    source: a short sentence for the screen: where K comes from.
    """

    K_image_from_cam: Float[Array, "3 3"]
    size_wh_px: tuple[int, int]
    source: str = field(default="given")

    def __post_init__(self) -> None:
        K = np.asarray(self.K_image_from_cam, np.float64)
        if K.shape != (3, 3):
            raise CameraError(f"K must be 3x3, got {K.shape}.")
        if not np.isfinite(K).all():
            raise CameraError("K has a value that is not a finite number.")
        if K[0, 0] <= 0 or K[1, 1] <= 0:
            raise CameraError(
                f"Focal lengths must be positive, got fx={K[0, 0]:g}, fy={K[1, 1]:g}."
            )
        if (
            abs(K[0, 1]) > 1e-9 * K[0, 0]
            or np.abs(K[[1, 2, 2], [0, 0, 1]]).max() > 0
            or K[2, 2] != 1
        ):
            raise CameraError(
                "K must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]; skew is not supported."
            )
        if min(self.size_wh_px) < 1:
            raise CameraError(f"Image size must be positive, got {self.size_wh_px}.")
        object.__setattr__(self, "K_image_from_cam", K)

    @property
    def fx_px(self) -> float:
        return float(self.K_image_from_cam[0, 0])

    @property
    def fy_px(self) -> float:
        return float(self.K_image_from_cam[1, 1])

    @property
    def principal_point_px(self) -> Float[Array, "2"]:
        return self.K_image_from_cam[:2, 2].copy()

    @property
    def horizontal_fov_deg(self) -> float:
        """Angle between the left and the right edge, whatever the principal point."""
        left, right = self.principal_point_px[0], self.size_wh_px[0] - self.principal_point_px[0]
        return float(np.degrees(np.arctan2(left, self.fx_px) + np.arctan2(right, self.fx_px)))

    def project(self, points_cam: Float[Array, "*batch 3"]) -> Float[Array, "*batch 2"]:
        """Pixels of points in the camera frame (any length unit, z > 0; z is held above 1e-9)."""
        points_cam = np.asarray(points_cam, np.float64)
        z = np.maximum(points_cam[..., 2:], 1e-9)
        return (
            points_cam[..., :2] / z * np.array([self.fx_px, self.fy_px]) + self.principal_point_px
        )

    def normalise(self, points_px: Float[Array, "*batch 2"]) -> Float[Array, "*batch 2"]:
        """Pixels to (x/z, y/z) of the ray through them."""
        return (np.asarray(points_px, np.float64) - self.principal_point_px) / [
            self.fx_px,
            self.fy_px,
        ]

    def with_focal_scaled(self, factor: float, source: str) -> Camera:
        """The same camera with both focal lengths multiplied."""
        K = self.K_image_from_cam.copy()
        K[[0, 1], [0, 1]] *= factor
        return Camera(K, self.size_wh_px, source)

    def resized(self, size_wh_px: tuple[int, int]) -> Camera:
        """The camera of the same picture resampled to another size."""
        scale = np.array(size_wh_px, np.float64) / self.size_wh_px
        K = self.K_image_from_cam.copy()
        K[:2] *= scale[:, None]
        return Camera(K, size_wh_px, self.source)


def camera_from_horizontal_fov(
    size_wh_px: tuple[int, int],
    horizontal_fov_deg: float = DEFAULT_HORIZONTAL_FOV_DEG,
    source: str | None = None,
) -> Camera:
    """Square pixels, principal point in the middle; fx = (w / 2) / tan(fov / 2).

    Raises: CameraError if the angle is not between 1 and 179 degrees.
    """
    if not 1.0 <= horizontal_fov_deg <= 179.0:
        raise CameraError(
            f"The horizontal field of view must be 1 to 179 degrees, got {horizontal_fov_deg:g}."
        )
    width, height = size_wh_px
    f_px = (width / 2) / np.tan(np.radians(horizontal_fov_deg) / 2)
    K = np.array([[f_px, 0, width / 2], [0, f_px, height / 2], [0, 0, 1.0]])
    return Camera(
        K, size_wh_px, source or f"assumed horizontal field of view {horizontal_fov_deg:.1f} deg"
    )


def camera_from_intrinsics(
    size_wh_px: tuple[int, int],
    fx_px: float,
    fy_px: float,
    cx_px: float,
    cy_px: float,
    source: str = "given K",
) -> Camera:
    """Camera from the four numbers of a calibration. Raises: CameraError."""
    return Camera(np.array([[fx_px, 0, cx_px], [0, fy_px, cy_px], [0, 0, 1.0]]), size_wh_px, source)


def camera_from_exif(size_wh_px: tuple[int, int], exif: Mapping[str, float]) -> Camera | None:
    """Camera from EXIF tags, or None when they are absent, impossible or stale.

    exif: plain numbers by tag name: FocalLengthIn35mmFilm, FocalLength (mm), FocalPlaneXResolution,
        FocalPlaneResolutionUnit, ExifImageWidth, ExifImageHeight (the size when the photo was
        taken).
    size_wh_px: the size of the picture as shown, EXIF rotation applied.

    The 35-mm equivalent counts first: f_px = f35 / 43.27 * diagonal. A picture that was only
    resized keeps its field of view, so its EXIF still holds; one whose aspect ratio changed was
    cropped, and its EXIF is stale: None.
    """
    width, height = size_wh_px
    taken = (exif.get("ExifImageWidth", 0.0), exif.get("ExifImageHeight", 0.0))
    diagonal_px = float(np.hypot(width, height))
    note = ""
    if min(taken) > 0:
        aspect, aspect_taken = max(width, height) / min(width, height), max(taken) / min(taken)
        if abs(aspect / aspect_taken - 1.0) > 0.02:
            return None
        if abs(diagonal_px / float(np.hypot(*taken)) - 1.0) > 0.01:
            note = ", picture resized since"
    f35_mm = exif.get("FocalLengthIn35mmFilm", 0.0)
    if 4.0 <= f35_mm <= 3000.0:
        f_px, what = (
            f35_mm / FULL_FRAME_DIAGONAL_MM * diagonal_px,
            f"EXIF {f35_mm:g} mm (35 mm equivalent){note}",
        )
    else:
        unit_mm = {2: 25.4, 3: 10.0, 4: 1.0}.get(exif.get("FocalPlaneResolutionUnit", 2), 0.0)
        f_mm, per_unit = exif.get("FocalLength", 0.0), exif.get("FocalPlaneXResolution", 0.0)
        if not (f_mm > 0 and per_unit > 0 and unit_mm > 0):
            return None
        f_px = f_mm * per_unit / unit_mm
        if min(taken) > 0:
            f_px *= diagonal_px / float(np.hypot(*taken))
        what = f"EXIF {f_mm:g} mm and sensor resolution{note}"
    if not 0.2 <= f_px / max(width, height) <= 100:
        return None
    K = np.array([[f_px, 0, width / 2], [0, f_px, height / 2], [0, 0, 1.0]])
    return Camera(K, size_wh_px, what)
