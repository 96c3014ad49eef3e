"""Calibration: claims that are too bold or too shy hold afterwards, in the network itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.geometry.rotations import matrix_from_rotation_vector
from models.training.calibration import (
    calibrate_presence,
    calibrate_uncertainty,
    platt_factors,
    sigma_factor,
)
from models.training.metrics import presence_metrics, uncertainty_metrics
from models.training.predictions import HeldOutPredictions
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


def test_heavy_tails_get_the_factor_between() -> None:
    heavy = np.random.default_rng(0).standard_t(3, 20_000)
    factor = sigma_factor(heavy)
    size = np.abs(heavy)
    assert np.quantile(size, 0.6827) < factor < np.quantile(size, 0.9545) / 2
    miss_1 = (size < factor).mean() - 0.6827
    miss_2 = 0.9545 - (size < 2 * factor).mean()
    assert miss_1 / 0.03 == pytest.approx(miss_2 / 0.02, abs=0.05), "shared fairly"


def test_too_few_faces_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        calibrate_uncertainty(small_network(), made(60, 0, (1.0, 1.0, 1.0)))


def test_presence_becomes_a_probability() -> None:
    network = small_network()
    predictions = made(20_000, 2, (1.0, 1.0, 1.0))
    scale, shift = calibrate_presence(network, predictions)
    p = 1 / (1 + np.exp(-(scale * predictions.presence_logit + shift)))
    for low, high in ((0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.9, 1.0)):
        inside = (p > low) & (p < high)
        assert abs(predictions.is_face[inside].mean() - p[inside].mean()) < 0.05
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
