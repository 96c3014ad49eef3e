"""Parts of a training mix: from a data set's name, folder and split to the faces in it.

Splits: train, validation, train+validation, test. Where a data set has no validation part, some of
the people of its training part are kept for that (`VALIDATION_SHARE`), chosen by their names alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from viewer.datasets.arkitface import ArkitFace
from viewer.datasets.arkitface_files import SPLITS, row_of_key
from viewer.datasets.biwi import Biwi
from viewer.datasets.mica_files import subset_of
from viewer.datasets.mica_layout import ARCFACE, IMAGE_ENDINGS, folders_in, subset_folders
from viewer.datasets.protocols import BIWI_TEST_PERSONS, biwi_person
from viewer.datasets.source import DatasetError, Listing
from viewer.datasets.synthetic import SyntheticDataset
from viewer.datasets.synthetic_format import INFO_NAME, SyntheticDataError
from viewer.datasets.three_hundred_w_lp import ThreeHundredWLp
from viewer.datasets.training_faces import (
    ArkitFaces,
    BiwiFaces,
    MicaFaces,
    SyntheticFaces,
    TrainingFaces,
    WeakFaces,
)

VALIDATION_SHARE = 0.05
PICTURE = ".jpg"
TRAIN, VALIDATION, BOTH, TEST = "train", "validation", "train+validation", "test"


@runtime_checkable
class DataChoice(Protocol):
    """One data set of a mix, see `demo_app.run_config.DataPart`.

    weight: multiplies the share that it has by its size. limit: the first so many samples.
    """

    dataset: str
    root: Path
    weight: float
    split: str
    limit: int | None


def open_part(part: DataChoice, *, as_released: bool) -> TrainingFaces:
    """The faces of a part. as_released: 300W-LP as TRG used it, see `WeakFaces`.

    Raises: DatasetError where there is none.
    """
    if part.dataset not in _OPENERS:
        raise DatasetError(
            f"There is no training on {part.dataset!r}; there is on {', '.join(_OPENERS)}."
        )
    faces = _OPENERS[part.dataset](part, as_released)
    if not len(faces):
        raise DatasetError(f"{part.root} has no face of {part.dataset} in the split {part.split}.")
    return faces


def _arkitface(part: DataChoice, _as_released: bool) -> TrainingFaces:
    dataset = ArkitFace(part.root)
    keys = _without_pictures_missing(dataset.list_samples())
    by_split = {name: [k for k in keys if k.startswith(f"{name}/")] for name in SPLITS}
    listed = [key for keys_of in by_split.values() for key in keys_of]
    # a folder without splits is one training part
    training = by_split[TRAIN] if listed else keys
    chosen = _split(part, training, by_split[TEST], lambda key: row_of_key(key).subject_id)
    return ArkitFaces(dataset, chosen)


def _weak(part: DataChoice, as_released: bool) -> TrainingFaces:
    """All of it: without distances there is nothing to validate with."""
    dataset = ThreeHundredWLp(part.root)
    if part.split not in (TRAIN, BOTH):
        raise DatasetError(f"300W-LP has no split {part.split!r}: all of it is for training.")
    keys = _without_pictures_missing(dataset.list_samples())
    return WeakFaces(dataset, keys[: part.limit], as_released)


def _biwi(part: DataChoice, _as_released: bool) -> TrainingFaces:
    """By person; the test part is that of the protocol biwi-70-30."""
    dataset = Biwi(part.root)
    keys = dataset.list_samples().keys

    def person(key: str) -> str:
        return biwi_person(key.split("/")[0])

    test = [key for key in keys if person(key) in BIWI_TEST_PERSONS]
    training = [key for key in keys if person(key) not in BIWI_TEST_PERSONS]
    return BiwiFaces(dataset, _split(part, training, test, person))


def _mica(part: DataChoice, _as_released: bool) -> TrainingFaces:
    """Of a set that `prepare-mica` made; FLORENCE is MICA's own validation part."""
    crops: dict[str, list[Path]] = {"train": [], "validation": []}
    for folder in subset_folders(part.root):
        known = subset_of(folder.name)
        for actor in folders_in(folder.path / ARCFACE):
            found = (path for path in actor.iterdir() if path.suffix.lower() in IMAGE_ENDINGS)
            crops["train" if known is None else known.split] += sorted(found)
    if not any(crops.values()):
        raise DatasetError(f"{part.root} has no aligned picture: make them with prepare-mica.")
    parts = {TRAIN: crops["train"], VALIDATION: crops["validation"]}
    parts[BOTH] = crops["train"] + crops["validation"]
    if part.split not in parts:
        raise DatasetError(f"MICA has no split {part.split!r}; it has {', '.join(parts)}.")
    return MicaFaces(parts[part.split][: part.limit])


def _synthetic(part: DataChoice, _as_released: bool) -> TrainingFaces:
    """The split is the name of a folder, such as train-portraits; or the root is one data set."""
    root = part.root if (part.root / INFO_NAME).is_file() else part.root / part.split
    try:
        dataset = SyntheticDataset(root)
    except SyntheticDataError as error:
        raise DatasetError(str(error)) from error
    return SyntheticFaces(dataset, range(len(dataset))[: part.limit])


_OPENERS: dict[str, Callable[[DataChoice, bool], TrainingFaces]] = {
    "synthetic": _synthetic,
    "arkitface": _arkitface,
    "300w-lp": _weak,
    "biwi": _biwi,
    "mica": _mica,
}


def _without_pictures_missing(listing: Listing) -> list[str]:
    """The keys whose picture is there."""
    if not listing.problems:
        return list(listing.keys)
    files_of = listing.files_of
    return [key for key in listing.keys if any(name.endswith(PICTURE) for name in files_of[key])]


def _split(
    part: DataChoice, training: Sequence[str], test: Sequence[str], group: Callable[[str], str]
) -> list[str]:
    """The keys of a split. Raises: DatasetError for one that there is not."""
    if part.split not in (TRAIN, VALIDATION, BOTH, TEST):
        names = ", ".join((TRAIN, VALIDATION, BOTH, TEST))
        raise DatasetError(f"{part.dataset} has no split {part.split!r}; it has {names}.")
    if part.split == TEST:
        chosen = list(test)
    elif part.split == BOTH:
        chosen = list(training)
    else:
        kept = validation_groups({group(key) for key in training})
        chosen = [key for key in training if (group(key) in kept) == (part.split == VALIDATION)]
    return chosen[: part.limit]


def validation_groups(groups: set[str]) -> frozenset[str]:
    """Those kept for validation: a share of them, at least one of two; none if there is one."""
    count = max(1, round(VALIDATION_SHARE * len(groups))) if len(groups) > 1 else 0
    return frozenset(sorted(groups, key=_digest)[:count])


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
