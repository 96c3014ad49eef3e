"""Where BIWI's parts lie below a folder: the official layout, TRG's, Kaggle's, and copies of them.

Names alone are looked at. A sequence is a folder with frame_*_pose.txt and an rgb.cal.
"""

from __future__ import annotations

import os
import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from viewer.datasets.source import DatasetError

MAX_DEPTH, MAX_FOLDERS = 6, 4000

ANNOTATIONS, MASKS, BOX_FILE = "db_annotations", "head_pose_masks", "annot_mtcnn_fan.pkl"
POSE, DEPTH, PICTURES = "pose.txt", "depth.bin", ("rgb.png", "rgb.jpg")

_FRAME = re.compile(r"(frame_(\d{1,9}))_(pose\.txt|depth\.bin|rgb\.png|rgb\.jpg)")
_SEQUENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class BiwiLayout:
    """frames: the folder of the sequences and of their NN.obj. sequences: with an rgb.cal, sorted.

    uncalibrated: folders with frames and without an rgb.cal. copies: more folders of sequences,
    which are not read. annotations, masks, box_file: None where they are not there.
    """

    frames: Path
    sequences: tuple[str, ...]
    uncalibrated: tuple[str, ...]
    copies: tuple[Path, ...]
    annotations: Path | None
    masks: Path | None
    box_file: Path | None

    def scan_path(self, sequence: str) -> Path:
        return self.frames / f"{sequence}.obj"

    def description(self, root: Path) -> str:
        """Which layout it is, in a sentence."""
        below = self.frames.relative_to(root).as_posix()
        if self.frames.name == "faces_0":
            name = "Kaggle's layout"
        elif self.frames.name == "hpdb":
            is_trgs = self.frames.parent.name == "kinect_head_pose_db"
            name = "TRG's layout" if is_trgs else "The official layout"
        else:
            name = "Sequences without the official folders"
        return f"{name}: the sequences are in {below if below != '.' else 'the folder itself'}."


def find_layout(root: Path) -> BiwiLayout:
    """The extra archives may also lie beside the folder of the sequences or beside the one above,
    where TRG has them, and so outside the root.

    Raises: DatasetError where no folder with an rgb.cal and frames is found.
    """
    if (root / "rgb.cal").is_file():
        raise DatasetError(f"{root} is one sequence of BIWI; give the folder that holds it.")
    parents: dict[Path, list[str]] = {}
    uncalibrated: dict[Path, list[str]] = {}
    named: dict[str, list[Path]] = {ANNOTATIONS: [], MASKS: []}
    for folder in _folders_below(root):
        if folder.name in named:
            named[folder.name].append(folder)
        elif (folder / "rgb.cal").is_file():
            parents.setdefault(folder.parent, []).append(folder.name)
        elif _has_pose(folder):
            uncalibrated.setdefault(folder.parent, []).append(folder.name)
    if not parents:
        raise DatasetError(
            f"{root} has no frame of BIWI: frame_*_rgb.png, _pose.txt and rgb.cal."
            + (" There are frames, but none of their folders has an rgb.cal." * bool(uncalibrated))
        )
    frames = min(parents, key=lambda folder: (-len(parents[folder]), str(folder)))
    sequences = sorted(name for name in parents[frames] if _SEQUENCE.fullmatch(name))
    for above in (*frames.absolute().parents[:2], *frames.resolve().parents[:2]):
        for name in named:
            named[name] += [above / name] if (above / name).is_dir() else []
    box_files = [folder / BOX_FILE for folder in (frames, root)]
    return BiwiLayout(
        frames=frames,
        sequences=tuple(sequences),
        uncalibrated=tuple(sorted(uncalibrated.get(frames, []))),
        copies=tuple(sorted(set(parents) - {frames})),
        annotations=_with_sequences(named[ANNOTATIONS], sequences),
        masks=_with_sequences(named[MASKS], sequences),
        box_file=next((path for path in box_files if path.is_file()), None),
    )


def frames_of_sequence(folder: Path) -> dict[str, frozenset[str]]:
    """ "frame_00003" -> the endings that it has, ordered by the frames' numbers."""
    found: dict[str, set[str]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            match = _FRAME.fullmatch(entry.name)
            if match:
                found.setdefault(match[1], set()).add(match[3])
    return {
        stem: frozenset(found[stem]) for stem in sorted(found, key=lambda s: (frame_number(s), s))
    }


def frame_number(stem: str) -> int:
    """ "frame_00003" -> 3."""
    return int(stem.removeprefix("frame_"))


def picture_ending(endings: frozenset[str]) -> str | None:
    """Official frames are PNG, a common copy has JPEG."""
    return next((ending for ending in PICTURES if ending in endings), None)


def names_in(folder: Path | None) -> frozenset[str]:
    """The names in a folder; none where it is not there."""
    if folder is None or not folder.is_dir():
        return frozenset()
    return frozenset(path.name for path in folder.iterdir())


def _folders_below(root: Path) -> list[Path]:
    """Breadth first. What lies in a sequence or in the two extra archives is not walked into."""
    waiting, found, seen = deque([(root, 0)]), [], set()
    while waiting:
        folder, depth = waiting.popleft()
        where = folder.resolve()
        if where in seen:
            continue
        seen.add(where)
        if folder != root:
            found.append(folder)
        is_end = folder.name in (ANNOTATIONS, MASKS) or (folder / "rgb.cal").is_file()
        if depth == MAX_DEPTH or (is_end and folder != root):
            continue
        if len(seen) > MAX_FOLDERS:
            raise DatasetError(f"{root} has more than {MAX_FOLDERS} folders; give BIWI's own.")
        try:
            below = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        except OSError as error:
            raise DatasetError(f"{folder} cannot be read: {error.strerror}.") from error
        waiting.extend((folder / name, depth + 1) for name in below)
    return found


def _has_pose(folder: Path) -> bool:
    return next(folder.glob("frame_*_pose.txt"), None) is not None


def _with_sequences(folders: list[Path], sequences: list[str]) -> Path | None:
    """The folder, or one level below it, that has a folder named like a sequence."""
    inside = [folder / folder.name for folder in folders]
    for folder in (*folders, *inside):
        if any((folder / sequence).is_dir() for sequence in sequences):
            return folder
    return None
