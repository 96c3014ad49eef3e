"""The loss: every iterate against the labels, presence, and what the network says of its errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
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


class PoseTargets(NamedTuple):
    """The labels of a batch in the form of an iterate; harmless numbers where there is no face."""

    is_face: Bool[Tensor, "b"]
    R_cam_from_model: Float[Tensor, "b 3 3"]
    t_cam_from_model_m: Float[Tensor, "b 3"]
    vertices_model_m: Float[Tensor, "b v 3"]
    correction: Float[Tensor, "b 3"]
    vertices_crop: Float[Tensor, "b v 2"]


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


def build_targets(batch: PoseBatch, config: TrgConfig) -> PoseTargets:
    """Labels on the batch's device, single precision."""
    faces = batch.is_face
    R, t, vertices = (
        x.float()
        for x in (batch.R_cam_from_model, batch.t_cam_from_model_m, batch.vertices_model_m)
    )
    box = batch.ray_boxes.float()
    R = torch.where(faces[:, None, None], R, torch.eye(3, device=R.device))
    t = torch.where(faces[:, None], t, t.new_tensor([0.0, 0.0, 1.0]))
    vertices = torch.where(faces[:, None, None], vertices, 0.0)
    cam = vertices @ R.transpose(1, 2) + t[:, None]
    return PoseTargets(
        faces,
        R,
        t,
        vertices,
        correction_from_translation(t, box, config.box_size_m),
        project_into_ray_box(cam, box, config.min_depth_m),
    )


def pose_loss(
    iterates: Sequence[TrgIterate], targets: PoseTargets, weights: LossWeights
) -> LossParts:
    """Weighted L1 distances of every iterate, plus what the last one says beside its pose.

    Everything but presence is a mean over the faces of the batch alone.
    """
    faces = targets.is_face.float()
    share = faces / faces.sum().clamp(min=1.0)
    total = share.new_zeros(())
    parts: list[Tensor] = []
    for iterate, weight in zip(iterates, weights.iterations[-len(iterates) :], strict=True):
        parts = _pose_parts(iterate, targets, share, weights.crop_limit)
        crop, vertices, rotation, scale, shift = parts
        total = total + weight * (
            weights.crop * crop
            + weights.vertices * vertices
            + weights.rotation * rotation
            + weights.scale * scale
            + weights.shift * shift
        )
    last = iterates[-1]
    presence = uncertainty = share.new_zeros(())
    if last.presence_logit is not None:
        presence = functional.binary_cross_entropy_with_logits(last.presence_logit, faces)
    if last.rotation_cholesky is not None:
        uncertainty = error_nll(last, targets) @ share
    total = total + weights.presence * presence + weights.uncertainty * uncertainty
    return LossParts(total, *parts, presence, uncertainty)


def _pose_parts(
    iterate: TrgIterate, targets: PoseTargets, share: Float[Tensor, "b"], crop_limit: float
) -> list[Tensor]:
    crop = (iterate.vertices_crop - targets.vertices_crop).abs().clamp(max=crop_limit)
    vertices = (iterate.vertices_head_m - targets.vertices_model_m).abs()
    rotation = (iterate.R_cam_from_head - targets.R_cam_from_model).abs()
    correction = (iterate.pose9[:, 6:] - targets.correction).abs()
    scale, shift = correction[:, 0], correction[:, 1:].sum(1)
    return [
        crop.mean((1, 2)) @ share,
        vertices.mean((1, 2)) @ share,
        rotation.mean((1, 2)) @ share,
        scale @ share,
        shift @ share,
    ]


def error_nll(last: TrgIterate, targets: PoseTargets) -> Float[Tensor, "b"]:
    """-log N(rotation error; 0, L L^T) - log N(relative t error; 0, diag(sigma^2)), of each crop.

    The pose is detached: only the claimed sizes of the errors are judged.
    """
    t = last.t_cam_from_head_m.detach()
    error = rotation_error_rad(targets.R_cam_from_model, last.R_cam_from_head.detach())
    whitened_rotation = whitened(last.rotation_cholesky, error)
    log_det = last.rotation_cholesky.diagonal(dim1=1, dim2=2).log().sum(1)
    sigma = last.t_sigma_m / t[:, 2:].clamp(min=MIN_T_Z_M)
    whitened_t = relative_t_error(targets.t_cam_from_model_m, t) / sigma
    squared = (whitened_rotation**2).sum(1) + (whitened_t**2).sum(1)
    return 0.5 * squared + log_det + sigma.log().sum(1) + 3.0 * math.log(2.0 * math.pi)
