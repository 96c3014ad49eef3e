"""Rotations: matrix, quaternion, 6D, rotation vector, Euler. The only file that knows Euler angles.

Arrays are float64, rotations are (..., 3, 3) matrices that act on column vectors. Angles are
degrees, right-handed about the stated axis.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Array = np.ndarray

GL_FROM_CV = np.diag([1.0, -1.0, -1.0])
"""OpenCV axes (y down, z forward) <-> OpenGL axes (y up, z to the viewer). Its own inverse."""

MIRROR_X = np.diag([-1.0, 1.0, 1.0])
"""A left-right mirror of the image about the principal point: R becomes D R D, t becomes D t."""


class YawPitchRollDeg(NamedTuple):
    """Three Euler angles, always named; the convention is that of the function that made them."""

    yaw_deg: float
    pitch_deg: float
    roll_deg: float


def about_x(angle_deg: float) -> Float[Array, "3 3"]:
    """Rotation about +x by `angle_deg`: y turns towards z."""
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def about_y(angle_deg: float) -> Float[Array, "3 3"]:
    """Rotation about +y by `angle_deg`: z turns towards x."""
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def about_z(angle_deg: float) -> Float[Array, "3 3"]:
    """Rotation about +z by `angle_deg`: x turns towards y, clockwise in an image (y down)."""
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def nearest_rotation(M: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 3 3"]:
    """The rotation nearest to M in Frobenius norm (Procrustes; Umeyama 1991 for the sign)."""
    U, _, Vt = np.linalg.svd(M)
    sign = np.sign(np.linalg.det(U @ Vt))
    U = U.copy()
    U[..., :, 2] *= sign[..., None]
    return U @ Vt


def roll_in_view_deg(
    R_cam_from_head: Float[Array, "n 3 3"], t_cam_from_head: Float[Array, "n 3"]
) -> Float[Array, "n"]:
    """How far heads are turned clockwise in the picture, -180 to 180.

    That is how far the head's up axis is turned, and, the more the head faces the camera, its right
    axis too (with weight cos^2 of the angle between face and line of sight): of a profile the right
    axis says nothing about up and down.

    The camera is first turned to look at the head the shortest way, so a head at the picture's edge
    is upright where it looks upright. Without a meaning only for a head seen from exactly behind,
    above or below.
    """
    d = np.asarray(t_cam_from_head, np.float64)
    x, y, z = np.moveaxis(d / np.linalg.norm(d, axis=-1, keepdims=True), -1, 0)
    # shortest rotation of +z onto the unit vector (x, y, z), by Rodrigues
    a, b, c = 1 - x * x / (1 + z), -x * y / (1 + z), 1 - y * y / (1 + z)
    to_head = np.stack([a, b, x, b, c, y, -x, -y, z], -1).reshape(-1, 3, 3)
    R = np.swapaxes(to_head, 1, 2) @ R_cam_from_head
    facing = R[:, 2, 2] ** 2
    sine = facing * R[:, 1, 0] - R[:, 0, 1]
    cosine = facing * R[:, 0, 0] + R[:, 1, 1]
    return np.degrees(np.arctan2(sine, cosine))


def geodesic_deg(
    R_a: Float[Array, "*#batch 3 3"], R_b: Float[Array, "*#batch 3 3"]
) -> Float[Array, "..."] | float:
    """Angle of the rotation that takes one into the other, 0 to 180 degrees.

    atan2 of the sine and the cosine, so that small angles keep their precision (arccos of the trace
    does not).
    """
    D = np.swapaxes(np.asarray(R_a, np.float64), -1, -2) @ np.asarray(R_b, np.float64)
    cosine = (np.trace(D, axis1=-2, axis2=-1) - 1.0) / 2.0
    sine = 0.5 * np.linalg.norm(
        np.stack(
            [
                D[..., 2, 1] - D[..., 1, 2],
                D[..., 0, 2] - D[..., 2, 0],
                D[..., 1, 0] - D[..., 0, 1],
            ],
            -1,
        ),
        axis=-1,
    )
    return np.degrees(np.arctan2(sine, cosine))


def quat_wxyz_from_matrix(R: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 4"]:
    """Unit quaternion with w >= 0; exact at 180 degrees.

    Bar-Itzhack 2000: the eigenvector of the largest eigenvalue of a symmetric 4x4 matrix.
    """
    R = np.asarray(R, np.float64)
    m00, m01, m02 = R[..., 0, 0], R[..., 0, 1], R[..., 0, 2]
    m10, m11, m12 = R[..., 1, 0], R[..., 1, 1], R[..., 1, 2]
    m20, m21, m22 = R[..., 2, 0], R[..., 2, 1], R[..., 2, 2]
    K = np.stack(
        [
            np.stack([m00 + m11 + m22, m21 - m12, m02 - m20, m10 - m01], -1),
            np.stack([m21 - m12, m00 - m11 - m22, m01 + m10, m02 + m20], -1),
            np.stack([m02 - m20, m01 + m10, m11 - m00 - m22, m12 + m21], -1),
            np.stack([m10 - m01, m02 + m20, m12 + m21, m22 - m00 - m11], -1),
        ],
        -2,
    )
    _, vectors = np.linalg.eigh(K / 3.0)
    quat = vectors[..., :, 3]
    return quat * np.where(quat[..., :1] < 0, -1.0, 1.0)


def matrix_from_quat_wxyz(quat_wxyz: Float[Array, "*batch 4"]) -> Float[Array, "*batch 3 3"]:
    """Rotation matrix of a quaternion of any non-zero length."""
    q = np.asarray(quat_wxyz, np.float64)
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    w, x, y, z = q[..., 0], q[..., 1], q[..., 2], q[..., 3]
    return np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
            np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
            np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
        ],
        -2,
    )


def rotation_vector_from_matrix(R: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 3"]:
    """Axis times angle in radians, |vector| in [0, pi]; the logarithm of SO(3)."""
    q = quat_wxyz_from_matrix(R)
    sine = np.linalg.norm(q[..., 1:], axis=-1)
    angle = 2.0 * np.arctan2(sine, q[..., 0])
    scale = np.where(sine > 1e-12, angle / np.where(sine > 1e-12, sine, 1.0), 2.0)
    return q[..., 1:] * scale[..., None]


def matrix_from_rotation_vector(vector_rad: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """Rodrigues' formula; the exponential of so(3)."""
    v = np.asarray(vector_rad, np.float64)
    angle = np.linalg.norm(v, axis=-1)
    half = 0.5 * angle
    # sin(a/2)/a, by its series where a is tiny
    scale = np.where(
        angle > 1e-8, np.sin(half) / np.where(angle > 1e-8, angle, 1.0), 0.5 - angle**2 / 48
    )
    return matrix_from_quat_wxyz(
        np.concatenate([np.cos(half)[..., None], v * scale[..., None]], -1)
    )


def interpolate(
    R_a: Float[Array, "3 3"], R_b: Float[Array, "3 3"], weight: float
) -> Float[Array, "3 3"]:
    """The rotation `weight` of the way from a to b along the geodesic (slerp)."""
    return R_a @ matrix_from_rotation_vector(weight * rotation_vector_from_matrix(R_a.T @ R_b))


def matrix_from_six_d(six_d: Float[Array, "*batch 6"]) -> Float[Array, "*batch 3 3"]:
    """Gram-Schmidt of two stacked columns (Zhou et al. 2019): six_d[:3], then six_d[3:]."""
    a, b = six_d[..., :3], six_d[..., 3:]
    x = a / np.linalg.norm(a, axis=-1, keepdims=True)
    y = b - (x * b).sum(-1, keepdims=True) * x
    y = y / np.linalg.norm(y, axis=-1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], -1)


def _atan2_deg(y: float, x: float) -> float:
    """Also the middle angle, as atan2(sine, hypot): arcsin of a float32 loses 0.03 deg near 90."""
    return float(np.degrees(np.arctan2(y, x)))


def ypr_300wlp_from_matrix(R_cam_from_head: Float[Array, "3 3"]) -> YawPitchRollDeg:
    """The project's own angles; those of 300W-LP, AFLW2000, Hopenet and FSA-Net.

    Convention: R_cam_from_head = Rx(-pitch) Ry(yaw) Rz(roll), OpenCV axes; SciPy
    from_euler("XYZ", [-pitch, yaw, roll]).
    pitch > 0 looks up, yaw > 0 turns the nose to image left (the subject's right), roll > 0 turns
    the head clockwise in the image. At |yaw| = 90 degrees pitch and roll are not separable; roll is
    then 0.
    """
    R = np.asarray(R_cam_from_head, np.float64)
    yaw = _atan2_deg(R[0, 2], np.hypot(R[0, 0], R[0, 1]))
    if np.hypot(R[0, 0], R[0, 1]) < 1e-9:
        return YawPitchRollDeg(yaw, -_atan2_deg(R[2, 1], R[1, 1]), 0.0)
    return YawPitchRollDeg(yaw, _atan2_deg(R[1, 2], R[2, 2]), _atan2_deg(-R[0, 1], R[0, 0]))


def matrix_from_ypr_300wlp(
    yaw_deg: float, pitch_deg: float, roll_deg: float
) -> Float[Array, "3 3"]:
    """Inverse of `ypr_300wlp_from_matrix`: Rx(-pitch) Ry(yaw) Rz(roll)."""
    return about_x(-pitch_deg) @ about_y(yaw_deg) @ about_z(roll_deg)


def yaw_pitch_of_nose_deg(directions_cam: Float[Array, "n 3"]) -> Float[Array, "n 2"]:
    """Yaw and pitch of `ypr_300wlp_from_matrix` from unit vectors along which noses point.

    The nose, R (0, 0, -1), is (-sin yaw, -cos yaw sin pitch, -cos yaw cos pitch): roll turns about
    it.
    """
    x, y, z = directions_cam.T
    return np.degrees(np.stack([np.arctan2(-x, np.hypot(y, z)), np.arctan2(-y, -z)], 1))


def ypr_opencv_from_matrix(R_cam_from_head: Float[Array, "3 3"]) -> YawPitchRollDeg:
    """The angles of OpenCV's solvePnP examples.

    Convention: R = Rz(roll) Ry(yaw) Rx(pitch), OpenCV axes: what cv2.RQDecomp3x3 returns
    as (x, y, z) = (pitch, yaw, roll).
    pitch > 0 looks down, yaw > 0 turns the nose to image left, roll > 0 is clockwise in the image.
    """
    R = np.asarray(R_cam_from_head, np.float64)
    yaw = _atan2_deg(-R[2, 0], np.hypot(R[0, 0], R[1, 0]))
    if np.hypot(R[0, 0], R[1, 0]) < 1e-9:
        return YawPitchRollDeg(yaw, 0.0, _atan2_deg(-R[0, 1], R[1, 1]))
    return YawPitchRollDeg(yaw, _atan2_deg(R[2, 1], R[2, 2]), _atan2_deg(R[1, 0], R[0, 0]))


def ypr_opengl_from_matrix(R_gl: Float[Array, "3 3"]) -> YawPitchRollDeg:
    """Yaw about the vertical first, as game engines and three.js ("YXZ") do.

    Convention: R_gl = Ry(yaw) Rx(pitch) Rz(roll), OpenGL axes on both sides (y up, z to the viewer,
    R_gl = S R S).
    pitch > 0 looks down, yaw > 0 turns the nose to image right, roll > 0 is counter-clockwise in
    the image.
    """
    R = np.asarray(R_gl, np.float64)
    pitch = _atan2_deg(-R[1, 2], np.hypot(R[0, 2], R[2, 2]))
    if np.hypot(R[0, 2], R[2, 2]) < 1e-9:
        return YawPitchRollDeg(_atan2_deg(-R[2, 0], R[0, 0]), pitch, 0.0)
    return YawPitchRollDeg(_atan2_deg(R[0, 2], R[2, 2]), pitch, _atan2_deg(R[1, 0], R[1, 1]))


def ypr_arkit_from_matrix(R_gl: Float[Array, "3 3"]) -> YawPitchRollDeg:
    """ARKit's and SceneKit's eulerAngles of a face anchor.

    Convention: R_gl = Rx(pitch) Ry(yaw) Rz(roll) (SceneKit applies roll, then yaw, then pitch),
    OpenGL axes.
    pitch > 0 looks down, yaw > 0 turns the nose to image right, roll > 0 is counter-clockwise: the
    three numbers of `ypr_300wlp_from_matrix` with every sign turned.
    """
    ours = ypr_300wlp_from_matrix(GL_FROM_CV @ np.asarray(R_gl, np.float64) @ GL_FROM_CV)
    return YawPitchRollDeg(-ours.yaw_deg, -ours.pitch_deg, -ours.roll_deg)


def ypr_trg_metric_from_matrix(R_cam_from_head: Float[Array, "3 3"]) -> YawPitchRollDeg:
    """The angles of TRG's tables.

    Convention: R = Rz(roll) Rx(pitch) Ry(yaw), OpenCV axes; SciPy as_euler("yxz"), lower case =
    extrinsic.
    pitch > 0 looks down, yaw > 0 turns the nose to image left, roll > 0 is clockwise in the image.
    """
    R = np.asarray(R_cam_from_head, np.float64)
    pitch = _atan2_deg(R[2, 1], np.hypot(R[2, 0], R[2, 2]))
    if np.hypot(R[2, 0], R[2, 2]) < 1e-9:
        return YawPitchRollDeg(_atan2_deg(R[0, 2], R[0, 0]), pitch, 0.0)
    return YawPitchRollDeg(_atan2_deg(-R[2, 0], R[2, 2]), pitch, _atan2_deg(-R[0, 1], R[1, 1]))
