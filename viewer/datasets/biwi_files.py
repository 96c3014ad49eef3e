"""BIWI's own files: calibrations, poses, run-length depth, scans, the older annotations.

Each number is given as the file has it; where it lies in our conventions is decided in `biwi.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG

import numpy as np
from jaxtyping import Float, Int, Int16

from models.geometry.cameras import Camera, CameraError
from models.geometry.rotations import nearest_rotation
from viewer.datasets.source import DatasetError

Array = np.ndarray

OPENCV_PIXEL = 0.5
"""A calibration's first pixel has its centre at 0, ours at 0.5."""

MAX_SIDE_PX, MAX_DEPTH_PIXELS = 8192, 1 << 22
MAX_TEXT_BYTES, MAX_SCAN_BYTES = 1 << 16, 1 << 26
MOST_BYTES_OF_A_PIXEL = 10
"""A run of one pixel: two counts and a value."""
FROM_ROTATION_ROUNDING, FROM_ROTATION_CALIBRATION = 1e-3, 1e-2
"""Largest entry of R^T R - 1 that rounding explains; that a calibration may have."""


@dataclass(frozen=True)
class Calibration:
    """An rgb.cal or a depth.cal: X_cam = R_cam_from_depth X_depth + t_cam_from_depth_mm.

    camera: with our pixels. distortion: OpenCV's first four numbers, all 0 in BIWI.
    """

    camera: Camera
    distortion: Float[Array, "4"]
    R_cam_from_depth: Float[Array, "3 3"]
    t_cam_from_depth_mm: Float[Array, "3"]


@dataclass(frozen=True)
class DepthPose:
    """A pose.txt: rotation and BIWI's head centre (mm) in the depth camera.

    R_depth_from_head: orthonormal where the written one is so but for rounding; otherwise as it is
    written, for the checks to see.
    """

    R_written: Float[Array, "3 3"]
    R_depth_from_head: Float[Array, "3 3"]
    centre_mm: Float[Array, "3"]


@dataclass(frozen=True)
class Scan:
    """A person's NN.obj, in the file's order: millimetres around BIWI's head centre, the axes of
    the camera at R = I.

    triangles: counter-clockwise seen from outside. was_inside_out: the file has them the other way.
    """

    vertices_mm: Float[Array, "v 3"]
    triangles: Int[Array, "f 3"]
    was_inside_out: bool


@dataclass(frozen=True)
class DepthImage:
    """depth_mm: 0 where nothing was measured. runs: how many the file has."""

    depth_mm: Int16[Array, "h w"]
    runs: int


def read_calibration(path: Path) -> Calibration:
    """K, four distortions, R, T (mm), width and height. Raises: DatasetError."""
    return _calibration_of(path, *_stamp(path))


def read_pose(path: Path) -> DepthPose:
    """Raises: DatasetError."""
    numbers = _read_numbers(path, 12)
    written = numbers[:9].reshape(3, 3)
    is_rotation = _distance_from_rotation(written) < FROM_ROTATION_ROUNDING
    return DepthPose(written, nearest_rotation(written) if is_rotation else written, numbers[9:12])


def read_old_annotation(path: Path) -> Float[Array, "2 3"]:
    """db_annotations' six floats: head centre (mm), and three angles (degrees).

    Raises: DatasetError.
    """
    data = _read_bytes(path, 24)
    if len(data) != 24:
        raise DatasetError(f"{path} has {len(data)} bytes, not the 24 of six floats.")
    return np.frombuffer(data, "<f4").astype(np.float64).reshape(2, 3)


def read_scan(path: Path) -> Scan:
    """Raises: DatasetError."""
    return _scan_of(path, *_stamp(path))


def read_depth(path: Path) -> DepthImage:
    """A depth.bin: int32 width and height, then runs of (int32 empty, int32 full, int16 mm ...).

    Raises: DatasetError for a size or a run beyond bounds, and for bytes missing or left over.
    """
    size, _ = _stamp(path)
    with path.open("rb") as file:
        header = file.read(8)
        if len(header) != 8:
            raise DatasetError(f"{path} is cut short: {len(header)} bytes, no width and height.")
        width, height = (int(side) for side in np.frombuffer(header, "<i4"))
        if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX) or (
            width * height > MAX_DEPTH_PIXELS
        ):
            raise DatasetError(f"{path} claims {width} x {height} pixels; that is no depth image.")
        if size - 8 > width * height * MOST_BYTES_OF_A_PIXEL:
            raise DatasetError(f"{path} has more bytes than {width} x {height} pixels can have.")
        data = file.read(size - 8)
    depth_mm = np.zeros(width * height, np.int16)
    runs = _fill(depth_mm, data, path)
    return DepthImage(depth_mm.reshape(height, width), runs)


def _fill(depth_mm: Int16[Array, "n"], data: bytes, path: Path) -> int:
    """Writes the runs into the image; returns how many there are."""
    pixel = at = runs = 0
    while pixel < len(depth_mm):
        if at + 8 > len(data):
            raise DatasetError(f"{path} is cut short at pixel {pixel} of {len(depth_mm)}.")
        empty, full = (int(count) for count in np.frombuffer(data, "<i4", 2, at))
        first, at = pixel + empty, at + 8
        pixel = first + full
        if empty < 0 or full < 0 or pixel > len(depth_mm):
            raise DatasetError(f"{path}: run {runs} ({empty} empty, {full} full) leaves the image.")
        if at + 2 * full > len(data):
            raise DatasetError(f"{path} is cut short at pixel {first} of {len(depth_mm)}.")
        depth_mm[first:pixel] = np.frombuffer(data, "<i2", full, at)
        at, runs = at + 2 * full, runs + 1
    if at != len(data):
        raise DatasetError(f"{path} has {len(data) - at} bytes behind its last pixel.")
    return runs


def depth_points_mm(depth_mm: Int16[Array, "h w"], camera: Camera) -> Float[Array, "n 3"]:
    """What the depth camera measured, in its own frame, row by row."""
    rows, columns = np.nonzero(depth_mm > 0)
    z_mm = depth_mm[rows, columns].astype(np.float64)
    rays = camera.normalise(np.stack([columns, rows], -1) + OPENCV_PIXEL)
    return np.column_stack([rays * z_mm[:, None], z_mm])


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file: when they change it is read again. Raises: DatasetError."""
    try:
        status = path.stat()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from error
    if not S_ISREG(status.st_mode):
        raise DatasetError(f"{path} is no file.")
    return status.st_size, status.st_mtime_ns


def _read_bytes(path: Path, at_most: int) -> bytes:
    """A file of that many bytes at most. Raises: DatasetError."""
    size, _ = _stamp(path)
    if size > at_most:
        raise DatasetError(f"{path} has {size} bytes; such a file has {at_most} at most.")
    with path.open("rb") as file:
        return file.read(size)


def _read_numbers(path: Path, at_least: int) -> Float[Array, "n"]:
    try:
        numbers = np.array(_read_bytes(path, MAX_TEXT_BYTES).decode("ascii").split(), np.float64)
    except ValueError as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{path} cannot be read: {str(error)[:80]}.") from error
    if len(numbers) < at_least or not np.isfinite(numbers).all():
        raise DatasetError(f"{path} has {len(numbers)} numbers; {at_least} finite ones are needed.")
    return numbers


def _distance_from_rotation(R: Float[Array, "3 3"]) -> float:
    """Largest entry of R^T R - 1; infinite for a mirror."""
    return float(np.abs(R.T @ R - np.eye(3)).max()) if np.linalg.det(R) > 0 else np.inf


@lru_cache(maxsize=128)
def _calibration_of(path: Path, size: int, time_ns: int) -> Calibration:
    numbers = _read_numbers(path, 27)
    R, (width, height) = numbers[13:22].reshape(3, 3), numbers[25:27]
    if not (1 <= width <= MAX_SIDE_PX and 1 <= height <= MAX_SIDE_PX):
        raise DatasetError(f"{path} is of a picture of {width:g} x {height:g} px.")
    if not _distance_from_rotation(R) < FROM_ROTATION_CALIBRATION:
        raise DatasetError(f"{path} holds no rotation: {R.round(4).tolist()}.")
    K = numbers[:9].reshape(3, 3).copy()
    K[:2, 2] += OPENCV_PIXEL
    try:
        camera = Camera(K, (int(width), int(height)), f"BIWI's {path.name}")
    except CameraError as error:
        raise DatasetError(f"{path} holds no camera: {error}") from error
    return Calibration(camera, numbers[9:13], nearest_rotation(R), numbers[22:25])


@lru_cache(maxsize=32)
def _scan_of(path: Path, size: int, time_ns: int) -> Scan:
    lines = _read_bytes(path, MAX_SCAN_BYTES).decode("ascii", "replace").splitlines()
    try:
        rows = [line.split()[1:4] for line in lines if line.startswith("v ")]
        vertices = np.array(rows, np.float64).reshape(-1, 3)
        faces = [_corners(line.split()[1:]) for line in lines if line.startswith("f ")]
        corners = [face for one in faces for face in one]
        triangles = np.array(corners, np.int64).reshape(-1, 3)
    except (ValueError, OverflowError) as error:
        raise DatasetError(f"{path} is damaged: {str(error)[:80]}.") from error
    triangles = np.where(triangles > 0, triangles - 1, triangles + len(vertices))
    if not len(vertices) or not np.isfinite(vertices).all():
        raise DatasetError(f"{path} has {len(vertices)} vertices; finite ones are needed.")
    if triangles.size and not 0 <= triangles.min() <= triangles.max() < len(vertices):
        raise DatasetError(f"{path} has triangles of vertices that it does not have.")
    a, b, c = vertices[triangles].transpose(1, 0, 2)
    inside_out = bool((a * np.cross(b, c)).sum() < 0)
    return Scan(vertices, triangles[:, ::-1] if inside_out else triangles, inside_out)


def _corners(words: Sequence[str]) -> list[tuple[int, int, int]]:
    """The triangles of one face, "7", "7/7/7" or "7//7" a corner."""
    ids = [int(word.split("/")[0]) for word in words]
    if len(ids) < 3:
        raise ValueError("a face with less than three corners")
    return [(ids[0], ids[k], ids[k + 1]) for k in range(1, len(ids) - 1)]
