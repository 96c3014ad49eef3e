"""Makes a box file for BIWI with a detector of ours, where TRG's annot_mtcnn_fan.pkl is absent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from viewer.datasets.biwi import Biwi
from viewer.datasets.biwi_box_file import OURS, refuse_foreign, write_box_file
from viewer.datasets.sample import UnreadablePictureError
from viewer.datasets.source import DatasetError, Problem

Array = np.ndarray
DetectPoints = Callable[[UInt8[Array, "h w 3"]], Float[Array, "68 2"] | None]
"""Picture -> iBUG's 68 points of its most prominent face, our pixels; None: no face was found."""


@dataclass(frozen=True)
class BoxReport:
    """What `write_boxes` did. no_face: keys where nothing was found; they are not in the file.

    problems: of the listing, and pictures that cannot be read. made_by: the label in the file.
    """

    frames: int
    found: int
    no_face: tuple[str, ...]
    problems: tuple[Problem, ...]
    made_by: str


def write_boxes(
    root: Path,
    out: Path,
    detect_fn: DetectPoints,
    progress: Callable[[int, int], None],
    *,
    detector: str = "an unnamed detector",
    limit: int | None = None,
) -> BoxReport:
    """Detects every frame's points and writes them in TRG's layout, labelled as ours; atomically.

    detector: what finds the points, for the label. progress: frames done, frames in all.
    Raises: DatasetError without BIWI, for damaged scans, and rather than replace a file that is not
        ours. Frames that cannot be read are in the report.
    """
    refuse_foreign(out)
    dataset = Biwi(root)
    listing = dataset.list_samples(limit)
    points: dict[str, Float[Array, "68 2"]] = {}
    no_face, problems = [], list(listing.problems)
    for done, key in enumerate(listing.keys, start=1):
        try:
            found = detect_fn(dataset.read(key).read_image_rgb())
        except (UnreadablePictureError, DatasetError) as error:
            picture = next(name for name in listing.files_of[key] if "_rgb." in name)
            problems.append(Problem(picture, str(error)))
            found = None
        if found is None:
            no_face.append(key)
        else:
            points[key] = found
        progress(done, len(listing.keys))
    made_by = f"{OURS}: {detector}"
    write_box_file(out, listing.keys, points, dataset.scan_paths(), made_by)
    return BoxReport(len(listing.keys), len(points), tuple(no_face), tuple(problems), made_by)
