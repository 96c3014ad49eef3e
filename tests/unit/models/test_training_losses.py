"""Losses, metrics, predictions: perfect answers cost nothing, negatives count for nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.geometry.rotations import matrix_from_rotation_vector
from models.training.config import LossWeights
from models.training.losses import (
    LossParts,
    PoseTargets,
    build_targets,
    error_nll,
    mirror_loss,
    pose_counts,
    pose_loss,
)
from models.training.metrics import all_metrics, normalised_errors, pose_metrics
from models.training.predictions import HeldOutPredictions, network_inputs, predict_batches
from models.trg.batch import PoseBatch
from models.trg.network import TrgIterate
from tests.unit.models.small_trg import CROP_PX, random_batch, small_config, small_network

CPU = torch.device("cpu")


def perfect_iterate(targets: PoseTargets) -> TrgIterate:
    b = len(targets.is_face)
    R, t, vertices = targets.R_cam_from_model, targets.t_cam_from_model_m, targets.vertices_model_m
    return TrgIterate(
        vertices,
        torch.cat([torch.zeros(b, 6), targets.correction], 1),
        R,
        t,
        vertices @ R.transpose(1, 2) + t[:, None],
        targets.vertices_crop,
        None,
    )


def test_each_part_has_its_weight() -> None:
    batch = random_batch(0)
    targets, counts = build_targets(batch, small_config()), pose_counts(batch)
    perfect = perfect_iterate(targets)
    weights = LossWeights()
    assert pose_loss([perfect] * 3, targets, weights, counts).total == 0.0
    wrong = {
        "crop": (perfect._replace(vertices_crop=perfect.vertices_crop + 0.1), 12 * 0.1),
        "crop, clamped": (perfect._replace(vertices_crop=perfect.vertices_crop + 9), 12 * 2.0),
        "vertices": (perfect._replace(vertices_head_m=perfect.vertices_head_m - 0.01), 2.0),
        "rotation": (perfect._replace(R_cam_from_head=perfect.R_cam_from_head + 0.2), 1.2),
        "scale": (perfect._replace(pose9=perfect.pose9 + torch.eye(9)[6] * 0.1), 0.5),
        "shift": (perfect._replace(pose9=perfect.pose9 - torch.eye(9)[8] * 0.1), 0.4),
    }
    for name, (iterate, cost) in wrong.items():
        total = pose_loss([perfect, perfect, iterate], targets, weights, counts).total
        assert total.item() == pytest.approx(cost, rel=1e-4), name
        first = pose_loss([iterate, perfect, perfect], targets, weights, counts).total
        assert first.item() == pytest.approx(0.4 * cost, rel=1e-4), name


def mirrored_rows(iterate: TrgIterate, ids: torch.Tensor) -> TrgIterate:
    """What a network without a side of its own answers to the mirror images."""
    flip = torch.tensor([-1.0, 1.0, 1.0])
    pose9 = iterate.pose9.clone()
    pose9[:, 7] *= -1.0
    return iterate._replace(
        R_cam_from_head=iterate.R_cam_from_head * flip[:, None] * flip,
        vertices_head_m=iterate.vertices_head_m[:, ids] * flip,
        pose9=pose9,
    )


def test_answers_to_mirror_images_are_to_be_mirror_images() -> None:
    """Whatever the answers are; what they are apart costs what it costs apart from a label."""
    batch = random_batch(0, b=2)
    targets, weights = build_targets(batch, small_config()), LossWeights()
    ids = torch.arange(batch.vertices_model_m.shape[1]).flip(0)
    one = perfect_iterate(targets)
    other = mirrored_rows(one, ids)
    share = torch.tensor([0.2, 0.2, 0.3, 0.3])

    def paired(answer: TrgIterate, image: TrgIterate) -> TrgIterate:
        return TrgIterate(
            *(
                None if a is None else torch.stack([a, b], 1).flatten(0, 1)
                for a, b in zip(answer, image, strict=True)
            )
        )

    def cost(image: TrgIterate) -> float:
        pairs = [paired(one, other), paired(one, other), paired(one, image)]
        return mirror_loss(pairs, share, weights, ids).item()

    assert cost(other) == pytest.approx(0.0, abs=1e-5)
    assert cost(one) > 0.5, "the same answer to both is no mirror image"
    wrong = {
        "rotation": (other._replace(R_cam_from_head=other.R_cam_from_head + 0.2), 1.2),
        "vertices": (other._replace(vertices_head_m=other.vertices_head_m - 0.01), 2.0),
        "scale": (other._replace(pose9=other.pose9 + torch.eye(9)[6] * 0.1), 0.5),
        "shift": (other._replace(pose9=other.pose9 - torch.eye(9)[7] * 0.1), 0.4),
    }
    for name, (image, expected) in wrong.items():
        assert cost(image) == pytest.approx(expected, rel=1e-4), name


def test_the_mirror_counts_as_much_as_it_is_told_to() -> None:
    network, batch = small_network().eval(), random_batch(0)
    iterates = network(*network_inputs(batch, network.config, CPU))
    targets, counts = build_targets(batch, network.config), pose_counts(batch)
    ids = torch.arange(batch.vertices_model_m.shape[1])
    without, once, twice = (
        pose_loss(iterates, targets, LossWeights(mirror=weight), counts, None, ids)
        for weight in (0.0, 1.0, 2.0)
    )
    assert without.mirror == 0.0 and once.mirror > 0.0 and once.mirror == twice.mirror
    assert (once.total - without.total).item() == pytest.approx(once.mirror.item(), rel=1e-4)
    assert (twice.total - once.total).item() == pytest.approx(once.mirror.item(), rel=1e-4)


def loss_of(iterates: list[TrgIterate], batch: PoseBatch) -> LossParts:
    targets = build_targets(batch, small_config())
    return pose_loss(iterates, targets, LossWeights(), pose_counts(batch))


def rows_of(iterates: list[TrgIterate], rows: slice | list[int]) -> list[TrgIterate]:
    return [TrgIterate(*(None if v is None else v[rows] for v in i)) for i in iterates]


def test_labels_of_negatives_do_not_matter() -> None:
    network, batch = small_network().eval(), random_batch(0)
    iterates = network(*network_inputs(batch, network.config, CPU))
    loss = loss_of(iterates, batch)
    assert all(torch.isfinite(part) for part in loss), "zeros as labels are harmless"
    other = random_batch(1)
    mixed = replace(batch, R_cam_from_model=batch.R_cam_from_model.clone())
    mixed.R_cam_from_model[-1] = other.R_cam_from_model[0]
    same = loss_of(iterates, mixed)
    assert torch.equal(torch.stack(loss), torch.stack(same))
    all_faces = replace(mixed, is_face=torch.ones(4, dtype=torch.bool))
    all_faces.t_cam_from_model_m[-1, 2] = 0.5
    counted = loss_of(iterates, all_faces)
    assert counted.rotation != loss.rotation and counted.presence != loss.presence
    nobody = replace(batch, is_face=torch.zeros(4, dtype=torch.bool))
    empty = loss_of(iterates, nobody)
    assert empty.rotation == 0 and empty.uncertainty == 0 and empty.presence > 0


def test_partial_labels_cost_what_they_tell() -> None:
    """Each mean is over the faces that have the label; the others' numbers do not matter."""
    network, batch = small_network().eval(), random_batch(0, b=6)
    iterates = network(*network_inputs(batch, network.config, CPU))
    ids = torch.arange(68) % batch.vertices_model_m.shape[1]
    faces = torch.tensor([True] * 5 + [False])
    partial = replace(
        batch,
        has_3d=torch.tensor([True, True, False, False, False, False]),
        has_rotation=torch.tensor([True, True, True, False, False, True]),
        has_translation=torch.tensor([True, True, False, True, False, True]),
        landmarks_68_crop=torch.rand(6, 68, 3).round(decimals=1).ceil(),
    )
    assert torch.equal(batch.is_face, faces)
    targets, counts = build_targets(partial, network.config), pose_counts(partial)
    assert counts.tolist() == [6.0, 2.0, 3.0, 3.0, 2.0, 3.0]
    found = pose_loss(iterates, targets, LossWeights(), counts, ids)
    first_two, first_three, moved = (
        loss_of(rows_of(iterates, rows), batch.apply(lambda value, rows=rows: value[rows]))
        for rows in ([0, 1], [0, 1, 2], [0, 1, 3])
    )
    assert found.vertices.item() == pytest.approx(first_two.vertices.item(), rel=1e-5)
    assert found.crop.item() == pytest.approx(first_two.crop.item(), rel=1e-5)
    assert found.rotation.item() == pytest.approx(first_three.rotation.item(), rel=1e-5)
    assert found.uncertainty.item() == pytest.approx(first_two.uncertainty.item(), rel=1e-5)
    assert found.scale.item() == pytest.approx(moved.scale.item(), rel=1e-5)
    points = iterates[-1].vertices_crop[2:5][:, ids].detach().numpy()
    labels = partial.landmarks_68_crop[2:5].numpy()
    distance = np.abs(points - labels[..., :2]).clip(max=2.0).mean(2) * labels[..., 2]
    assert found.landmarks.item() == pytest.approx((distance.sum(1) / labels[..., 2].sum(1)).mean())
    parts = [
        pose_loss(
            rows_of(iterates, rows),
            build_targets(partial[rows], network.config),
            LossWeights(),
            counts,
            ids,
        ).total
        for rows in (slice(0, 2), slice(2, 6))
    ]
    assert sum(parts).item() == pytest.approx(found.total.item(), rel=1e-5)


def test_likelihood_is_best_at_the_true_covariance() -> None:
    """Errors drawn from a known covariance: its own factor beats scaled and diagonal ones."""
    rng = np.random.default_rng(0)
    n = 20_000
    L = np.array([[0.10, 0, 0], [0.06, 0.05, 0], [-0.02, 0.03, 0.08]])
    sigma_t = np.array([0.01, 0.02, 0.05])
    t = np.tile([0.02, -0.01, 0.6], (n, 1))
    R = matrix_from_rotation_vector(rng.normal(0, 0.5, (n, 3)))
    R_true = matrix_from_rotation_vector(rng.normal(0, 1, (n, 3)) @ L.T) @ R
    t_true = t + rng.normal(0, 1, (n, 3)) * sigma_t

    def nll(factor: np.ndarray, sigma: np.ndarray) -> float:
        zero = torch.zeros(n, 1, 3)
        labels = PoseTargets(
            torch.ones(n, dtype=torch.bool),
            torch.from_numpy(R_true),
            torch.from_numpy(t_true),
            zero,
            torch.zeros(n, 3),
            torch.zeros(n, 1, 2),
            *[torch.ones(n, dtype=torch.bool)] * 3,
            None,
        )
        iterate = TrgIterate(
            zero,
            torch.zeros(n, 9),
            torch.from_numpy(R),
            torch.from_numpy(t),
            zero,
            torch.zeros(n, 1, 2),
            None,
            None,
            torch.from_numpy(np.tile(factor, (n, 1, 1))),
            torch.from_numpy(np.tile(sigma, (n, 1))),
        )
        return float(error_nll(iterate, labels).mean())

    best = nll(L, sigma_t)
    relative = sigma_t / 0.6
    entropy = 3 * np.log(2 * np.pi * np.e) + np.log(np.diag(L)).sum() + np.log(relative).sum()
    assert best == pytest.approx(entropy, abs=0.05), "the density integrates to one"
    marginal = np.diag(np.sqrt((L**2).sum(1)))
    for factor, sigma in (
        (1.2 * L, sigma_t),
        (0.85 * L, sigma_t),
        (marginal, sigma_t),
        (L.T[::-1, ::-1], sigma_t),
        (L, 1.2 * sigma_t),
        (L, sigma_t[::-1].copy()),
    ):
        assert nll(np.ascontiguousarray(np.tril(factor)), sigma) > best + 0.02
    assert best + 100 < nll(1e-3 * L, 1e-3 * sigma_t) < 500, "lost crops count by their logarithm"


def made_predictions(error_deg: float = 2.0, n: int = 400) -> HeldOutPredictions:
    """Rotation errors about the camera's x axis; depth 1 % short; half of the crops empty."""
    rng = np.random.default_rng(3)
    R = matrix_from_rotation_vector(rng.normal(0, 0.5, (n, 3)))
    t = rng.uniform([-0.1, -0.1, 0.4], [0.1, 0.1, 1.0], (n, 3))
    turn = matrix_from_rotation_vector(np.array([np.radians(error_deg), 0.0, 0.0]))
    faces = np.arange(n) % 2 == 0
    R_true = np.where(faces[:, None, None], turn @ R, np.eye(3))
    return HeldOutPredictions(
        is_face=faces,
        R_true=R_true,
        R_predicted=R,
        t_true_m=np.where(faces[:, None], t, [0.0, 0.0, 1.0]),
        t_predicted_m=t * [1.0, 1.0, 0.99],
        vertex_error_mm=np.where(faces, 1.5, 99.0),
        crop_error_px=np.where(faces, 2.5, 99.0),
        presence_logit=np.where(faces, 3.0, -3.0) * np.where(np.arange(n) < 40, -1.0, 1.0),
        rotation_cholesky=np.tile(np.eye(3) * np.radians(error_deg) / 1.5, (n, 1, 1)),
        t_sigma_m=np.tile([0.01, 0.01, 0.1], (n, 1)),
    )


def test_metrics_measure_what_they_say() -> None:
    found = all_metrics(made_predictions())
    assert found["geodesic_mean_deg"] == pytest.approx(2.0, abs=1e-6)
    assert found["rotation_x_mae_deg"] == pytest.approx(2.0, abs=1e-6)
    assert found["rotation_y_mae_deg"] == pytest.approx(0.0, abs=1e-6)
    assert found["depth_relative_percent"] == pytest.approx(1.0)
    assert 4.0 < found["t_mean_mm"] < 10.0
    assert found["vertices_mean_mm"] == 1.5 and found["crop_mean_px"] == 2.5
    assert found["presence_accuracy"] == pytest.approx(0.9)
    assert found["presence_false_accept"] == pytest.approx(0.1)
    assert found["presence_false_reject"] == pytest.approx(0.1)
    assert found["rotation_x_within_1_sigma"] == 0.0 and found["rotation_x_within_2_sigma"] == 1.0
    assert found["mahalanobis2_q68"] == pytest.approx(1.5**2)
    with pytest.raises(ValueError, match="uncertainty"):
        normalised_errors(replace(made_predictions(), rotation_cholesky=None))
    with pytest.raises(ValueError, match="no face"):
        pose_metrics(replace(made_predictions(), is_face=np.zeros(400, bool)))


def test_predictions_are_those_of_the_network_batch_by_batch() -> None:
    network = small_network().train()
    batches = [random_batch(0), random_batch(1, b=7)]
    found = predict_batches(network, batches)
    assert network.training, "left as it was"
    assert len(found) == 11 and found.is_face.sum() == 9
    network.eval()
    batch: PoseBatch = batches[1]
    last = network(*network_inputs(batch, network.config, CPU))[-1]
    assert np.allclose(found.R_predicted[4:], last.R_cam_from_head.detach().numpy(), atol=1e-5)
    difference = last.vertices_head_m.detach() - batch.vertices_model_m
    mm = difference.norm(dim=-1).mean(1).numpy() * 1000
    assert np.allclose(found.vertex_error_mm[4:10], mm[:6], rtol=1e-4)
    cam = batch.vertices_model_m @ batch.R_cam_from_model.transpose(1, 2)
    cam = cam + batch.t_cam_from_model_m[:, None]
    rays = cam[..., :2] / cam[..., 2:]
    uv = (rays - batch.ray_boxes[:, None, :2]) / (batch.ray_boxes[:, None, 2:] / 2)
    px = (last.vertices_crop.detach() - uv).norm(dim=-1).mean(1).numpy() * CROP_PX / 2
    assert np.allclose(found.crop_error_px[4:10], px[:6], rtol=1e-4)
    with pytest.raises(ValueError, match="no batches"):
        predict_batches(network, [])


def test_a_mesh_that_is_not_known_is_not_judged() -> None:
    network = small_network().eval()
    whole = random_batch(0, b=5)
    partial = replace(whole, has_3d=torch.tensor([True, False, True, False, False]))
    bare = replace(whole, has_3d=torch.zeros(5, dtype=torch.bool))
    found, wanted = (predict_batches(network, [batch]) for batch in (partial, whole))
    numbers = all_metrics(found)
    assert numbers["vertices_mean_mm"] == pytest.approx(wanted.vertex_error_mm[[0, 2]].mean())
    assert numbers["geodesic_mean_deg"] == all_metrics(wanted)["geodesic_mean_deg"]
    assert "vertices_mean_mm" not in all_metrics(predict_batches(network, [bare]))
