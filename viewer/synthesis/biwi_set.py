"""A sample set in BIWI's own format: two painted people turn their heads before two cameras.

The depth camera's pose is what is written; the RGB camera stands beside it, in another place for
each sequence. The scans have the open head's vertices (hair included), not those of BIWI's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Int, Int16

from models.flame.open_head import load_open_head
from models.geometry.cameras import Camera, camera_from_intrinsics
from models.geometry.conventions import BIWI_ORIGIN_HEAD_MM
from models.geometry.rotations import matrix_from_rotation_vector, matrix_from_ypr_300wlp
from viewer.datasets.biwi_box_file import OURS, write_box_file
from viewer.datasets.biwi_files import OPENCV_PIXEL
from viewer.datasets.biwi_layout import BOX_FILE
from viewer.synthesis.painted_head import (
    PaintedHead,
    build_background,
    build_painted_head,
    draw_painted_head,
)
from viewer.synthesis.rasterizer import rasterize

Array = np.ndarray

FRAMES_A_SEQUENCE = 15
FIRST_FRAME, GAP_AFTER, GAP = 3, 8, 4
"""As in BIWI the numbers start at 3 and have gaps; the head rests meanwhile."""

RGB_SIZE_PX, DEPTH_SIZE_PX = (640, 480), (320, 240)
JPEG_QUALITY = 82
YAW_DEG, PITCH_DEG, ROLL_DEG = 34.0, 9.0, 7.0
BOX_POINTS_NOISE_PX = 1.5


@dataclass(frozen=True)
class _Sequence:
    """name: none of BIWI's 01 to 24. turn_rad, t_mm: of rgb.cal: from the depth camera to RGB."""

    name: str
    seed: int
    rgb: Camera
    turn_rad: tuple[float, float, float]
    t_mm: tuple[float, float, float]
    centre_mm: tuple[float, float, float]
    yaw_sign: int


SEQUENCES = (
    _Sequence(
        "91",
        21,
        camera_from_intrinsics(RGB_SIZE_PX, 517.7, 517.7, 320.5, 241.0),
        (-0.015, 0.0093, -0.0044),
        (-24.0, 5.9, -13.2),
        (40.0, 20.0, 880.0),
        1,
    ),
    _Sequence(
        "92",
        34,
        camera_from_intrinsics(RGB_SIZE_PX, 524.0, 526.5, 316.5, 244.0),
        (-0.0254, -0.0057, 0.0002),
        (-27.0, 3.1, -8.4),
        (-15.0, 35.0, 960.0),
        -1,
    ),
)
DEPTH_CAMERA = camera_from_intrinsics(DEPTH_SIZE_PX, 287.9, 287.9, 160.5, 120.5)


def write_biwi_set(root: Path) -> None:
    """The whole set, with a box file whose points are the true ones and a little noise."""
    points_px: dict[str, Float[Array, "68 2"]] = {}
    for sequence in SEQUENCES:
        points_px |= _write_sequence(root / "hpdb", sequence)
    scans = {one.name: root / "hpdb" / f"{one.name}.obj" for one in SEQUENCES}
    made_by = f"{OURS}: the painted heads' own points with {BOX_POINTS_NOISE_PX} px of noise"
    write_box_file(root / "hpdb" / BOX_FILE, list(points_px), points_px, scans, made_by)


def _write_sequence(hpdb: Path, sequence: _Sequence) -> dict[str, Float[Array, "68 2"]]:
    """Returns the points of the box file, by key."""
    folder = hpdb / sequence.name
    folder.mkdir(parents=True, exist_ok=True)
    head, rng = build_painted_head(sequence.seed), np.random.default_rng([sequence.seed, 91])
    R_rgb = matrix_from_rotation_vector(np.array(sequence.turn_rad))
    write_calibration(folder / "rgb.cal", sequence.rgb, R_rgb, np.array(sequence.t_mm))
    write_calibration(folder / "depth.cal", DEPTH_CAMERA, np.eye(3), np.zeros(3))
    _write_scan(hpdb / f"{sequence.name}.obj", head)
    background = build_background(RGB_SIZE_PX, sequence.seed)
    points = {}
    for step in range(FRAMES_A_SEQUENCE):
        stem = f"frame_{FIRST_FRAME + step + (GAP if step >= GAP_AFTER else 0):05d}"
        R, centre_mm = _motion(sequence, step)
        (folder / f"{stem}_pose.txt").write_text(_rows(R) + "\n" + _rows(centre_mm) + "\n")
        t_mm = centre_mm - R @ BIWI_ORIGIN_HEAD_MM
        write_depth(folder / f"{stem}_depth.bin", _depth_mm(head, R, t_mm))
        R, t_mm = R_rgb @ R, R_rgb @ t_mm + sequence.t_mm
        image = draw_painted_head(background, head, R, t_mm, sequence.rgb)
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        cv2.imwrite(str(folder / f"{stem}_rgb.jpg"), image[..., ::-1], options)
        true = sequence.rgb.project(head.landmarks_68_head_m @ R.T + t_mm / 1000.0)
        noise = rng.normal(0, BOX_POINTS_NOISE_PX, true.shape)
        points[f"{sequence.name}/{stem}"] = true + noise
    return points


def _motion(sequence: _Sequence, step: int) -> tuple[Float[Array, "3 3"], Float[Array, "3"]]:
    """R and BIWI's head centre in the depth camera: from one side to the other, nodding."""
    share = step / (FRAMES_A_SEQUENCE - 1)
    yaw = sequence.yaw_sign * YAW_DEG * (2 * share - 1)
    pitch = PITCH_DEG * np.sin(2 * np.pi * share)
    roll = ROLL_DEG * np.sin(np.pi * share) * sequence.yaw_sign
    sway_mm = 20.0 * np.array([2 * share - 1, 0.3 * np.sin(2 * np.pi * share), share])
    R = matrix_from_ypr_300wlp(float(yaw), float(pitch), float(roll))
    written = np.array([float(f"{value:.6g}") for value in R.ravel()])
    return written.reshape(3, 3), np.round(sequence.centre_mm + sway_mm, 4)


def _depth_mm(
    head: PaintedHead, R: Float[Array, "3 3"], t_mm: Float[Array, "3"]
) -> Int16[Array, "h w"]:
    """The person alone: BIWI's depth images have no background either."""
    raster = rasterize(head.vertices_head_m @ R.T + t_mm / 1000.0, head.triangles, DEPTH_CAMERA)
    depth_mm = np.zeros(DEPTH_SIZE_PX[::-1], np.int16)
    depth_mm[raster.rows, raster.columns] = np.round(1000.0 * raster.depth_m).astype(np.int16)
    return depth_mm


def _write_scan(path: Path, head: PaintedHead) -> None:
    """Millimetres around BIWI's head centre; head and neck, as BIWI's own."""
    assets = load_open_head()
    count = assets.head_vertex_count
    vertices_mm = 1000.0 * head.vertices_head_m[:count] - BIWI_ORIGIN_HEAD_MM
    triangles: Int[Array, "f 3"] = assets.head_triangles
    lines = [f"# {count} vertices, {len(triangles)} faces"]
    lines += ["v {:.3f} {:.3f} {:.3f}".format(*vertex) for vertex in vertices_mm]
    lines += ["f {} {} {}".format(*corners) for corners in triangles + 1]
    path.write_text("\n".join(lines) + "\n")


def write_calibration(
    path: Path, camera: Camera, R: Float[Array, "3 3"], t_mm: Float[Array, "3"]
) -> None:
    """An rgb.cal or depth.cal: K with OpenCV's pixels, no distortion, R, T, size."""
    K = camera.K_image_from_cam.copy()
    K[:2, 2] -= OPENCV_PIXEL
    parts = (_rows(K), _rows(np.zeros(4)), _rows(R), _rows(t_mm))
    path.write_text("\n".join(parts) + "\n{} {}\n".format(*camera.size_wh_px))


def write_depth(path: Path, depth_mm: Int16[Array, "h w"]) -> None:
    """BIWI's run-length form: (empty, full, values) until every pixel is said."""
    height, width = depth_mm.shape
    flat = np.ascontiguousarray(depth_mm, "<i2").ravel()
    edges = np.flatnonzero(np.diff(np.r_[0, flat != 0, 0]))
    starts, ends = edges[::2], edges[1::2]
    parts, at = [np.array([width, height], "<i4").tobytes()], 0
    for start, end in zip(starts, ends, strict=True):
        parts += [np.array([start - at, end - start], "<i4").tobytes(), flat[start:end].tobytes()]
        at = end
    if at < len(flat):
        parts.append(np.array([len(flat) - at, 0], "<i4").tobytes())
    path.write_bytes(b"".join(parts))


def _rows(values: Float[Array, "*shape"]) -> str:
    """As in BIWI's files: a space behind every number."""
    return "".join(
        "".join(f"{value:.6g} " for value in row) + "\n" for row in np.atleast_2d(values)
    )
