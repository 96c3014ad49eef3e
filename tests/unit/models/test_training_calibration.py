"""Calibration: claims that are too bold or too shy hold afterwards, in the network itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.geometry.rotations import matrix_from_rotation_vector
from models.training.calibration import (
    apply_calibration,
    calibrate_presence,
    calibrate_uncertainty,
    platt_factors,
    power_and_factors,
    sigma_factor,
)
from models.training.metrics import presence_metrics, uncertainty_metrics
from models.training.predictions import HeldOutPredictions
from models.trg.uncertainty import REFERENCE_SIGMA, UncertaintyHead
from tests.unit.models.small_trg import small_network


def made(n: int, seed: int, boldness: tuple[float, float, float]) -> HeldOutPredictions:
    """Normal errors of a shared, correlated covariance; claims are the truth / boldness."""
    rng = np.random.default_rng(seed)
    L = np.array([[0.05, 0, 0], [0.03, 0.04, 0], [-0.02, 0.01, 0.06]])
    R = matrix_from_rotation_vector(rng.normal(0, 0.5, (n, 3)))
    R_true = matrix_from_rotation_vector(rng.normal(0, 1, (n, 3)) @ L.T) @ R
    t = np.tile([0.0, 0.0, 0.5], (n, 1))
    sigma = np.array([0.002, 0.003, 0.02])
    is_face = rng.random(n) < 0.8
    true_logit = np.where(is_face, 2.0, -2.0) + rng.normal(0, 2.0, n)
    return HeldOutPredictions(
        is_face=is_face,
        R_true=R_true,
        R_predicted=R,
        t_true_m=t + rng.normal(0, 1, (n, 3)) * sigma,
        t_predicted_m=t,
        vertex_error_mm=np.zeros(n),
        crop_error_px=np.zeros(n),
        presence_logit=true_logit,
        rotation_cholesky=np.tile(L / np.array(boldness)[:, None], (n, 1, 1)),
        t_sigma_m=np.tile(sigma / np.array(boldness), (n, 1)),
    )


def test_normal_claims_hold_after_calibration_also_jointly() -> None:
    network = small_network()
    network.uncertainty_head.rotation_scale.fill_(2.0)
    boldness = (3.0, 0.5, 1.0)
    report = calibrate_uncertainty(network, made(20_000, 0, boldness))
    assert np.allclose(report.rotation_factor, boldness, rtol=0.03)
    assert np.allclose(report.t_factor, boldness, rtol=0.03)
    assert report.before.rotation_1[0] < 0.3 and report.before.rotation_1[1] > 0.9
    assert np.abs(report.after.rotation_1 - 0.6827).max() < 0.01
    assert np.abs(report.after.t_2 - 0.9545).max() < 0.005
    # in the network: what was there times the factor
    scale = network.uncertainty_head.rotation_scale.numpy()
    assert np.allclose(scale, 2.0 * report.rotation_factor, rtol=1e-5)
    assert np.allclose(network.uncertainty_head.t_scale.numpy(), report.t_factor, rtol=1e-5)
    fresh = made(20_000, 1, tuple(np.array(boldness) / report.rotation_factor))
    found = uncertainty_metrics(fresh)
    assert found["mahalanobis2_q68"] == pytest.approx(3.53, rel=0.04)
    assert found["mahalanobis2_q95"] == pytest.approx(8.02, rel=0.04)
    assert "before" in report.summary()


def test_too_sure_when_easy_and_too_modest_when_hard_gets_a_power_below_one() -> None:
    """Claims are the true sigmas, stretched on the log scale by 1 / 0.6 about the reference."""
    rng = np.random.default_rng(3)
    true = 0.04 * np.exp(rng.normal(0, 0.6, 30_000))[:, None] * [1.0, 0.8, 1.5]
    claimed_size = (true.prod(1) ** (1 / 3) / 0.04) ** (1 / 0.6)
    claimed = true / (true.prod(1) ** (1 / 3))[:, None] * (0.04 * claimed_size)[:, None]
    normalised = rng.normal(0, 1, true.shape) * true / claimed
    power, factors = power_and_factors(normalised, claimed_size)
    assert power == pytest.approx(0.6, abs=0.03)
    assert np.allclose(factors, 1.0, atol=0.03)
    hard = claimed_size > np.quantile(claimed_size, 0.9)
    after = np.abs(normalised[hard] / claimed_size[hard, None] ** (power - 1.0) / factors)
    assert (after < 1.0).mean() == pytest.approx(0.6827, abs=0.02)
    assert (np.abs(normalised[hard]) < 1.0).mean() > 0.85


def test_the_network_claims_what_calibration_found() -> None:
    """Twice in a row, so that a head with its own power and scales is calibrated as well."""
    head = UncertaintyHead(5)
    torch.nn.init.normal_(head.fc2.weight, std=0.2)
    inputs = torch.randn(500, 5)
    first_L, first_t = head(inputs)
    want_L, want_t = first_L.detach(), first_t.detach()
    for power, factors in ((0.7, np.array([1.2, 0.9, 1.0])), (1.2, np.array([0.8, 1.1, 1.5]))):
        apply_calibration(head, "rotation", power, factors)
        apply_calibration(head, "t", power, factors)
        f = torch.tensor(factors, dtype=torch.float32)
        size = want_L.diagonal(dim1=1, dim2=2).log().mean(1).exp() / REFERENCE_SIGMA
        want_L = want_L * f[:, None] * (size ** (power - 1.0))[:, None, None]
        want_t = want_t * f * (want_t.log().mean(1).exp() / REFERENCE_SIGMA)[:, None] ** (power - 1)
    got_L, got_t = head(inputs)
    assert torch.allclose(got_L, want_L, rtol=1e-4)
    assert torch.allclose(got_t, want_t, rtol=1e-4)


def test_heavy_tails_get_the_factor_between() -> None:
    heavy = np.random.default_rng(0).standard_t(3, 20_000)
    factor = sigma_factor(heavy)
    size = np.abs(heavy)
    assert np.quantile(size, 0.6827) < factor < np.quantile(size, 0.9545) / 2
    miss_1 = (size < factor).mean() - 0.6827
    miss_2 = 0.9545 - (size < 2 * factor).mean()
    assert miss_1 / 0.03 == pytest.approx(miss_2 / 0.02, abs=0.05), "shared fairly"


def test_the_three_axes_together_count_as_well() -> None:
    """Crops that are off about all axes at once: each axis alone looks better than the three."""
    rng = np.random.default_rng(1)
    factor = np.linalg.cholesky([[1.0, 0.6, 0.3], [0.6, 1.0, 0.5], [0.3, 0.5, 1.0]])
    off = np.sqrt(5.0 / rng.chisquare(5.0, (6000, 1)))
    errors = (rng.normal(0, 1, (6000, 3)) * off) @ factor.T
    size = np.exp(rng.normal(0, 0.5, 6000))
    missing = []
    for correlation in (None, np.tile(factor, (6000, 1, 1))):
        power, factors = power_and_factors(errors, size, correlation)
        scaled = errors / size[:, None] ** (power - 1.0) / factors
        squared = (np.linalg.solve(factor, scaled.T) ** 2).sum(0)
        missing.append(0.9545 - (squared < 8.02).mean())
    assert missing[0] > 0.025 and missing[1] < missing[0] - 0.003, missing


def test_too_few_faces_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        calibrate_uncertainty(small_network(), made(60, 0, (1.0, 1.0, 1.0)))


def test_presence_becomes_a_probability() -> None:
    network = small_network()
    predictions = made(20_000, 2, (1.0, 1.0, 1.0))
    scale, shift = calibrate_presence(network, predictions)
    p = 1 / (1 + np.exp(-(scale * predictions.presence_logit + shift)))
    is_face = predictions.is_face
    alike = np.where(is_face, 0.5 / is_face.sum(), 0.5 / (~is_face).sum())
    assert is_face.mean() > 0.6, "the classes are of different sizes"
    for low, high in ((0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.9, 1.0)):
        inside = (p > low) & (p < high)
        share = alike[inside & is_face].sum() / alike[inside].sum()
        assert abs(share - p[inside].mean()) < 0.05
    head = network.presence_head
    assert torch.allclose(head.logit_scale, torch.tensor([scale]).float())
    assert torch.allclose(head.logit_shift, torch.tensor([shift]).float())
    assert presence_metrics(predictions)["presence_accuracy"] > 0.8


def test_presence_told_apart_perfectly_stays_finite() -> None:
    logit = np.array([-9.0, -8.0, 7.0, 9.0] * 50)
    scale, shift = platt_factors(logit, logit > 0)
    assert 0 < scale < 50 and np.isfinite(shift)
    with pytest.raises(ValueError, match="absent"):
        platt_factors(logit, np.ones(200, bool))
