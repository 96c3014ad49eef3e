"""Fake networks that know the truth, and the pictures from which they know it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.geometry.cameras import Camera
from models.geometry.rotations import MIRROR_X, matrix_from_ypr_300wlp
from models.trg.pose_model import PosePrediction
from models.trg.preprocess import mirrored_camera, mirrored_ray_box
from viewer.datasets.synthetic import PosedPicture

See = Callable[[np.ndarray, Camera, np.ndarray], tuple[np.ndarray, np.ndarray]]

FACE_M = np.random.default_rng(5).uniform(-0.07, 0.07, (468, 3))


@dataclass
class FakeModel:
    """A `CropModel` whose answer is `see(picture, camera, ray box)`, R and t in metres."""

    see: See
    vertices_m: np.ndarray = field(default_factory=lambda: FACE_M)
    presence: float | None = None
    sigma_rad: float | None = None

    def predict(
        self,
        image_rgb: np.ndarray,
        camera: Camera,
        ray_boxes: np.ndarray,
        mirror: bool = False,
        turn_deg: np.ndarray | float = 0.0,
    ) -> PosePrediction:
        n = len(ray_boxes)
        if mirror:
            flipped = np.ascontiguousarray(image_rgb[:, ::-1])
            seen = [
                self.see(flipped, mirrored_camera(camera), mirrored_ray_box(b)) for b in ray_boxes
            ]
            seen = [(MIRROR_X @ R @ MIRROR_X, MIRROR_X @ t) for R, t in seen]
        else:
            seen = [self.see(image_rgb, camera, b) for b in ray_boxes]
        R = np.array([one for one, _ in seen])
        sigma = self.sigma_rad
        return PosePrediction(
            R_cam_from_head=R,
            t_cam_from_head_m=np.array([t for _, t in seen]),
            vertices_head_m=np.repeat(self.vertices_m[None], n, 0),
            iterates_R=R[None],
            presence=None if self.presence is None else np.full(n, self.presence),
            rotation_covariance_cam=None
            if sigma is None
            else np.tile(np.eye(3) * sigma**2, (n, 1, 1)),
            t_sigma_m=None if sigma is None else np.full((n, 3), 0.01),
        )

    def ray_box_of(self, vertices_cam_m: np.ndarray) -> np.ndarray:
        return np.array([*(vertices_cam_m.mean(0)[:2] / vertices_cam_m.mean(0)[2]), 0.25])

    def upright_turn_deg(self, R_cam_from_head: np.ndarray, _: np.ndarray) -> np.ndarray:
        return np.zeros(len(R_cam_from_head))


class FakeDataset:
    """Looks like a SyntheticDataset; the first pixel of a picture is its row."""

    root = Path("fake")

    def __init__(self, count: int, negatives: int = 0) -> None:
        rng = np.random.default_rng(1)
        yaw = rng.uniform(-89, 89, count)
        angles = np.stack([yaw, rng.uniform(-50, 50, count), rng.uniform(-170, 170, count)], 1)
        self.R = [matrix_from_ypr_300wlp(*map(float, row)) for row in angles]
        self.t_mm = np.stack([*rng.uniform(-40, 40, (2, count)), rng.uniform(300, 2000, count)], 1)
        self.is_face_of_row = np.arange(count + negatives) < count
        self.tags_of_row = [("own", "hand") if row % 3 == 0 else ("own",) for row in range(count)]
        K = np.array([[300.0, 0, 64], [0, 300, 64], [0, 0, 1]])
        self.camera = Camera(K, (128, 128))

    def __len__(self) -> int:
        return len(self.is_face_of_row)

    def posed_picture(self, row: int) -> PosedPicture:
        image = np.zeros((128, 128, 3), np.uint8)
        image[0, 0] = row // 256, row % 256, 0
        if not self.is_face_of_row[row]:
            zero = np.zeros(3)
            return PosedPicture(image, self.camera, False, np.eye(3), zero, np.zeros((468, 3)))
        return PosedPicture(image, self.camera, True, self.R[row], self.t_mm[row], FACE_M)

    def truth(self, image_rgb: np.ndarray, *_: object) -> tuple[np.ndarray, np.ndarray]:
        """What a perfect network sees."""
        row = 256 * int(image_rgb[0, 0, 0]) + int(image_rgb[0, 0, 1])
        if row >= len(self.R):
            return np.eye(3), np.array([0.0, 0, 1])
        return self.R[row], self.t_mm[row] / 1000


SPOT_SIGMA_PX = 6.0


def spots_picture(size_wh: tuple[int, int], spots_px: np.ndarray) -> np.ndarray:
    """A soft spot in each of the first channels, at continuous pixels."""
    y, x = np.mgrid[: size_wh[1], : size_wh[0]] + 0.5
    image = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    for channel, (u, v) in enumerate(spots_px):
        falloff = np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * SPOT_SIGMA_PX**2))
        image[..., channel] = np.rint(250 * falloff)
    return image


def spot_px(image_rgb: np.ndarray, channel: int) -> np.ndarray:
    """Centre of the spot of a channel."""
    weights = image_rgb[..., channel] * (image_rgb[..., channel] > 3).astype(np.float32)
    columns, rows = weights.sum(0, dtype=float), weights.sum(1, dtype=float)
    centres = [line @ (np.arange(len(line)) + 0.5) for line in (columns, rows)]
    return np.array(centres) / columns.sum()


def pose_of_spots(
    image_rgb: np.ndarray, camera: Camera, _: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A head with a face's symmetry: z through the first spot, y towards the second."""
    first, second = (np.append(camera.normalise(spot_px(image_rgb, c)), 1.0) for c in (0, 1))
    z = first / np.linalg.norm(first)
    y = (second - first) - z * (z @ (second - first))
    y /= np.linalg.norm(y)
    R = np.stack([np.cross(y, z), y, z], 1)
    return R, z * 0.1 / np.linalg.norm(second - first)
