"""A face brought onto ArcFace's template, and what MICA's training reads of it.

The template is insightface's: where eyes, nose and mouth corners lie in a picture of 112 px.
"""

from __future__ import annotations

import io

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from models.face_detection.base import FaceDetections

Array = np.ndarray

ARCFACE_SIDE_PX, CROP_SIDE_PX = 112, 224
TEMPLATE_112_PX = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
"""Eye at image left, eye at image right, nose, mouth corners left and right; for another side all
of it is multiplied."""


class NoAlignmentError(ValueError):
    """The landmarks lie in one point."""


def similarity_onto(
    points_px: Float[Array, "n 2"], targets_px: Float[Array, "n 2"]
) -> Float[Array, "2 3"]:
    """Rotation, one scale and shift, without mirroring, that takes points nearest to targets.

    Least squares. With points as complex numbers a rotation with scale is a factor, so this is a
    straight line's fit; the same minimum as Umeyama's (1991) for two dimensions.
    Raises: NoAlignmentError.
    """
    points, targets = (np.asarray(p, np.float64) @ [1, 1j] for p in (points_px, targets_px))
    centre, target_centre = points.mean(), targets.mean()
    spread = np.vdot(points - centre, points - centre).real
    if not spread > 0:
        raise NoAlignmentError("The landmarks of the face lie in one point.")
    factor = np.vdot(points - centre, targets - target_centre) / spread
    shift = target_centre - factor * centre
    return np.array(
        [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]
    )


def align_face(
    image_rgb: UInt8[Array, "h w 3"], landmarks5_px: Float[Array, "5 2"], side_px: int
) -> UInt8[Array, "side side 3"]:
    """The face with its landmarks on the template; black where the picture ends.

    Raises: NoAlignmentError.
    """
    M_crop_from_image = similarity_onto(
        landmarks5_px, TEMPLATE_112_PX * (side_px / ARCFACE_SIDE_PX)
    )
    return cv2.warpAffine(image_rgb, M_crop_from_image, (side_px, side_px))


def arcface_input(aligned_rgb: UInt8[Array, "112 112 3"]) -> Float32[Array, "3 112 112"]:
    """What ArcFace's network takes: RGB from -1 to 1."""
    scaled = (aligned_rgb.astype(np.float32) - np.float32(127.5)) / np.float32(127.5)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def npy_bytes(array: Float32[Array, "..."]) -> bytes:
    """The content of an .npy file."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def crop_bytes(crop_rgb: UInt8[Array, "h w 3"], ending: str) -> bytes:
    """The content of a picture file; ending: ".jpg", ".png", ..."""
    is_written, content = cv2.imencode(ending.lower(), cv2.cvtColor(crop_rgb, cv2.COLOR_RGB2BGR))
    if not is_written:
        raise ValueError(f"A picture cannot be written as {ending}.")
    return content.tobytes()


def nearest_to_centre(faces: FaceDetections, size_wh_px: tuple[int, int]) -> int:
    """The face whose box has its centre nearest to the picture's."""
    boxes = faces.boxes_xyxy_px
    centres_px = (boxes[:, :2] + boxes[:, 2:]) / 2
    return int(np.linalg.norm(centres_px - np.array(size_wh_px) / 2, axis=1).argmin())
