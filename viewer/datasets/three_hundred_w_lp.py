"""300W-LP and AFLW2000-3D: pairs of NAME.jpg and NAME.mat, rotations without a metric translation.

Zhu et al. 2016. Pose_Para holds pitch, yaw, roll in radians about the Basel face model's axes (x
right, y up, z to the camera): R_bfm = Rx(-pitch) Ry(-yaw) Rz(-roll); in OpenCV's axes this is
exactly the project's own Rx(-pitch) Ry(yaw) Rz(roll), and the model's neutral orientation is that
of `head`. The rest of Pose_Para is in pixels: no camera, no distance.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from models.geometry.boxes import bounding_box_xyxy
from models.geometry.rotations import matrix_from_ypr_300wlp
from viewer.datasets.sample import Sample

Array = np.ndarray

MATLAB_PIXEL = 0.5
"""MATLAB's first pixel has its centre at 1, ours at 0.5."""

_VIEW = re.compile(r"_\d+$")
# What SciPy's reader raises on damaged files, found by feeding it such files.
_MAT_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    NotImplementedError,
    OverflowError,
    MemoryError,
    zlib.error,
    MatReadError,
)


class DatasetError(ValueError):
    """A file of the data set cannot be used; the message names it."""


def read_300w_lp(root: Path | str) -> Iterator[Sample]:
    """Every pair below the folder, sorted by path; either data set, or parts of them.

    Raises: DatasetError for a folder without a pair, or a damaged .mat file.
    """
    root, found = Path(root), False
    for mat in sorted(root.rglob("*.mat")):
        image = mat.with_suffix(".jpg")
        if image.is_file():
            found = True
            yield _sample(root, mat, image)
    if not found:
        raise DatasetError(f"{root} has no pair of NAME.jpg and NAME.mat.")


def photo_of(stem: str) -> str:
    """The photo that a file was made from: without the number of the synthesised view."""
    return _VIEW.sub("", stem)


def _sample(root: Path, mat: Path, image: Path) -> Sample:
    try:
        labels = loadmat(mat, variable_names=("Pose_Para", "pt2d", "pt3d_68"))
        pitch, yaw, roll = np.degrees(np.asarray(labels["Pose_Para"], np.float64).ravel()[:3])
        points = np.asarray(labels["pt3d_68" if "pt3d_68" in labels else "pt2d"], np.float64)
        if points.shape not in ((2, 68), (3, 68)) or not np.isfinite([pitch, yaw, roll]).all():
            raise ValueError(f"landmarks {points.shape}, angles {pitch}, {yaw}, {roll}")
    except _MAT_ERRORS as error:
        raise DatasetError(f"{mat} is no label file of 300W-LP or AFLW2000: {error}.") from error
    is_aflw = "pt3d_68" in labels
    landmarks_px: Float[Array, "68 2"] = points[:2].T - MATLAB_PIXEL
    folder = mat.parent.name.removesuffix("_Flip")
    return Sample(
        dataset="AFLW2000" if is_aflw else "300W-LP",
        key=mat.relative_to(root).with_suffix("").as_posix(),
        group=mat.stem if is_aflw else f"{folder}/{photo_of(mat.stem)}",
        image=image,
        camera=None,
        R_cam_from_head=matrix_from_ypr_300wlp(float(yaw), float(pitch), float(roll)),
        t_cam_from_head_mm=None,
        landmarks_68_px=landmarks_px,
        box_xyxy_px=bounding_box_xyxy(landmarks_px),
    )
