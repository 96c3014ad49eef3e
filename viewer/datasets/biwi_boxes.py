"""Makes a box file for BIWI with a detector of ours, where TRG's annot_mtcnn_fan.pkl is absent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from viewer.datasets.biwi import Biwi
from viewer.datasets.biwi_box_file import OURS, read_boxes, refuse_foreign, write_box_file
from viewer.datasets.sample import UnreadablePictureError
from viewer.datasets.source import DatasetError, Problem, Progress

Array = np.ndarray
DetectPoints = Callable[[UInt8[Array, "h w 3"]], Float[Array, "68 2"] | None]
"""Picture -> iBUG's 68 points of its most prominent face, our pixels; None: no face was found."""


STORE_EVERY_S = 30.0
UNFINISHED = ".unfinished"
"""Behind the name of the file while it is made; the next run goes on from it."""


@dataclass(frozen=True)
class BoxReport:
    """What `write_boxes` did. no_face: keys where nothing was found; they are not in the file.

    problems: of the listing, and pictures that cannot be read. made_by: the label in the file.
    known: frames taken over from a run that was stopped. is_complete: False if this one was; the
    file is then not there yet.
    """

    frames: int
    found: int
    known: int
    no_face: tuple[str, ...]
    problems: tuple[Problem, ...]
    made_by: str
    is_complete: bool


def _never() -> bool:
    return False


def write_boxes(
    root: Path,
    out: Path,
    detect_fn: DetectPoints,
    progress: Progress,
    *,
    detector: str = "an unnamed detector",
    limit: int | None = None,
    should_stop: Callable[[], bool] = _never,
) -> BoxReport:
    """Detects every frame's points and writes them in TRG's layout, labelled as ours; atomically.

    A run that is stopped or killed leaves its points beside the file, and the next one with the
    same detector goes on from there.
    detector: what finds the points, for the label. progress: frames done, frames in all.
    Raises: DatasetError without BIWI, for damaged scans, for a place that cannot be written, and
        rather than replace a file that is not ours. Frames that cannot be read are in the report.
    """
    refuse_foreign(out)
    dataset = Biwi(root)
    work = _Work(out, f"{OURS}: {detector}")
    listing = dataset.list_samples(limit, progress)
    wanted = [key for key in listing.keys if key not in work.looked_at]
    known, problems = len(listing.keys) - len(wanted), list(listing.problems)
    try:
        for done, key in enumerate(wanted, start=known + 1):
            if should_stop():
                break
            try:
                work.take(key, detect_fn(dataset.read(key).read_image_rgb()))
            except (UnreadablePictureError, DatasetError) as error:
                picture = next(name for name in listing.files_of[key] if "_rgb." in name)
                problems.append(Problem(picture, str(error)))
                work.unreadable.add(key)
            progress(done, len(listing.keys))
    finally:
        work.store()
    points = {key: work.points_px[key] for key in listing.keys if key in work.points_px}
    is_complete = all(key in work.looked_at | work.unreadable for key in listing.keys)
    if is_complete:
        write_box_file(out, listing.keys, points, dataset.scan_paths(), work.made_by)
        work.place.unlink()
    no_face = tuple(key for key in listing.keys if key not in points) if is_complete else ()
    return BoxReport(
        len(listing.keys), len(points), known, no_face, tuple(problems), work.made_by, is_complete
    )


class _Work:
    """The points so far, in a file of their own. Raises: DatasetError if it cannot be written."""

    def __init__(self, out: Path, made_by: str) -> None:
        self.place, self.made_by = out.with_name(out.name + UNFINISHED), made_by
        self.points_px: dict[str, Float[Array, "68 2"]] = {}
        self.looked_at: set[str] = set()
        self.unreadable: set[str] = set()
        try:
            before = read_boxes(self.place)
        except DatasetError:
            before = None
        if before is not None and before.made_by == made_by:
            self.points_px |= before.points_px
            self.looked_at |= {*before.points_px, *before.no_face}
        self.store()

    def take(self, key: str, points_px: Float[Array, "68 2"] | None) -> None:
        self.looked_at.add(key)
        if points_px is not None:
            self.points_px[key] = points_px
        if time.monotonic() - self._stored_s > STORE_EVERY_S:
            self.store()

    def store(self) -> None:
        write_box_file(self.place, sorted(self.looked_at), self.points_px, {}, self.made_by)
        self._stored_s = time.monotonic()
