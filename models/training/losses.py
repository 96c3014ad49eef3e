"""The loss: every iterate against the labels, presence, and what the network says of its errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from models.training.config import LossWeights
from models.trg.batch import PoseBatch
from models.trg.config import TrgConfig
from models.trg.network import TrgIterate
from models.trg.pose_algebra import correction_from_translation, project_into_ray_box
from models.trg.uncertainty import (
    MIN_T_Z_M,
    relative_t_error,
    rotation_error_rad,
    whitened,
)

FAR_OFF = 60.0
"""Squared size of a whitened error of six numbers; of normal ones 1 in 10^10 is larger."""


class PoseTargets(NamedTuple):
    """The labels of a batch as an iterate has them; harmless numbers where they are not known."""

    is_face: Bool[Tensor, "b"]
    R_cam_from_model: Float[Tensor, "b 3 3"]
    t_cam_from_model_m: Float[Tensor, "b 3"]
    vertices_model_m: Float[Tensor, "b v 3"]
    correction: Float[Tensor, "b 3"]
    vertices_crop: Float[Tensor, "b v 2"]
    has_3d: Bool[Tensor, "b"]
    has_rotation: Bool[Tensor, "b"]
    has_translation: Bool[Tensor, "b"]
    landmarks_68_crop: Float[Tensor, "b 68 3"] | None
    """Of faces without 3D; None: no loss for them."""


class LossParts(NamedTuple):
    """The loss and its parts without their weights, scalars; the pose's are of the last iterate."""

    total: Float[Tensor, ""]
    crop: Float[Tensor, ""]
    vertices: Float[Tensor, ""]
    rotation: Float[Tensor, ""]
    scale: Float[Tensor, ""]
    shift: Float[Tensor, ""]
    presence: Float[Tensor, ""]
    uncertainty: Float[Tensor, ""]
    landmarks: Float[Tensor, ""]
    mirror: Float[Tensor, ""]


def build_targets(batch: PoseBatch, config: TrgConfig) -> PoseTargets:
    """Labels on the batch's device, single precision."""
    has_3d, has_rotation, has_translation = map(batch.known, ("3d", "rotation", "translation"))
    R, t, vertices = (
        x.float()
        for x in (batch.R_cam_from_model, batch.t_cam_from_model_m, batch.vertices_model_m)
    )
    box = batch.ray_boxes.float()
    R = torch.where(has_rotation[:, None, None], R, torch.eye(3, device=R.device))
    t = torch.where(has_translation[:, None], t, t.new_tensor([0.0, 0.0, 1.0]))
    vertices = torch.where(has_3d[:, None, None], vertices, 0.0)
    cam = vertices @ R.transpose(1, 2) + t[:, None]
    return PoseTargets(
        batch.is_face,
        R,
        t,
        vertices,
        correction_from_translation(t, box, config.box_size_m),
        project_into_ray_box(cam, box, config.min_depth_m),
        has_3d,
        has_rotation,
        has_translation,
        batch.landmarks_68_crop,
    )


def pose_counts(batch: PoseBatch) -> Float[Tensor, "6"]:
    """What the means of `pose_loss` divide by: crops; faces with 3D, with a rotation, with a
    translation, with both of these; faces of which only landmarks and no 3D are known."""
    has_3d, R, t = map(batch.known, ("3d", "rotation", "translation"))
    flat = _is_flat(batch.is_face, has_3d, batch.landmarks_68_crop)
    sums = torch.stack([known.sum() for known in (has_3d, R, t, R & t, flat)]).float()
    return torch.cat([sums.new_tensor([len(batch)]), sums])


def _is_flat(
    is_face: Bool[Tensor, "b"],
    has_3d: Bool[Tensor, "b"],
    landmarks_68_crop: Float[Tensor, "b 68 3"] | None,
) -> Bool[Tensor, "b"]:
    if landmarks_68_crop is None:
        return torch.zeros_like(is_face)
    return is_face & ~has_3d & (landmarks_68_crop[..., 2] > 0).any(1)


class _Shares(NamedTuple):
    """What each crop counts for in the means."""

    has_3d: Float[Tensor, "b"]
    rotation: Float[Tensor, "b"]
    translation: Float[Tensor, "b"]
    pose: Float[Tensor, "b"]
    flat: Float[Tensor, "b"]


def _shares(targets: PoseTargets, counts: Float[Tensor, "6"]) -> _Shares:
    R, t = targets.has_rotation, targets.has_translation
    flat = _is_flat(targets.is_face, targets.has_3d, targets.landmarks_68_crop)
    numbers = counts[1:].clamp(min=1e-6)
    return _Shares(
        *(k.float() / n for k, n in zip((targets.has_3d, R, t, R & t, flat), numbers, strict=True))
    )


def pose_loss(
    iterates: Sequence[TrgIterate],
    targets: PoseTargets,
    weights: LossWeights,
    counts: Float[Tensor, "6"],
    landmark_68_ids: Int[Tensor, "68"] | None = None,
    mirror_vertex_ids: Int[Tensor, "v"] | None = None,
) -> LossParts:
    """Weighted L1 distances of every iterate, plus what the last one says beside its pose.

    Every mean but that of presence is over the faces alone whose label it needs.
    counts: see `pose_counts`; of the whole batch where this is a part of it.
    landmark_68_ids: iBUG's points among the vertices, for faces of which no more is known.
    mirror_vertex_ids: needed for a weight `mirror` above 0, for batches of pairs.
    """
    shares = _shares(targets, counts)
    total = counts.new_zeros(())
    parts: list[Tensor] = []
    for iterate, weight in zip(iterates, weights.iterations[-len(iterates) :], strict=True):
        parts = _pose_parts(iterate, targets, shares, weights.crop_limit)
        parts.append(_landmark_part(iterate, targets, shares, weights.crop_limit, landmark_68_ids))
        w = weights
        factors = (w.crop, w.vertices, w.rotation, w.scale, w.shift, w.landmarks)
        pairs = zip(factors, parts, strict=True)
        total = total + weight * sum(factor * part for factor, part in pairs)
    mirror = counts.new_zeros(())
    if weights.mirror > 0.0:
        mirror = mirror_loss(iterates, shares.rotation, weights, mirror_vertex_ids)
    last = iterates[-1]
    presence = uncertainty = counts.new_zeros(())
    if last.presence_logit is not None:
        entropy = functional.binary_cross_entropy_with_logits(
            last.presence_logit, targets.is_face.float(), reduction="sum"
        )
        presence = entropy / counts[0]
    if last.rotation_cholesky is not None:
        uncertainty = error_nll(last, targets) @ shares.pose
    total = total + weights.presence * presence + weights.uncertainty * uncertainty
    total = total + weights.mirror * mirror
    return LossParts(total, *parts[:-1], presence, uncertainty, parts[-1], mirror)


def _pose_parts(
    iterate: TrgIterate, targets: PoseTargets, shares: _Shares, crop_limit: float
) -> list[Tensor]:
    crop = (iterate.vertices_crop - targets.vertices_crop).abs().clamp(max=crop_limit)
    vertices = (iterate.vertices_head_m - targets.vertices_model_m).abs()
    rotation = (iterate.R_cam_from_head - targets.R_cam_from_model).abs()
    correction = (iterate.pose9[:, 6:] - targets.correction).abs()
    scale, shift = correction[:, 0], correction[:, 1:].sum(1)
    return [
        crop.mean((1, 2)) @ shares.has_3d,
        vertices.mean((1, 2)) @ shares.has_3d,
        rotation.mean((1, 2)) @ shares.rotation,
        scale @ shares.translation,
        shift @ shares.translation,
    ]


def mirror_loss(
    iterates: Sequence[TrgIterate],
    share: Float[Tensor, "b"],
    weights: LossWeights,
    mirror_vertex_ids: Int[Tensor, "v"],
) -> Float[Tensor, ""]:
    """How far the answers to crops 2k lie from the mirrored answers to their mirror images 2k + 1,
    in the weights that the distances from the labels have.

    share: what each crop counts for in a mean, alike within a pair.
    """
    ids, total = mirror_vertex_ids.to(share.device), share.new_zeros(())
    flip = share.new_tensor([-1.0, 1.0, 1.0])
    for iterate, weight in zip(iterates, weights.iterations[-len(iterates) :], strict=True):
        R, vertices = iterate.R_cam_from_head, iterate.vertices_head_m
        correction = iterate.pose9[:, 6:]  # s, t_x', t_y': the mirror turns t_x' around
        apart = weights.rotation * (R[::2] - R[1::2] * flip[:, None] * flip).abs().mean((1, 2))
        across = vertices[::2] - vertices[1::2][:, ids] * flip
        apart = apart + weights.vertices * across.abs().mean((1, 2))
        apart = apart + weights.scale * (correction[::2, 0] - correction[1::2, 0]).abs()
        shift = correction[::2, 1:] - correction[1::2, 1:] * flip[:2]
        apart = apart + weights.shift * shift.abs().sum(1)
        total = total + weight * (apart @ (2.0 * share[::2]))
    return total


def _landmark_part(
    iterate: TrgIterate,
    targets: PoseTargets,
    shares: _Shares,
    crop_limit: float,
    landmark_68_ids: Int[Tensor, "68"] | None,
) -> Float[Tensor, ""]:
    """Mean distance of the visible points of faces without 3D, per coordinate."""
    labels = targets.landmarks_68_crop
    if labels is None or landmark_68_ids is None:
        return shares.flat.new_zeros(())
    points = iterate.vertices_crop[:, landmark_68_ids.to(labels.device)]
    distance = (points - labels[..., :2].float()).abs().clamp(max=crop_limit).mean(2)
    visible = labels[..., 2].float()
    return ((distance * visible).sum(1) / visible.sum(1).clamp(min=1.0)) @ shares.flat


def error_nll(last: TrgIterate, targets: PoseTargets) -> Float[Tensor, "b"]:
    """-log N(rotation error; 0, L L^T) - log N(relative t error; 0, diag(sigma^2)), of each crop.

    The pose is detached: only the claimed sizes of the errors are judged. Squared sizes beyond
    FAR_OFF count by their logarithm, so that one lost crop does not undo a thousand others.
    """
    t = last.t_cam_from_head_m.detach()
    error = rotation_error_rad(targets.R_cam_from_model, last.R_cam_from_head.detach())
    whitened_rotation = whitened(last.rotation_cholesky, error)
    log_det = last.rotation_cholesky.diagonal(dim1=1, dim2=2).log().sum(1)
    sigma = last.t_sigma_m / t[:, 2:].clamp(min=MIN_T_Z_M)
    whitened_t = relative_t_error(targets.t_cam_from_model_m, t) / sigma
    squared = (whitened_rotation**2).sum(1) + (whitened_t**2).sum(1)
    beyond = (squared / FAR_OFF).clamp(min=1.0)
    squared = squared / beyond * (1.0 + beyond.log())
    return 0.5 * squared + log_det + sigma.log().sum(1) + 3.0 * math.log(2.0 * math.pi)
