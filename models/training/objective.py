"""What is minimised: a loss whose means can be taken over crops that other processes hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.training.config import LossWeights
from models.training.losses import LossParts, build_targets, pose_counts, pose_loss
from models.trg.batch import PoseBatch
from models.trg.config import TrgConfig
from models.trg.network import TrgIterate


@runtime_checkable
class Objective(Protocol):
    """A loss that is the same however its batch is cut into parts.

    A part's loss is its sums divided by the counts of the whole batch, so the parts' losses and
    gradients add up to the batch's.
    """

    part_names: tuple[str, ...]
    """Of what `loss` returns; the first is total."""

    def counts(self, batch: PoseBatch) -> Float[Tensor, "k"]:
        """What the means divide by, such as the number of crops and of faces."""
        ...

    def loss(
        self, iterates: Sequence[TrgIterate], batch: PoseBatch, counts: Float[Tensor, "k"]
    ) -> Any:
        """A named tuple of scalars whose first field is the total; batch is on the network's
        device."""
        ...


class MiniObjective:
    """The loss of trg-mini, see `models.training.losses`."""

    part_names: tuple[str, ...] = LossParts._fields

    def __init__(
        self,
        config: TrgConfig,
        weights: LossWeights,
        landmark_68_ids: Int[np.ndarray, "68"] | None = None,
        mirror_vertex_ids: Int[np.ndarray, "v"] | None = None,
    ) -> None:
        """landmark_68_ids: of the network's mesh, for data of which only landmarks are known.
        mirror_vertex_ids: each vertex's mirror image, for a loss with a weight `mirror`."""
        self._config, self._weights = config, weights
        self._ids, self._mirror_ids = (
            None if ids is None else torch.from_numpy(ids.astype(np.int64))
            for ids in (landmark_68_ids, mirror_vertex_ids)
        )

    def counts(self, batch: PoseBatch) -> Float[Tensor, "6"]:
        """Crops, and faces by what is known of them."""
        return pose_counts(batch)

    def loss(
        self, iterates: Sequence[TrgIterate], batch: PoseBatch, counts: Float[Tensor, "6"]
    ) -> LossParts:
        """The batch's share of the loss."""
        targets = build_targets(batch, self._config)
        return pose_loss(iterates, targets, self._weights, counts, self._ids, self._mirror_ids)
