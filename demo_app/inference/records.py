"""What comes out of a frame: faces with a track number, raw and smoothed."""

from __future__ import annotations

from dataclasses import dataclass

from models.estimator import HeadPose
from models.geometry.cameras import Camera


@dataclass(frozen=True)
class FacePose:
    """A head of one frame that belongs to a track.

    pose: what is shown, exported and drawn (smoothed when smoothing is on).
    raw: what the network said for this frame; the same object when smoothing is off.
    """

    track_id: int
    pose: HeadPose
    raw: HeadPose


@dataclass(frozen=True)
class FrameResult:
    """All heads of one frame.

    source: the input as the user gave it. time_s: from the start of the video; 0 for a still image.
    camera: the camera that the poses hold for.
    """

    source: str
    frame_index: int
    time_s: float
    camera: Camera
    faces: tuple[FacePose, ...]
    detector_ran: bool
