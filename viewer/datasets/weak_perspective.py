"""Labels of 300W-LP and AFLW2000-3D: fits of a face model under weak perspective.

Zhu et al. 2016. Pose_Para holds pitch, yaw, roll (rad), tx, ty, tz and a scale s. In the Basel face
model's axes (x right, y up, z to the camera) a point X of the model is seen at q = s R_bfm X + t
with R_bfm = Rx(-pitch) Ry(-yaw) Rz(-roll), in MATLAB's pixels u = q_x, v = H + 1 - q_y. In OpenCV's
axes R_bfm is exactly the project's own Rx(-pitch) Ry(yaw) Rz(roll), and the model's neutral
orientation is that of `head`. t and s are pixels and pixels for a unit of the model: there is no
camera and no distance.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from models.geometry.boxes import bounding_box_xyxy
from models.geometry.rotations import GL_FROM_CV, matrix_from_ypr_300wlp
from viewer.datasets.mat_file import read_mat
from viewer.datasets.sample import Sample
from viewer.datasets.source import LONGEST_NAME, DatasetError, Listing, Problem, Progress

Array = np.ndarray

MATLAB_PIXEL = 0.5
"""MATLAB's first pixel has its centre at 1, ours at 0.5."""

MAX_ANGLE_DEG = 99.0
"""Published file lists and tables leave out samples with an angle beyond this."""

NO_MESH = (
    "No mesh: the labels are coefficients of the Basel face model, which is not part of this "
    "program."
)

POSE_ALONE = frozenset({"Pose_Para"})

MIRROR_68 = np.array(
    [
        *(*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65),
    ]
)
"""The iBUG landmark that each landmark becomes in a mirror. Its own inverse."""

PICTURE, LABELS = ".jpg", ".mat"
MOST_FOLDERS = 10
LISTED_AT_ONCE = 500
"""Pairs between two words of progress."""

_NOT_DATA = {"landmarks", "code"}


@dataclass(frozen=True)
class WeakPose:
    """Pose_Para as stored; the angles may be turns off (-351 degrees) in AFLW2000.

    t_px: where the model's origin is: x, y from the bottom, depth. scale_px: for a unit of the
    model, a micrometre.
    """

    pitch_deg: float
    yaw_deg: float
    roll_deg: float
    t_px: Float[Array, "3"]
    scale_px: float

    def matrix(self) -> Float[Array, "3 3"]:
        """R_cam_from_head."""
        return matrix_from_ypr_300wlp(self.yaw_deg, self.pitch_deg, self.roll_deg)

    @property
    def largest_angle_deg(self) -> float:
        """Of the three as stored, without its sign."""
        return max(abs(self.pitch_deg), abs(self.yaw_deg), abs(self.roll_deg))

    def project(
        self, points_bfm: Float[Array, "n 3"], height_px: int
    ) -> tuple[Float[Array, "n 2"], Float[Array, "n"]]:
        """Pixels of points of the face model (its axes, micrometres), and their depths as the
        files have them: in pixels, larger is nearer."""
        R_bfm = GL_FROM_CV @ self.matrix() @ GL_FROM_CV
        q = self.scale_px * np.asarray(points_bfm, np.float64) @ R_bfm.T + self.t_px
        matlab = np.stack([q[:, 0], height_px + 1 - q[:, 1]], -1)
        return matlab - MATLAB_PIXEL, q[:, 2]


def read_weak_pose(labels: dict[str, Array], path: Path) -> WeakPose:
    """The pose among a file's variables. Raises: DatasetError."""
    pose = np.asarray(labels.get("Pose_Para", ()), np.float64).ravel()
    if len(pose) < 7 or not np.isfinite(pose).all():
        found = f"{len(pose)} numbers" if np.isfinite(pose).all() else "not finite"
        raise DatasetError(f"{path}: Pose_Para must be 7 finite numbers, it is {found}.")
    pitch, yaw, roll = map(float, np.degrees(pose[:3]))
    return WeakPose(pitch, yaw, roll, pose[3:6], float(pose[6]))


def read_points_px(labels: dict[str, Array], name: str, count: int, path: Path) -> Array:
    """Points of a variable of two or three rows, or of that many rows, as (count, 2) pixels.

    Raises: DatasetError.
    """
    points = np.asarray(labels.get(name, ()), np.float64)
    if points.shape in ((2, count), (3, count)):
        points = points[:2].T
    if points.shape != (count, 2) or not np.isfinite(points).all():
        raise DatasetError(
            f"{path}: {name} must be {count} finite points, it has the shape {points.shape}."
        )
    return points - MATLAB_PIXEL


def raw_fields(labels: dict[str, Array], file: str) -> dict[str, str]:
    """Every variable as text: short ones in full, long ones with shape and range."""
    return {f"{file}: {name}": array_text(values) for name, values in labels.items()}


def array_text(values: Array) -> str:
    """An array in a line."""
    if values.size <= 16:
        return f"{values.dtype} {np.array2string(values, precision=6, max_line_width=10_000)}"
    if values.dtype.kind not in "biuf":
        return f"{values.dtype} {values.shape}"
    return f"{values.dtype} {values.shape}, {values.min():.6g} to {values.max():.6g}"


@dataclass(frozen=True)
class Pair:
    """NAME.jpg and NAME.mat. key: path below the root without ending. Either may be missing."""

    key: str
    has_picture: bool
    has_labels: bool

    @property
    def files(self) -> tuple[str, ...]:
        """Those that are there, relative to the root."""
        there = ((PICTURE, self.has_picture), (LABELS, self.has_labels))
        return tuple(self.key + ending for ending, is_there in there if is_there)


def pairs_below(root: Path) -> Iterator[Pair]:
    """All that have a .mat or a .jpg, sorted; only names are looked at.

    Folders with landmarks or programs are no samples. Raises: DatasetError where there is none.
    """
    found = False
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name.lower() not in _NOT_DATA)
        there = set(names)
        inside = Path(folder).relative_to(root).as_posix()
        start = "" if inside == "." else f"{inside}/"
        ends = (PICTURE, LABELS)
        for stem in sorted({name[: -len(PICTURE)] for name in names if name.endswith(ends)}):
            found = True
            yield Pair(start + stem, stem + PICTURE in there, stem + LABELS in there)
    if not found:
        raise DatasetError(f"{root} has no pair of NAME.jpg and NAME.mat.")


def pair_of(root: Path, key: str) -> Pair:
    """A pair that a list names."""
    path = checked_path(root, key)
    return Pair(key, *(path.with_name(path.name + end).is_file() for end in (PICTURE, LABELS)))


def list_pairs(
    found: Iterable[Pair | Problem],
    limit: int | None,
    progress: Progress,
    note: str = "",
) -> Listing:
    """Those with labels, up to the limit. One without its picture is listed, and is a problem too.

    found: may hold what is wrong already. note: which pairs these are, "" for all.
    """
    files_of: dict[str, tuple[str, ...]] = {}
    problems: list[Problem] = []
    for number, pair in enumerate(found):
        if len(files_of) == limit:
            break
        if number % LISTED_AT_ONCE == 0:
            progress(number, None)
        if isinstance(pair, Problem):
            problems.append(pair)
            continue
        problems += missing_of(pair)
        if pair.has_labels:
            files_of[pair.key] = pair.files
    return Listing(tuple(files_of), tuple(problems), (note,) if note else (), files_of)


def missing_of(pair: Pair) -> list[Problem]:
    """What a pair lacks; of one without labels only these are named."""
    if not pair.has_labels:
        return [Problem(pair.key + LABELS, "The label file is missing.")]
    return [] if pair.has_picture else [Problem(pair.key + PICTURE, "The picture is missing.")]


def holds_aflw2000(root: Path) -> bool:
    """Whether the first pair below the folder has AFLW2000's landmarks. Raises: DatasetError."""
    for pair in pairs_below(root):
        if pair.has_labels:
            return "pt3d_68" in read_mat(root / (pair.key + LABELS))
    return False


def is_name(part: str) -> bool:
    """Whether it may be a part of a path below a folder, and leads nowhere else."""
    is_short = 0 < len(part.encode("utf-8", "surrogateescape")) <= LONGEST_NAME
    return is_short and part not in (".", "..") and not set(part) & set("/\\\0")


def checked_path(root: Path, key: str) -> Path:
    """The path of a key without its ending. Raises: DatasetError if it leads out of the root."""
    parts = key.split("/")
    if not all(map(is_name, parts)) or len(parts) > MOST_FOLDERS:
        raise DatasetError(f"{key!r:.99} is no sample of {root}.")
    return root.joinpath(*parts)


def weak_sample(
    dataset: str, key: str, labels: dict[str, Array], mat: Path, landmarks: str
) -> Sample:
    """What both data sets say of a head; a group of its own. landmarks: name of the 68 points.

    Raises: DatasetError.
    """
    landmarks_px = read_points_px(labels, landmarks, 68, mat)
    return Sample(
        dataset=dataset,
        key=key,
        group=key,
        image=mat.with_suffix(PICTURE),
        camera=None,
        R_cam_from_head=read_weak_pose(labels, mat).matrix(),
        t_cam_from_head_mm=None,
        landmarks_68_px=landmarks_px,
        box_xyxy_px=bounding_box_xyxy(landmarks_px),
    )


def read_pair(root: Path, key: str) -> tuple[dict[str, Array], Path]:
    """The variables of a sample's .mat file, and its path. Raises: DatasetError."""
    path = checked_path(root, key)
    mat = path.with_name(path.name + ".mat")
    if not mat.is_file():
        raise DatasetError(f"{key!r} is no sample of {root}: {mat.name} is missing.")
    return read_mat(mat), mat
