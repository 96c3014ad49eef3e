"""AFLW2000-3D: 2000 pairs of NAME.jpg and NAME.mat with 68 landmarks in pt3d_68.

Zhu et al. 2016; the labels are explained in `viewer.datasets.weak_perspective`. pt2d holds AFLW's
21 landmarks, -1 where one is not visible; some angles are a turn off, such as -351 degrees.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from models.geometry.rotations import ypr_300wlp_from_matrix
from viewer.datasets.registry import DATASET_INFOS
from viewer.datasets.sample import Sample
from viewer.datasets.source import Listing, Progress, SampleDetail, silent
from viewer.datasets.weak_perspective import (
    MATLAB_PIXEL,
    MAX_ANGLE_DEG,
    NO_MESH,
    WeakPose,
    list_pairs,
    pairs_below,
    raw_fields,
    read_pair,
    read_points_px,
    read_weak_pose,
    weak_sample,
)

Array = np.ndarray

AFLW_21 = "AFLW 21"
"""Name of pt2d's points in `SampleDetail.points_px`."""


@dataclass(frozen=True)
class Aflw2000:
    """AFLW2000-3D, or a part of it, in a folder. Keys are paths without ending: "image00050"."""

    root: Path

    info = DATASET_INFOS["aflw2000"]

    def list_samples(self, limit: int | None = None, progress: Progress = silent) -> Listing:
        """All pairs, sorted, also those with an angle beyond 99 degrees.

        A sample without its picture is listed, and named among the problems.
        Raises: DatasetError for a folder without a pair.
        """
        return list_pairs(pairs_below(self.root), limit, progress)

    def read(self, key: str) -> Sample:
        """One sample. Raises: DatasetError."""
        return self._sample(key, *read_pair(self.root, key))

    def detail(self, key: str) -> SampleDetail:
        """One sample with AFLW's landmarks and all its fields. Raises: DatasetError."""
        labels, mat = read_pair(self.root, key)
        return SampleDetail(
            sample=self._sample(key, labels, mat),
            points_px={AFLW_21: _aflw_21_px(labels, mat)} if "pt2d" in labels else {},
            raw=raw_fields(labels, mat.name),
            notes=(NO_MESH, *_notes(read_weak_pose(labels, mat))),
        )

    def _sample(self, key: str, labels: dict[str, Array], mat: Path) -> Sample:
        return weak_sample(self.info.name, key, labels, mat, "pt3d_68")


def _aflw_21_px(labels: dict[str, Array], mat: Path) -> Float[Array, "21 2"]:
    """AFLW's landmarks, NaN where not visible: x is -1 there, and y is -1 or was turned over."""
    points = read_points_px(labels, "pt2d", 21, mat)
    hidden = (points == -1.0 - MATLAB_PIXEL).any(1)
    return np.where(hidden[:, None], np.nan, points)


def _notes(pose: WeakPose) -> tuple[str, ...]:
    if pose.largest_angle_deg <= MAX_ANGLE_DEG:
        return ()
    stored = f"{pose.yaw_deg:.1f}, {pose.pitch_deg:.1f}, {pose.roll_deg:.1f}"
    turned = ypr_300wlp_from_matrix(pose.matrix())
    same = f"{turned.yaw_deg:.1f}, {turned.pitch_deg:.1f}, {turned.roll_deg:.1f}"
    return (
        f"Stored yaw, pitch, roll are {stored} deg, beyond 99: published tables leave this picture "
        f"out. The same rotation is {same} deg.",
    )
