"""BIWI Kinect Head Pose: RGB frames with the pose measured in depth, taken to the RGB camera.

Fanelli et al. 2013. pose.txt holds R and the head centre (mm) in the DEPTH camera, OpenCV axes;
rgb.cal has the RGB camera's K and its place: X_rgb = R_ext X_depth + T_ext. Sequences have
different calibrations, so each one's own file is read. BIWI's head centre is not our origin, see
`BIWI_ORIGIN_HEAD_MM`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from models.geometry.boxes import bounding_box_xyxy
from models.geometry.cameras import Camera, CameraError
from models.geometry.conventions import BIWI_ORIGIN_HEAD_MM
from models.geometry.rotations import nearest_rotation
from viewer.datasets.sample import Sample
from viewer.datasets.three_hundred_w_lp import DatasetError

Array = np.ndarray

OPENCV_PIXEL = 0.5
"""A calibration's first pixel has its centre at 0, ours at 0.5."""

PERSON_OF_SEQUENCE = {15: 3, 18: 5, 21: 2, 22: 7}
"""Sequences that show a person again, and the sequence that showed that person first."""


@dataclass(frozen=True)
class _RgbCamera:
    camera: Camera
    R_rgb_from_depth: Float[Array, "3 3"]
    t_rgb_from_depth_mm: Float[Array, "3"]


def read_biwi(root: Path | str) -> Iterator[Sample]:
    """Every frame with picture and pose below the folder, sequences and frames in order.

    root: any folder that holds sequences (folders with an rgb.cal), at any depth.
    Raises: DatasetError for a folder without a frame, or a damaged file.
    """
    found = False
    for calibration in sorted(Path(root).rglob("rgb.cal")):
        rgb, sequence = _read_calibration(calibration), calibration.parent
        vertices_mm = _read_vertices(sequence.parent / f"{sequence.name}.obj")
        for pose in sorted(sequence.glob("frame_*_pose.txt")):
            image = _picture_of(pose)
            if image is not None:
                found = True
                yield _sample(sequence, pose, image, rgb, vertices_mm)
    if not found:
        raise DatasetError(f"{root} has no frame of BIWI: frame_*_rgb.png, _pose.txt and rgb.cal.")


def _sample(
    sequence: Path,
    pose: Path,
    image: Path,
    rgb: _RgbCamera,
    vertices_mm: Float[Array, "v 3"] | None,
) -> Sample:
    numbers = _read_numbers(pose, 12)
    R = rgb.R_rgb_from_depth @ nearest_rotation(numbers[:9].reshape(3, 3))
    centre_mm = rgb.R_rgb_from_depth @ numbers[9:12] + rgb.t_rgb_from_depth_mm
    box = None
    if vertices_mm is not None:
        box = bounding_box_xyxy(rgb.camera.project(vertices_mm @ R.T + centre_mm))
    return Sample(
        dataset="BIWI",
        key=f"{sequence.name}/{pose.stem.removesuffix('_pose')}",
        group=person_of(sequence.name),
        image=image,
        camera=rgb.camera,
        R_cam_from_head=R,
        t_cam_from_head_mm=centre_mm - R @ BIWI_ORIGIN_HEAD_MM,
        landmarks_68_px=None,
        box_xyxy_px=box,
    )


def person_of(sequence: str) -> str:
    """A name for the person of a sequence, "01" to "24"; four of them show somebody again."""
    if not sequence.isdigit():
        return sequence
    number = int(sequence)
    return f"{PERSON_OF_SEQUENCE.get(number, number):02d}"


def _read_calibration(path: Path) -> _RgbCamera:
    """K, distortion (zeros), R, T, size; an identity where the camera is."""
    numbers = _read_numbers(path, 27)
    K = numbers[:9].reshape(3, 3).copy()
    K[:2, 2] += OPENCV_PIXEL
    try:
        size_wh_px = (int(numbers[25]), int(numbers[26]))
        camera = Camera(K, size_wh_px, "BIWI's rgb.cal")
    except CameraError as error:
        raise DatasetError(f"{path} holds no camera: {error}") from error
    return _RgbCamera(camera, nearest_rotation(numbers[13:22].reshape(3, 3)), numbers[22:25])


def _read_numbers(path: Path, at_least: int) -> Float[Array, "n"]:
    try:
        numbers = np.array(path.read_text(encoding="ascii").split(), np.float64)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read: {error}.") from error
    if len(numbers) < at_least or not np.isfinite(numbers).all():
        raise DatasetError(f"{path} has {len(numbers)} numbers; {at_least} finite ones are needed.")
    return numbers


def _read_vertices(path: Path) -> Float[Array, "v 3"] | None:
    """Of the person's scan, in millimetres around BIWI's head centre; None if it is not there."""
    if not path.is_file():
        return None
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    try:
        rows = [line.split()[1:4] for line in lines if line.startswith("v ")]
        vertices = np.array(rows, np.float64).reshape(-1, 3)
    except ValueError as error:
        raise DatasetError(f"{path} is damaged: {error}.") from error
    return vertices if len(vertices) else None


def _picture_of(pose: Path) -> Path | None:
    """Official frames are PNG, a common copy has JPEG."""
    stem = pose.name.removesuffix("pose.txt")
    for ending in ("rgb.png", "rgb.jpg"):
        if (pose.parent / (stem + ending)).is_file():
            return pose.parent / (stem + ending)
    return None
