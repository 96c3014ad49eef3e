"""What the network is compared with: FaceMesh's points and perspective-n-point, on the same crops.

FaceMesh: Kartynnik et al. 2019. PnP: SQPnP (Terzakis and Lourakis 2020), then Levenberg-Marquardt,
with the canonical face, the same for everybody; no RANSAC, every point counts.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from demo_app.evaluation.columns import Column, Poses, poses_stacked
from models.face_landmarks.face_mesh import CROP_PX, FaceLandmarks468, load_face_landmarks
from models.face_landmarks.in_picture import landmarks_in_square, square_of_landmarks
from models.geometry.cameras import Camera
from models.trg.bundle import read_bundle
from models.trg.config import TrgConfig
from models.trg.preprocess import cut_crop
from models.weights import MODELS, REPOSITORY_ROOT

Array = np.ndarray

PNP_468, PNP_468_TURNED, PNP_5, PNP_5_TURNED = (
    "FaceMesh 468-point PnP",
    "FaceMesh 468-point PnP, second upright crop",
    "FaceMesh 5-point PnP",
    "FaceMesh 5-point PnP, second upright crop",
)
FIVE_POINTS = ((33, 133), (362, 263), (1, 4), (61,), (291,))
"""Landmarks whose means are the eyes' middles, the nose's tip and the mouth's corners."""

_ADRIFT_MM = np.array([0.0, 0.0, 600.0])
"""Where a head is put if PnP finds no pose: a frontal face at arm's length, so that it counts."""


def canonical_face_head_mm() -> Float[Array, "468 3"]:
    """The bundle's canonical face in the `head` frame."""
    entry = MODELS["trg-mini"]
    _, arrays = read_bundle(REPOSITORY_ROOT / entry.weights_file)
    T = entry.T_head_from_model
    return 1000.0 * (arrays.canonical_vertices_m @ T[:3, :3].T + T[:3, 3])


def five_points(points: Float[Array, "468 d"]) -> Float[Array, "5 d"]:
    """Eyes, nose, corners of the mouth."""
    return np.stack([points[list(ids)].mean(0) for ids in FIVE_POINTS])


def pose_from_points(
    points_head_mm: Float[Array, "n 3"], points_normalised: Float[Array, "n 2"]
) -> tuple[Float[Array, "3 3"], Float[Array, "3"]]:
    """R_cam_from_head and t_cam_from_head_mm; a frontal face at 0.6 m if there is no solution."""
    points = np.ascontiguousarray(points_head_mm, np.float64)
    seen = np.ascontiguousarray(points_normalised, np.float64).reshape(-1, 1, 2)
    try:
        found, turn, t_mm = cv2.solvePnP(points, seen, np.eye(3), None, flags=cv2.SOLVEPNP_SQPNP)
        if found:
            turn, t_mm = cv2.solvePnPRefineLM(points, seen, np.eye(3), None, turn, t_mm)
    except cv2.error:
        found = False
    if not found or not np.isfinite(turn).all() or not np.isfinite(t_mm).all():
        return np.eye(3), _ADRIFT_MM.copy()
    return cv2.Rodrigues(turn)[0], t_mm.ravel()


def baseline_columns() -> dict[str, Column]:
    """The four baselines. Raises: FaceLandmarksError if FaceMesh's weights are not there."""
    network, face_mm = load_face_landmarks(), canonical_face_head_mm()

    def column(turned: bool, five: bool) -> Column:
        def poses(image_rgb: Array, camera: Camera, ray_boxes: Array) -> Poses:
            parts = []
            for box in ray_boxes:
                rays = _landmark_rays(network, image_rgb, camera, box, turned)
                pair = (five_points(face_mm), five_points(rays)) if five else (face_mm, rays)
                R, t_mm = pose_from_points(*pair)
                parts.append(Poses(R[None], t_mm[None], face_mm[None]))
            return poses_stacked(parts)

        return poses

    return {
        PNP_468: column(turned=False, five=False),
        PNP_468_TURNED: column(turned=True, five=False),
        PNP_5: column(turned=False, five=True),
        PNP_5_TURNED: column(turned=True, five=True),
    }


def _landmark_rays(
    network: FaceLandmarks468,
    image_rgb: Array,
    camera: Camera,
    ray_box: Float[Array, "3"],
    turned: bool,
) -> Float[Array, "468 2"]:
    """turned: look again at the square around the points, upright with the eyes (MediaPipe)."""
    crop = cut_crop(image_rgb, camera, ray_box, TrgConfig.mini())
    points_px, _ = network.predict(crop[None])
    rays = ray_box[:2] + (points_px[0, :, :2] / CROP_PX - 0.5) * ray_box[2]
    if not turned:
        return rays
    in_picture = rays * [camera.fx_px, camera.fy_px] + camera.principal_point_px
    square = square_of_landmarks(np.column_stack([in_picture, points_px[0, :, 2]]))
    return camera.normalise(landmarks_in_square(network, image_rgb, square).points_px[:, :2])
