"""Lists of samples in the data sets' own formats: 300W-LP's files.txt, ARKitFace's csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path, PurePosixPath

from viewer.datasets.mat_file import read_mat
from viewer.datasets.source import DatasetError, Problem, Progress, silent
from viewer.datasets.weak_perspective import (
    LABELS,
    LISTED_AT_ONCE,
    MAX_ANGLE_DEG,
    MOST_FOLDERS,
    PICTURE,
    POSE_ALONE,
    Pair,
    is_name,
    list_pairs,
    pairs_below,
    read_weak_pose,
)

FILES_TXT = "files.txt"
MAX_LIST_BYTES = 256 << 20
READING_THREADS, READ_AT_ONCE = 4, 50

ARKITFACE_COLUMNS = ("subject_id", "facial_action", "img_id")


@dataclass(frozen=True)
class FileListReport:
    """What `write_files_txt` did. problems: what was left out, and why."""

    out: Path
    written: int
    problems: tuple[Problem, ...]


def write_files_txt(
    root: Path, out: Path, limit: int | None = None, progress: Progress = silent
) -> FileListReport:
    """300W-LP's files.txt as 6DRepNet and TokenHPE read it, for all pairs below the root.

    A line is "./AFW/AFW_1_1_0", without ending; angles beyond 99 degrees are left out. The
    original program's order is that of the file system; here it is sorted, so that every machine
    writes the same file. It appears when it is complete. limit: the first so many pairs.
    Raises: DatasetError for a folder without a pair, or where the file cannot be written.
    """
    found = list_pairs(within_limit(root, pairs_below(root)), limit, progress)
    keys = [key for key, files in found.files_of.items() if key + PICTURE in files]
    unfinished = out.with_name(out.name + ".partial")
    try:
        unfinished.write_text(files_txt(keys), encoding="utf-8", newline="\n")
        unfinished.replace(out)
    except OSError as error:
        raise DatasetError(f"{out} cannot be written: {error.strerror}.") from error
    return FileListReport(out, len(keys), found.problems)


def files_txt(keys: Iterable[str]) -> str:
    """The content of a files.txt for keys of 300W-LP; no line end after the last line."""
    return "\n".join(f"./{key}" for key in keys)


def arkitface_csv(keys: Iterable[str]) -> str:
    """The content of an ARKitFace list for its keys, whose last three parts are its columns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(ARKITFACE_COLUMNS)
    writer.writerows(key.split("/")[-3:] for key in keys)
    return text.getvalue()


def within_limit(root: Path, pairs: Iterable[Pair]) -> Iterator[Pair | Problem]:
    """The pairs whose angles as stored are at most 99 degrees; a problem for each of the others.

    Every label file is opened, some at a time by threads: a disk in a network takes its time.
    """
    with ThreadPoolExecutor(READING_THREADS) as pool:
        waiting = iter(pairs)
        while chunk := list(islice(waiting, LISTED_AT_ONCE)):
            parts = [chunk[i : i + READ_AT_ONCE] for i in range(0, len(chunk), READ_AT_ONCE)]
            yield from chain.from_iterable(pool.map(partial(_all_within_limit, root), parts))


def _all_within_limit(root: Path, pairs: Sequence[Pair]) -> list[Pair | Problem]:
    return [_within_limit(root, pair) for pair in pairs]


def _within_limit(root: Path, pair: Pair) -> Pair | Problem:
    if not pair.has_labels:
        return pair
    mat = root / (pair.key + LABELS)
    try:
        pose = read_weak_pose(read_mat(mat, POSE_ALONE), mat)
    except DatasetError as error:
        return Problem(pair.key + LABELS, str(error))
    if pose.largest_angle_deg <= MAX_ANGLE_DEG:
        return pair
    angles = f"{pose.yaw_deg:.1f}, {pose.pitch_deg:.1f}, {pose.roll_deg:.1f}"
    return Problem(
        pair.key + LABELS, f"Yaw, pitch, roll {angles} deg: beyond 99 degrees, left out."
    )


def read_files_txt(root: Path) -> tuple[list[str], list[Problem]]:
    """The keys of the root's files.txt in its order, and its lines that are none.

    Raises: DatasetError if the file is not readable text.
    """
    keys: dict[str, None] = {}
    problems = []
    for number, line in enumerate(read_list_text(root / FILES_TXT).splitlines(), start=1):
        line = line.strip()
        if not line:
            continue
        path = PurePosixPath(line)
        where = f"{FILES_TXT}, line {number}"
        if not path.parts or len(path.parts) > MOST_FOLDERS or not all(map(is_name, path.parts)):
            problems.append(Problem(where, f"{line!r:.99} is no path below the folder."))
        elif str(path) in keys:
            problems.append(Problem(where, f"{line!r} is listed again."))
        else:
            keys[str(path)] = None
    return list(keys), problems


def read_splits(paths: Sequence[Path]) -> dict[str, str]:
    """Key -> split, from lists of keys, one a line as in files.txt or a list of pictures.

    A split has its file's name. Raises: DatasetError, also for a key that two lists have.
    """
    split_of: dict[str, str] = {}
    for path in paths:
        for line in filter(None, map(str.strip, read_list_text(path).splitlines())):
            key = line.removeprefix("./")
            for ending in (".jpg", ".png", "_rgb"):
                key = key.removesuffix(ending)
            if split_of.setdefault(key, path.stem) != path.stem:
                raise DatasetError(f"{key!r} is in {split_of[key]} and in {path.name}.")
    return split_of


def read_list_text(path: Path) -> str:
    """A list file's text. Raises: DatasetError."""
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise DatasetError(f"{path} is larger than 256 MiB, no list of samples.")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is no readable text: {error}.") from error
    if "\0" in text:
        raise DatasetError(f"{path} is no text: it has a zero byte.")
    return text
