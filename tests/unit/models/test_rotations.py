"""Laws of models/geometry/rotations.py, with SciPy as the judge."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.transform import Rotation, Slerp

from models.geometry import rotations as rot

ANGLE_DEG = st.floats(-179.9, 179.9)
MIDDLE_DEG = st.floats(-90.0, 90.0)
COORDINATE = st.floats(-1.0, 1.0, width=32)
TINY = 1e-9


@st.composite
def matrices(draw: st.DrawFn) -> np.ndarray:
    """Rotations of every size, those of 0 and of 180 degrees about an axis included."""
    axis = draw(hnp.arrays(np.float64, 3, elements=COORDINATE))
    assume(np.linalg.norm(axis) > 1e-3)
    angle_deg = draw(st.one_of(st.sampled_from([0.0, 1e-7, 1e-3, 90.0, 180.0]), ANGLE_DEG))
    return Rotation.from_rotvec(np.radians(angle_deg) * axis / np.linalg.norm(axis)).as_matrix()


def same_rotation(R_a: np.ndarray, R_b: np.ndarray, within_deg: float = 1e-6) -> bool:
    return Rotation.from_matrix(R_a.T @ R_b).magnitude() <= np.radians(within_deg)


# Each convention: our function, the order of axes in SciPy's letters (capital = intrinsic), and our
# angles as SciPy's three numbers; the one in the middle locks at +-90 degrees.
CONVENTIONS = {
    "300wlp": (
        rot.ypr_300wlp_from_matrix,
        "XYZ",
        lambda a: (-a.pitch_deg, a.yaw_deg, a.roll_deg),
    ),
    "opencv": (
        rot.ypr_opencv_from_matrix,
        "xyz",
        lambda a: (a.pitch_deg, a.yaw_deg, a.roll_deg),
    ),
    "opengl": (
        rot.ypr_opengl_from_matrix,
        "YXZ",
        lambda a: (a.yaw_deg, a.pitch_deg, a.roll_deg),
    ),
    "arkit": (
        rot.ypr_arkit_from_matrix,
        "XYZ",
        lambda a: (a.pitch_deg, a.yaw_deg, a.roll_deg),
    ),
    "trg_metric": (
        rot.ypr_trg_metric_from_matrix,
        "yxz",
        lambda a: (a.yaw_deg, a.pitch_deg, a.roll_deg),
    ),
}


@pytest.mark.parametrize("name", CONVENTIONS)
@given(R=matrices())
def test_euler_angles_give_the_matrix_back(name: str, R: np.ndarray) -> None:
    ypr_from_matrix, letters, scipy_order = CONVENTIONS[name]
    angles = scipy_order(ypr_from_matrix(R))
    assert same_rotation(Rotation.from_euler(letters, angles, degrees=True).as_matrix(), R)
    assert abs(angles[1]) <= 90.0 + TINY


@pytest.mark.parametrize("name", CONVENTIONS)
@given(first=ANGLE_DEG, middle=st.floats(-89.9, 89.9), last=ANGLE_DEG)
def test_euler_angles_are_scipys(name: str, first: float, middle: float, last: float) -> None:
    ypr_from_matrix, letters, scipy_order = CONVENTIONS[name]
    R = Rotation.from_euler(letters, (first, middle, last), degrees=True).as_matrix()
    np.testing.assert_allclose(scipy_order(ypr_from_matrix(R)), (first, middle, last), atol=1e-6)


@pytest.mark.parametrize("name", CONVENTIONS)
@pytest.mark.parametrize("lock_deg", [90.0, -90.0])
@given(first=ANGLE_DEG, last=ANGLE_DEG)
def test_gimbal_lock_puts_the_sum_in_one_angle(
    name: str, lock_deg: float, first: float, last: float
) -> None:
    ypr_from_matrix, letters, scipy_order = CONVENTIONS[name]
    R = Rotation.from_euler(letters, (first, lock_deg, last), degrees=True).as_matrix()
    angles = ypr_from_matrix(R)
    back = Rotation.from_euler(letters, scipy_order(angles), degrees=True).as_matrix()
    assert same_rotation(back, R)
    assert scipy_order(angles)[1] == pytest.approx(lock_deg, abs=1e-6)
    # exactly one of the two angles that cannot be told apart is set to zero
    assert 0.0 in (scipy_order(angles)[0], scipy_order(angles)[2])


@pytest.mark.parametrize("name", CONVENTIONS)
@pytest.mark.parametrize("off_lock_deg", [1e-4, 1e-2, 1e-1])
@given(first=ANGLE_DEG, last=ANGLE_DEG)
def test_float32_matrices_keep_their_angles_near_the_lock(
    name: str, off_lock_deg: float, first: float, last: float
) -> None:
    ypr_from_matrix, letters, scipy_order = CONVENTIONS[name]
    R = Rotation.from_euler(letters, (first, 90.0 - off_lock_deg, last), degrees=True).as_matrix()
    angles = scipy_order(ypr_from_matrix(R.astype(np.float32)))
    back = Rotation.from_euler(letters, angles, degrees=True).as_matrix()
    assert same_rotation(back, R, within_deg=1e-4)


@given(yaw=MIDDLE_DEG, pitch=ANGLE_DEG, roll=ANGLE_DEG)
def test_300wlp_matrix_is_its_formula(yaw: float, pitch: float, roll: float) -> None:
    R = rot.matrix_from_ypr_300wlp(yaw, pitch, roll)
    np.testing.assert_allclose(
        R, Rotation.from_euler("XYZ", [-pitch, yaw, roll], degrees=True).as_matrix(), atol=TINY
    )


@given(R=matrices())
def test_300wlp_angles_are_the_bfm_files_own(R: np.ndarray) -> None:
    """Pose_Para: pitch, yaw, roll of R_bfm = Rx(-p) Ry(-y) Rz(-r); the BFM's axes are OpenGL's."""
    ypr = rot.ypr_300wlp_from_matrix(R)
    R_bfm = rot.about_x(-ypr.pitch_deg) @ rot.about_y(-ypr.yaw_deg) @ rot.about_z(-ypr.roll_deg)
    assert same_rotation(rot.GL_FROM_CV @ R_bfm @ rot.GL_FROM_CV, R)


def test_the_nose_gives_yaw_and_pitch() -> None:
    angles = np.array([[30.0, -20.0], [-70.0, 45.0], [0.0, 0.0], [10.0, 120.0]])
    noses = np.stack([-rot.matrix_from_ypr_300wlp(y, p, 25.0)[:, 2] for y, p in angles])
    np.testing.assert_allclose(rot.yaw_pitch_of_nose_deg(noses), angles, atol=1e-9)


@given(R=matrices())
def test_opencv_angles_are_rqdecomps(R: np.ndarray) -> None:
    angles = rot.ypr_opencv_from_matrix(R)
    assume(abs(angles.yaw_deg) < 89.0)
    pitch_deg, yaw_deg, roll_deg = cv2.RQDecomp3x3(R)[0]
    assert same_rotation(
        Rotation.from_euler("xyz", [pitch_deg, yaw_deg, roll_deg], degrees=True).as_matrix(),
        Rotation.from_euler(
            "xyz", [angles.pitch_deg, angles.yaw_deg, angles.roll_deg], degrees=True
        ).as_matrix(),
    )


NOSE_HEAD, TOP_HEAD = np.array([0.0, 0.0, -1.0]), np.array([0.0, -1.0, 0.0])
# Which way the face goes in the picture when only this angle is positive.
SIGNS = {
    ("300wlp", "yaw"): "nose left",
    ("300wlp", "pitch"): "nose up",
    ("300wlp", "roll"): "top right",
    ("opencv", "yaw"): "nose left",
    ("opencv", "pitch"): "nose down",
    ("opencv", "roll"): "top right",
    ("opengl", "yaw"): "nose right",
    ("opengl", "pitch"): "nose down",
    ("opengl", "roll"): "top left",
    ("arkit", "yaw"): "nose right",
    ("arkit", "pitch"): "nose down",
    ("arkit", "roll"): "top left",
    ("trg_metric", "yaw"): "nose left",
    ("trg_metric", "pitch"): "nose down",
    ("trg_metric", "roll"): "top right",
}


def movement(R_cam_from_head: np.ndarray, part: str) -> str:
    axis = NOSE_HEAD if part == "nose" else TOP_HEAD
    x, y, _ = R_cam_from_head @ axis - axis
    if abs(x) > abs(y):
        return f"{part} {'right' if x > 0 else 'left'}"
    return f"{part} {'down' if y > 0 else 'up'}"


@pytest.mark.parametrize(("name", "angle"), SIGNS)
def test_sign_of_each_angle_in_the_picture(name: str, angle: str) -> None:
    """The docstrings' sentences: what a positive number does to the face on screen."""
    ypr_from_matrix, _, _ = CONVENTIONS[name]
    gl_axes = name in ("opengl", "arkit")
    turned = {
        "nose left": rot.about_y(20.0),
        "nose right": rot.about_y(-20.0),
        "nose down": rot.about_x(20.0),
        "nose up": rot.about_x(-20.0),
        "top right": rot.about_z(20.0),
        "top left": rot.about_z(-20.0),
    }[SIGNS[name, angle]]
    assert movement(turned, SIGNS[name, angle].split()[0]) == SIGNS[name, angle]
    R = rot.GL_FROM_CV @ turned @ rot.GL_FROM_CV if gl_axes else turned
    expected = rot.YawPitchRollDeg(0, 0, 0)._replace(**{f"{angle}_deg": 20.0})
    np.testing.assert_allclose(ypr_from_matrix(R), expected, atol=TINY)


@given(R=matrices())
def test_mirror_turns_yaw_and_roll_but_not_pitch(R: np.ndarray) -> None:
    ypr = rot.ypr_300wlp_from_matrix(R)
    assume(abs(ypr.yaw_deg) < 89.9 and max(abs(ypr.pitch_deg), abs(ypr.roll_deg)) < 179.9)
    mirrored = rot.ypr_300wlp_from_matrix(rot.MIRROR_X @ R @ rot.MIRROR_X)
    np.testing.assert_allclose(mirrored, (-ypr.yaw_deg, ypr.pitch_deg, -ypr.roll_deg), atol=1e-6)


@given(angle=ANGLE_DEG)
def test_single_axis_rotations(angle: float) -> None:
    for letter, about in (("x", rot.about_x), ("y", rot.about_y), ("z", rot.about_z)):
        expected = Rotation.from_euler(letter, angle, degrees=True).as_matrix()
        np.testing.assert_allclose(about(angle), expected, atol=TINY)


@given(R=matrices())
def test_quaternion(R: np.ndarray) -> None:
    quat = rot.quat_wxyz_from_matrix(R)
    assert quat[0] >= 0
    assert np.linalg.norm(quat) == pytest.approx(1.0)
    x, y, z, w = Rotation.from_matrix(R).as_quat(canonical=True)
    assert abs(quat @ [w, x, y, z]) == pytest.approx(1.0, abs=1e-12)
    assert same_rotation(rot.matrix_from_quat_wxyz(quat), R)
    assert same_rotation(rot.matrix_from_quat_wxyz(-3.0 * quat), R)


@given(R=matrices())
def test_rotation_vector(R: np.ndarray) -> None:
    vector = rot.rotation_vector_from_matrix(R)
    assert np.linalg.norm(vector) <= np.pi + TINY
    assert np.linalg.norm(vector) == pytest.approx(Rotation.from_matrix(R).magnitude(), abs=1e-7)
    assert same_rotation(Rotation.from_rotvec(vector).as_matrix(), R)
    assert same_rotation(rot.matrix_from_rotation_vector(vector), R)


@given(vector=hnp.arrays(np.float64, 3, elements=st.floats(-7.0, 7.0)))
def test_matrix_from_rotation_vector(vector: np.ndarray) -> None:
    np.testing.assert_allclose(
        rot.matrix_from_rotation_vector(vector),
        Rotation.from_rotvec(vector).as_matrix(),
        atol=TINY,
    )


@given(R_a=matrices(), R_b=matrices())
def test_geodesic(R_a: np.ndarray, R_b: np.ndarray) -> None:
    expected_deg = np.degrees(Rotation.from_matrix(R_a.T @ R_b).magnitude())
    assert rot.geodesic_deg(R_a, R_b) == pytest.approx(expected_deg, abs=1e-6)
    assert rot.geodesic_deg(R_b, R_a) == pytest.approx(expected_deg, abs=1e-6)


@pytest.mark.parametrize("angle_deg", [1e-9, 1e-6, 1e-3, 179.999999, 180.0])
def test_geodesic_keeps_small_and_large_angles(angle_deg: float) -> None:
    R = rot.matrix_from_rotation_vector(np.radians(angle_deg) * np.array([0.6, 0.0, 0.8]))
    assert rot.geodesic_deg(np.eye(3), R) == pytest.approx(angle_deg, rel=1e-6)


@given(R_a=matrices(), R_b=matrices(), weight=st.floats(0.0, 1.0))
def test_interpolation(R_a: np.ndarray, R_b: np.ndarray, weight: float) -> None:
    angle_deg = float(rot.geodesic_deg(R_a, R_b))
    assume(angle_deg < 179.0)
    between = rot.interpolate(R_a, R_b, weight)
    expected = Slerp([0, 1], Rotation.from_matrix([R_a, R_b]))(weight).as_matrix()
    assert same_rotation(between, expected)
    assert rot.geodesic_deg(R_a, between) == pytest.approx(weight * angle_deg, abs=1e-6)


@given(R=matrices(), noise=hnp.arrays(np.float64, (3, 3), elements=st.floats(-0.2, 0.2)))
def test_nearest_rotation(R: np.ndarray, noise: np.ndarray) -> None:
    M = R + noise
    nearest = rot.nearest_rotation(M)
    np.testing.assert_allclose(nearest @ nearest.T, np.eye(3), atol=TINY)
    assert np.linalg.det(nearest) == pytest.approx(1.0)
    np.testing.assert_allclose(nearest, Rotation.from_matrix(M).as_matrix(), atol=1e-6)


def test_nearest_rotation_of_a_reflection_is_a_rotation() -> None:
    nearest = rot.nearest_rotation(np.diag([1.0, 0.9, -0.2]))
    np.testing.assert_allclose(nearest, np.eye(3), atol=TINY)


@given(R=matrices(), scale_a=st.floats(0.1, 10.0), scale_b=st.floats(0.1, 10.0), mix=COORDINATE)
def test_six_d(R: np.ndarray, scale_a: float, scale_b: float, mix: float) -> None:
    """Lengths, and how much of the first column is in the second, do not change the rotation."""
    six_d = np.concatenate([scale_a * R[:, 0], scale_b * R[:, 1] + mix * R[:, 0]])
    np.testing.assert_allclose(rot.matrix_from_six_d(six_d), R, atol=1e-7)


def test_batches_equal_one_at_a_time() -> None:
    R = Rotation.random(6, rng=3).as_matrix().reshape(2, 3, 3, 3)
    one_by_one = [
        (rot.quat_wxyz_from_matrix, rot.matrix_from_quat_wxyz),
        (rot.rotation_vector_from_matrix, rot.matrix_from_rotation_vector),
        (lambda m: np.concatenate([m[..., 0], m[..., 1]], -1), rot.matrix_from_six_d),
    ]
    for to_code, to_matrix in one_by_one:
        code = to_code(R)
        for index in np.ndindex(2, 3):
            np.testing.assert_allclose(code[index], to_code(R[index]), atol=TINY)
        np.testing.assert_allclose(to_matrix(code), R, atol=TINY)
    np.testing.assert_allclose(rot.nearest_rotation(2.0 * R), R, atol=TINY)
    assert np.shape(rot.geodesic_deg(R, R)) == (2, 3)


@given(matrices(), st.floats(-179, 179), st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))
def test_turning_the_picture_turns_the_roll(
    R: np.ndarray, angle_deg: float, x: float, y: float
) -> None:
    """About the optical axis, wherever the head is; only heads seen from exactly behind, above or
    below have no roll."""
    t = np.array([[x, y, 1.0]])
    _, up, ahead = t[0] / np.linalg.norm(t) @ R
    assume(ahead > -0.99 and abs(up) < 0.99)
    before = rot.roll_in_view_deg(R[None], t)[0]
    turn = rot.about_z(angle_deg)
    after = rot.roll_in_view_deg((turn @ R)[None], t @ turn.T)[0]
    assert abs((after - before - angle_deg + 180) % 360 - 180) < 1e-6


@given(st.floats(-120, 120), st.floats(-179, 179), st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))
def test_roll_in_view_is_the_turn_about_the_line_of_sight(
    tilt_deg: float, roll_deg: float, x: float, y: float
) -> None:
    """SciPy: look at the head the shortest way, turn by the roll, then tilt."""
    t = np.array([x, y, 1.0]) * 700
    axis = np.cross([0.0, 0.0, 1.0], t)
    length = np.linalg.norm(axis)
    off_axis = np.arctan2(length, t[2])
    look = Rotation.from_rotvec(axis / length * off_axis if length > 0 else np.zeros(3))
    head = look * Rotation.from_euler("ZY", [roll_deg, tilt_deg], degrees=True)
    found = rot.roll_in_view_deg(head.as_matrix()[None], t[None])[0]
    assert abs((found - roll_deg + 180) % 360 - 180) < 1e-6


@given(st.floats(-65, 65), st.sampled_from([-90.0, 90.0]), st.floats(-30, 30))
def test_a_profile_whose_crown_is_above_its_chin_has_no_roll(
    elevation_deg: float, yaw_deg: float, roll_deg: float
) -> None:
    """From wherever one looks at a profile, up is up; the right axis, which points at the camera,
    says nothing."""
    head = Rotation.from_euler("ZXY", [roll_deg, elevation_deg, yaw_deg], degrees=True)
    found = rot.roll_in_view_deg(head.as_matrix()[None], np.array([[0.0, 0.0, 700.0]]))[0]
    assert abs(found - roll_deg) < 1e-6
