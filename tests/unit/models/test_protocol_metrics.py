"""The numbers of the tables against SciPy and by known offsets."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import bootstrap

from models.geometry.rotations import (
    about_x,
    about_y,
    about_z,
    geodesic_deg,
    ypr_300wlp_from_matrix,
    ypr_trg_metric_from_matrix,
)
from models.training.metrics import (
    MIN_GROUPS,
    aligned_rotations,
    in_camera_mm,
    mean_interval,
    mean_rotation,
    mesh_distance_mm,
    protocol_metrics,
    wrapped_deg,
)

N = 60


def rotations(seed: int, largest_deg: float = 60.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-largest_deg, largest_deg, (N, 3))
    return Rotation.from_euler("yxz", angles, degrees=True).as_matrix()


@pytest.mark.parametrize(
    ("ours", "order", "signs"),
    [
        (ypr_trg_metric_from_matrix, "yxz", np.array([1, 1, 1])),
        (ypr_300wlp_from_matrix, "XYZ", np.array([-1, 1, 1])),
    ],
)
def test_means_are_those_of_scipys_angles(ours, order: str, signs: np.ndarray) -> None:
    found, true = rotations(1), rotations(2)
    both = [Rotation.from_matrix(R).as_euler(order, degrees=True) * signs for R in (found, true)]
    apart = np.abs((both[0] - both[1] + 180) % 360 - 180).mean(0)
    errors = wrapped_deg(np.array([ours(R) for R in found]) - np.array([ours(R) for R in true]))
    relative = Rotation.from_matrix(found) * Rotation.from_matrix(true).inv()
    ge_deg = np.asarray(geodesic_deg(found, true))
    t_mm = np.random.default_rng(3).normal(0, 9, (N, 3))
    got = protocol_metrics(errors, ge_deg, t_mm, np.full(N, 7.0), np.full(N, np.nan))
    named = dict(zip("yxz", apart, strict=True)) if order == "yxz" else {}
    named = named or dict(zip("xyz", apart, strict=True))
    assert got.yaw_deg == pytest.approx(named["y"]) and got.pitch_deg == pytest.approx(named["x"])
    assert got.roll_deg == pytest.approx(named["z"])
    assert got.mae_r_deg == pytest.approx(apart.mean())
    assert got.ge_deg == pytest.approx(np.degrees(relative.magnitude()).mean())
    assert [got.tx_mm, got.ty_mm, got.tz_mm] == pytest.approx(list(np.abs(t_mm).mean(0)))
    assert got.mae_t_mm == pytest.approx(np.abs(t_mm).mean()) and got.add_mm == 7.0
    assert got.dense_mean_mm is None and got.samples == N


def test_angles_wrap_at_half_a_turn() -> None:
    assert wrapped_deg(np.array([358.0, -358.0, 181.0, 2.0])) == pytest.approx([-2, 2, -179, 2])
    true, found = about_z(179.0), about_z(-179.0)
    angles = [ypr_trg_metric_from_matrix(R).roll_deg for R in (found, true)]
    assert abs(angles[0] - angles[1]) == pytest.approx(358.0), "what is compared without wrapping"
    assert wrapped_deg(np.array([angles[0] - angles[1]])) == pytest.approx([2.0])
    assert float(geodesic_deg(found, true)) == pytest.approx(2.0)


def test_known_offsets() -> None:
    true = rotations(5)
    for turn, angle_deg in ((about_x(3.0), 3.0), (about_y(-11.0), 11.0), (about_z(90.0), 90.0)):
        assert geodesic_deg(true @ turn, true) == pytest.approx(np.full(N, angle_deg))
    vertices = np.random.default_rng(0).normal(0, 60, (N, 30, 3))
    t = np.tile([10.0, 20.0, 600.0], (N, 1))
    here = in_camera_mm(true, t, vertices)
    moved = in_camera_mm(true, t + np.array([3.0, 4.0, 0.0]), vertices)
    assert mesh_distance_mm(moved, here) == pytest.approx(np.full(N, 5.0))
    i = 7
    by_scipy = Rotation.from_matrix(true[i]).apply(vertices[i]) + t[i]
    assert here[i] == pytest.approx(by_scipy)
    half_turn = in_camera_mm(true @ about_x(180.0), t, vertices)
    far = 2 * np.linalg.norm(vertices[..., 1:], axis=-1).mean(-1)
    assert mesh_distance_mm(half_turn, here) == pytest.approx(far)


def test_dense_mean_and_median_are_over_heads() -> None:
    dense = np.array([1.0, 2.0, 9.0, np.nan])
    nothing = np.full((4, 3), np.nan)
    got = protocol_metrics(nothing, np.ones(4), nothing, np.full(4, np.nan), dense)
    assert (got.dense_mean_mm, got.dense_median_mm) == (4.0, 2.0)
    assert got.mae_t_mm is None and got.mae_r_deg is None and got.ge_deg == 1.0


def test_the_mean_rotation_is_scipys_for_small_turns_and_exact_for_one() -> None:
    near = rotations(8, largest_deg=4.0)
    mean = mean_rotation(near)
    logs = Rotation.from_matrix(mean.T @ near).as_rotvec()
    assert np.linalg.norm(logs.mean(0)) < 1e-10, "Karcher's condition"
    chordal = Rotation.from_matrix(near).mean().as_matrix()
    assert float(geodesic_deg(mean, chordal)) < 0.01
    assert mean_rotation(about_y(170.0)[None]) == pytest.approx(np.eye(3)), "an outlier alone"
    many = np.concatenate([np.tile(about_x(5.0), (9, 1, 1)), about_z(150.0)[None]])
    assert mean_rotation(many) == pytest.approx(about_x(5.0))


def test_alignment_takes_out_a_constant_turn_of_the_head_by_group() -> None:
    true = rotations(9)
    groups = ["a"] * 20 + ["b"] * 40
    off = np.stack([about_x(7.0)] * 20 + [about_y(-12.0) @ about_z(4.0)] * 40)
    found = true @ off
    assert geodesic_deg(found, true).mean() > 7.0
    assert geodesic_deg(aligned_rotations(found, true, groups), true) == pytest.approx(
        np.zeros(N), abs=1e-6
    )
    one_group = aligned_rotations(found, true, ["a"] * N)
    assert geodesic_deg(one_group, true).mean() > 5.0
    assert found is not one_group and geodesic_deg(found, true).mean() > 7.0, "not in place"


def test_intervals_are_scipys_where_every_sample_is_a_group() -> None:
    values = np.random.default_rng(2).gamma(2.0, 3.0, 80)
    got = mean_interval(values, [str(i) for i in range(80)], seed=0, draws=4000)
    wanted = bootstrap(
        (values,), np.mean, method="percentile", n_resamples=4000, rng=1
    ).confidence_interval
    assert got == pytest.approx((wanted.low, wanted.high), abs=0.12)
    assert got == mean_interval(values, [str(i) for i in range(80)], seed=0, draws=4000)


def test_frames_of_a_person_are_no_independent_samples() -> None:
    rng = np.random.default_rng(4)
    of_person = rng.normal(5.0, 2.0, 8)
    values = np.repeat(of_person, 50) + rng.normal(0, 0.1, 400)
    people = [str(i) for i in np.repeat(range(8), 50)]
    by_person = mean_interval(values, people, 0)
    by_frame = mean_interval(values, [str(i) for i in range(400)], 0)
    assert by_person[1] - by_person[0] > 4 * (by_frame[1] - by_frame[0])
    assert mean_interval(values[:150], people[:150], 0) is None and MIN_GROUPS > 3
