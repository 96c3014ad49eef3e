"""What every data set offers: its description, its list of samples, one sample, what lies deeper.

A reader lists first and reads later: `list_samples` looks at names alone, so that an index of a
million samples can be built by several processes, and go on where it was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from viewer.datasets.sample import Sample

Array = np.ndarray

Progress = Callable[[int, int | None], None]
"""Is told how much is done, and of how much in all; None while that is not known."""


def silent(_done: int, _total: int | None) -> None:
    """A `Progress` that tells nobody."""


LONGEST_NAME = 200
"""Of a part of a path that a list or an address names; file systems refuse 256 bytes."""


class DatasetError(ValueError):
    """A file of the data set cannot be used; the message names it and says why."""


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set before any file is opened.

    name: for addresses and commands, such as "300w-lp". title: for the screen.
    licence: one sentence: what its terms allow. link: where to get it.
    places: where it is looked for below the folder that holds `dataset/`.
    facts: sentences for the screen, such as which origin its translations have.
    """

    name: str
    title: str
    licence: str
    link: str
    places: tuple[str, ...]
    facts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Problem:
    """A file, or a row of one ("list.csv, line 7"), that gives no sample, and why.

    file: relative to the root.
    """

    file: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """The samples of a folder by key, in order, and what is wrong with it.

    files_of: key -> the files the sample is made of, relative to the root; their sizes and times
        tell an index whether the sample has changed. Empty where a shard holds many samples.
    notes: sentences on the whole folder: which layout it has, what was assumed.
    """

    keys: tuple[str, ...]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    files_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class SampleMesh:
    """A mesh of the annotation. frame: "cam" (OpenCV axes, metres) where the data set has a metric
    pose; "head" (the project's axes, metres) otherwise.

    triangles: counter-clockwise seen from outside; None: points only.
    name: what it is, such as "registration".
    """

    name: str
    frame: Literal["cam", "head"]
    vertices_m: Float[Array, "v 3"]
    triangles: Int[Array, "f 3"] | None


@dataclass(frozen=True)
class OtherPose:
    """The same head as somebody else reads the label, such as BIWI's without calibration."""

    name: str
    R_cam_from_head: Float[Array, "3 3"]
    t_cam_from_head_mm: Float[Array, "3"] | None
    note: str


@dataclass(frozen=True)
class SampleDetail:
    """All that the files say about one sample; read when it is looked at.

    meshes: the first one is the annotation's own.
    points_px: other landmarks than the 68 by name; NaN rows are not visible.
    landmarks_68_m: in the frame of the first mesh. depth_cam_m: points measured by a depth camera.
    mesh_px: the projected mesh where there is no metric camera (weak perspective).
    raw: the fields of the files as they stand there, by "file: field", each value printable.
    notes: sentences about this sample, such as an unexpected vertex count.
    """

    sample: Sample
    meshes: tuple[SampleMesh, ...] = ()
    points_px: Mapping[str, Float[Array, "_n 2"]] = field(default_factory=dict)
    landmarks_68_m: Float[Array, "68 3"] | None = None
    depth_cam_m: Float[Array, "n 3"] | None = None
    mesh_px: Float[Array, "_v 2"] | None = None
    other_poses: tuple[OtherPose, ...] = ()
    raw: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@runtime_checkable
class AnnotatedDataset(Protocol):
    """One data set in one folder. Cheap to make and to send to another process (pickle)."""

    info: DatasetInfo
    root: Path

    def list_samples(self, limit: int | None = None, progress: Progress = silent) -> Listing:
        """What is there, from names and list files alone where these say enough.

        limit: the first so many samples. progress: is told how many were looked at, now and then.
        Raises: DatasetError where nothing of the data set is there.
        """

    def read(self, key: str) -> Sample:
        """One sample. Raises: DatasetError for an unknown key and for damaged files."""

    def detail(self, key: str) -> SampleDetail:
        """One sample with all that its files hold. Raises: as `read`."""
