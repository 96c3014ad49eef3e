"""What is particular to each of MICA's eight subsets: where its pictures lie, which ones are taken.

The rules are those of MICA's own preparation (Zielonka et al. 2022). A picture's actor is read from
the first folder, or from the file's name, that looks like one, so that both the layout in which a
data set is handed out and the one that MICA made of it are understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from viewer.datasets.mica_files import SUBSETS, Subset
from viewer.datasets.mica_layout import IMAGE_ENDINGS
from viewer.datasets.source import DatasetError

SAMPLING_SEED = 42
_JPEG = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Adapter:
    """How one original data set is read.

    actor_in: where the actor's name stands. actor_pattern: of a whole folder name, or of the
        beginning of a file name; its first group is the actor.
    endings: of the pictures that are taken where there is no list.
    min_score: faces of which the detector is less sure are left out. MICA's own number, which was
        meant for another detector.
    sample_count: at most so many pictures of an actor are drawn where there is no list.
    only_folder: pictures in a folder of this name, if there is one. without: folders whose name
        has this in it are left out.
    note: what a user should know of the pictures.
    """

    folder: str
    actor_in: Literal["folder", "file"]
    actor_pattern: str
    endings: tuple[str, ...] = IMAGE_ENDINGS
    min_score: float = 0.0
    sample_count: int | None = None
    only_folder: str = ""
    without: str = ""
    note: str = ""

    @property
    def subset(self) -> Subset:
        return next(subset for subset in SUBSETS if subset.folder == self.folder)

    def actor_of(self, picture: PurePosixPath) -> str | None:
        """The actor of a picture, given relative to the source; None: it shows no actor's."""
        if self.actor_in == "file":
            match = re.match(self.actor_pattern, picture.name)
            return match[1].upper() if match else None
        matches = (re.fullmatch(self.actor_pattern, part) for part in picture.parts[:-1])
        return next((match[1] for match in matches if match), None)


ADAPTERS = (
    Adapter(
        "STIRLING",
        "file",
        r"([^_]+)_",
        min_score=0.75,
        only_folder="HQ",
        note="MICA takes the folder HQ of Real_images__Subset_2D_FG2018.",
    ),
    Adapter("D3DFACS", "folder", r"((?!(?:processed|images)$).+)", _JPEG),
    Adapter(
        "FLORENCE",
        "folder",
        r"(subject_\d+)",
        _JPEG,
        min_score=0.85,
        sample_count=1000,
        without="PTZ-Outdoor",
        note="The frames of its videos, as pictures; several videos of a subject have frames of "
        "the same name.",
    ),
    Adapter(
        "BU3DFE",
        "folder",
        r"([FM]\d{4})",
        _JPEG,
        note="MICA takes a cleaned copy; the list of pictures says which ones are in it.",
    ),
    Adapter("LYHM", "folder", r"(\d{5})", (".png",)),
    Adapter("FACEWAREHOUSE", "folder", r"(Tester_\d+)", (".png",)),
    Adapter("FRGC", "file", r"(\d{5})d\d+", _JPEG, without="Spring2003range"),
    Adapter("BP4D", "folder", r"([FM]\d{3})", _JPEG, sample_count=100),
)

Pictures = dict[str, list[Path]]
"""By actor, in order of their paths."""


def adapter_of(folder: str) -> Adapter:
    """Raises: DatasetError for a name that is none of the eight."""
    for adapter in ADAPTERS:
        if adapter.folder == folder:
            return adapter
    known = ", ".join(adapter.folder for adapter in ADAPTERS)
    raise DatasetError(f"MICA has no subset {folder!r}; it has {known}.")


def find_pictures(adapter: Adapter, source: Path) -> Pictures:
    """Every picture below the source that shows an actor, by the names alone.

    Raises: DatasetError where there is none.
    """
    relative = list(_picture_names(source))
    if adapter.only_folder and any(adapter.only_folder in name.parts for name in relative):
        relative = [name for name in relative if adapter.only_folder in name.parts]
    if adapter.without:
        relative = [n for n in relative if not any(adapter.without in part for part in n.parts)]
    found: Pictures = {}
    for name in sorted(relative, key=str):
        actor = adapter.actor_of(name)
        if actor is not None:
            found.setdefault(actor, []).append(source / name)
    if not found:
        raise DatasetError(
            f"{source} has no picture of an actor of {adapter.subset.title} in it "
            f"({len(relative)} other pictures)."
        )
    return dict(sorted(found.items()))


def draw_sample(adapter: Adapter, found: Pictures) -> Pictures:
    """The pictures that MICA's rule takes where there is no list of them.

    The draw is that of NumPy's old generator with seed 42, actor after actor: the same files give
    the same pictures as MICA's programs, and as the last run.
    """
    rng = np.random.RandomState(SAMPLING_SEED)
    drawn: Pictures = {}
    for actor, paths in found.items():
        taken = [path for path in paths if path.suffix.lower() in adapter.endings]
        if adapter.sample_count is not None and len(taken) > adapter.sample_count:
            chosen = rng.choice(len(taken), adapter.sample_count, replace=False)
            taken = [taken[index] for index in chosen]
        if taken:
            drawn[actor] = taken
    return drawn


def _picture_names(source: Path) -> Iterator[PurePosixPath]:
    """Relative to the source; hidden folders and files are left out, links are not followed."""
    folders = [source]
    while folders:
        for child in folders.pop().iterdir():
            if child.name.startswith("."):
                continue
            if child.is_dir() and not child.is_symlink():
                folders.append(child)
            elif child.suffix.lower() in IMAGE_ENDINGS and child.is_file():
                yield PurePosixPath(child.relative_to(source).as_posix())
