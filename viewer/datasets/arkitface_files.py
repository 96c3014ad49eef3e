"""Where ARKitFace's files are: three layouts, and the lists of rows.

TRG's has a folder for each split (ARKitFace_image_train/image/...), that of 6dof_face has image/
and info/ at the root, WCPA's has 68landmarks/ and resources/ beside them.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from viewer.datasets.file_lists import ARKITFACE_COLUMNS, read_list_text
from viewer.datasets.source import DatasetError, Problem
from viewer.datasets.weak_perspective import is_name

Layout = Literal["TRG", "6dof_face", "WCPA"]

SPLITS = ("train", "test")
IMAGE_END, INFO_END, LANDMARKS_END = "_ar.jpg", "_info.npz", "_68landmarks.txt"

_LIST_FOLDERS = ("ARKitFace_list/list", "ARKitFace_list", "list", ".")
_RESOURCE_FOLDERS = ("ARKitFace_resources", "resources", "ARKitFace_resources/resources", ".")


@dataclass(frozen=True)
class Row:
    """One picture. split: "" where no list says it."""

    split: str
    subject_id: str
    facial_action: str
    img_id: str

    @property
    def key(self) -> str:
        """ "train/000123/09_LeftToRight_Frown/1616212233525", or without the split."""
        parts = (self.split, self.subject_id, self.facial_action, self.img_id)
        return "/".join(part for part in parts if part)


def row_of_key(key: str) -> Row:
    """The inverse of `Row.key`. Raises: DatasetError if it is none."""
    parts = key.split("/")
    if len(parts) == 3:
        parts = ["", *parts]
    elif parts[0] not in SPLITS:
        parts = []
    if len(parts) != 4 or not all(map(is_name, parts[1:])):
        raise DatasetError(f"{key!r:.99} is no key of ARKitFace: split/subject/action/image.")
    return Row(*parts)


@dataclass(frozen=True)
class ArkitFiles:
    """The files of a root. Cheap to make: looks at a few folder names."""

    root: Path
    layout: Layout

    @classmethod
    def found_in(cls, root: Path) -> ArkitFiles:
        """Raises: DatasetError where none of the layouts is there."""
        if any((root / f"ARKitFace_info_{split}").is_dir() for split in SPLITS):
            return cls(root, "TRG")
        if (root / "info").is_dir():
            wcpa = any((root / name).is_dir() for name in ("68landmarks", "resources"))
            return cls(root, "WCPA" if wcpa else "6dof_face")
        raise DatasetError(
            f"{root} is no ARKitFace: it has neither ARKitFace_info_train, ARKitFace_info_test nor "
            "info."
        )

    def image(self, row: Row) -> Path:
        """Relative to the root, as all of these."""
        return self._place("image", row, IMAGE_END)

    def labels(self, row: Row) -> Path:
        return self._place("info", row, INFO_END)

    def landmarks(self, row: Row) -> Path:
        """WCPA's text file of 68 landmarks."""
        inside = Path("68landmarks", row.subject_id, row.facial_action)
        return inside / (row.img_id + LANDMARKS_END)

    def resource(self, name: str) -> Path | None:
        """A file of ARKitFace_resources, absolute; None if it is not there."""
        places = (self.root / folder / name for folder in _RESOURCE_FOLDERS)
        return next((place for place in places if place.is_file()), None)

    def lists(self) -> list[Path]:
        """The csv files that list rows, sorted by name."""
        for folder in _LIST_FOLDERS:
            if found := sorted((self.root / folder).glob("*.csv")):
                return found
        return []

    def all_rows(self) -> Iterator[Row]:
        """Every label file, for a root without lists; sorted."""
        for split in SPLITS if self.layout == "TRG" else ("",):
            start = self.root / (f"ARKitFace_info_{split}/info" if split else "info")
            for folder, folders, names in os.walk(start):
                folders.sort()
                inside = Path(folder).relative_to(start).parts
                ids = [n.removesuffix(INFO_END) for n in names if n.endswith(INFO_END)]
                if len(inside) == 2:
                    yield from (Row(split, *inside, img_id) for img_id in sorted(ids))

    def _place(self, kind: str, row: Row, end: str) -> Path:
        top = f"ARKitFace_{kind}_{row.split}/{kind}" if self.layout == "TRG" else kind
        return Path(top, row.subject_id, row.facial_action, row.img_id + end)


def read_rows(path: Path, *, needs_split: bool) -> Iterator[Row | Problem]:
    """The rows of a list, every field as text (ids start with zeros), and its lines that are none.

    The split is the one named in the file's name.
    Raises: DatasetError for a file without the three columns, or without a split that is needed.
    """
    split = next((name for name in SPLITS if name in path.stem.lower()), "")
    if needs_split and not split:
        raise DatasetError(f"{path} is neither the list of train nor that of test.")
    lines = csv.reader(read_list_text(path).splitlines())
    head = [name.strip() for name in next(lines, [])]
    if missing := [name for name in ARKITFACE_COLUMNS if name not in head]:
        raise DatasetError(f"{path} has no column {' and '.join(missing)}.")
    columns = [head.index(name) for name in ARKITFACE_COLUMNS]
    try:
        for line in lines:
            if not line:
                continue
            fields = [line[c].strip() if c < len(line) else "" for c in columns]
            where = f"{path.name}, line {lines.line_num}"
            if all(map(is_name, fields)):
                yield Row(split, *fields)
            else:
                yield Problem(where, f"{', '.join(fields)!r} names no picture.")
    except csv.Error as error:
        raise DatasetError(f"{path}, line {lines.line_num}: {error}.") from error


class FolderNames:
    """Whether files are there, asked of many of them, folder by folder, during one listing."""

    def __init__(self) -> None:
        self._names_in = lru_cache(maxsize=256)(_names_in)

    def has(self, path: Path) -> bool:
        return path.name in self._names_in(path.parent)


def _names_in(folder: Path) -> frozenset[str]:
    if not folder.is_dir():
        return frozenset()
    with os.scandir(folder) as entries:
        return frozenset(entry.name for entry in entries)


class FilesOfKeys(Mapping[str, tuple[str, ...]]):
    """Files by key, made when asked for: a million keys need no million tuples of paths."""

    def __init__(self, keys: Set[str], files: Callable[[str], tuple[str, ...]]) -> None:
        self._keys, self._files = keys, files

    def __getitem__(self, key: str) -> tuple[str, ...]:
        if key not in self._keys:
            raise KeyError(key)
        return self._files(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)
