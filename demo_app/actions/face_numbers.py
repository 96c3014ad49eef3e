"""The numbers of one face as the table and the live readout show them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from demo_app.inference.records import FacePose
from demo_app.inference.zero import NeutralPose, relative_pose
from models.geometry.conventions import Convention

Neutrals = Mapping[int, NeutralPose]
"""The neutral pose of each person who has one, by track number."""


@dataclass(frozen=True)
class FaceNumbers:
    """One row of the table.

    x_mm, y_mm, z_mm: OpenCV's camera axes, or the neutral head's axes when `relative`.
    distance_mm: from the camera, always. uncertainty_deg: None where it is not known.
    relative: the pose is relative to this person's zero.
    """

    track_id: int
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    x_mm: float
    y_mm: float
    z_mm: float
    distance_mm: float
    uncertainty_deg: float | None
    uncertainty_source: str
    confidence: float
    relative: bool

    def to_json(self) -> dict[str, Any]:
        """Rounded for a readout that changes many times a second."""
        return {
            key: round(value, 3) if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }


def face_numbers(face: FacePose, convention: Convention, neutrals: Neutrals) -> FaceNumbers:
    """What to show of a face; its angles are those of `convention`, also relative to a zero."""
    pose, neutral = face.pose, neutrals.get(face.track_id)
    R, t_mm = pose.R_cam_from_head, pose.t_cam_from_head_mm
    if neutral is not None:
        relative = relative_pose(pose, neutral)
        R, t_mm = relative.R_neutral_from_head, relative.t_neutral_from_head_mm
    angles = convention.ypr_deg(R)
    known = math.isfinite(pose.uncertainty_deg)
    return FaceNumbers(
        track_id=face.track_id,
        yaw_deg=float(angles.yaw_deg),
        pitch_deg=float(angles.pitch_deg),
        roll_deg=float(angles.roll_deg),
        x_mm=float(t_mm[0]),
        y_mm=float(t_mm[1]),
        z_mm=float(t_mm[2]),
        distance_mm=pose.distance_mm,
        uncertainty_deg=float(pose.uncertainty_deg) if known else None,
        uncertainty_source=pose.uncertainty_source,
        confidence=float(pose.confidence),
        relative=neutral is not None,
    )
