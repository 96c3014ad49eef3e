"""Fit the open head to the 468 landmarks of a portrait: identity, expression and pose.

Gauss-Newton on reprojection and on FaceMesh's relative depth, with the coefficients held near 0.
The focal length is assumed: a portrait does not tell it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from jaxtyping import Float, Int

from models.flame.open_head import HeadAssets, load_open_head
from models.geometry.cameras import Camera, camera_from_intrinsics
from models.geometry.rotations import GL_FROM_CV

Array = np.ndarray

FOCAL_PER_WIDTH = 1.7
"""Assumed focal length of a portrait relative to its width (33 degrees: a short telephoto)."""

ITERATIONS = 12
LANDMARK_SIGMA_PX = 2.0
"""How far landmarks are trusted, in pixels of a 512-pixel portrait."""
DEPTH_WEIGHT = 0.125
OUTLINE_WEIGHT = 0.35
"""Landmarks of the face's outline slide along it: they count less."""
IDENTITY_WEIGHT, EXPRESSION_WEIGHT = 3.0, 7.5
"""Prior: what one unit of a coefficient costs."""
IDENTITY_LIMIT = 3.0
EXPRESSION_LIMITS = (-0.1, 1.1)

OUTLINE_LANDMARKS = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip


@dataclass(frozen=True)
class PortraitFit:
    """The head of a portrait. error_px: mean distance of the 468 landmarks."""

    camera: Camera
    R_cam_from_open_head: Float[Array, "3 3"]
    t_cam_from_open_head_m: Float[Array, "3"]
    identity: Float[Array, "s"]
    expression: Float[Array, "e"]
    error_px: float


@dataclass(frozen=True)
class _LandmarkModel:
    """468 landmarks as a linear function of k = identity + used expression coefficients."""

    mean_m: Float[Array, "468 3"]
    directions_m: Float[Array, "k 468 3"]
    n_identity: int
    expression_ids: Int[Array, "m"]
    weights: Float[Array, "468"]
    prior: Float[Array, "k"]


@cache
def open_head() -> HeadAssets:
    """The project's head, read once."""
    return load_open_head()


def portrait_camera(size_wh_px: tuple[int, int]) -> Camera:
    """The camera assumed for a portrait of this size."""
    width, height = size_wh_px
    f_px = FOCAL_PER_WIDTH * width
    return camera_from_intrinsics(
        size_wh_px, f_px, f_px, width / 2, height / 2, "assumed for a portrait"
    )


def fit_portrait(landmarks_px: Float[Array, "468 3"], camera: Camera) -> PortraitFit:
    """The head whose landmarks project to these.

    landmarks_px: as `models.face_landmarks` finds them (z in pixels, growing away from the camera).
    """
    model = _landmark_model()
    R, t = _pose_of_mean(model, landmarks_px, camera)
    x = np.zeros(len(model.directions_m))
    lower = np.full(len(x), -IDENTITY_LIMIT)
    upper = np.full(len(x), IDENTITY_LIMIT)
    lower[model.n_identity :], upper[model.n_identity :] = EXPRESSION_LIMITS
    for _ in range(ITERATIONS):
        J, residual = _linearised(model, x, R, t, landmarks_px, camera)
        prior = np.concatenate([model.prior, np.zeros(6)])
        normal = J.T @ J + np.diag(prior + 1e-9)
        gradient = J.T @ residual - prior * np.concatenate([x, np.zeros(6)])
        step = np.linalg.solve(normal, gradient)
        x = np.clip(x + step[:-6], lower, upper)
        R = cv2.Rodrigues(step[-6:-3])[0] @ R
        t = t + step[-3:]
    seen_px = camera.project(_landmarks_m(model, x) @ R.T + t)
    expression = np.zeros(len(open_head().expression_names))
    expression[model.expression_ids] = x[model.n_identity :]
    return PortraitFit(
        camera=camera,
        R_cam_from_open_head=R,
        t_cam_from_open_head_m=t,
        identity=x[: model.n_identity],
        expression=expression,
        error_px=float(np.linalg.norm(seen_px - landmarks_px[:, :2], axis=1).mean()),
    )


def fitted_vertices_m(
    identity: Float[Array, "s"], expression: Float[Array, "e"]
) -> Float[Array, "v 3"]:
    """The open head with these coefficients, in its frame."""
    head = open_head()
    return (
        head.template_vertices_m
        + np.tensordot(identity, head.shape_directions_m, 1)
        + np.tensordot(expression, head.expression_directions_m, 1)
    )


@cache
def _landmark_model() -> _LandmarkModel:
    head = open_head()
    names = head.expression_names
    # FaceMesh's 468 points tell nothing of the tongue and of where the eyes look
    used = np.array(
        [i for i, name in enumerate(names) if not name.startswith(("tongue", "eyeLook"))]
    )
    directions = np.concatenate([head.shape_directions_m, head.expression_directions_m[used]])
    weights = np.ones(len(head.landmark_468_weights))
    weights[list(OUTLINE_LANDMARKS)] = OUTLINE_WEIGHT
    n_identity = len(head.shape_directions_m)
    return _LandmarkModel(
        mean_m=head.landmarks_468_m(head.template_vertices_m),
        directions_m=np.stack([head.landmarks_468_m(direction) for direction in directions]),
        n_identity=n_identity,
        expression_ids=used,
        weights=weights,
        prior=np.repeat([IDENTITY_WEIGHT, EXPRESSION_WEIGHT], [n_identity, len(used)]),
    )


def _landmarks_m(model: _LandmarkModel, x: Float[Array, "k"]) -> Float[Array, "468 3"]:
    return model.mean_m + np.tensordot(x, model.directions_m, 1)


def _pose_of_mean(
    model: _LandmarkModel, landmarks_px: Float[Array, "468 3"], camera: Camera
) -> tuple[Float[Array, "3 3"], Float[Array, "3"]]:
    """R and t of the mean face, to start from."""
    points = model.mean_m @ GL_FROM_CV
    _, rotation, t = cv2.solvePnP(
        points,
        np.ascontiguousarray(landmarks_px[:, :2]),
        camera.K_image_from_cam,
        None,
        flags=cv2.SOLVEPNP_SQPNP,
    )
    return cv2.Rodrigues(rotation)[0] @ GL_FROM_CV, t.ravel()


def _linearised(
    model: _LandmarkModel,
    x: Float[Array, "k"],
    R: Float[Array, "3 3"],
    t: Float[Array, "3"],
    landmarks_px: Float[Array, "468 3"],
    camera: Camera,
) -> tuple[Float[Array, "n p"], Float[Array, "n"]]:
    """Weighted Jacobian and residual: u, v and relative depth of each landmark.

    Parameters: the coefficients, a rotation vector in the camera frame, t.
    """
    turned = _landmarks_m(model, x) @ R.T
    points = turned + t
    inverse_z = 1.0 / points[:, 2]
    spin = np.cross(np.eye(3)[:, None], turned[None])
    shift = np.broadcast_to(np.eye(3)[:, None], spin.shape)
    moves = np.concatenate([model.directions_m @ R.T, spin, shift])
    sigma_px = LANDMARK_SIGMA_PX * camera.size_wh_px[0] / 512
    weight = model.weights / sigma_px
    in_image = moves[..., :2] - (points[:, :2] * inverse_z[:, None]) * moves[..., 2:]
    in_image *= (inverse_z * weight)[:, None] * [camera.fx_px, camera.fy_px]
    depth_px = camera.fx_px / t[2]
    deeper = moves[..., 2] - moves[..., 2].mean(1, keepdims=True)
    deeper = deeper * (depth_px * DEPTH_WEIGHT * weight)
    J = np.concatenate([in_image.reshape(len(moves), -1), deeper], 1).T
    miss = (landmarks_px[:, :2] - camera.project(points)) * weight[:, None]
    seen = landmarks_px[:, 2] - landmarks_px[:, 2].mean()
    depth = (points[:, 2] - points[:, 2].mean()) * depth_px
    return J, np.concatenate([miss.ravel(), (seen - depth) * DEPTH_WEIGHT * weight])
