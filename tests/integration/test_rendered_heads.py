"""Heads turned by known angles: the right number changes, with the right sign, everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from models.estimator import HeadPose, HeadPoseEstimator
from models.geometry.cameras import camera_from_horizontal_fov
from models.geometry.conventions import CONVENTIONS
from models.geometry.rotations import geodesic_deg, matrix_from_ypr_300wlp
from viewer.synthesis.painted_head import render_painted_head

CAMERA = camera_from_horizontal_fov((400, 400), 40.0)
T_MM = np.array([25.0, -15.0, 620.0])

TURNS = {
    "frontal": (0.0, 0.0, 0.0),
    "nose to image left": (30.0, 0.0, 0.0),
    "nose to image right": (-30.0, 0.0, 0.0),
    "up": (0.0, 20.0, 0.0),
    "down": (0.0, -20.0, 0.0),
    "tilted clockwise": (0.0, 0.0, 20.0),
    "tilted counter-clockwise": (0.0, 0.0, -20.0),
}
"""Yaw, pitch, roll of 300W-LP."""

SIGNS = {
    "300wlp": (1, 1, 1),
    "biwi": (1, 1, 1),
    "opencv": (1, -1, 1),
    "trg": (1, -1, 1),
    "opengl": (-1, -1, -1),
    "arkit": (-1, -1, -1),
}
"""Sign of yaw to image left, pitch upwards, roll clockwise in the picture."""


@pytest.fixture(scope="module")
def seen() -> dict[str, HeadPose]:
    """What the estimator says of each turned head, one person against one background."""
    estimator = HeadPoseEstimator.load("trg-mini", device="cpu")
    poses = {}
    for name, ypr_deg in TURNS.items():
        R = matrix_from_ypr_300wlp(*ypr_deg)
        found = estimator.predict(render_painted_head(R, T_MM, CAMERA, 3), CAMERA)
        assert len(found) == 1, name
        poses[name] = found[0]
    return poses


@pytest.mark.parametrize("name", TURNS)
def test_pose_is_that_of_the_render(seen: dict[str, HeadPose], name: str) -> None:
    pose = seen[name]
    assert geodesic_deg(pose.R_cam_from_head, matrix_from_ypr_300wlp(*TURNS[name])) < 7.0
    error_mm = pose.t_cam_from_head_mm - T_MM
    assert np.abs(error_mm[:2]).max() < 12.0
    assert abs(error_mm[2]) < 0.12 * T_MM[2], "one picture does not tell how large a head is"


@pytest.mark.parametrize("key", CONVENTIONS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_sign_in_each_convention(seen: dict[str, HeadPose], key: str, axis: int) -> None:
    """Turning about one axis moves that axis's number by as much, and the others hardly."""
    plus, minus = list(TURNS)[1 + 2 * axis], list(TURNS)[2 + 2 * axis]
    convention = CONVENTIONS[key]
    angles_plus = np.array(convention.ypr_deg(seen[plus].R_cam_from_head))
    angles_minus = np.array(convention.ypr_deg(seen[minus].R_cam_from_head))
    change = angles_plus - angles_minus
    true_change = TURNS[plus][axis] - TURNS[minus][axis]
    assert change[axis] * SIGNS[key][axis] == pytest.approx(true_change, abs=8.0)
    assert np.abs(np.delete(change, axis)).max() < 8.0
