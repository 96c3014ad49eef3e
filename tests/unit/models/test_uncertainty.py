"""The heads for presence and uncertainty: shapes, frames, what their gradients reach, old files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.geometry.cameras import Camera
from models.geometry.rotations import MIRROR_X, matrix_from_rotation_vector
from models.training.initialisation import load_matching_weights, reset_calibration
from models.training.predictions import network_inputs
from models.trg.bundle import read_bundle, write_bundle
from models.trg.config import TrgConfig
from models.trg.network import Trg, TrgIterate
from models.trg.pose_model import PoseModel
from models.trg.preprocess import mirrored_camera, mirrored_ray_box
from models.trg.uncertainty import (
    UncertaintyHead,
    expected_geodesic_deg,
    rotation_error_rad,
    whitened,
)
from models.weights import MODELS, load_pose_model
from tests.unit.models.small_trg import random_batch, small_basis, small_network

BUNDLE = Path(__file__).resolve().parents[3] / "assets" / "trg_mini.safetensors"


def run(network: Trg, seed: int = 0) -> list[TrgIterate]:
    return network(*network_inputs(random_batch(seed), network.config, torch.device("cpu")))


def random_covariances(n: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    L = np.tril(rng.normal(0, 1, (n, 3, 3))) * 10.0 ** rng.uniform(-2.5, -0.5, (n, 3, 1))
    return L @ np.swapaxes(L, 1, 2)


def test_expected_error_agrees_with_monte_carlo() -> None:
    covariances = random_covariances(12)
    rng = np.random.default_rng(2)
    z = rng.normal(0, 1, (400_000, 3))
    for covariance in covariances:
        lengths = np.linalg.norm(z @ np.linalg.cholesky(covariance).T, axis=1)
        expected = expected_geodesic_deg(covariance)
        assert expected == pytest.approx(np.degrees(lengths.mean()), rel=0.012)
    assert expected_geodesic_deg(covariances).shape == (12,)
    assert expected_geodesic_deg(np.eye(3) * 0.01) == pytest.approx(
        np.degrees(0.1 * 2 * np.sqrt(2 / np.pi)), rel=1e-12
    )
    assert expected_geodesic_deg(np.zeros((3, 3))) == 0.0


def test_rotation_error_is_the_logarithm_in_the_camera_frame() -> None:
    rng = np.random.default_rng(3)
    errors = rng.normal(0, 0.6, (50, 3))
    errors[0], errors[1] = 0.0, 1e-5
    R = matrix_from_rotation_vector(rng.normal(0, 1.0, (50, 3)))
    true = matrix_from_rotation_vector(errors) @ R
    found = rotation_error_rad(torch.from_numpy(true), torch.from_numpy(R))
    assert np.abs(found.numpy() - errors).max() < 1e-9
    turn = torch.from_numpy(matrix_from_rotation_vector(np.array([0.3, -0.2, 1.0])))
    turned = rotation_error_rad(torch.from_numpy(true) @ turn, torch.from_numpy(R) @ turn)
    assert torch.allclose(turned, found), "the head frame does not matter"


def test_whitened_errors_give_the_mahalanobis_distance() -> None:
    covariance = random_covariances(5)
    error = np.random.default_rng(4).normal(0, 0.1, (5, 3))
    white = whitened(
        torch.from_numpy(np.linalg.cholesky(covariance)), torch.from_numpy(error)
    ).numpy()
    direct = np.einsum("ni,nij,nj->n", error, np.linalg.inv(covariance), error)
    assert np.allclose((white**2).sum(1), direct)


def test_heads_speak_on_the_last_iterate_only() -> None:
    iterates = run(small_network().eval())
    for iterate in iterates[:-1]:
        assert iterate.presence_logit is None and iterate.rotation_cholesky is None
    last = iterates[-1]
    assert last.presence_logit.shape == (4,) and last.t_sigma_m.shape == (4, 3)
    L = last.rotation_cholesky
    assert torch.equal(L, L.tril()) and (L.diagonal(dim1=1, dim2=2) > 0).all()
    assert (last.t_sigma_m > 0).all()
    plain = run(small_network(presence_head=False, uncertainty_head=False).eval())[-1]
    assert plain.presence_logit is None and plain.t_sigma_m is None


def test_uncertainty_learns_without_touching_the_pose() -> None:
    network = small_network()
    last = run(network)[-1]
    (last.rotation_cholesky.sum() + last.t_sigma_m.sum()).backward()
    reached = {name for name, p in network.named_parameters() if p.grad is not None}
    assert reached == {n for n, _ in network.named_parameters() if n.startswith("uncertainty")}
    run(network)[-1].presence_logit.sum().backward()
    assert network.feature_extractor.stem.weight.grad is not None
    assert all(p.grad is None for p in network.regressor.parameters()), "presence moves no pose"


def test_calibration_scales_rows_of_the_factor() -> None:
    torch.manual_seed(0)
    head, inputs = UncertaintyHead(7), torch.randn(3, 7)
    L, sigma = head(inputs)
    head.rotation_scale.copy_(torch.tensor([1.0, 2.0, 3.0]))
    head.t_scale.fill_(0.5)
    L_scaled, sigma_scaled = head(inputs)
    spread = (L @ L.transpose(1, 2)).diagonal(dim1=1, dim2=2).sqrt()
    spread_scaled = (L_scaled @ L_scaled.transpose(1, 2)).diagonal(dim1=1, dim2=2).sqrt()
    assert torch.allclose(spread_scaled / spread, torch.tensor([1.0, 2.0, 3.0]))
    assert torch.allclose(sigma_scaled, sigma / 2)


def test_a_training_starts_without_calibration() -> None:
    network = small_network()
    calibrated = [name for name, _ in network.named_buffers() if "_head." in name]
    assert len(calibrated) == 6
    for name in calibrated:
        network.get_buffer(name).fill_(0.3)
    reset_calibration(network)
    fresh = dict(small_network().named_buffers())
    assert all(network.get_buffer(name).equal(fresh[name]) for name in calibrated)


def test_a_bundle_keeps_the_heads_and_their_calibration(tmp_path: Path) -> None:
    network = small_network().eval()
    network.uncertainty_head.rotation_scale.fill_(1.5)
    network.presence_head.logit_shift.fill_(-0.75)
    write_bundle(tmp_path / "a.safetensors", network, small_basis().bundle_arrays(), {})
    again, _ = read_bundle(tmp_path / "a.safetensors")
    before, after = run(network)[-1], run(again)[-1]
    assert torch.allclose(after.rotation_cholesky, before.rotation_cholesky, rtol=0.02, atol=1e-4)
    assert torch.allclose(after.presence_logit, before.presence_logit, atol=0.01)


def test_configurations_from_before_the_heads_are_read() -> None:
    old = json.loads(TrgConfig.mini().to_json())
    del old["presence_head"], old["uncertainty_head"]
    assert TrgConfig.from_json(json.dumps(old)) == TrgConfig.mini()
    with pytest.raises(ValueError, match="presense_head"):
        TrgConfig.from_json(json.dumps(old | {"presense_head": True}))
    del old["hidden"]
    with pytest.raises(ValueError, match="hidden"):
        TrgConfig.from_json(json.dumps(old))


def _model(*, heads: bool) -> PoseModel:
    """The shipped network with or without its heads."""
    shipped = load_pose_model("trg-mini", device="cpu")
    old, arrays = read_bundle(BUNDLE)
    torch.manual_seed(0)
    config = replace(old.config, presence_head=heads, uncertainty_head=heads)
    network = Trg(config, arrays.sample_index)
    load_matching_weights(network, old.state_dict())
    entry = MODELS["trg-mini"]
    return PoseModel("a", "a", network, shipped.mesh, entry.T_head_from_model, torch.device("cpu"))


@pytest.fixture(scope="module")
def model_with_heads() -> PoseModel:
    return _model(heads=True)


def test_pose_model_hands_the_heads_on_and_mirrors_the_covariance(
    model_with_heads: PoseModel,
) -> None:
    picture = np.random.default_rng(5).integers(0, 256, (120, 160, 3), np.uint8)
    camera = Camera(np.array([[150.0, 0, 80], [0, 150, 60], [0, 0, 1]]), (160, 120))
    box = np.array([0.05, 0.02, 0.6])
    both = model_with_heads.predict(
        picture, camera, np.stack([box, box]), mirror=np.array([False, True])
    )
    flipped = np.ascontiguousarray(picture[:, ::-1])
    there = model_with_heads.predict(flipped, mirrored_camera(camera), mirrored_ray_box(box)[None])
    covariance = both.rotation_covariance_cam[1]
    assert np.allclose(
        covariance, MIRROR_X @ there.rotation_covariance_cam[0] @ MIRROR_X, rtol=1e-3
    )
    off_diagonal = np.abs(covariance[0, 1:]) / np.sqrt(covariance[0, 0])
    assert off_diagonal.max() > 1e-3, "or the test could not tell a mirrored one"
    assert np.allclose(both.t_sigma_m[1], there.t_sigma_m[0], rtol=1e-3)
    assert both.presence.shape == (2,) and ((both.presence > 0) & (both.presence < 1)).all()
    nothing = model_with_heads.predict(picture, camera, np.zeros((0, 3)))
    assert nothing.presence.shape == (0,) and nothing.rotation_covariance_cam.shape == (0, 3, 3)


def test_a_model_without_heads_says_nothing() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    camera = Camera(np.array([[64.0, 0, 32], [0, 64, 32], [0, 0, 1]]), (64, 64))
    found = _model(heads=False).predict(picture, camera, np.array([[0.0, 0.0, 0.5]]))
    assert found.presence is None and found.rotation_covariance_cam is None
    assert found.t_sigma_m is None
