"""Lists of samples in the data sets' own formats: 300W-LP's files.txt, ARKitFace's csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from viewer.datasets.mat_file import read_mat
from viewer.datasets.source import DatasetError, Problem
from viewer.datasets.weak_perspective import MAX_ANGLE_DEG, POSE_ALONE, pair_stems, read_weak_pose

FILES_TXT = "files.txt"
MAX_LIST_BYTES = 256 << 20

ARKITFACE_COLUMNS = ("subject_id", "facial_action", "img_id")


@dataclass(frozen=True)
class FileListReport:
    """What `write_files_txt` did. problems: what was left out, and why."""

    out: Path
    written: int
    problems: tuple[Problem, ...]


def write_files_txt(root: Path, out: Path) -> FileListReport:
    """300W-LP's files.txt as 6DRepNet and TokenHPE read it, for all pairs below the root.

    A line is "./AFW/AFW_1_1_0", without ending; angles beyond 99 degrees are left out. The
    original program's order is that of the file system; here it is sorted, so that every machine
    writes the same file. It appears when it is complete.
    Raises: DatasetError for a folder without a pair, or where the file cannot be written.
    """
    found = list(within_limit(root, pair_stems(root)))
    problems = tuple(one for one in found if isinstance(one, Problem))
    keys, incomplete = [], []
    for key in (one for one in found if isinstance(one, str)):
        if (root / (key + ".jpg")).is_file():
            keys.append(key)
        else:
            incomplete.append(Problem(key + ".jpg", "The picture is missing."))
    partial = out.with_name(out.name + ".partial")
    try:
        partial.write_text(files_txt(keys), encoding="utf-8", newline="\n")
        partial.replace(out)
    except OSError as error:
        raise DatasetError(f"{out} cannot be written: {error.strerror}.") from error
    return FileListReport(out, len(keys), (*problems, *incomplete))


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


def within_limit(root: Path, stems: Iterable[str]) -> Iterator[str | Problem]:
    """The stems whose angles are at most 99 degrees; a problem for each of the others."""
    for stem in stems:
        mat = root / (stem + ".mat")
        if not mat.is_file():
            yield Problem(stem + ".mat", "The label file is missing.")
            continue
        try:
            pose = read_weak_pose(read_mat(mat, POSE_ALONE), mat)
        except DatasetError as error:
            yield Problem(stem + ".mat", str(error))
            continue
        if pose.largest_angle_deg > MAX_ANGLE_DEG:
            angles = f"{pose.yaw_deg:.1f}, {pose.pitch_deg:.1f}, {pose.roll_deg:.1f}"
            yield Problem(
                stem + ".mat", f"Yaw, pitch, roll {angles} deg: beyond 99 degrees, left out."
            )
        else:
            yield stem


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
        if path.is_absolute() or ".." in path.parts or "\\" in line or not path.parts:
            problems.append(Problem(where, f"{line!r} is no path below the folder."))
        elif str(path) in keys:
            problems.append(Problem(where, f"{line!r} is listed again."))
        else:
            keys[str(path)] = None
    return list(keys), problems


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
