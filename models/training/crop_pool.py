"""Crops trained on more than once: a GPU can be faster than the processors that prepare them.

A pool in the device's memory takes new crops in, and a step's batch is drawn from it, half of the
crops mirrored, or each of half as many crops together with its mirror image. A crop is used about
as often as it is to be, at steps far from each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from models.trg.batch import PoseBatch

POOL_BATCHES = 48
"""Fresh batches that a pool holds."""
FIRST_BATCHES = 6
"""Of them before the first step."""


@dataclass(frozen=True)
class MirrorOrder:
    """What stands where in the mirror image: of the network's vertices, and of iBUG's points."""

    vertices: Int[np.ndarray, "v"]
    landmarks_68: Int[np.ndarray, "68"]


class CropPool:
    """So many crops on a device, of which batches are drawn."""

    def __init__(
        self,
        mirror: MirrorOrder,
        device: torch.device,
        seed: tuple[int, ...],
        *,
        paired: bool = False,
    ) -> None:
        """mirror: of a network whose own head frame has its plane of symmetry at x = 0.

        paired: crops 2k and 2k + 1 of a drawn batch are mirror images of each other.
        """
        self._device, self._seed, self._paired = device, seed, paired
        self._vertices = torch.from_numpy(mirror.vertices.astype(np.int64)).to(device)
        self._landmarks = torch.from_numpy(mirror.landmarks_68.astype(np.int64)).to(device)
        self._store: PoseBatch | None = None
        self._size = self._filled = self._next = 0

    def put(self, batch: PoseBatch) -> None:
        """In the place of the oldest, if the pool is full. The whole pictures' cameras are not
        kept: no loss of a network with a pool asks for them."""
        batch = replace(batch, K_image_from_cam=None)
        if self._store is None:
            self._size = len(batch)
            self._store = batch.apply(self._room_for)
        rows = slice(self._next * self._size, (self._next + 1) * self._size)
        for name, value in _present(batch).items():
            getattr(self._store, name)[rows].copy_(value, non_blocking=True)
        self._next = (self._next + 1) % POOL_BATCHES
        self._filled = min(POOL_BATCHES, self._filled + 1)

    def _room_for(self, value: Tensor) -> Tensor:
        shape = (POOL_BATCHES * len(value), *value.shape[1:])
        return torch.empty(shape, dtype=value.dtype, device=self._device)

    def draw(self, step: int) -> PoseBatch:
        """A batch of the size that was put in, the same for a step and a content.

        Raises: ValueError while the pool is empty, and for pairs in batches of an odd size.
        """
        if self._store is None:
            raise ValueError("The pool is empty.")
        if self._paired and self._size % 2:
            raise ValueError(f"A batch of {self._size} crops is not made of pairs.")
        rng = np.random.default_rng([*self._seed, step])
        n_drawn = self._size // 2 if self._paired else self._size
        drawn = rng.choice(self._size * self._filled, n_drawn, replace=False)
        is_mirrored = rng.random(n_drawn) < 0.5
        if self._paired:
            drawn, is_mirrored = np.repeat(drawn, 2), np.arange(self._size) % 2 == 1
        rows = torch.from_numpy(drawn).to(self._device)
        batch = self._store.apply(lambda value: value[rows])
        return self._mirrored(batch, torch.from_numpy(is_mirrored).to(self._device))

    def _mirrored(self, batch: PoseBatch, which: Bool[Tensor, "b"]) -> PoseBatch:
        """The crops of `which` as a mirror shows them: a mirrored head is a head again, with its
        own left and right exchanged."""
        flip = torch.tensor([-1.0, 1.0, 1.0], device=self._device)
        changed = {
            "crops_rgb": batch.crops_rgb.flip(2),
            "ray_boxes": batch.ray_boxes * flip,
            "R_cam_from_model": batch.R_cam_from_model * flip[:, None] * flip,
            "t_cam_from_model_m": batch.t_cam_from_model_m * flip,
            "vertices_model_m": batch.vertices_model_m[:, self._vertices] * flip,
        }
        if batch.landmarks_68_crop is not None:
            changed["landmarks_68_crop"] = batch.landmarks_68_crop[:, self._landmarks] * flip
        chosen = {
            name: torch.where(which.view(-1, *[1] * (value.ndim - 1)), value, getattr(batch, name))
            for name, value in changed.items()
        }
        return replace(batch, **chosen)


def _present(batch: PoseBatch) -> dict[str, Tensor]:
    return {name: value for name, value in vars(batch).items() if value is not None}


def fresh_batches_of(steps: int, uses: int) -> int:
    """How many batches `reused_batches` takes for so many steps."""
    return FIRST_BATCHES + -(-steps // uses)


def reused_batches(
    fresh: Iterator[PoseBatch], steps: range, uses: int, pool: CropPool
) -> Iterator[PoseBatch]:
    """A batch for each step, from `fresh_batches_of` fresh ones that have to follow; the pool is
    empty at first, also where a run is resumed."""
    for _ in range(FIRST_BATCHES):
        pool.put(next(fresh))
    for k, step in enumerate(steps):
        if k % uses == 0:
            pool.put(next(fresh))
        yield pool.draw(step)
