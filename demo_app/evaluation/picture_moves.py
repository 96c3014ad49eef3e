"""Changes of a picture and its crop after which the right pose is known from the one before.

Every move is exact for a pinhole camera: a mirror, a roll of the camera about its optical axis, or
another crop of the same picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from models.geometry.cameras import Camera
from models.geometry.rotations import MIRROR_X, about_z
from models.trg.preprocess import mirrored_camera, mirrored_ray_box

Array = np.ndarray

CROP_PX = 192.0
"""Blur is stated in pixels of a crop of this side."""

BLUR_SIGMA_CROP_PX = 1.5
SHIFT, SCALES = 0.08, (0.85, 1.2)
JITTER_SEED, JITTERS = 7, 4
CANVAS_MARGIN, MAX_CANVAS_PX = 1.6, 4000


@dataclass(frozen=True)
class Look:
    """A picture, its camera and the crop of one face."""

    image_rgb: UInt8[Array, "h w 3"]
    camera: Camera
    ray_box: Float[Array, "3"]


@dataclass(frozen=True)
class Move:
    """change: the picture and crop after the move.

    after, before: R becomes after @ R @ before, t becomes after @ t.
    """

    name: str
    change: Callable[[Look], Look]
    after: Float[Array, "3 3"]
    before: Float[Array, "3 3"]

    def expected(
        self, R_cam_from_head: Float[Array, "3 3"], t_mm: Float[Array, "3"]
    ) -> tuple[Float[Array, "3 3"], Float[Array, "3"]]:
        """The pose of the same head after the move."""
        return self.after @ R_cam_from_head @ self.before, self.after @ t_mm


def all_moves() -> list[Move]:
    """Moves of one name are variants; their differences are pooled."""
    moves = [Move("mirror", _mirrored, MIRROR_X, MIRROR_X), _rolled_by("resampled", 0.0)]
    for angle_deg in (15.0, 30.0, 45.0):
        moves += [_rolled_by(f"roll {angle_deg:g}", sign * angle_deg) for sign in (-1, 1)]
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        moves.append(_other_crop("shift 8 %", x * SHIFT, y * SHIFT, 1.0))
    moves += [_other_crop(f"scale {scale:g}", 0.0, 0.0, scale) for scale in SCALES]
    rng = np.random.default_rng(JITTER_SEED)
    for _ in range(JITTERS):
        x, y = rng.uniform(-0.06, 0.06, 2)
        moves.append(_other_crop("crop jitter", x, y, float(np.exp(rng.uniform(-0.1, 0.1)))))
    moves.append(Move("blur", _blurred, np.eye(3), np.eye(3)))
    return moves


def rolled(look: Look, angle_deg: float) -> Look:
    """What the camera sees after a roll about its optical axis that turns the picture clockwise.

    The picture around the crop is resampled (bicubic) at the photo's resolution, at least twice
    that of the crop; black where the photo ends.
    """
    turn = about_z(angle_deg)
    centre = turn @ [*look.ray_box[:2], 1.0]
    box = np.array([*centre[:2], look.ray_box[2]])
    resolution = max(look.camera.fx_px, look.camera.fy_px, 2 * CROP_PX / box[2])
    span = CANVAS_MARGIN * box[2]
    side_px = int(np.clip(np.ceil(span * resolution), 8, MAX_CANVAS_PX))
    f_px = side_px / span
    K = np.array(
        [
            [f_px, 0, side_px / 2 - f_px * box[0]],
            [0, f_px, side_px / 2 - f_px * box[1]],
            [0, 0, 1.0],
        ]
    )
    warp = (K @ turn @ np.linalg.inv(look.camera.K_image_from_cam))[:2]
    warp[:, 2] += warp[:, :2] @ [0.5, 0.5] - 0.5  # cv2 counts pixel centres from 0
    image = cv2.warpAffine(look.image_rgb, warp, (side_px, side_px), flags=cv2.INTER_CUBIC)
    return Look(image, Camera(K, (side_px, side_px)), box)


def _rolled_by(name: str, angle_deg: float) -> Move:
    return Move(name, lambda look: rolled(look, angle_deg), about_z(angle_deg), np.eye(3))


def _mirrored(look: Look) -> Look:
    flipped = np.ascontiguousarray(look.image_rgb[:, ::-1])
    return Look(flipped, mirrored_camera(look.camera), mirrored_ray_box(look.ray_box))


def _other_crop(name: str, shift_x: float, shift_y: float, scale: float) -> Move:
    """shift_x, shift_y: of the side."""

    def change(look: Look) -> Look:
        side = look.ray_box[2]
        moved = look.ray_box + np.array([shift_x * side, shift_y * side, (scale - 1.0) * side])
        return replace(look, ray_box=moved)

    return Move(name, change, np.eye(3), np.eye(3))


def _blurred(look: Look) -> Look:
    """Gaussian blur of the part of the picture around the crop."""
    f_px = np.array([look.camera.fx_px, look.camera.fy_px])
    centre_px = look.ray_box[:2] * f_px + look.camera.principal_point_px
    reach_px = CANVAS_MARGIN * look.ray_box[2] * f_px
    limits = np.array(look.camera.size_wh_px)
    low = np.clip(np.floor(centre_px - reach_px), 0, limits).astype(int)
    high = np.clip(np.ceil(centre_px + reach_px), 0, limits).astype(int)
    image = look.image_rgb.copy()
    region = image[low[1] : high[1], low[0] : high[0]]
    if region.size:
        sigma_px = BLUR_SIGMA_CROP_PX * look.ray_box[2] * f_px / CROP_PX
        region[:] = cv2.GaussianBlur(region, (0, 0), float(sigma_px[0]), sigmaY=float(sigma_px[1]))
    return replace(look, image_rgb=image)
