"""TRG's loss against an independent computation in NumPy, on partly labelled batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.geometry.rotations import matrix_from_rotation_vector
from models.training.config import TrgLossWeights
from models.training.losses_trg import TrgObjective
from models.training.objective import Objective
from models.trg.batch import PoseBatch
from models.trg.network import TrgIterate

Array = np.ndarray

B, V = 5, 40
SIZE_PX = 192.0
IDS_68 = np.arange(68) * 7 % V
TRIANGLES = np.random.default_rng(9).permuted(np.tile(np.arange(V), (60, 1)), axis=1)[:, :3]
HAS_3D = np.array([True, False, True, False, True])
HAS_ROTATION = np.array([True, True, True, False, True])


def poses(rng: np.random.Generator) -> tuple[Array, Array]:
    R = matrix_from_rotation_vector(rng.normal(0, 0.4, (B, 3)))
    return R, rng.uniform([-0.1, -0.1, 0.4], [0.1, 0.1, 0.8], (B, 3))


def made_batch() -> PoseBatch:
    rng = np.random.default_rng(0)
    R, t = poses(rng)
    K = np.zeros((B, 3, 3))
    K[:, 0, 0], K[:, 1, 1], K[:, 2, 2] = rng.uniform(500, 700, B), rng.uniform(500, 700, B), 1.0
    K[:, :2, 2] = rng.uniform(300, 500, (B, 2))
    landmarks = np.dstack([rng.uniform(-1, 1, (B, 68, 2)), rng.random((B, 68)) < 0.8])
    boxes = np.column_stack([rng.uniform(-0.1, 0.1, (B, 2)), rng.uniform(0.3, 0.5, B)])
    as_tensor = {
        "ray_boxes": boxes,
        "R_cam_from_model": R,
        "t_cam_from_model_m": t,
        "vertices_model_m": rng.normal(0, 0.05, (B, V, 3)),
        "landmarks_68_crop": landmarks,
        "K_image_from_cam": K,
    }
    return PoseBatch(
        crops_rgb=torch.zeros(B, 8, 8, 3, dtype=torch.uint8),
        is_face=torch.ones(B, dtype=torch.bool),
        has_3d=torch.from_numpy(HAS_3D),
        has_rotation=torch.from_numpy(HAS_ROTATION),
        **{name: torch.from_numpy(array).double() for name, array in as_tensor.items()},
    )


def made_iterates(batch: PoseBatch) -> list[TrgIterate]:
    """Single precision, like the network's."""
    iterates = []
    for k in range(3):
        rng = np.random.default_rng(k + 1)
        R, t = (torch.from_numpy(x).float() for x in poses(rng))
        vertices = torch.from_numpy(rng.normal(0, 0.05, (B, V, 3))).float()
        cam = vertices @ R.transpose(1, 2) + t[:, None]
        boxes = batch.ray_boxes.float()
        crop = (cam[..., :2] / cam[..., 2:] - boxes[:, None, :2]) / (boxes[:, None, 2:] / 2)
        heat = torch.from_numpy(rng.uniform(-1, 1, (B, 68, 2))).float() if k == 2 else None
        iterates.append(TrgIterate(vertices, torch.zeros(B, 9), R, t, cam, crop, heat))
    return iterates


def expected(iterates: list[TrgIterate], batch: PoseBatch) -> dict[str, float]:
    """Row-vector algebra in the pixels of the whole picture, crop by crop, as it is described."""
    R, t, V_gt, boxes, landmarks, K = (
        getattr(batch, name).numpy()
        for name in (
            *("R_cam_from_model", "t_cam_from_model_m", "vertices_model_m", "ray_boxes"),
            *("landmarks_68_crop", "K_image_from_cam"),
        )
    )
    n_3d, n_rotation = HAS_3D.sum(), HAS_ROTATION.sum()
    total, parts = 0.0, {}
    for k, iterate in enumerate(iterates):
        parts = dict.fromkeys(("vertices", "vertices_cam", "image", "points_5", "rotation"), 0.0)
        for b in range(B):
            pred_V, pred_R, pred_t = (
                x[b].numpy().astype(np.float64)
                for x in (
                    iterate.vertices_head_m,
                    iterate.R_cam_from_head,
                    iterate.t_cam_from_head_m,
                )
            )
            R_t = np.vstack([np.column_stack([R[b].T, [0, 0, 0]]), [*t[b], 1.0]])
            pred_R_t = np.vstack([np.column_stack([pred_R.T, [0, 0, 0]]), [*pred_t, 1.0]])
            K_row = np.vstack([K[b].T, [0, 0, 0]])
            ones = np.ones((V, 1))
            cam, pred_cam = np.hstack([V_gt[b], ones]) @ R_t, np.hstack([pred_V, ones]) @ pred_R_t
            uvw, pred_uvw = cam @ K_row, pred_cam @ K_row
            uv, pred_uv = uvw[:, :2] / uvw[:, 2:], pred_uvw[:, :2] / pred_uvw[:, 2:]
            if HAS_3D[b]:
                parts["vertices"] += np.abs(pred_V - V_gt[b]).sum() / (n_3d * V * 3)
                parts["vertices_cam"] += np.abs(pred_cam - cam)[:, :3].sum() / (n_3d * V * 3)
                parts["image"] += np.abs(pred_uv - uv).sum() / (B * V * 2)
            if HAS_ROTATION[b]:
                parts["rotation"] += ((pred_R - R[b]) ** 2).sum() / (n_rotation * 9)
            # the box in pixels of the picture, per axis: fx and fy differ here
            f = np.array([K[b, 0, 0], K[b, 1, 1]])
            corner = (boxes[b, :2] - boxes[b, 2] / 2) * f + K[b, :2, 2]
            five = (pred_uv[IDS_68] - corner) * SIZE_PX / (boxes[b, 2] * f) / SIZE_PX * 2 - 1
            for landmark in (39, 42, 33, 48, 54):
                label = landmarks[b, landmark]
                parts["points_5"] += np.abs(five[landmark] - label[:2]).sum() * label[2] / (B * 10)
        weights = (20.0, 2.0, 0.01, 0.1, 10.0)
        total += 0.5 ** (2 - k) * sum(w * x for w, x in zip(weights, parts.values(), strict=True))
    parts["edges"] = 0.0
    last = iterates[-1].vertices_head_m.numpy().astype(np.float64)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        lengths = [
            np.linalg.norm(v[HAS_3D][:, TRIANGLES[:, a]] - v[HAS_3D][:, TRIANGLES[:, b]], axis=-1)
            for v in (last, V_gt)
        ]
        parts["edges"] += np.abs(lengths[0] - lengths[1]).mean()
    heat = np.abs(iterates[-1].landmarks_68.numpy() - landmarks[..., :2]) * landmarks[..., 2:]
    parts["landmarks_68"] = heat.sum() / (B * 68 * 2)
    return {"total": total + 2.0 * parts["edges"] + 1.25 * parts["landmarks_68"], **parts}


@pytest.fixture(scope="module")
def objective() -> TrgObjective:
    return TrgObjective(TrgLossWeights(), TRIANGLES, IDS_68)


def test_it_is_the_released_loss(objective: TrgObjective) -> None:
    assert isinstance(objective, Objective)
    batch = made_batch()
    iterates = made_iterates(batch)
    counts = objective.counts(batch)
    assert counts.tolist() == [5.0, 3.0, 4.0]
    found = objective.loss(iterates, batch, counts)
    wanted = expected(iterates, batch)
    assert found._fields == objective.part_names == tuple(wanted)
    for name, value in wanted.items():
        assert getattr(found, name).item() == pytest.approx(value, rel=2e-5), name


def test_parts_of_a_batch_add_up(objective: TrgObjective) -> None:
    batch = made_batch()
    iterates = made_iterates(batch)
    counts = objective.counts(batch)
    whole = torch.stack(objective.loss(iterates, batch, counts))
    parts = []
    for rows in (slice(0, 1), slice(1, 2), slice(2, 5)):
        some = [TrgIterate(*(None if v is None else v[rows] for v in i)) for i in iterates]
        parts.append(torch.stack(objective.loss(some, batch[rows], counts)))
    assert torch.allclose(sum(parts), whole, rtol=1e-5)


@pytest.mark.parametrize("label", ["has_3d", "has_rotation"])
def test_a_batch_without_a_label_costs_nothing_there(objective: TrgObjective, label: str) -> None:
    """TRG's edge term was NaN then. Numbers of unknown labels do not matter, NaN neither; nor do
    points at the camera's plane."""
    batch = made_batch()
    nothing = replace(batch, **{label: torch.zeros(B, dtype=torch.bool)})
    if label == "has_3d":
        nothing = replace(nothing, vertices_model_m=torch.full((B, V, 3), torch.nan))
    iterates = made_iterates(batch)
    vertices = iterates[-1].vertices_cam_m.clone()
    vertices[:, 0, 2] = 0.0
    vertices.requires_grad_()
    iterates[-1] = iterates[-1]._replace(vertices_cam_m=vertices)
    found = objective.loss(iterates, nothing, objective.counts(nothing))
    assert all(torch.isfinite(part) for part in found)
    zero = ("vertices", "vertices_cam", "image", "edges") if label == "has_3d" else ("rotation",)
    assert all(getattr(found, name) == 0.0 for name in zero)
    found.total.backward()
    assert torch.isfinite(vertices.grad).all()


def test_negatives_and_bare_batches(objective: TrgObjective) -> None:
    batch = made_batch()
    nobody = replace(batch, is_face=torch.zeros(B, dtype=torch.bool))
    assert objective.counts(nobody).tolist() == [5.0, 0.0, 0.0]
    bare = replace(batch, landmarks_68_crop=None)
    with pytest.raises(ValueError, match="landmarks_68_crop"):
        objective.loss(made_iterates(batch), bare, objective.counts(bare))
