"""BIWI's box file annot_mtcnn_fan.pkl: 68 detected points a frame, TRG's own or one made by us.

A pickle of {"img_path": [...], "mesh": {"01": {"vertices", "faces"}}, "pred_kpt": {path: (68, 3)}},
paths as "01/frame_00003_rgb.png". Ours has one field more, "made_by", and the scans' vertices in
the order of NN.obj; TRG's went through trimesh, which changes it.
"""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from models.safe_pickle import NUMPY_ARRAYS, PickledArray, UnsafePickleError, read_pickle
from viewer.datasets.biwi_files import OPENCV_PIXEL, read_scan
from viewer.datasets.protocols import key_of_picture
from viewer.datasets.source import DatasetError, Problem

Array = np.ndarray
OURS = "trg-studio"
NOT_OURS = "TRG's authors (the file does not say)"

BOX_OVER_POINTS = 1.5
"""Side of TRG's square box relative to the longer side of the points' extent."""

MAX_FRAMES = 200_000
_STAND_INS = {"trimesh.caching.TrackedArray": PickledArray}


@dataclass(frozen=True)
class BoxFile:
    """points_px: key -> the 68 detected points, our pixels. made_by: for every report.

    no_face: keys that the file lists without points. problems: entries that cannot be used.
    """

    points_px: Mapping[str, Float[Array, "68 2"]]
    made_by: str
    no_face: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def is_ours(self) -> bool:
        return self.made_by.startswith(OURS)


def box_of_points(points_px: Float[Array, "68 2"]) -> Float[Array, "4"]:
    """TRG's square box: the middle of the extent, 1.5 times its longer side."""
    low, high = points_px.min(0), points_px.max(0)
    middle, half = (low + high) / 2, BOX_OVER_POINTS * (high - low).max() / 2
    return np.concatenate([middle - half, middle + half])


def read_boxes(path: Path) -> BoxFile:
    """The file, in which nothing but arrays, texts and lists may stand. Raises: DatasetError."""
    try:
        status = path.stat()
        return _boxes_of(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from error


@lru_cache(maxsize=4)
def _boxes_of(path: Path, size: int, time_ns: int) -> BoxFile:
    try:
        content = read_pickle(path, NUMPY_ARRAYS, encoding="latin1", stand_ins=_STAND_INS)
    except UnsafePickleError as error:
        raise DatasetError(str(error)) from error
    points = content.get("pred_kpt") if isinstance(content, dict) else None
    if not isinstance(points, dict) or len(points) > MAX_FRAMES:
        raise DatasetError(f"{path} is no box file: it has no dictionary 'pred_kpt' of points.")
    made_by, listed = content.get("made_by", NOT_OURS), content.get("img_path", [])
    good: dict[str, Float[Array, "68 2"]] = {}
    problems = []
    for name, value in points.items():
        of_frame = _points(value)
        if not isinstance(name, str) or of_frame is None:
            reason = "the points are not 68 x 2 or 68 x 3 finite numbers"
            problems.append(Problem(f"{path.name}: {str(name)[:80]}", reason))
        else:
            good[key_of_picture(name)] = of_frame
    names = listed if isinstance(listed, list) and len(listed) <= MAX_FRAMES else []
    keys = {key_of_picture(name) for name in names if isinstance(name, str)}
    absent = tuple(sorted(keys - set(good)))
    return BoxFile(good, str(made_by)[:200], absent, tuple(problems))


def _points(value: object) -> Float[Array, "68 2"] | None:
    """The points of an entry in our pixels, if it is what it should be."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        return None
    if value.shape not in ((68, 2), (68, 3)):
        return None
    points = np.array(value[:, :2], np.float64)
    return points + OPENCV_PIXEL if np.isfinite(points).all() else None


def refuse_foreign(out: Path) -> None:
    """Raises: DatasetError where a file stands that we did not make."""
    if out.exists() and not read_boxes(out).is_ours:
        raise DatasetError(f"{out} was not made by this program and is left alone; name another.")


def write_box_file(
    out: Path,
    keys: Sequence[str],
    points_px: Mapping[str, Float[Array, "68 2"]],
    scans: Mapping[str, Path],
    made_by: str,
) -> None:
    """keys: of all frames. points_px: by key, our pixels. scans: sequence -> its NN.obj.

    The file names the official PNGs, whatever the pictures are here. Raises: DatasetError.
    """
    meshes = {}
    for name, path in scans.items():
        scan = read_scan(path)
        faces = scan.triangles.astype(np.int32)
        meshes[name] = {"vertices": scan.vertices_mm.astype(np.float32), "faces": faces}
    flat = np.zeros((68, 1))
    content = {
        "img_path": [f"{key}_rgb.png" for key in keys],
        "mesh": meshes,
        "pred_kpt": {
            f"{key}_rgb.png": np.column_stack([points - OPENCV_PIXEL, flat]).astype(np.float32)
            for key, points in points_px.items()
        },
        "made_by": made_by,
    }
    part = out.with_name(f"{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(_readable_by_numpy_1(pickle.dumps(content, protocol=3)))
        part.replace(out)
    except OSError as error:
        raise DatasetError(f"{out} cannot be written: {error.strerror}.") from error


def _readable_by_numpy_1(pickled: bytes) -> bytes:
    """numpy 2 writes numpy._core, a name that TRG's numpy does not know; both know numpy.core."""
    parts, at = [], 0
    for operation, argument, position in pickletools.genops(pickled):
        if operation.name == "GLOBAL" and argument.startswith("numpy._core."):
            parts += [pickled[at:position], b"cnumpy.core."]
            at = position + len(b"cnumpy._core.")
    return b"".join([*parts, pickled[at:]])
