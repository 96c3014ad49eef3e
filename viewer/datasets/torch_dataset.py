"""Synthetic heads as batches for the network: mixed and varied for training, fixed for validation.

The batch of a training step depends on the seed and the step alone, so an interrupted training
goes on with the batches it would have had, whatever the number of workers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from torch.utils.data import DataLoader, Dataset

from models.trg.batch import PoseBatch
from models.trg.config import TrgConfig
from viewer.datasets.augment import PosedCrop, draw_recrop, recrop
from viewer.datasets.augment_config import AugmentConfig
from viewer.datasets.photo_effects import photo_effects
from viewer.datasets.synthetic import SyntheticDataset

Array = np.ndarray

VALIDATION_JITTER = AugmentConfig(
    p_roll_normal=1.0,
    p_roll_any=0.0,
    roll_normal_deg=0.0,
    p_mirror=0.0,
    box_log_scale=0.12,
    box_shift=0.03,
    box_shift_limit=0.08,
    p_box_strong=0.0,
    p_border_reflect=0.0,
    p_border_replicate=0.0,
    p_border_colour=0.0,
)
"""Boxes about as far off as a good detector's, upright pictures, black borders."""

VALIDATION_EXACT = replace(VALIDATION_JITTER, box_log_scale=0.0, box_shift=0.0, box_shift_limit=0.0)
"""The nominal box of every face."""


@dataclass(frozen=True)
class NetworkInput:
    """What a network wants to see: its crops, its head frame, its mesh's symmetry.

    T_head_from_model: rigid; takes points of the network's own frame to `head`, metres.
    mirror_468_ids: each landmark's mirror image.
    """

    config: TrgConfig
    T_head_from_model: Float[Array, "4 4"]
    mirror_468_ids: Int[Array, "468"]


@dataclass(frozen=True)
class Source:
    """A data set with its share in the batches.

    weight: relative to the other sources. rows: the ones to take (a split by person); None: all.
    """

    dataset: SyntheticDataset
    weight: float
    rows: Int[Array, "n"] | None = None

    def __post_init__(self) -> None:
        """Raises: ValueError."""
        if not self.weight > 0 or self.row_count == 0:
            raise ValueError(
                f"A source needs a positive weight and a row, got weight {self.weight} and "
                f"{self.row_count} rows of {self.dataset.root}."
            )

    @property
    def row_count(self) -> int:
        return len(self.dataset) if self.rows is None else len(self.rows)

    def drawn_row(self, rng: np.random.Generator) -> int:
        """A row's number in the data set."""
        drawn = int(rng.integers(self.row_count))
        return drawn if self.rows is None else int(self.rows[drawn])


class SyntheticBatches(Dataset[PoseBatch]):
    """Training batches by step: `batches[k]` is the batch of step k."""

    def __init__(
        self,
        sources: Sequence[Source],
        target: NetworkInput,
        augment: AugmentConfig,
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        if not sources or batch_size < 1:
            raise ValueError("Batches need a source and a batch size of at least 1.")
        self.sources, self.target, self.augment = tuple(sources), target, augment
        self.batch_size, self.seed = batch_size, seed
        weights = np.array([source.weight for source in sources], np.float64)
        self._upper_shares = np.cumsum(weights / weights.sum())

    def __getitem__(self, step: int) -> PoseBatch:
        rng = np.random.default_rng([self.seed, step])
        source, row = self._drawn(rng)
        patch = source.dataset.posed_picture(row).image_rgb
        crops = []
        for _ in range(self.batch_size):
            source, row = self._drawn(rng)
            picture = source.dataset.posed_picture(row)
            choice = draw_recrop(rng, self.augment, is_face=picture.is_face)
            crop = recrop(picture, choice, self.target.config, self.target.mirror_468_ids)
            changed = photo_effects(crop.crop_rgb, rng, self.augment, patch)
            crops.append(replace(crop, crop_rgb=changed))
            patch = picture.image_rgb
        return batch_of_crops(crops, self.target.T_head_from_model)

    def batches(
        self, start_step: int = 0, stop_step: int = sys.maxsize, *, workers: int = 0
    ) -> Iterator[PoseBatch]:
        """The batches of the steps in order, made by so many other processes (0: in this one).

        The processes are forks that share the encoded pictures; they end with the iterator.
        """
        steps = range(start_step, stop_step)
        if workers == 0:
            yield from map(self.__getitem__, steps)
            return
        for source in self.sources:
            source.dataset.preload()
        loader = DataLoader(
            self,
            batch_size=None,
            sampler=steps,
            num_workers=workers,
            multiprocessing_context="fork",
            worker_init_fn=_use_one_thread,
            generator=torch.Generator().manual_seed(0),  # leaves the program's own stream alone
        )
        with _no_opencv_threads():
            made = iter(loader)
        yield from made

    def _drawn(self, rng: np.random.Generator) -> tuple[Source, int]:
        which = int(np.searchsorted(self._upper_shares, rng.random(), side="right"))
        source = self.sources[min(which, len(self.sources) - 1)]
        return source, source.drawn_row(rng)


@contextmanager
def _no_opencv_threads() -> Iterator[None]:
    """A process forked while OpenCV has threads can wait for ever at its first parallel loop."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _use_one_thread(worker: int) -> None:
    cv2.setNumThreads(0)


def fixed_batches(
    dataset: SyntheticDataset,
    target: NetworkInput,
    *,
    count: int | None = None,
    batch_size: int = 64,
    seed: int = 0,
    jitter: bool = True,
    rows: Int[Array, "n"] | None = None,
) -> Iterator[PoseBatch]:
    """Validation batches: the first `count` rows in order, upright, without photo effects.

    jitter: boxes as `VALIDATION_JITTER` moves them, the same ones for a seed and a row; else
    nominal boxes.
    """
    wanted = np.arange(len(dataset)) if rows is None else rows
    make = partial(
        _fixed_crop,
        dataset,
        target,
        VALIDATION_JITTER if jitter else VALIDATION_EXACT,
        seed,
    )
    wanted = wanted[:count]
    for first in range(0, len(wanted), batch_size):
        crops = [make(int(row)) for row in wanted[first : first + batch_size]]
        yield batch_of_crops(crops, target.T_head_from_model)


def _fixed_crop(
    dataset: SyntheticDataset, target: NetworkInput, jitter: AugmentConfig, seed: int, row: int
) -> PosedCrop:
    picture = dataset.posed_picture(row)
    choice = draw_recrop(np.random.default_rng([seed, row]), jitter, is_face=picture.is_face)
    return recrop(picture, choice, target.config, target.mirror_468_ids)


def batch_of_crops(crops: Sequence[PosedCrop], T_head_from_model: Float[Array, "4 4"]) -> PoseBatch:
    """Crops as a batch, labels in the network's own head frame and metres."""
    R_cam_from_head = np.stack([crop.R_cam_from_head for crop in crops])
    t_cam_from_head_m = np.stack([crop.t_cam_from_head_mm for crop in crops]) / 1000.0
    landmarks_head_m = np.stack([crop.landmarks_468_head_m for crop in crops])
    R_head_from_model, t_head_from_model_m = T_head_from_model[:3, :3], T_head_from_model[:3, 3]
    arrays = {
        "ray_boxes": np.stack([crop.ray_box for crop in crops]),
        "R_cam_from_model": R_cam_from_head @ R_head_from_model,
        "t_cam_from_model_m": t_cam_from_head_m + R_cam_from_head @ t_head_from_model_m,
        "vertices_model_m": (landmarks_head_m - t_head_from_model_m) @ R_head_from_model,
    }
    return PoseBatch(
        crops_rgb=torch.from_numpy(np.stack([crop.crop_rgb for crop in crops])),
        is_face=torch.tensor([crop.is_face for crop in crops]),
        **{name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()},
    )
