"""Which frames of BIWI are there, what is missing, and how that compares with the published set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from viewer.datasets.biwi_box_file import read_boxes
from viewer.datasets.biwi_files import read_calibration
from viewer.datasets.biwi_layout import (
    ANNOTATIONS,
    DEPTH,
    MASKS,
    POSE,
    BiwiLayout,
    frames_of_sequence,
    names_in,
    picture_ending,
)
from viewer.datasets.protocols import BIWI_FRAMES, PROTOCOLS, biwi_person
from viewer.datasets.source import DatasetError, Listing, Problem, Progress, silent

MOST_NAMED = 6


@dataclass
class _Found:
    """What the walk over the sequences gathers."""

    root: Path
    files_of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    of_sequence: dict[str, int] = field(default_factory=dict)
    jpegs: int = 0
    with_depth: int = 0
    with_annotation: int = 0
    with_mask: int = 0

    def name(self, path: Path) -> str:
        """Relative to the root; the path of what lies beside it starts with two dots."""
        return Path(os.path.relpath(path, self.root)).as_posix()

    def problem(self, path: Path, reason: str) -> None:
        self.problems.append(Problem(self.name(path), reason))


def list_frames(
    root: Path,
    layout: BiwiLayout,
    box_path: Path | None,
    limit: int | None = None,
    progress: Progress = silent,
) -> Listing:
    """Every frame that has picture, pose and calibration. limit: the first so many."""
    found = _Found(root)
    for sequence in layout.uncalibrated:
        found.problem(layout.frames / sequence, "no rgb.cal, so its poses have no camera")
    for copy in layout.copies:
        found.problem(copy, f"more sequences; those of {found.name(layout.frames)} are read")
    box_notes = list(_box_notes(found, box_path))
    for sequence in layout.sequences:
        if limit is not None and len(found.files_of) >= limit:
            break
        progress(len(found.files_of), None)
        _list_sequence(found, layout, sequence, box_path, limit)
    notes = [layout.description(root), *_part_notes(found, layout), *box_notes]
    if limit is not None and len(found.files_of) >= limit:
        notes.append(f"Only the first {limit} frames were looked at.")
    else:
        notes += _protocol_notes(found)
    return Listing(tuple(found.files_of), tuple(found.problems), tuple(notes), found.files_of)


def _list_sequence(
    found: _Found, layout: BiwiLayout, sequence: str, box_path: Path | None, limit: int | None
) -> None:
    folder = layout.frames / sequence
    try:
        read_calibration(folder / "rgb.cal")
    except DatasetError as error:
        found.problem(folder / "rgb.cal", str(error))
        return
    shared = _shared_files(found, layout, sequence, box_path)
    annotations = names_in(layout.annotations and layout.annotations / sequence)
    masks = names_in(layout.masks and layout.masks / sequence)
    place = f"{found.name(folder)}/"
    extras = (layout.annotations, layout.masks)
    old, mask = (extra and f"{found.name(extra)}/{sequence}/" for extra in extras)
    for stem, endings in frames_of_sequence(folder).items():
        if limit is not None and len(found.files_of) >= limit:
            return
        picture = picture_ending(endings)
        if picture is None or POSE not in endings:
            absent = POSE if picture else "picture"
            found.problem(folder / stem, f"no {absent}; there is {', '.join(sorted(endings))}")
            continue
        own = [f"{place}{stem}_{e}" for e in (POSE, picture, DEPTH) if e in endings]
        if f"{stem}_pose.bin" in annotations:
            own.append(f"{old}{stem}_pose.bin")
            found.with_annotation += 1
        if f"{stem}_depth_mask.png" in masks:
            own.append(f"{mask}{stem}_depth_mask.png")
            found.with_mask += 1
        found.jpegs += picture.endswith("jpg")
        found.with_depth += DEPTH in endings
        found.of_sequence[sequence] = found.of_sequence.get(sequence, 0) + 1
        found.files_of[f"{sequence}/{stem}"] = (*own, *shared)


def _shared_files(
    found: _Found, layout: BiwiLayout, sequence: str, box_path: Path | None
) -> list[str]:
    """What every frame of a sequence is made of besides its own files, relative to the root."""
    folder, scan = layout.frames / sequence, layout.scan_path(sequence)
    if not scan.is_file():
        found.problem(scan, f"missing: sequence {sequence} has no mesh, and boxes only if detected")
    paths = [folder / "rgb.cal", folder / "depth.cal", scan]
    if box_path is not None and box_path.is_relative_to(found.root):
        paths.append(box_path)
    return [found.name(path) for path in paths if path.is_file()]


def _box_notes(found: _Found, box_path: Path | None) -> Iterator[str]:
    if box_path is None:
        yield (
            "No annot_mtcnn_fan.pkl (TRG's box file): boxes are those of the projected scans. "
            "`write-boxes --dataset biwi` makes one of our own."
        )
        return
    name = found.name(box_path) if box_path.is_relative_to(found.root) else str(box_path)
    try:
        boxes = read_boxes(box_path)
    except DatasetError as error:
        found.problems.append(Problem(name, str(error)))
        yield f"{name} cannot be used: boxes are those of the projected scans."
        return
    found.problems += boxes.problems
    whose = "our own box file, not TRG's" if boxes.is_ours else "boxes"
    yield f"{name}: {whose}; {len(boxes.points_px):,} frames with a face, by {boxes.made_by}."
    if boxes.no_face:
        shown = ", ".join(boxes.no_face[:MOST_NAMED])
        yield f"{len(boxes.no_face):,} frames of the box file have no face, such as {shown}."


def _part_notes(found: _Found, layout: BiwiLayout) -> Iterator[str]:
    frames = len(found.files_of)
    if found.jpegs:
        yield f"{found.jpegs:,} pictures are JPEG copies; the official ones are PNG."
    parts = {"depth": found.with_depth}
    if layout.annotations:
        parts[f"{ANNOTATIONS} entry"] = found.with_annotation
    if layout.masks:
        parts[f"{MASKS} mask"] = found.with_mask
    for what, count in parts.items():
        if count < frames:
            yield f"{frames - count:,} of {frames:,} frames have no {what}."


def _protocol_notes(found: _Found) -> Iterator[str]:
    """The published counts, where these are BIWI's sequences."""
    numbers = {int(name): name for name in found.of_sequence if name.isdigit()}
    known = {number: name for number, name in numbers.items() if number in BIWI_FRAMES}
    people = {biwi_person(name) for name in found.of_sequence}
    total = len(found.files_of)
    yield f"{total:,} frames, {len(found.of_sequence)} sequences, {len(people)} people."
    if not known:
        yield "None of them is one of BIWI's 24 sequences: another set in BIWI's format."
        return
    published = PROTOCOLS["biwi-15678"].samples
    counts = {n: found.of_sequence.get(known.get(n, ""), 0) for n in BIWI_FRAMES}
    off = [f"{n:02d} ({counts[n]} of {k})" for n, k in BIWI_FRAMES.items() if counts[n] != k]
    if off:
        more = f" and {len(off) - MOST_NAMED} more" if len(off) > MOST_NAMED else ""
        yield (
            f"BIWI has {published:,} frames with picture and pose; other counts are here in "
            f"sequence {', '.join(off[:MOST_NAMED])}{more}."
        )
    else:
        yield f"All {published:,} frames are here, as Biwi+, TRG and PerspNet count them."
