"""Smoothing of one head over time: One-Euro filters on SO(3) and on the metric position.

The One-Euro filter (Casiez, Roussel, Vogel 2012) is a low pass whose cutoff rises with speed:
still heads do not tremble, moving ones do not lag. Rotations are filtered along geodesics, never
as Euler angles, so nothing happens at +-180 or +-90 degrees and turning the camera or the head
frame turns the result with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from models.estimator import HeadPose
from models.geometry.boxes import bounding_box_xyxy
from models.geometry.cameras import Camera
from models.geometry.rotations import geodesic_deg, interpolate, rotation_vector_from_matrix

Array = np.ndarray


@dataclass(frozen=True)
class SmoothingOptions:
    """How a head is smoothed over time. Smaller cutoffs are calmer, larger betas follow faster."""

    min_cutoff_hz: float = 1.5
    """Cutoff for a head that keeps still."""
    beta: float = 4.0
    """Hz added to the rotation's cutoff per radian per second."""
    position_beta: float = 8.0
    """Hz added to the position's cutoff per metre per second."""
    d_cutoff_hz: float = 2.0
    """Cutoff of the speed estimate that drives the two betas."""
    max_speed_deg_s: float = 800.0
    """A turn faster than this (plus 15 degrees) within one frame is an outlier at first."""
    max_speed_m_s: float = 4.0
    """A move faster than this (plus 10 cm) within one frame is an outlier at first."""
    max_held_frames: int = 2
    """Outliers in a row that are replaced by the last good pose; the next one is believed."""

    def __post_init__(self) -> None:
        rates = (self.min_cutoff_hz, self.d_cutoff_hz, self.max_speed_deg_s, self.max_speed_m_s)
        if min(rates) <= 0:
            raise ValueError("Cutoffs and speed limits of the smoothing must be above 0.")
        if min(self.beta, self.position_beta, self.max_held_frames) < 0:
            raise ValueError("Betas and held frames of the smoothing must not be below 0.")


OUTLIER_ALLOWANCE_DEG, OUTLIER_ALLOWANCE_M = 15.0, 0.10
"""Added to the speed limits, so that measuring noise of two close frames is no outlier."""


def low_pass_weight(cutoff_hz: float, dt_s: float) -> float:
    """Weight of the new value in exponential smoothing: 1 / (1 + tau / dt), tau = 1 / (2 pi
    cutoff)."""
    return 1.0 / (1.0 + 1.0 / (2.0 * np.pi * cutoff_hz * dt_s))


class RotationFilter:
    """One-Euro on SO(3). The speed is the low-passed body angular velocity log(R_before^T R) / dt.

    Body velocities do not change when the camera turns (R -> Q R), so the filter commutes with Q.
    """

    def __init__(self, options: SmoothingOptions) -> None:
        self._options = options
        self._raw: Array | None = None
        self._smooth: Array | None = None
        self._velocity_rad_s = np.zeros(3)

    def step(self, R: Float[Array, "3 3"], dt_s: float) -> Float[Array, "3 3"]:
        """The smoothed rotation; dt_s > 0 since the last call (ignored by the first)."""
        if self._raw is None or self._smooth is None:
            self._raw = self._smooth = R
            return R
        velocity = rotation_vector_from_matrix(self._raw.T @ R) / dt_s
        weight = low_pass_weight(self._options.d_cutoff_hz, dt_s)
        self._velocity_rad_s = self._velocity_rad_s + weight * (velocity - self._velocity_rad_s)
        cutoff_hz = self._options.min_cutoff_hz + self._options.beta * float(
            np.linalg.norm(self._velocity_rad_s)
        )
        self._raw = R
        self._smooth = interpolate(self._smooth, R, low_pass_weight(cutoff_hz, dt_s))
        return self._smooth


class PositionFilter:
    """One-Euro on a position in the camera frame, distance and direction apart.

    One camera sees the distance of a head about ten times worse than its direction. One cutoff for
    both would let the distance tremble or the direction lag. Speeds are metric: radial d' and
    across d |n'|. Commutes with rotations about the camera.
    """

    def __init__(self, options: SmoothingOptions) -> None:
        self._options = options
        self._raw: Array | None = None
        self._smooth: Array | None = None
        self._velocity_m_s = np.zeros(4)

    def step(self, t_m: Float[Array, "3"], dt_s: float) -> Float[Array, "3"]:
        """The smoothed position in metres; dt_s > 0 since the last call (ignored by the first)."""
        distance_m = float(np.linalg.norm(t_m))
        raw = np.array([distance_m, *(t_m / max(distance_m, 1e-9))])
        if self._raw is None or self._smooth is None:
            self._raw = self._smooth = raw
            return t_m
        velocity = (raw - self._raw) / dt_s * [1.0, distance_m, distance_m, distance_m]
        weight = low_pass_weight(self._options.d_cutoff_hz, dt_s)
        self._velocity_m_s = self._velocity_m_s + weight * (velocity - self._velocity_m_s)
        speeds_m_s = (abs(self._velocity_m_s[0]), float(np.linalg.norm(self._velocity_m_s[1:])))
        radial, across = (
            low_pass_weight(self._options.min_cutoff_hz + self._options.position_beta * speed, dt_s)
            for speed in speeds_m_s
        )
        smooth = self._smooth + np.array([radial, across, across, across]) * (raw - self._smooth)
        smooth[1:] /= max(float(np.linalg.norm(smooth[1:])), 1e-9)
        self._raw, self._smooth = raw, smooth
        return smooth[0] * smooth[1:]


class OutlierGate:
    """Refuses a pose that no head could have reached since the last good one, a few times in a
    row."""

    def __init__(self, options: SmoothingOptions) -> None:
        self._options = options
        self._good: tuple[Array, Array, float] | None = None
        self._held = 0

    def judge(
        self, R: Float[Array, "3 3"], t_m: Float[Array, "3"], time_s: float
    ) -> Literal["good", "held", "jump"]:
        """held: keep the last pose. jump: too far, but seen so often in a row that it is
        believed."""
        far = self._good is not None and self._is_far(*self._good, R, t_m, time_s)
        if far and self._held < self._options.max_held_frames:
            self._held += 1
            return "held"
        self._good, self._held = (R, t_m, time_s), 0
        return "jump" if far else "good"

    def _is_far(
        self, R_good: Array, t_good_m: Array, good_s: float, R: Array, t_m: Array, time_s: float
    ) -> bool:
        dt_s, options = time_s - good_s, self._options
        turn_deg, move_m = float(geodesic_deg(R_good, R)), float(np.linalg.norm(t_m - t_good_m))
        return (
            turn_deg > OUTLIER_ALLOWANCE_DEG + options.max_speed_deg_s * dt_s
            or move_m > OUTLIER_ALLOWANCE_M + options.max_speed_m_s * dt_s
        )


class PoseSmoother:
    """Smooths the poses of one track. Make a new one after the track was lost."""

    def __init__(self, options: SmoothingOptions) -> None:
        self._options = options
        self._gate = OutlierGate(options)
        self._rotation, self._position = self._filters()
        self._time_s: float | None = None
        self._R, self._t_m = np.eye(3), np.zeros(3)

    def _filters(self) -> tuple[RotationFilter, PositionFilter]:
        return RotationFilter(self._options), PositionFilter(self._options)

    def step(self, pose: HeadPose, time_s: float, camera: Camera) -> HeadPose:
        """The smoothed pose; only R, t and the box differ from `pose`.

        time_s: of the frame, any spacing. A frame that is not later than the one before gets its
            result.
        """
        R, t_m = pose.R_cam_from_head, pose.t_cam_from_head_mm / 1000.0
        stale = self._time_s is not None and time_s <= self._time_s
        dt_s = 0.0 if self._time_s is None else time_s - self._time_s
        verdict = "held" if stale else self._gate.judge(R, t_m, time_s)
        if verdict == "jump":
            self._rotation, self._position = self._filters()
        if verdict != "held":
            self._R = self._rotation.step(R, dt_s)
            self._t_m = self._position.step(t_m, dt_s)
            self._time_s = time_s
        smoothed = replace(pose, R_cam_from_head=self._R, t_cam_from_head_mm=self._t_m * 1000.0)
        box_xyxy_px = bounding_box_xyxy(camera.project(smoothed.vertices_cam_m()))
        return replace(smoothed, box_xyxy_px=box_xyxy_px)


@dataclass(frozen=True)
class JitterAndLag:
    """What smoothing did to one track.

    jitter: RMS of the second difference per frame, which steady motion does not have; nan below
        three frames.
    lag_s: how late the smoothed rotation is; nan where the head hardly turned.
    """

    frames: int
    raw_jitter_deg: float
    smoothed_jitter_deg: float
    raw_jitter_mm: float
    smoothed_jitter_mm: float
    lag_s: float


def rotation_jitter_deg(R: Float[Array, "n 3 3"]) -> float:
    """RMS over frames of |log(R_k^T R_k+1) - log(R_k-1^T R_k)|, degrees per frame; nan below three
    frames."""
    if len(R) < 3:
        return float("nan")
    steps = rotation_vector_from_matrix(np.swapaxes(R[:-1], -1, -2) @ R[1:])
    return float(np.degrees(np.sqrt(np.mean(np.sum(np.diff(steps, axis=0) ** 2, -1)))))


def position_jitter_mm(t_mm: Float[Array, "n 3"]) -> float:
    """RMS over frames of |t_k+1 - 2 t_k + t_k-1|, mm per frame; nan below three frames."""
    if len(t_mm) < 3:
        return float("nan")
    return float(np.sqrt(np.mean(np.sum(np.diff(t_mm, 2, axis=0) ** 2, -1))))


def rotation_lag_s(
    R_raw: Float[Array, "n 3 3"], R_smoothed: Float[Array, "n 3 3"], times_s: Float[Array, "n"]
) -> float:
    """Least-squares delay tau of log(R_raw^T R_smoothed) = -tau omega over frames that turn; nan
    if few do.

    omega is the central difference of the smoothed rotation; frames below 5 deg/s say nothing
    about delay.
    """
    if len(times_s) < 5:
        return float("nan")
    span_s = (times_s[2:] - times_s[:-2])[:, None]
    omega = (
        rotation_vector_from_matrix(np.swapaxes(R_smoothed[:-2], -1, -2) @ R_smoothed[2:]) / span_s
    )
    behind = rotation_vector_from_matrix(np.swapaxes(R_raw, -1, -2) @ R_smoothed)[1:-1]
    turning = np.linalg.norm(omega, axis=-1) > np.radians(5.0)
    if turning.sum() < 3:
        return float("nan")
    return float(-(behind * omega)[turning].sum() / (omega[turning] ** 2).sum())


def measure_jitter_and_lag(
    raw: Sequence[HeadPose], smoothed: Sequence[HeadPose], times_s: Sequence[float]
) -> JitterAndLag:
    """Raw against smoothed poses of one track, frame by frame."""
    if not len(raw) == len(smoothed) == len(times_s):
        raise ValueError("Raw poses, smoothed poses and times must be of one length.")

    def rotations(poses: Sequence[HeadPose]) -> Array:
        return np.reshape([pose.R_cam_from_head for pose in poses], (-1, 3, 3))

    def positions_mm(poses: Sequence[HeadPose]) -> Array:
        return np.reshape([pose.t_cam_from_head_mm for pose in poses], (-1, 3))

    return JitterAndLag(
        frames=len(raw),
        raw_jitter_deg=rotation_jitter_deg(rotations(raw)),
        smoothed_jitter_deg=rotation_jitter_deg(rotations(smoothed)),
        raw_jitter_mm=position_jitter_mm(positions_mm(raw)),
        smoothed_jitter_mm=position_jitter_mm(positions_mm(smoothed)),
        lag_s=rotation_lag_s(rotations(raw), rotations(smoothed), np.asarray(times_s, np.float64)),
    )
