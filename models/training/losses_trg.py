"""The released TRG's loss: mesh, projections, rotation and edges of every iterate; the heat maps.

Sungho Chun and Ju Yong Chang, ECCV 2024. There is no term for the translation itself; it is learnt
through the mesh in the camera and the projections. Sums are divided by counts, so that a part of a
batch adds its share, and a batch without 3D costs nothing there (never NaN).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.training.config import TrgLossWeights
from models.trg.batch import PoseBatch
from models.trg.network import TrgIterate

FIVE_OF_68 = (39, 42, 33, 48, 54)
"""Inner corners of the eyes, base of the nose, corners of the mouth."""

MIN_DEPTH_M = 0.01
"""Points are not projected from nearer than this."""


class TrgLossParts(NamedTuple):
    """The loss and its parts without their weights, scalars; the pose's are of the last iterate."""

    total: Float[Tensor, ""]
    vertices: Float[Tensor, ""]
    vertices_cam: Float[Tensor, ""]
    image: Float[Tensor, ""]
    points_5: Float[Tensor, ""]
    rotation: Float[Tensor, ""]
    edges: Float[Tensor, ""]
    landmarks_68: Float[Tensor, ""]


class _Shares(NamedTuple):
    """What each crop's mean is multiplied by: of all crops, of those with 3D, with a rotation."""

    crop: Float[Tensor, ""]
    has_3d: Float[Tensor, "b"]
    rotation: Float[Tensor, "b"]


class TrgObjective:
    """The loss of the recipes trg and trg-multi; see `models.training.objective.Objective`."""

    part_names: tuple[str, ...] = TrgLossParts._fields

    def __init__(
        self,
        weights: TrgLossWeights,
        triangles: Int[np.ndarray, "f 3"],
        landmark_68_ids: Int[np.ndarray, "68"],
    ) -> None:
        """triangles, landmark_68_ids: of the network's mesh."""
        self._weights = weights
        self._edges = torch.from_numpy(np.stack([triangles, np.roll(triangles, -1, 1)], -1).copy())
        self._five = torch.from_numpy(landmark_68_ids[list(FIVE_OF_68)].copy())

    def counts(self, batch: PoseBatch) -> Float[Tensor, "3"]:
        """Crops, those with 3D, those with a rotation."""
        known = torch.stack([batch.known("3d").sum(), batch.known("rotation").sum()]).float()
        return torch.cat([known.new_tensor([len(batch)]), known])

    def loss(
        self, iterates: Sequence[TrgIterate], batch: PoseBatch, counts: Float[Tensor, "3"]
    ) -> TrgLossParts:
        """The batch's share. Raises: ValueError for a batch without landmarks or cameras."""
        if batch.landmarks_68_crop is None or batch.K_image_from_cam is None:
            raise ValueError("TRG's loss needs landmarks_68_crop and K_image_from_cam.")
        w, shares = self._weights, _shares(batch, counts)
        total = shares.crop.new_zeros(())
        parts: list[Tensor] = []
        weights = w.iterations[-len(iterates) :]
        for iterate, weight in zip(iterates, weights, strict=True):
            parts = self._pose_parts(iterate, batch, shares)
            factors = (w.vertices, w.vertices_cam, w.image, w.points_5, w.rotation)
            pairs = zip(factors, parts, strict=True)
            total = total + weight * sum(factor * part for factor, part in pairs)
        last = iterates[-1]
        edges = self._edge_loss(last.vertices_head_m, batch.vertices_model_m)
        edges = _of_known(edges, shares.has_3d)
        landmarks = shares.crop.new_zeros(())
        if last.landmarks_68 is not None:
            landmarks = _visible_l1(last.landmarks_68, batch.landmarks_68_crop).sum() * shares.crop
        total = total + weights[-1] * w.edges * edges + w.landmarks_68 * landmarks
        return TrgLossParts(total, *parts, edges, landmarks)

    def _pose_parts(
        self, iterate: TrgIterate, batch: PoseBatch, shares: _Shares
    ) -> list[Float[Tensor, ""]]:
        R, t = batch.R_cam_from_model.float(), batch.t_cam_from_model_m.float()
        vertices = batch.vertices_model_m.float()
        cam = vertices @ R.transpose(1, 2) + t[:, None]
        K = batch.K_image_from_cam.float()
        in_image = (_projected(iterate.vertices_cam_m, K) - _projected(cam, K)).abs()
        # divided by all crops, as released: those without 3D weigh nothing but count
        image_share = torch.where(shares.has_3d > 0, shares.crop, 0.0)
        five = iterate.vertices_crop[:, self._five.to(R.device)]
        rotation = ((iterate.R_cam_from_head - R) ** 2).mean((1, 2))
        return [
            _of_known((iterate.vertices_head_m - vertices).abs().mean((1, 2)), shares.has_3d),
            _of_known((iterate.vertices_cam_m - cam).abs().mean((1, 2)), shares.has_3d),
            _of_known(in_image.mean((1, 2)), image_share),
            _visible_l1(five, batch.landmarks_68_crop[:, FIVE_OF_68]).sum() * shares.crop,
            _of_known(rotation, shares.rotation),
        ]

    def _edge_loss(
        self, predicted: Float[Tensor, "b v 3"], true: Float[Tensor, "b v 3"]
    ) -> Float[Tensor, "b"]:
        """Sum over the sides of the mean over the triangles."""
        difference = self._edge_lengths(predicted) - self._edge_lengths(true.float())
        return difference.abs().mean(1).sum(1)

    def _edge_lengths(self, vertices: Float[Tensor, "b v 3"]) -> Float[Tensor, "b f 3"]:
        first, second = self._edges.to(vertices.device).unbind(-1)
        return torch.linalg.vector_norm(vertices[:, first] - vertices[:, second], dim=-1)


def _shares(batch: PoseBatch, counts: Float[Tensor, "3"]) -> _Shares:
    crops, n_3d, n_rotation = counts.clamp(min=1e-6).unbind()
    return _Shares(
        1.0 / crops, batch.known("3d").float() / n_3d, batch.known("rotation").float() / n_rotation
    )


def _of_known(values: Float[Tensor, "b"], share: Float[Tensor, "b"]) -> Float[Tensor, ""]:
    """Sum with the shares; what has none counts for nothing, whatever its value."""
    return torch.where(share > 0, values, 0.0) @ share


def _visible_l1(
    points: Float[Tensor, "b n 2"], labels: Float[Tensor, "b n 3"]
) -> Float[Tensor, "b"]:
    """Mean distance per coordinate of each crop, points that are not visible counted as zero."""
    distance = (points - labels[..., :2].float()).abs() * labels[..., 2:].float()
    return distance.mean((1, 2))


def _projected(points_cam_m: Float[Tensor, "b n 3"], K: Float[Tensor, "b 3 3"]) -> Tensor:
    rays = points_cam_m[..., :2] / points_cam_m[..., 2:].clamp(min=MIN_DEPTH_M)
    return rays @ K[:, :2, :2].transpose(1, 2) + K[:, None, :2, 2]
