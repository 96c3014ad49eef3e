"""Laws of the smoothing filters: equivariance, fixed points, convergence, lag, jitter, outliers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo_app.inference.smoothing import (
    OutlierGate,
    PoseSmoother,
    PositionFilter,
    RotationFilter,
    SmoothingOptions,
    measure_jitter_and_lag,
    position_jitter_mm,
    rotation_jitter_deg,
    rotation_lag_s,
)
from models.geometry.rotations import (
    about_x,
    about_y,
    about_z,
    geodesic_deg,
    matrix_from_rotation_vector,
)

seeds = st.integers(0, 10_000)


def random_rotation(rng) -> np.ndarray:
    return matrix_from_rotation_vector(rng.normal(size=3) * 2)


def random_walk(rng, n: int, step: float = 0.2) -> np.ndarray:
    R = [random_rotation(rng)]
    for _ in range(n - 1):
        R.append(R[-1] @ matrix_from_rotation_vector(rng.normal(size=3) * step))
    return np.stack(R)


def smooth_rotations(R, dt_s, options=None) -> np.ndarray:
    made = RotationFilter(options or SmoothingOptions())
    return np.stack([made.step(r, d) for r, d in zip(R, dt_s, strict=True)])


def smooth_positions(t_m, dt_s, options=None) -> np.ndarray:
    made = PositionFilter(options or SmoothingOptions())
    return np.stack([made.step(t, d) for t, d in zip(t_m, dt_s, strict=True)])


@given(seeds)
def test_rotation_filter_commutes_with_turning_the_camera_and_the_head_frame(seed):
    rng = np.random.default_rng(seed)
    R, dt_s = random_walk(rng, 20), rng.uniform(0.005, 0.1, 20)
    Q, S = random_rotation(rng), random_rotation(rng)
    turned = smooth_rotations(Q @ R @ S, dt_s)
    np.testing.assert_allclose(turned, Q @ smooth_rotations(R, dt_s) @ S, atol=1e-7)


@given(seeds)
def test_position_filter_commutes_with_turning_the_camera(seed):
    rng = np.random.default_rng(seed)
    t_m = rng.uniform(-0.3, 0.3, (20, 3)) + np.array([0, 0, 1.0])
    dt_s, Q = rng.uniform(0.005, 0.1, 20), random_rotation(rng)
    turned = smooth_positions(t_m @ Q.T, dt_s)
    np.testing.assert_allclose(turned, smooth_positions(t_m, dt_s) @ Q.T, atol=1e-9)


@given(seeds)
def test_a_still_head_stays_where_it_is(seed):
    rng = np.random.default_rng(seed)
    R, t_m, dt_s = random_rotation(rng), rng.normal(size=3), rng.uniform(0.001, 0.5, 10)
    np.testing.assert_allclose(smooth_rotations([R] * 10, dt_s), [R] * 10, atol=1e-9)
    np.testing.assert_allclose(smooth_positions([t_m] * 10, dt_s), [t_m] * 10, atol=1e-12)


@given(seeds, st.floats(5, 170), st.sampled_from([10.0, 30.0, 60.0]))
def test_a_step_is_reached_without_overshoot(seed, turn_deg, fps):
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    start = random_rotation(rng)
    turn = matrix_from_rotation_vector(np.radians(turn_deg) * axis / np.linalg.norm(axis))
    R = np.stack([start] * 3 + [start @ turn] * round(2 * fps))
    left_deg = geodesic_deg(smooth_rotations(R, np.full(len(R), 1 / fps))[2:], R[-1])
    assert left_deg[-1] < 0.01 * turn_deg
    assert (np.diff(left_deg) <= 1e-6).all()


def test_a_position_step_is_reached():
    t_m = np.array([[0.0, 0, 0.6]] * 3 + [[0.1, -0.05, 0.8]] * 60)
    left_m = np.linalg.norm(smooth_positions(t_m, np.full(63, 1 / 30)) - t_m[-1], axis=1)
    assert left_m[-1] < 0.001 and left_m[3] > 0.02


@pytest.mark.parametrize("about", [about_x, about_y, about_z])
def test_turning_through_180_degrees_is_like_turning_through_0(about):
    """Nothing special where Euler angles and rotation vectors wrap around."""
    angles_deg = np.arange(-40, 40, 2.0)
    dt_s = np.full(len(angles_deg), 1 / 30)

    def behind_deg(middle_deg):
        R = np.stack([about(middle_deg + a) for a in angles_deg])
        return geodesic_deg(smooth_rotations(R, dt_s), R)

    np.testing.assert_allclose(behind_deg(180.0), behind_deg(0.0), atol=1e-6)
    np.testing.assert_allclose(behind_deg(90.0), behind_deg(0.0), atol=1e-6)


def test_a_still_noisy_head_trembles_less_and_a_turning_one_hardly_lags():
    """The two promises of One-Euro, at the noise of the bundled network (0.2 deg a frame)."""
    rng = np.random.default_rng(1)
    n, fps = 300, 30.0
    dt_s = np.full(n, 1 / fps)
    noise = matrix_from_rotation_vector(np.radians(0.2) * rng.normal(size=(n, 3)))
    still = smooth_rotations(noise, dt_s)
    assert rotation_jitter_deg(still) < 0.25 * rotation_jitter_deg(noise)

    turning = np.stack([about_y(float(60 * np.sin(2 * np.pi * 0.5 * i / fps))) for i in range(n)])
    smooth = smooth_rotations(turning @ noise, dt_s)
    lag_s = rotation_lag_s(turning, smooth, np.arange(n) / fps)
    assert 0 < lag_s < 0.045
    stiff = smooth_rotations(turning @ noise, dt_s, SmoothingOptions(beta=0.0))
    assert rotation_lag_s(turning, stiff, np.arange(n) / fps) > 2 * lag_s


def test_a_noisy_distance_is_calmed_as_well_while_the_head_moves_sideways():
    """2 % of noise in distance at 0.6 m, as one camera has it; sideways at up to 0.8 m/s."""
    rng = np.random.default_rng(2)
    n, fps = 200, 30.0
    noise = 1 + 0.02 * rng.normal(size=(n, 1))
    around = np.stack([about_y(float(40 * np.sin(2 * i / fps))) @ [0, 0, 0.6] for i in range(n)])
    still = np.tile([0, 0, 0.6], (n, 1))

    def left_mm(clean_m):
        smooth = smooth_positions(clean_m * noise, np.full(n, 1 / fps))
        return 1000 * np.std(np.linalg.norm(smooth, axis=1)[20:]), smooth

    assert left_mm(still)[0] < 0.5 * 12
    assert left_mm(around)[0] == pytest.approx(left_mm(still)[0], rel=0.01)
    direction = left_mm(around)[1] / np.linalg.norm(left_mm(around)[1], axis=1)[:, None]
    off_deg = np.degrees(np.arccos(np.clip((direction * around / 0.6).sum(1), -1, 1)))
    assert off_deg[20:].max() < 3.0


def test_moving_around_the_camera_keeps_the_distance():
    t_m = np.stack([about_y(6.0 * i) @ [0, 0, 0.7] for i in range(15)])
    smooth = smooth_positions(t_m, np.full(15, 1 / 30))
    np.testing.assert_allclose(np.linalg.norm(smooth, axis=1), 0.7, atol=1e-9)


@pytest.mark.parametrize("fps", [10.0, 60.0])
def test_frame_rate_hardly_changes_the_lag(fps):
    """Time constants are in seconds: a slow stream lags by the same time, not the same frames."""

    def lag_s(rate):
        times_s = np.arange(0, 4, 1 / rate)
        R = np.stack([about_y(float(40 * np.sin(2 * np.pi * 0.4 * t))) for t in times_s])
        return rotation_lag_s(R, smooth_rotations(R, np.full(len(R), 1 / rate)), times_s)

    assert lag_s(fps) == pytest.approx(lag_s(30.0), rel=0.35)


def test_uneven_frames_give_the_same_curve_as_even_ones():
    rng = np.random.default_rng(3)
    times_s = np.cumsum(rng.uniform(0.01, 0.06, 120))
    R = np.stack([about_y(float(30 * np.sin(2 * t))) for t in times_s])
    smooth = smooth_rotations(R, np.diff(times_s, prepend=times_s[0] - 0.03))
    even_s = np.arange(times_s[0], times_s[-1], 1 / 30)
    even = np.stack([about_y(float(30 * np.sin(2 * t))) for t in even_s])
    even_smooth = smooth_rotations(even, np.full(len(even), 1 / 30))
    yaw = np.degrees(np.arcsin(smooth[:, 0, 2]))
    even_yaw = np.interp(times_s, even_s, np.degrees(np.arcsin(even_smooth[:, 0, 2])))
    assert np.abs(yaw - even_yaw)[10:].max() < 1.0


@pytest.mark.parametrize("outliers", [1, 2])
def test_outliers_are_held_and_forgotten(head_world, outliers):
    world = head_world({})
    smoother = PoseSmoother(SmoothingOptions())
    good = world.pose(about_y(10.0), np.array([0.0, 0, 600]), world.camera, 0.9)
    wild = world.pose(about_y(150.0), np.array([300.0, 0, 900]), world.camera, 0.9)
    poses = [good] * 5 + [wild] * outliers + [good] * 5
    shown = [smoother.step(pose, i / 30, world.camera) for i, pose in enumerate(poses)]
    for pose in shown:
        assert geodesic_deg(pose.R_cam_from_head, good.R_cam_from_head) < 1e-6
        np.testing.assert_allclose(pose.t_cam_from_head_mm, good.t_cam_from_head_mm, atol=1e-6)


def test_a_jump_that_lasts_is_believed_at_once_after_two_frames(head_world):
    world = head_world({})
    smoother = PoseSmoother(SmoothingOptions())
    before = world.pose(about_y(0.0), np.array([0.0, 0, 600]), world.camera, 0.9)
    after = world.pose(about_y(120.0), np.array([0.0, 0, 600]), world.camera, 0.9)
    poses = [before] * 5 + [after] * 4
    shown = [smoother.step(pose, i / 30, world.camera) for i, pose in enumerate(poses)]
    off_deg = [geodesic_deg(pose.R_cam_from_head, about_y(120.0)) for pose in shown[5:]]
    np.testing.assert_allclose(off_deg, [120, 120, 0, 0], atol=1e-5)


def test_a_fast_but_possible_turn_is_no_outlier():
    gate = OutlierGate(SmoothingOptions())
    verdicts = [gate.judge(about_y(20.0 * i), np.array([0, 0, 0.6]), i / 30) for i in range(8)]
    assert verdicts == ["good"] * 8  # 600 deg/s


def test_no_held_frames_believes_everything():
    gate = OutlierGate(SmoothingOptions(max_held_frames=0))
    assert gate.judge(np.eye(3), np.zeros(3), 0.0) == "good"
    assert gate.judge(about_y(170.0), np.zeros(3), 0.03) == "jump"


def test_only_rotation_position_and_box_change(head_world):
    world = head_world({})
    smoother = PoseSmoother(SmoothingOptions())
    first = world.pose(about_y(0.0), np.array([0.0, 0, 600]), world.camera, 0.9)
    second = world.pose(about_y(8.0), np.array([20.0, 0, 620]), world.camera, 0.7)
    smoother.step(first, 0.0, world.camera)
    shown = smoother.step(second, 1 / 30, world.camera)
    assert 0 < geodesic_deg(shown.R_cam_from_head, second.R_cam_from_head) < 8
    assert 0 < shown.t_cam_from_head_mm[0] < 20
    projected = world.camera.project(shown.vertices_cam_m())
    np.testing.assert_allclose(shown.box_xyxy_px[:2], projected.min(0))
    np.testing.assert_allclose(shown.box_xyxy_px[2:], projected.max(0))
    assert (shown.confidence, shown.uncertainty_deg, shown.model) == (0.7, 2.0, "made-up")
    assert shown.vertices_head_m is second.vertices_head_m
    again = smoother.step(first, 1 / 30, world.camera)  # the same time once more: no new step
    np.testing.assert_array_equal(again.R_cam_from_head, shown.R_cam_from_head)


def test_jitter_of_steady_motion_is_zero_and_of_noise_is_known():
    steady = np.stack([about_y(3.0 * i) for i in range(20)])
    assert rotation_jitter_deg(steady) < 1e-5
    assert position_jitter_mm(np.outer(np.arange(20), [1.0, 2.0, 3.0])) < 1e-9
    there_and_back = np.stack([about_y(1.0 if i % 2 else 0.0) for i in range(20)])
    assert rotation_jitter_deg(there_and_back) == pytest.approx(2.0)
    assert np.isnan(rotation_jitter_deg(steady[:2])) and np.isnan(position_jitter_mm(np.eye(3)[:2]))


@pytest.mark.parametrize("late_s", [0.0, 0.05, 0.1])
def test_lag_is_measured(late_s):
    times_s = np.cumsum(np.random.default_rng(4).uniform(0.02, 0.05, 150))
    raw = np.stack([about_y(float(40 * np.sin(t))) for t in times_s])
    late = np.stack([about_y(float(40 * np.sin(t - late_s))) for t in times_s])
    assert rotation_lag_s(raw, late, times_s) == pytest.approx(late_s, abs=0.003)
    assert np.isnan(rotation_lag_s(raw[:1].repeat(9, 0), raw[:1].repeat(9, 0), times_s[:9]))


def test_raw_against_smoothed_of_a_track(head_world):
    rng = np.random.default_rng(6)
    world = head_world({})
    smoother = PoseSmoother(SmoothingOptions())
    times_s = np.arange(90) / 30
    raw = [
        world.pose(
            about_y(float(30 * np.sin(2 * t)))
            @ matrix_from_rotation_vector(0.004 * rng.normal(size=3)),
            np.array([0.0, 0, 600]) + rng.normal(size=3) * [1, 1, 8],
            world.camera,
            0.9,
        )
        for t in times_s
    ]
    smoothed = [smoother.step(p, t, world.camera) for p, t in zip(raw, times_s, strict=True)]
    measured = measure_jitter_and_lag(raw, smoothed, list(times_s))
    assert measured.frames == 90
    assert measured.smoothed_jitter_deg < 0.7 * measured.raw_jitter_deg
    assert measured.smoothed_jitter_mm < 0.5 * measured.raw_jitter_mm
    assert 0 < measured.lag_s < 0.08
    with pytest.raises(ValueError, match="one length"):
        measure_jitter_and_lag(raw, smoothed[1:], list(times_s))


def test_options_are_checked():
    with pytest.raises(ValueError, match="above 0"):
        SmoothingOptions(min_cutoff_hz=0.0)
    with pytest.raises(ValueError, match="below 0"):
        SmoothingOptions(beta=-1.0)
