"""Where a head is expected next: constant velocity in the image and in distance."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from models.estimator import HeadPose
from models.geometry.boxes import RayBox
from models.geometry.cameras import Camera

Array = np.ndarray

VELOCITY_TIME_S = np.array([0.12, 0.12, 0.35])
"""Averaging time of the velocity; longer for the distance, which one camera measures ten times
worse."""

VELOCITY_FADE_S = 1.0
"""An unseen head is thought to slow down with this time constant."""

LATERAL_GATE_M, LATERAL_GATE_M_S, LATERAL_DRIFT_M_S, LATERAL_GATE_MAX_M = 0.08, 2.0, 0.3, 0.5
DEPTH_GATE, DEPTH_GATE_PER_S, DEPTH_DRIFT_PER_S, DEPTH_GATE_MAX = 0.12, 1.0, 0.15, 0.4
"""How far a head may be from its prediction: noise + acceleration within 0.1 s + drift for as long
as it is unseen; sideways in metres, in distance as a logarithm."""


def place_of_pose(pose: HeadPose) -> Float[Array, "3"]:
    """(x/z, y/z, ln z in metres) of the head's origin: errors of the three are independent."""
    x, y, z = pose.t_cam_from_head_mm / 1000.0
    z = max(float(z), 1e-3)
    return np.array([x / z, y / z, np.log(z)])


@dataclass(frozen=True)
class Motion:
    """A head's place, velocity and crop at the time it was last seen.

    place: (x/z, y/z, ln z). velocity: its change per second.
    crop_offset: centre of the crop minus place, in crop sides; crop_side_m: side of the crop at
        the head's distance.
    """

    place: Float[Array, "3"]
    velocity: Float[Array, "3"]
    crop_offset: Float[Array, "2"]
    crop_side_m: float
    time_s: float

    @classmethod
    def start(cls, pose: HeadPose, ray_box: RayBox, time_s: float) -> Motion:
        place = place_of_pose(pose)
        offset = (ray_box[:2] - place[:2]) / ray_box[2]
        return cls(place, np.zeros(3), offset, float(ray_box[2] * np.exp(place[2])), time_s)

    def seen(self, pose: HeadPose, ray_box: RayBox, time_s: float) -> Motion:
        """Moved on to a new observation; the velocity is averaged over `VELOCITY_TIME_S`."""
        new, dt_s = Motion.start(pose, ray_box, time_s), time_s - self.time_s
        if dt_s <= 0:
            return replace(new, velocity=self.velocity, time_s=self.time_s)
        weight = 1.0 - np.exp(-dt_s / VELOCITY_TIME_S)
        measured = (new.place - self.place) / dt_s
        return replace(new, velocity=self.velocity + weight * (measured - self.velocity))

    def place_at(self, time_s: float) -> Float[Array, "3"]:
        """Predicted place; the velocity fades, so that a lost head does not run away."""
        dt_s = max(time_s - self.time_s, 0.0)
        way_s = VELOCITY_FADE_S * (1.0 - np.exp(-dt_s / VELOCITY_FADE_S))
        return self.place + self.velocity * way_s

    def ray_box_at(self, time_s: float) -> RayBox:
        """Predicted crop."""
        place = self.place_at(time_s)
        side = self.crop_side_m / np.exp(place[2])
        return np.array([*(place[:2] + self.crop_offset * side), side])

    def surprise(self, pose: HeadPose, time_s: float) -> float:
        """Distance of an observation from the prediction; 1 is the most that is believed without
        question."""
        expected, place = self.place_at(time_s), place_of_pose(pose)
        dt_s = max(time_s - self.time_s, 0.0)
        near_s = min(dt_s, 0.1)
        lateral_gate_m = min(
            LATERAL_GATE_M + LATERAL_GATE_M_S * near_s + LATERAL_DRIFT_M_S * dt_s,
            LATERAL_GATE_MAX_M,
        )
        depth_gate = min(
            DEPTH_GATE + DEPTH_GATE_PER_S * near_s + DEPTH_DRIFT_PER_S * dt_s, DEPTH_GATE_MAX
        )
        lateral_m = float(np.linalg.norm(place[:2] - expected[:2])) * np.exp(expected[2])
        depth = abs(float(place[2] - expected[2]))
        return float(np.hypot(lateral_m / lateral_gate_m, depth / depth_gate))

    def in_other_camera(self, old: Camera, new: Camera) -> Motion:
        """The same place in the picture when K or the size of the frames changes; the velocity
        starts anew.

        The distance that a network reports is proportional to the focal length, and so is the one
        kept here.
        """
        stretch = np.array(new.size_wh_px, np.float64) / old.size_wh_px
        f_old_px, f_new_px = np.array([old.fx_px, old.fy_px]), np.array([new.fx_px, new.fy_px])
        at_px = (self.place[:2] * f_old_px + old.principal_point_px) * stretch
        zoom = float(np.mean(f_new_px / (f_old_px * stretch)))
        place = np.array(
            [*((at_px - new.principal_point_px) / f_new_px), self.place[2] + np.log(zoom)]
        )
        return replace(self, place=place, velocity=np.zeros(3))
