"""Painted heads as a synthetic data set: no photo of anybody is in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from models.flame.open_head import OPEN_HEAD_PATH, SHOULDERS, load_open_head
from models.geometry.cameras import Camera, camera_from_horizontal_fov
from viewer.datasets.synthetic import SyntheticHead
from viewer.datasets.synthetic_format import SyntheticInfo
from viewer.datasets.synthetic_writer import SyntheticWriter
from viewer.synthesis.painted_head import (
    PaintedHead,
    build_background,
    build_painted_head,
    draw_painted_head,
    painted_identity,
)
from viewer.synthesis.rasterizer import rasterize
from viewer.synthesis.scene import SceneConfig, sample_pose

Array = np.ndarray

SIZE_WH_PX = (320, 240)
EXPRESSIONS = ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "browInnerUp")
VISIBLE_WITHIN_M = 0.003
POSES = SceneConfig(
    yaw_max_deg=75.0, pitch_max_deg=40.0, distance_min_m=0.4, distance_max_m=1.1, off_axis_max=0.2
)


def write_painted_set(root: Path | str, count: int, seed: int) -> None:
    """A data set of painted persons, whole webcam pictures. Raises: SyntheticDataError."""
    digest = hashlib.sha256(OPEN_HEAD_PATH.read_bytes()).hexdigest()
    info = SyntheticInfo(seed, count, "painted", SIZE_WH_PX[0], digest)
    writer = SyntheticWriter(root, info)
    for shard in writer.missing_shards():
        writer.write_shard(shard, _heads(info.rows_of_shard(shard), seed))


def _heads(rows: range, seed: int) -> Iterator[SyntheticHead]:
    for n in rows:
        yield painted_picture(seed, n)


def painted_picture(seed: int, n: int) -> SyntheticHead:
    """Picture n of the set with this seed, with everything known about it."""
    rng = np.random.default_rng([seed, n])
    camera = camera_from_horizontal_fov(SIZE_WH_PX, float(rng.uniform(35, 70)))
    R, t_m = sample_pose(POSES, rng)
    chosen = {name: float(rng.uniform(0, 0.9)) for name in rng.choice(EXPRESSIONS, 2, False)}
    head = build_painted_head(n, chosen)
    background = build_background(SIZE_WH_PX, n)
    image = draw_painted_head(background, head, R, 1000.0 * t_m, camera)
    mask, depth_m, visible = _seen(head, R, t_m, camera)
    names = load_open_head().expression_names
    return SyntheticHead(
        key=f"painted/{seed}/{n}",
        image_rgb=image,
        camera=camera,
        is_face=True,
        R_cam_from_head=R,
        t_cam_from_head_mm=1000.0 * t_m,
        landmarks_468_head_m=head.landmarks_468_head_m,
        visible_468=visible,
        identity=painted_identity(n),
        expression=np.array([chosen.get(name, 0.0) for name in names]),
        eye_angles_deg=np.zeros((2, 2)),
        person=f"painted/{n}",
        tags=("painted", *sorted(chosen)),
        mask=mask,
        depth_m=depth_m,
    )


def _seen(head: PaintedHead, R: Array, t_m: Array, camera: Camera) -> tuple[Array, Array, Array]:
    """Mask and depth of the head without shoulders and shirt, and which landmarks are seen."""
    raster = rasterize(head.vertices_head_m @ R.T + t_m, head.triangles, camera)
    width, height = camera.size_wh_px
    whole = np.zeros((height, width))
    whole[raster.rows, raster.columns] = raster.depth_m
    shoulders = load_open_head().part_names.index(SHOULDERS)
    is_head = head.part_of_triangle[raster.triangle_ids] < shoulders
    mask = np.zeros((height, width), np.uint8)
    mask[raster.rows[is_head], raster.columns[is_head]] = 255
    landmarks = head.landmarks_468_head_m @ R.T + t_m
    points = camera.project(landmarks)
    inside = ((points >= 0) & (points < [width, height])).all(1)
    column, row = np.floor(points).astype(int).clip(0, [width - 1, height - 1]).T
    nearest = np.where(whole[row, column] > 0, whole[row, column], np.inf)
    visible = inside & (landmarks[:, 2] < nearest + VISIBLE_WITHIN_M)
    return mask, np.where(mask > 0, whole, 0.0), visible
