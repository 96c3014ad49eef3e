"""Any mix of data sets as batches: shuffled and varied for training, fixed for validation.

The crops of a training step depend on the seed and the step alone, whatever the number of worker
processes and of processes that train together: each of these gets its share of the same batch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch.utils.data import DataLoader, Dataset

from models.trg.batch import PoseBatch
from viewer.datasets.augment import Recrop, draw_recrop
from viewer.datasets.augment_config import AugmentConfig, TrgAugmentConfig
from viewer.datasets.face_crops import FaceCrop, crop_face
from viewer.datasets.network_input import NetworkInput
from viewer.datasets.photo_effects import photo_effects
from viewer.datasets.sample import UnreadablePictureError
from viewer.datasets.source import DatasetError
from viewer.datasets.synthetic_format import SyntheticDataError
from viewer.datasets.training_faces import TrainingFace, TrainingFaces
from viewer.datasets.training_parts import DataChoice, open_part
from viewer.datasets.trg_crops import draw_trg_recrop, trg_photo_effects

Array = np.ndarray
Augment = AugmentConfig | TrgAugmentConfig
Rng = np.random.Generator

MAX_DAMAGED_IN_A_ROW = 50
WORKER_NICENESS = 10
_SEED_ORDER, _SEED_PART, _SEED_CROP, _SEED_EFFECTS = 1, 2, 3, 4


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


@dataclass(frozen=True)
class _Part:
    """Faces, and how many of them an epoch has: their number times their weight."""

    faces: TrainingFaces
    per_epoch: int


class PoseBatches(Dataset[PoseBatch]):
    """Training batches by step.

    An epoch goes once through every part of weight 1, in an order of its own; a part of weight 2
    comes twice, of one of weight 0.5 every other epoch has the other half. Epochs follow each other
    without a gap, so no sample is lost to a last batch that is not full.
    """

    def __init__(
        self,
        parts: Sequence[tuple[TrainingFaces, float]],
        target: NetworkInput,
        augment: Augment,
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        """parts: faces and their weight. Raises: DatasetError without any."""
        if not parts or batch_size < 1:
            raise DatasetError("Batches need a data set and a batch size of at least 1.")
        self._parts = [_Part(faces, max(1, round(len(faces) * w))) for faces, w in parts]
        self.target, self.augment = target, augment
        self.batch_size, self.seed = batch_size, seed
        self._ends = np.cumsum([part.per_epoch for part in self._parts])

    @property
    def samples_per_epoch(self) -> int:
        return int(self._ends[-1])

    def batches(
        self,
        start_step: int = 0,
        stop_step: int = sys.maxsize,
        *,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
        pin_memory: bool = False,
    ) -> Iterator[PoseBatch]:
        """The batches of the steps in order, made by so many other processes (0: in this one).

        rank, world: this process of those that train together; theirs are consecutive parts of the
        same batch. The worker processes are forks; they end with the iterator. pin_memory: what
        they made, for a GPU.
        """
        steps = range(start_step, stop_step)
        share = _ShareOfBatches(self, rank, world)
        if workers == 0:
            yield from map(share.__getitem__, steps)
            return
        for part in self._parts:
            part.faces.prepare()
        loader = DataLoader(
            share,
            batch_size=None,
            sampler=steps,
            num_workers=workers,
            multiprocessing_context="fork",
            worker_init_fn=_give_way,
            pin_memory=pin_memory,
            generator=torch.Generator().manual_seed(0),  # leaves the program's own stream alone
        )
        with _no_opencv_threads():
            made = iter(loader)
        yield from made

    def __getitem__(self, step: int) -> PoseBatch:
        """The whole batch of a step."""
        return self.share_of_batch(step, 0, self.batch_size)

    def share_of_batch(self, step: int, first: int, stop: int) -> PoseBatch:
        """Some crops of a step's batch."""
        numbers = range(step * self.batch_size + first, step * self.batch_size + stop)
        if isinstance(self.augment, TrgAugmentConfig):
            crops = [self._crop(number, self._trg_crop) for number in numbers]
        else:
            crops = self._mini_crops(numbers)
        return batch_of_face_crops(crops, self.target)

    def row_of(self, number: int) -> tuple[int, int]:
        """Part and face of the n-th sample since the start of the training."""
        epoch, place = divmod(number, self.samples_per_epoch)
        drawn = int(_order(self.samples_per_epoch, (self.seed, _SEED_ORDER, epoch))[place])
        which = int(np.searchsorted(self._ends, drawn, side="right"))
        part = self._parts[which]
        within = drawn - (int(self._ends[which]) - part.per_epoch)
        round_, place = divmod(epoch * part.per_epoch + within, len(part.faces))
        return which, int(_order(len(part.faces), (self.seed, _SEED_PART, which, round_))[place])

    def _crop(self, number: int, make: Callable[[TrainingFace, Rng], FaceCrop]) -> FaceCrop:
        """Of a sample, or of the next that can be read; what is passed over goes to stderr.

        Raises: DatasetError after many damaged ones.
        """
        which, row = self.row_of(number)
        faces = self._parts[which].faces
        for k in range(MAX_DAMAGED_IN_A_ROW):
            rng = np.random.default_rng([self.seed, _SEED_CROP, number])
            try:
                return make(faces.face((row + k) % len(faces)), rng)
            except (DatasetError, SyntheticDataError, UnreadablePictureError) as error:
                sys.stderr.write(f"Passed over: {error}\n")
        raise DatasetError(f"{MAX_DAMAGED_IN_A_ROW} faces in a row cannot be read.")

    def _trg_crop(self, face: TrainingFace, rng: Rng) -> FaceCrop:
        choice = draw_trg_recrop(rng, self.augment, is_flat=face.is_flat)
        crop = crop_face(face, choice, self.target, inside=face.is_flat)
        changed = trg_photo_effects(crop.crop_rgb, rng, self.augment, is_flat=face.is_flat)
        return replace(crop, crop_rgb=changed)

    def _plain_mini_crop(self, face: TrainingFace, rng: Rng) -> FaceCrop:
        return crop_face(face, draw_recrop(rng, self.augment, is_face=face.is_face), self.target)

    def _mini_crops(self, numbers: range) -> list[FaceCrop]:
        """Pieces of the crop before occlude; the first of a batch has its last."""
        first = numbers[0]
        before = first - 1 if first % self.batch_size else first + self.batch_size - 1
        patch = self._crop(before, self._plain_mini_crop).crop_rgb
        crops = []
        for number in numbers:
            plain = self._crop(number, self._plain_mini_crop)
            rng = np.random.default_rng([self.seed, _SEED_EFFECTS, number])
            changed = photo_effects(plain.crop_rgb.copy(), rng, self.augment, patch)
            crops.append(replace(plain, crop_rgb=changed))
            patch = plain.crop_rgb
        return crops


class _ShareOfBatches(Dataset[PoseBatch]):
    """One process's crops of every batch."""

    def __init__(self, whole: PoseBatches, rank: int, world: int) -> None:
        if not 0 <= rank < world <= whole.batch_size:
            raise ValueError(f"No share {rank} of {world} in a batch of {whole.batch_size}.")
        self._whole = whole
        self._first, self._stop = (whole.batch_size * k // world for k in (rank, rank + 1))

    def __getitem__(self, step: int) -> PoseBatch:
        return self._whole.share_of_batch(step, self._first, self._stop)


@contextmanager
def _no_opencv_threads() -> Iterator[None]:
    """A process forked while OpenCV has threads can wait for ever at its first parallel loop."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _give_way(worker: int) -> None:
    """On a full processor a worker takes the gaps of the steps: one that interrupts a thread of
    the network makes all its threads wait."""
    cv2.setNumThreads(0)
    os.nice(WORKER_NICENESS)


@lru_cache(maxsize=16)
def _order(count: int, seed: tuple[int, ...]) -> Int[Array, "n"]:
    return np.random.default_rng(seed).permutation(count)


def build_batches(
    parts: Sequence[DataChoice],
    target: NetworkInput,
    augment: Augment,
    *,
    batch_size: int,
    seed: int,
) -> PoseBatches:
    """Training batches of a mix. Raises: DatasetError."""
    released = isinstance(augment, TrgAugmentConfig)
    opened = [(open_part(part, as_released=released), float(part.weight)) for part in parts]
    return PoseBatches(opened, target, augment, batch_size=batch_size, seed=seed)


def validation_batches(
    parts: Sequence[DataChoice],
    target: NetworkInput,
    *,
    batch_size: int = 64,
    seed: int = 0,
    rank: int = 0,
    world: int = 1,
) -> Iterator[PoseBatch]:
    """Every face of the parts once, in order, upright, without photo effects; the last batch may be
    smaller.

    Boxes are those of `VALIDATION_JITTER` for trg-mini, the same ones for a seed and a face; exact
    for the released network, as it is tested. rank, world: every world-th face, from the rank on.
    Raises: DatasetError, also for a part without poses to compare with.
    """
    opened = [open_part(part, as_released=target.boxes_of_landmarks) for part in parts]
    for part, faces in zip(parts, opened, strict=True):
        if faces.face(0).is_flat:
            raise DatasetError(f"{part.dataset} has no poses to validate with.")
    places = [(k, row) for k, faces in enumerate(opened) for row in range(len(faces))]
    mine = places[rank::world]
    for first in range(0, len(mine), batch_size):
        crops = [
            _fixed_crop(opened[k].face(row), target, (seed, k, row))
            for k, row in mine[first : first + batch_size]
        ]
        yield batch_of_face_crops(crops, target)


def _fixed_crop(face: TrainingFace, target: NetworkInput, seed: tuple[int, int, int]) -> FaceCrop:
    if target.boxes_of_landmarks:
        return crop_face(face, Recrop(), target)
    choice = draw_recrop(np.random.default_rng(seed), VALIDATION_JITTER, is_face=face.is_face)
    return crop_face(face, choice, target)


def batch_of_face_crops(crops: Sequence[FaceCrop], target: NetworkInput) -> PoseBatch:
    """Crops as a batch, labels in the network's own head frame and metres; with every field."""
    T, n = target.T_head_from_model, target.config.n_vertices
    has_rotation = _known([crop.R_cam_from_head for crop in crops])
    has_translation = _known([crop.t_cam_from_head_m for crop in crops])
    has_3d = _known([crop.vertices_head_m for crop in crops]) & has_rotation & has_translation
    R = _stacked([crop.R_cam_from_head for crop in crops], np.eye(3))
    t = _stacked([crop.t_cam_from_head_m for crop in crops], np.array([0.0, 0.0, 1.0]))
    vertices = _stacked([crop.vertices_head_m for crop in crops], np.zeros((n, 3)))
    arrays = {
        "ray_boxes": np.stack([crop.ray_box for crop in crops]),
        "R_cam_from_model": R @ T[:3, :3],
        "t_cam_from_model_m": t + R @ T[:3, 3],
        "vertices_model_m": (vertices - T[:3, 3]) @ T[:3, :3],
        "landmarks_68_crop": _stacked(
            [crop.landmarks_68_crop for crop in crops], np.zeros((68, 3))
        ),
        "K_image_from_cam": np.stack([crop.camera.K_image_from_cam for crop in crops]),
    }
    return PoseBatch(
        crops_rgb=torch.from_numpy(np.stack([crop.crop_rgb for crop in crops])),
        is_face=torch.tensor([crop.is_face for crop in crops]),
        has_3d=torch.from_numpy(has_3d),
        has_rotation=torch.from_numpy(has_rotation),
        has_translation=torch.from_numpy(has_translation),
        **{name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()},
    )


def _known(values: Sequence[Array | None]) -> Bool[Array, "b"]:
    return np.array([value is not None for value in values])


def _stacked(values: Sequence[Array | None], unknown: Array) -> Float[Array, "b ..."]:
    return np.stack([unknown if value is None else value for value in values])
