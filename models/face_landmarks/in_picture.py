"""FaceMesh on a face of a picture: twice, on squares turned with the head, as MediaPipe does it.

The first square comes from the detector's box and eyes, the second from the first points.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from models.face_landmarks.face_mesh import CROP_PX, FaceLandmarks468

Array = np.ndarray

SQUARE_SCALE = 1.5
"""Side of a square relative to the longer side of the box or of the points, as trained."""

EYE_CORNER_LANDMARKS = (33, 263)
"""Outer corners of the eyes at the left and the right of the picture of an upright face."""


@dataclass(frozen=True)
class TurnedSquare:
    """A square of a picture.

    roll_rad: from the picture's x axis to the square's, clockwise on screen.
    """

    centre_px: Float[Array, "2"]
    side_px: float
    roll_rad: float

    def image_from_square(self) -> Float[Array, "2 3"]:
        """Affine map of continuous pixels: the crop of CROP_PX pixels to the picture."""
        scale = self.side_px / CROP_PX
        c, s = scale * np.cos(self.roll_rad), scale * np.sin(self.roll_rad)
        turn = np.array([[c, -s], [s, c]])
        return np.column_stack([turn, self.centre_px - turn @ np.full(2, CROP_PX / 2)])


@dataclass(frozen=True)
class PictureLandmarks:
    """points_px: (468, 3), pixels of the picture; z in the same unit, growing away from the camera.
    presence: probability of a face in the second square."""

    points_px: Float[Array, "468 3"]
    presence: float


def locate_landmarks(
    network: FaceLandmarks468,
    image_rgb: UInt8[Array, "h w 3"],
    box_xyxy_px: Float[Array, "4"],
    landmarks5_px: Float[Array, "5 2"] | None = None,
    passes: int = 2,
) -> PictureLandmarks:
    """The 468 points of one face.

    box_xyxy_px, landmarks5_px: as `models.face_detection` finds them; without the landmarks the
        first square stands upright.
    """
    square = _square_of_box(box_xyxy_px, landmarks5_px)
    found = landmarks_in_square(network, image_rgb, square)
    for _ in range(passes - 1):
        found = landmarks_in_square(network, image_rgb, square_of_landmarks(found.points_px))
    return found


def landmarks_in_square(
    network: FaceLandmarks468, image_rgb: UInt8[Array, "h w 3"], square: TurnedSquare
) -> PictureLandmarks:
    """One pass."""
    affine = square.image_from_square()
    points_px, presence = network.predict(cut_square(image_rgb, square)[None])
    in_picture = points_px[0, :, :2] @ affine[:, :2].T + affine[:, 2]
    depth_px = points_px[0, :, 2:] * square.side_px / CROP_PX
    return PictureLandmarks(np.concatenate([in_picture, depth_px], 1), float(presence[0]))


def cut_square(image_rgb: UInt8[Array, "h w 3"], square: TurnedSquare) -> UInt8[Array, "192 192 3"]:
    """The square as the network sees it; outside the picture its edge is repeated."""
    affine = square.image_from_square()
    shrink = 2.0 * CROP_PX / square.side_px
    if shrink < 1.0:  # bilinear sampling would skip pixels: average down first
        height, width = image_rgb.shape[:2]
        size_wh = max(1, round(width * shrink)), max(1, round(height * shrink))
        image_rgb = cv2.resize(image_rgb, size_wh, interpolation=cv2.INTER_AREA)
        affine = affine * np.array([[size_wh[0] / width], [size_wh[1] / height]])
    # cv2 numbers pixel centres from 0: half a pixel in, half a pixel out
    affine[:, 2] += affine[:, :2] @ np.full(2, 0.5) - 0.5
    return cv2.warpAffine(
        image_rgb,
        affine,
        (CROP_PX, CROP_PX),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def square_of_landmarks(points_px: Float[Array, "468 3"]) -> TurnedSquare:
    """Around the points, upright with the eyes."""
    left, right = points_px[list(EYE_CORNER_LANDMARKS), :2]
    roll_rad = _angle_rad(right - left)
    c, s = np.cos(roll_rad), np.sin(roll_rad)
    head_from_image = np.array([[c, s], [-s, c]])
    upright = points_px[:, :2] @ head_from_image.T
    low, high = upright.min(0), upright.max(0)
    side_px = SQUARE_SCALE * float((high - low).max())
    return TurnedSquare(head_from_image.T @ ((low + high) / 2), side_px, roll_rad)


def _square_of_box(
    box_xyxy_px: Float[Array, "4"], landmarks5_px: Float[Array, "5 2"] | None
) -> TurnedSquare:
    low, high = np.asarray(box_xyxy_px, np.float64).reshape(2, 2)
    roll_rad = 0.0 if landmarks5_px is None else _angle_rad(landmarks5_px[1] - landmarks5_px[0])
    return TurnedSquare((low + high) / 2, SQUARE_SCALE * float((high - low).max()), roll_rad)


def _angle_rad(direction: Float[Array, "2"]) -> float:
    return float(np.arctan2(direction[1], direction[0]))
