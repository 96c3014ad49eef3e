"""Each convention's matrix and angles against its own definition, and its snippet against both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from models.geometry.conventions import BIWI_ORIGIN_HEAD_MM, CONVENTIONS
from models.geometry.rotations import GL_FROM_CV, matrix_from_ypr_300wlp
from models.safe_pickle import NUMPY_ARRAYS, read_pickle

POINTS_HEAD_MM = np.array([[0, 0, 0], [0, 0, -70], [45, -25, -36], [3, 80, -48.0]])
TRANSLATIONS_MM = st.tuples(st.floats(-900, 900), st.floats(-900, 900), st.floats(100, 3000)).map(
    np.array
)
ANGLE_DEG = st.floats(-85, 85)


@st.composite
def poses(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    R = matrix_from_ypr_300wlp(draw(ANGLE_DEG), draw(ANGLE_DEG), draw(ANGLE_DEG))
    return R, draw(TRANSLATIONS_MM)


def test_the_six_that_the_menu_offers() -> None:
    assert list(CONVENTIONS) == ["opencv", "opengl", "arkit", "300wlp", "biwi", "trg"]
    for key, convention in CONVENTIONS.items():
        assert convention.key == key
        assert convention.unit in ("mm", "m", "")
        assert convention.description.endswith(".")


# Head points in the convention's own head frame and unit -> the same points in OpenCV's camera, mm.
TO_CAM_MM = {
    "opencv": lambda M: POINTS_HEAD_MM @ M[:3, :3].T + M[:3, 3],
    "opengl": lambda M: (POINTS_HEAD_MM @ GL_FROM_CV @ M[:3, :3].T + M[:3, 3] * 1e3) @ GL_FROM_CV,
    "arkit": lambda M: (POINTS_HEAD_MM @ GL_FROM_CV @ M[:3, :3].T + M[:3, 3] * 1e3) @ GL_FROM_CV,
    "biwi": lambda M: (POINTS_HEAD_MM - BIWI_ORIGIN_HEAD_MM) @ M[:3, :3].T + M[:3, 3],
    "trg": lambda M: (np.c_[POINTS_HEAD_MM / 1e3, np.ones(4)] @ M)[:, :3] * 1e3,
}


@pytest.mark.parametrize("key", TO_CAM_MM)
@given(pose=poses())
def test_every_matrix_puts_the_head_in_the_same_place(
    key: str, pose: tuple[np.ndarray, np.ndarray]
) -> None:
    R, t_mm = pose
    matrix = CONVENTIONS[key].matrix(R, t_mm)
    assert matrix.shape == (4, 4)
    np.testing.assert_allclose(TO_CAM_MM[key](matrix), POINTS_HEAD_MM @ R.T + t_mm, atol=1e-9)


@given(pose=poses())
def test_300wlp_has_a_rotation_only(pose: tuple[np.ndarray, np.ndarray]) -> None:
    R, t_mm = pose
    convention = CONVENTIONS["300wlp"]
    assert convention.unit == ""
    np.testing.assert_array_equal(convention.matrix4(R, t_mm)[:3, 3], 0)
    yaw, pitch, roll = convention.ypr_deg(R)
    R_bfm = Rotation.from_euler("XYZ", [-pitch, -yaw, -roll], degrees=True).as_matrix()
    np.testing.assert_allclose(convention.matrix(R, t_mm), R_bfm, atol=1e-12)


@pytest.mark.parametrize("key", CONVENTIONS)
@given(pose=poses())
def test_copied_code_gives_the_numbers_on_screen(
    key: str, pose: tuple[np.ndarray, np.ndarray]
) -> None:
    R, t_mm = pose
    scope: dict[str, object] = {}
    exec(CONVENTIONS[key].code_line(R, t_mm), scope)
    np.testing.assert_allclose(scope["matrix"], CONVENTIONS[key].matrix(R, t_mm), atol=1e-5)
    # the snippet rounds R to 9 decimals; 85 degrees of the middle angle magnify that by 12
    np.testing.assert_allclose(
        [scope["yaw"], scope["pitch"], scope["roll"]], CONVENTIONS[key].ypr_deg(R), atol=1e-5
    )


# A face that looks 20 degrees to image left, or up, or is tilted clockwise: sign per convention.
TURNED = {"yaw_deg": (20.0, 0.0, 0.0), "pitch_deg": (0.0, 20.0, 0.0), "roll_deg": (0.0, 0.0, 20.0)}
SIGNS = {
    "opencv": (1, -1, 1),
    "opengl": (-1, -1, -1),
    "arkit": (-1, -1, -1),
    "300wlp": (1, 1, 1),
    "biwi": (1, 1, 1),
    "trg": (1, -1, 1),
}


@pytest.mark.parametrize("key", SIGNS)
def test_signs_of_a_turned_head(key: str) -> None:
    for index, (angle, ypr) in enumerate(TURNED.items()):
        angles = CONVENTIONS[key].ypr_deg(matrix_from_ypr_300wlp(*ypr))
        assert getattr(angles, angle) == pytest.approx(20.0 * SIGNS[key][index])
        assert sum(abs(value) for value in angles) == pytest.approx(20.0)


def test_biwis_own_pose_comes_out_of_ours(shared_data: Path) -> None:
    """A real frame in its RGB camera: R and t, moved to our origin, come back; so do its angles."""
    folder = shared_data / "samples/biwi/hpdb/01"
    pose = np.array((folder / "frame_00003_pose.txt").read_text().split(), float)
    calibration = np.array((folder / "rgb.cal").read_text().split(), float)
    R_rgb_from_depth, T_mm = calibration[13:22].reshape(3, 3), calibration[22:25]
    R, t_biwi_mm = R_rgb_from_depth @ pose[:9].reshape(3, 3), R_rgb_from_depth @ pose[9:] + T_mm
    np.testing.assert_allclose(t_biwi_mm, (36.274, 57.182, 867.331), atol=1e-3)
    biwi = CONVENTIONS["biwi"]
    matrix = biwi.matrix(R, t_biwi_mm - R @ BIWI_ORIGIN_HEAD_MM)
    np.testing.assert_allclose(matrix[:3], np.c_[R, t_biwi_mm], atol=1e-9)
    np.testing.assert_allclose(biwi.ypr_deg(R), (3.8516, 8.4595, -1.7421), atol=1e-3)


def test_biwis_origin_against_scan_and_mean_face(shared_data: Path) -> None:
    """ARKit's mean face, moved to BIWI's origin, lies on scan 01; the other way it does not."""
    lines = (shared_data / "samples/biwi/hpdb/01.obj").read_text().splitlines()
    scan_mm = np.array([line.split()[1:4] for line in lines if line.startswith("v ")], float)
    face_head_mm = 1e3 * np.asarray(
        read_pickle(shared_data / "trg_arrays/arkit_avg_face.pkl", NUMPY_ARRAYS), float
    )
    distances = {
        sign: np.median(cKDTree(scan_mm).query(face_head_mm - sign * BIWI_ORIGIN_HEAD_MM)[0])
        for sign in (1, 0, -1)
    }
    assert distances[1] < 3.5
    assert distances[0] > 2 * distances[1]
    assert distances[-1] > 3 * distances[1]
