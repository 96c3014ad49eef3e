"""Zero: poses relative to a person's own neutral pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from models.estimator import HeadPose
from models.geometry.rotations import (
    YawPitchRollDeg,
    nearest_rotation,
    ypr_300wlp_from_matrix,
)

Array = np.ndarray


@dataclass(frozen=True)
class NeutralPose:
    """Where the head was when the person said "this is my zero"; the frame `neutral` is `head` at
    that moment."""

    R_cam_from_neutral: Float[Array, "3 3"]
    t_cam_from_neutral_mm: Float[Array, "3"]


@dataclass(frozen=True)
class RelativePose:
    """The head seen from its own neutral pose: T_neutral_from_head = T_cam_from_neutral^-1
    T_cam_from_head."""

    R_neutral_from_head: Float[Array, "3 3"]
    t_neutral_from_head_mm: Float[Array, "3"]

    @property
    def ypr_deg(self) -> YawPitchRollDeg:
        """Yaw, pitch, roll of 300W-LP away from neutral; all zero at neutral, signs as always."""
        return ypr_300wlp_from_matrix(self.R_neutral_from_head)


def neutral_from_poses(poses: Sequence[HeadPose]) -> NeutralPose:
    """The mean of one or several poses (rotations by the chordal mean, which is sound for poses a
    few degrees apart).

    Raises: ValueError without a pose.
    """
    if not poses:
        raise ValueError("Zero needs a face: look at the camera and press it again.")
    return NeutralPose(
        nearest_rotation(np.mean([pose.R_cam_from_head for pose in poses], axis=0)),
        np.mean([pose.t_cam_from_head_mm for pose in poses], axis=0),
    )


def relative_pose(pose: HeadPose, neutral: NeutralPose) -> RelativePose:
    """The pose relative to neutral, in the axes of the neutral head: R_cam_from_neutral^T
    R_cam_from_head.

    Not R_cam_from_head R_cam_from_neutral^T, which has the camera's axes: with a camera 30 degrees
    to the side a plain nod would then show as pitch and roll, and with one that lies on its side
    as yaw. In the neutral head's axes a nod is pitch wherever the camera stands. The two are the
    same when neutral faces the camera. Positions likewise: x to the person's left, y down, z
    backwards, as the neutral head has them.
    """
    R_neutral_from_cam = neutral.R_cam_from_neutral.T
    return RelativePose(
        R_neutral_from_cam @ pose.R_cam_from_head,
        R_neutral_from_cam @ (pose.t_cam_from_head_mm - neutral.t_cam_from_neutral_mm),
    )
