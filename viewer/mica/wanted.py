"""Which pictures a subset should have, and which file of the original data set each of them is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from viewer.datasets.mica_files import ActorImages, read_image_list
from viewer.datasets.mica_layout import IMAGE_ENDINGS
from viewer.datasets.source import DatasetError
from viewer.mica.adapters import Adapter, Pictures, draw_sample, find_pictures

MAX_NAME_BYTES = 240


@dataclass(frozen=True)
class WantedPicture:
    """One picture of the prepared set.

    name: of its file, without a folder. source: None where the original data set has it not.
    same_name: how many files of the actor have this name; the first by path is taken.
    is_clash: another picture of the actor, before this one, has the name or the stem.
    """

    actor: str
    name: str
    source: Path | None
    same_name: int = 1
    is_clash: bool = False


@dataclass(frozen=True)
class Wanted:
    """pictures: in the order of the list. parameters: actor -> the .npz of the list; empty where
    there is no list. actors: all, in order."""

    pictures: tuple[WantedPicture, ...]
    parameters: dict[str, str]
    actors: tuple[str, ...]


def wanted_pictures(adapter: Adapter, source: Path, image_list: Path | None) -> Wanted:
    """Those of the list; without a list those that MICA's rule for the subset draws.

    Raises: DatasetError.
    """
    found = find_pictures(adapter, source)
    if image_list is None:
        return _drawn(draw_sample(adapter, found))
    listed = read_list(image_list)
    files = {actor: _by_name(paths) for actor, paths in found.items()}
    pictures = []
    for actor, row in listed.items():
        stems: set[str] = set()
        for name in dict.fromkeys(PurePosixPath(image).name for image in row.images):
            same = files.get(actor, {}).get(name.casefold(), [])
            stem = PurePosixPath(name).stem
            pictures.append(
                WantedPicture(actor, name, same[0] if same else None, len(same), stem in stems)
            )
            stems.add(stem)
    parameters = {actor: PurePosixPath(row.parameters).name for actor, row in listed.items()}
    return Wanted(tuple(pictures), parameters, tuple(sorted(listed)))


def read_list(path: Path) -> dict[str, ActorImages]:
    """image_paths/SUBSET.npy, in which every file must be `actor/file`.

    Raises: DatasetError also for a name that would leave its folder or is no picture's.
    """
    listed = read_image_list(path)
    for actor, row in listed.items():
        for image in row.images:
            _check_name(path, actor, image, IMAGE_ENDINGS)
        _check_name(path, actor, row.parameters, (".npz",))
    if not listed:
        raise DatasetError(f"{path} lists no actor.")
    return listed


def _check_name(path: Path, actor: str, name: str, endings: tuple[str, ...]) -> None:
    parts = name.split("/")
    is_plain = len(parts) == 2 and parts[0] == actor and parts[1].lower().endswith(endings)
    is_plain = is_plain and actor[0] != "." and parts[1][0] != "." and name.isprintable()
    if not is_plain or "\\" in name or len(name.encode()) > MAX_NAME_BYTES:
        raise DatasetError(
            f"{path}: {name[:60]!r} of actor {actor[:40]!r} is not actor/file with one of the "
            f"endings {' '.join(endings)}."
        )


def _drawn(drawn: Pictures) -> Wanted:
    pictures = []
    for actor, paths in drawn.items():
        counts, stems = Counter(path.name for path in paths), set()
        for path in paths:
            is_clash = path.stem in stems
            pictures.append(WantedPicture(actor, path.name, path, counts[path.name], is_clash))
            stems.add(path.stem)
    return Wanted(tuple(pictures), {}, tuple(drawn))


def _by_name(paths: list[Path]) -> dict[str, list[Path]]:
    """Without regard to case: copies between systems change it."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        found.setdefault(path.name.casefold(), []).append(path)
    return found
