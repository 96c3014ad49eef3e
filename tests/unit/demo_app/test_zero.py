"""Pose relative to one's own neutral: a nod is pitch wherever the camera is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from demo_app.inference.zero import neutral_from_poses, relative_pose
from models.geometry.rotations import about_x, about_z, geodesic_deg, matrix_from_ypr_300wlp


@pytest.fixture
def pose_of(head_world):
    world = head_world({})

    def make(R, t_mm=(0.0, 0.0, 600.0)):
        return world.pose(R, np.array(t_mm), world.camera, 0.9)

    return make


def test_neutral_itself_is_zero(pose_of):
    pose = pose_of(matrix_from_ypr_300wlp(20.0, -10.0, 5.0), (30.0, -20.0, 700.0))
    relative = relative_pose(pose, neutral_from_poses([pose]))
    np.testing.assert_allclose(relative.ypr_deg, 0.0, atol=1e-9)
    np.testing.assert_allclose(relative.t_neutral_from_head_mm, 0.0, atol=1e-9)


def test_relative_to_a_frontal_neutral_nothing_changes(pose_of):
    pose = pose_of(matrix_from_ypr_300wlp(25.0, -12.0, 7.0), (10.0, 0.0, 650.0))
    relative = relative_pose(pose, neutral_from_poses([pose_of(np.eye(3))]))
    assert tuple(relative.ypr_deg) == pytest.approx(tuple(pose.ypr_deg))
    np.testing.assert_allclose(relative.t_neutral_from_head_mm, [10, 0, 50])


@pytest.mark.parametrize(
    "neutral", [(30.0, 0.0, 0.0), (-40.0, 10.0, 0.0), (0.0, 0.0, 90.0), (0.0, -20.0, -15.0)]
)
@pytest.mark.parametrize("axis, turn_deg", [(0, 15.0), (1, -20.0), (2, 12.0)])
def test_yaw_pitch_and_roll_are_the_heads_own_wherever_the_camera_stands(
    pose_of, neutral, axis, turn_deg
):
    """The camera stands aside, lies on its side, hangs above: turning away from neutral by one
    angle alone shows as that angle alone."""
    R_neutral = matrix_from_ypr_300wlp(*neutral)
    ypr = [0.0, 0.0, 0.0]
    ypr[axis] = turn_deg
    turned = pose_of(R_neutral @ matrix_from_ypr_300wlp(*ypr))
    relative = relative_pose(turned, neutral_from_poses([pose_of(R_neutral)]))
    assert tuple(relative.ypr_deg) == pytest.approx(tuple(ypr), abs=1e-9)


def test_the_choice_of_world_axes_does_not_matter(pose_of):
    """Turning the camera turns both poses and leaves the relative one alone."""
    a, b = (
        pose_of(matrix_from_ypr_300wlp(10.0, 5.0, 0.0)),
        pose_of(matrix_from_ypr_300wlp(-15.0, 0.0, 8.0), (50.0, 10.0, 640.0)),
    )
    Q = about_x(12.0) @ about_z(35.0)

    def turned(pose):
        return replace(
            pose,
            R_cam_from_head=Q @ pose.R_cam_from_head,
            t_cam_from_head_mm=Q @ pose.t_cam_from_head_mm,
        )

    before = relative_pose(b, neutral_from_poses([a]))
    after = relative_pose(turned(b), neutral_from_poses([turned(a)]))
    np.testing.assert_allclose(after.R_neutral_from_head, before.R_neutral_from_head, atol=1e-12)
    np.testing.assert_allclose(
        after.t_neutral_from_head_mm, before.t_neutral_from_head_mm, atol=1e-9
    )


def test_neutral_of_several_frames_is_their_middle(pose_of):
    middle = matrix_from_ypr_300wlp(10.0, -5.0, 3.0)
    poses = [
        pose_of(middle @ matrix_from_ypr_300wlp(yaw, 0.0, 0.0), (x, 0.0, 600.0))
        for yaw, x in ((-4.0, -10.0), (0.0, 0.0), (4.0, 10.0))
    ]
    neutral = neutral_from_poses(poses)
    assert geodesic_deg(neutral.R_cam_from_neutral, middle) < 1e-6
    np.testing.assert_allclose(neutral.t_cam_from_neutral_mm, [0, 0, 600], atol=1e-9)


def test_zero_without_a_face_says_so():
    with pytest.raises(ValueError, match="needs a face"):
        neutral_from_poses([])
