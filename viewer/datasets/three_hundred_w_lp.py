"""300W-LP: pairs of NAME.jpg and NAME.mat in folders by origin, mirrored twins in `*_Flip` folders.

Zhu et al. 2016; the labels are explained in `viewer.datasets.weak_perspective`. A name is
SET_PHOTO_FACE_VIEW; view 0 is the photo, later views show it turned further by a program.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Float

from viewer.datasets.file_lists import FILES_TXT, read_files_txt, within_limit
from viewer.datasets.mat_file import read_mat
from viewer.datasets.registry import DATASET_INFOS
from viewer.datasets.sample import Sample, UnreadablePictureError
from viewer.datasets.source import Listing, Progress, SampleDetail, silent
from viewer.datasets.weak_perspective import (
    MIRROR_68,
    NO_MESH,
    list_pairs,
    pair_of,
    pairs_below,
    raw_fields,
    read_pair,
    read_points_px,
    weak_sample,
)

Array = np.ndarray

FLIP = "_Flip"

_VIEW = re.compile(r"_(\d+)$")


@dataclass(frozen=True)
class ThreeHundredWLp:
    """300W-LP, or a part of it, in a folder. Keys are paths without ending: "AFW/AFW_1_1_0"."""

    root: Path

    info = DATASET_INFOS["300w-lp"]

    def list_samples(self, limit: int | None = None, progress: Progress = silent) -> Listing:
        """The lines of files.txt in their order; without one all pairs, sorted, whose angles are
        at most 99 degrees, for which every label file is opened.

        A sample without its picture is listed, and named among the problems.
        Raises: DatasetError for a folder without a pair.
        """
        if (self.root / FILES_TXT).is_file():
            note = f"{FILES_TXT} says which samples there are."
            keys, wrong = read_files_txt(self.root)
            found = chain(wrong, (pair_of(self.root, key) for key in keys))
        else:
            note = (
                f"There is no {FILES_TXT}: all pairs, sorted, whose angles are at most 99 degrees "
                "(`write-filelist` writes it)."
            )
            found = within_limit(self.root, pairs_below(self.root))
        return list_pairs(found, limit, progress, note)

    def read(self, key: str) -> Sample:
        """One sample. Raises: DatasetError."""
        return self._sample(key, *read_pair(self.root, key))

    def detail(self, key: str) -> SampleDetail:
        """One sample with the landmarks beside it and all its fields. Raises: DatasetError."""
        labels, mat = read_pair(self.root, key)
        sample = self._sample(key, labels, mat)
        points_px, raw, notes = self._landmark_file(sample)
        view = _VIEW.search(key)
        if view and int(view[1]) > 0:
            notes.append(f"View {view[1]}: the photo turned further by a program.")
        return SampleDetail(
            sample=sample,
            points_px=points_px,
            raw=raw_fields(labels, mat.name) | raw,
            notes=(NO_MESH, *notes),
        )

    def _sample(self, key: str, labels: dict[str, Array], mat: Path) -> Sample:
        view = _VIEW.search(mat.stem)
        return replace(
            weak_sample(self.info.name, key, labels, mat, "pt2d"),
            group=photo_of(key.replace(FLIP + "/", "/")),
            sequence=photo_of(key),
            frame=int(view[1]) if view else None,
        )

    def _landmark_file(
        self, sample: Sample
    ) -> tuple[dict[str, Float[Array, "68 2"]], dict[str, str], list[str]]:
        """Points, fields and notes of landmarks/SET/NAME_pts.mat; those of a twin are mirrored."""
        own = sample.key.replace(FLIP + "/", "/")
        path = self.root / "landmarks" / f"{own}_pts.mat"
        file = path.relative_to(self.root).as_posix()
        if not path.is_file():
            return {}, {}, ["It has no file in landmarks/."]
        labels = read_mat(path)
        points_px = {
            name: read_points_px(labels, name, 68, path)
            for name in ("pts_2d", "pts_3d")
            if name in labels
        }
        if own == sample.key:
            return points_px, raw_fields(labels, file), []
        try:
            width_px = sample.read_image_rgb().shape[1]
        except UnreadablePictureError:
            return {}, raw_fields(labels, file), ["Its landmarks need the picture's width."]
        mirrored = {name: mirrored_68_px(points, width_px) for name, points in points_px.items()}
        return (
            mirrored,
            raw_fields(labels, file),
            ["Landmarks mirrored from its twin's."],
        )


def photo_of(stem: str) -> str:
    """The photo that a file was made from: without the number of the synthesised view."""
    return _VIEW.sub("", stem)


def twin_of(key: str) -> str:
    """The key of the mirrored sample, or of the one that a mirrored sample was made from.

    "AFW/AFW_1_1_0" and "AFW_Flip/AFW_1_1_0". It need not be there.
    """
    folder, _, name = key.rpartition("/")
    return f"{folder.removesuffix(FLIP) if folder.endswith(FLIP) else folder + FLIP}/{name}"


def mirrored_68_px(points_px: Float[Array, "68 2"], width_px: int) -> Float[Array, "68 2"]:
    """Where iBUG's landmarks are in the mirrored picture, in iBUG's order again."""
    return points_px[MIRROR_68] * [-1.0, 1.0] + [width_px, 0.0]
