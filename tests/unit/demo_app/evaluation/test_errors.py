"""Errors and figures against SciPy and by known perturbations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from demo_app.evaluation.calibration import coverage_figures, presence_figures
from demo_app.evaluation.columns import Poses, poses_stacked
from demo_app.evaluation.errors import (
    binned_figures,
    bins_of,
    pose_errors,
    pose_figures,
    readable_ypr_deg,
    ypr_errors_deg,
)
from models.geometry.rotations import matrix_from_ypr_300wlp

N = 200


def random_poses(seed: int) -> Poses:
    rng = np.random.default_rng(seed)
    R = Rotation.random(N, random_state=seed).as_matrix()
    return Poses(
        R, rng.uniform(-300, 900, (N, 3)) + np.array([0, 0, 500]), rng.normal(0, 60, (N, 40, 3))
    )


def test_errors_are_scipys() -> None:
    a, b = random_poses(1), random_poses(2)
    errors = pose_errors(a, b)
    relative = (
        Rotation.from_matrix(a.R_cam_from_head) * Rotation.from_matrix(b.R_cam_from_head).inv()
    )
    assert np.allclose(errors.ge_deg, np.degrees(relative.magnitude()))
    assert np.allclose(errors.t_mm, a.t_cam_from_head_mm - b.t_cam_from_head_mm)
    for i in (0, 17):
        true_cam = b.vertices_head_mm[i] @ b.R_cam_from_head[i].T + b.t_cam_from_head_mm[i]
        moved = b.vertices_head_mm[i] @ a.R_cam_from_head[i].T + a.t_cam_from_head_mm[i]
        own = a.vertices_head_mm[i] @ a.R_cam_from_head[i].T + a.t_cam_from_head_mm[i]
        assert np.isclose(errors.add_mm[i], np.linalg.norm(moved - true_cam, axis=1).mean())
        assert np.isclose(
            errors.camera_vertices_mm[i], np.linalg.norm(own - true_cam, axis=1).mean()
        )
        apart = np.linalg.norm(a.vertices_head_mm[i] - b.vertices_head_mm[i], axis=1)
        assert np.isclose(errors.canonical_vertices_mm[i], apart.mean())


def test_angles_are_scipys_and_wrap() -> None:
    rng = np.random.default_rng(3)
    true = rng.uniform([-80, -80, -179], [80, 80, 179], (N, 3))
    wrong = rng.uniform(-4, 4, (N, 3))
    as_matrix = lambda ypr: Rotation.from_euler(  # noqa: E731
        "XYZ", ypr[:, [1, 0, 2]] * [-1, 1, 1], degrees=True
    ).as_matrix()
    assert np.allclose(ypr_errors_deg(as_matrix(true + wrong), as_matrix(true)), wrong, atol=1e-6)


def test_beyond_profile_the_nearer_triple_counts() -> None:
    """Yaw 100 is also written as yaw 80 of a head upside down; no angle is off by 180 for that."""
    true = matrix_from_ypr_300wlp(100.0, 10.0, -5.0)[None]
    assert np.allclose(readable_ypr_deg(true), [[100, 10, -5]])
    found = matrix_from_ypr_300wlp(86.0, 11.0, -7.0)[None]
    assert np.allclose(ypr_errors_deg(found, true), [[-14, 1, -2]])
    rows = bins_of(Poses(true, np.array([[0, 0, 500.0]])))
    assert [name for name, chosen in rows.items() if chosen[0]] == [
        "all",
        "yaw 60-100 deg",
        "pitch 0-20 deg",
        "roll 0-15 deg",
        "distance 0.4-0.8 m",
    ]


def test_every_head_is_in_one_bin_of_each_kind() -> None:
    rows = bins_of(random_poses(4))
    for kind in ("yaw", "pitch", "roll", "distance"):
        counts = sum(chosen.astype(int) for name, chosen in rows.items() if name.startswith(kind))
        assert (counts == 1).all(), kind


def test_figures_of_known_errors() -> None:
    true = random_poses(5)
    found = Poses(
        true.R_cam_from_head,
        true.t_cam_from_head_mm + np.array([3.0, -4.0, 12.0]),
        true.vertices_head_mm + np.array([0, 2.0, 0]),
    )
    figures = pose_figures(pose_errors(found, true))
    assert (figures.heads, figures.ge_mean_deg) == (N, pytest.approx(0, abs=1e-5))
    assert figures.t_mean_mm == pytest.approx(13)
    assert figures.t_mae_mm == pytest.approx(19 / 3)
    assert figures.add_mm == pytest.approx(13)
    assert figures.canonical_vertices_mm == pytest.approx(2)
    expected = np.mean(100 * 12.0 / true.t_cam_from_head_mm[:, 2])
    assert pose_figures(pose_errors(found, true)).depth_error_pct == pytest.approx(expected)


def test_what_nobody_knows_is_none() -> None:
    true = random_poses(6)
    figures = binned_figures(true, Poses(true.R_cam_from_head))["all"]
    assert figures.heads == N
    assert figures.t_mean_mm is figures.add_mm is figures.canonical_vertices_mm is None
    empty = pose_figures(pose_errors(poses_stacked([]), poses_stacked([])))
    assert (empty.heads, empty.ge_mean_deg) == (0, None)
    with pytest.raises(ValueError, match="3 predictions for 200"):
        pose_errors(Poses(true.R_cam_from_head[:3]), true)


@pytest.mark.parametrize(
    ("claimed", "one_sigma", "two_sigma"), [(1.0, 68.3, 95.4), (0.5, 38.3, 68.3)]
)
def test_coverage_of_errors_of_a_known_spread(
    claimed: float, one_sigma: float, two_sigma: float
) -> None:
    """claimed: the head's sigma relative to the true one."""
    rng, n = np.random.default_rng(7), 20_000
    spread = np.radians(np.array([[2.0, 0, 0], [0.7, 1.5, 0], [-0.5, 0.3, 3.0]]))
    errors_rad = rng.normal(0, 1, (n, 3)) @ spread.T
    R = Rotation.random(n, random_state=1)
    t = rng.uniform(100, 900, (n, 3))
    found = Poses(
        R.as_matrix(),
        t,
        covariance_rad2=np.tile(spread @ spread.T * claimed**2, (n, 1, 1)),
        sigma_t_mm=np.full((n, 3), 5.0 * claimed),
    )
    true = Poses((Rotation.from_rotvec(errors_rad) * R).as_matrix(), t + rng.normal(0, 5, (n, 3)))
    figures = coverage_figures(found, true)
    assert figures.rotation_1_sigma_pct == pytest.approx(one_sigma, abs=1)
    assert figures.rotation_2_sigma_pct == pytest.approx(two_sigma, abs=1)
    assert figures.t_1_sigma_pct == pytest.approx(one_sigma, abs=1)
    if claimed == 1.0:
        assert figures.mahalanobis_below_3_53_pct == pytest.approx(68.3, abs=1)
        assert figures.mahalanobis_below_8_02_pct == pytest.approx(95.4, abs=1)
        assert figures.expected_ge_mean_deg == pytest.approx(figures.ge_mean_deg, rel=0.05)


def test_presence_counts() -> None:
    figures = presence_figures(np.array([0.9, 0.4, 0.8, 0.7]), np.array([0.1, 0.5]))
    assert (figures.faces, figures.false_rejects_pct) == (4, 25.0)
    assert (figures.negatives, figures.false_accepts_pct) == (2, 50.0)
    assert presence_figures(None, None) is None
    assert coverage_figures(random_poses(1), random_poses(1)) is None
