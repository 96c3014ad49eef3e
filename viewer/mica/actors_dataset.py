"""The prepared set for training: an item is an actor, with some pictures and one shape."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from viewer.datasets.mica_files import SHAPE_COUNT, read_parameters, subset_of
from viewer.datasets.mica_layout import (
    ARCFACE,
    IMAGE_ENDINGS,
    PARAMETERS,
    SubsetFolder,
    folders_in,
    subset_folders,
)
from viewer.datasets.npz_file import read_npy
from viewer.datasets.sample import UnreadablePictureError
from viewer.datasets.source import DatasetError, Problem
from viewer.mica.arcface import ARCFACE_SIDE_PX, CROP_SIDE_PX
from viewer.mica.decoding import decode_upright

Array = np.ndarray


class ActorItem(NamedTuple):
    """One actor; torch's DataLoader puts a batch dimension before each.

    images: RGB in [0, 1]. arcface: RGB in [-1, 1], the same faces. shape: FLAME's identity
    coefficients, the first 300 betas. actor: "SUBSET/actor".
    """

    images: Float[Tensor, "k 3 224 224"]
    arcface: Float[Tensor, "k 3 112 112"]
    shape: Float[Tensor, "300"]
    actor: str


@dataclass(frozen=True)
class PreparedActor:
    """name: "SUBSET/actor". crops and arrays: of the same pictures, in order of their names."""

    name: str
    parameters: Path
    crops: tuple[Path, ...]
    arrays: tuple[Path, ...]


class PreparedActors(Dataset[ActorItem]):
    """All actors of a prepared set that have parameters and at least one aligned picture.

    Each item has `images_per_actor` pictures, drawn without repetition. An actor with fewer
    pictures gives each of them once before any comes again: LYHM has two per actor, and more than
    two are asked for. The draw depends on the seed, the epoch and the actor alone, not on the
    worker; `set_epoch` is called before each epoch's DataLoader iterates (with persistent workers
    it has no effect). seed None: the first pictures by name, always the same.
    An actor with several .npz has the first by name. Actors that are left out: `skipped`.
    """

    def __init__(
        self,
        root: Path,
        *,
        images_per_actor: int = 2,
        subsets: Collection[str] | None = None,
        split: Literal["train", "validation"] | None = None,
        seed: int | None = 0,
    ) -> None:
        """subsets: names of folders ("STIRLING"); split: MICA's, FLORENCE is its validation set.

        Raises: DatasetError where no actor is ready.
        """
        if images_per_actor < 1:
            raise DatasetError("An item needs at least one picture per actor.")
        self.images_per_actor, self.seed, self.epoch = images_per_actor, seed, 0
        found: list[PreparedActor] = []
        skipped: list[Problem] = []
        for folder in subset_folders(Path(root)):
            if _is_wanted(folder.name, subsets, split):
                aligned = {child.name for child in folders_in(folder.path / ARCFACE)}
                for actor in sorted(aligned.union(folder.actors())):
                    _collect(folder, actor, found, skipped)
        self.actors, self.skipped = tuple(found), tuple(skipped)
        if not found:
            raise DatasetError(
                f"{root} has no actor with FLAME parameters and aligned pictures: make them with "
                "prepare-mica."
            )

    def set_epoch(self, epoch: int) -> None:
        """Other pictures of the same actors."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.actors)

    def __getitem__(self, index: int) -> ActorItem:
        """Raises: DatasetError that names the file; IndexError."""
        actor = self.actors[index]
        chosen = self._chosen(index % len(self.actors), len(actor.crops))
        images = np.stack([_crop(actor.crops[i]) for i in chosen])
        arrays = np.stack([_arcface(actor.arrays[i]) for i in chosen])
        return ActorItem(
            images=torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255,
            arcface=torch.from_numpy(arrays),
            shape=torch.from_numpy(_shape(actor.parameters)),
            actor=actor.name,
        )

    def _chosen(self, index: int, count: int) -> Sequence[int]:
        rounds = -(-self.images_per_actor // count)
        if self.seed is None:
            orders = [np.arange(count)] * rounds
        else:
            rng = np.random.default_rng([self.seed, self.epoch, index])
            orders = [rng.permutation(count) for _ in range(rounds)]
        return np.concatenate(orders)[: self.images_per_actor].tolist()


def _is_wanted(name: str, subsets: Collection[str] | None, split: str | None) -> bool:
    known = subset_of(name)
    in_split = split is None or (known is not None and known.split == split)
    return in_split and (subsets is None or name in subsets)


def _collect(
    folder: SubsetFolder, actor: str, found: list[PreparedActor], skipped: list[Problem]
) -> None:
    name = f"{folder.name}/{actor}"
    fits = sorted((folder.path / PARAMETERS / actor).glob("[!.]*.npz"))
    crops, arrays = _pairs(folder.path / ARCFACE / actor)
    if not fits:
        skipped.append(Problem(name, "no FLAME parameters"))
    elif not crops:
        skipped.append(Problem(name, "no aligned picture"))
    else:
        found.append(PreparedActor(name, fits[0], crops, arrays))


def _pairs(folder: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Crops that have an array of the same stem, and these arrays."""
    if not folder.is_dir():
        return (), ()
    files = [path for path in folder.iterdir() if path.name[0] != "."]
    arrays = {path.stem: path for path in files if path.suffix == ".npy"}
    crops = sorted(
        path for path in files if path.suffix.lower() in IMAGE_ENDINGS and path.stem in arrays
    )
    return tuple(crops), tuple(arrays[path.stem] for path in crops)


def _crop(path: Path) -> Array:
    try:
        picture = decode_upright(path.read_bytes())
    except (OSError, UnreadablePictureError) as error:
        raise DatasetError(f"{path} cannot be used: {error}") from error
    if picture.shape != (CROP_SIDE_PX, CROP_SIDE_PX, 3):
        raise DatasetError(f"{path} has the shape {picture.shape}, not that of a crop of 224 px.")
    return picture


def _arcface(path: Path) -> Array:
    array = read_npy(path)
    if array.shape != (3, ARCFACE_SIDE_PX, ARCFACE_SIDE_PX) or array.dtype != np.float32:
        raise DatasetError(f"{path} has {array.dtype} {array.shape}, not float32 (3, 112, 112).")
    return array.copy()


def _shape(path: Path) -> Array:
    betas = read_parameters(path).betas
    if betas is None or len(betas) < SHAPE_COUNT:
        raise DatasetError(f"{path} has not the {SHAPE_COUNT} betas of a shape.")
    return betas[:SHAPE_COUNT].astype(np.float32)
