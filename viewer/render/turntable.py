"""A head before a camera that sees all of it, from a chosen side or going round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, UInt8

from models.geometry.cameras import Camera, camera_from_horizontal_fov
from models.geometry.rotations import about_x, about_y
from viewer.render.heat_map import HeatScale, draw_legend, legend_width_px
from viewer.render.mesh_image import MeshRenderer
from viewer.render.palette import LIGHT, RGB
from viewer.render.render_scene import RenderMesh

Array = np.ndarray

VERTICAL_FOV_DEG = 20.0
"""A portrait lens: little perspective."""

ROOM = 1.12
"""The picture's side over the head's."""


def portrait(
    meshes: Sequence[RenderMesh],
    size_wh_px: tuple[int, int],
    yaw_deg: float = 0.0,
    pitch_deg: float = 0.0,
) -> tuple[list[RenderMesh], Camera]:
    """The meshes turned and put before a camera in which they fit from every side.

    meshes: their vertices are in an upright frame with the camera's axes, as the `head` frame is:
    x to image right, y down, the nose towards -z. Anywhere; they stay together.
    yaw_deg: positive turns the nose to image left. pitch_deg: positive looks down on the head.
    """
    points = np.concatenate([mesh.vertices_cam_m for mesh in meshes])
    middle = (points.min(0) + points.max(0)) / 2
    width, height = size_wh_px
    focal_px = height / 2 / np.tan(np.radians(VERTICAL_FOV_DEG) / 2)
    fov_deg = float(np.degrees(2 * np.arctan(width / 2 / focal_px)))
    camera = camera_from_horizontal_fov(size_wh_px, fov_deg, "portrait")
    radius_m = float(np.linalg.norm((points - middle)[:, [0, 2]], axis=1).max())
    half_height_m = float(np.ptp(points[:, 1])) / 2 + radius_m * abs(np.sin(np.radians(pitch_deg)))
    distance_m = ROOM * max(half_height_m / (height / 2), radius_m / (width / 2)) * focal_px
    t = np.array([0.0, 0.0, distance_m + radius_m])
    R = about_x(pitch_deg) @ about_y(yaw_deg)
    return [_moved(mesh, middle, R, t) for mesh in meshes], camera


def _moved(
    mesh: RenderMesh, middle: Float[Array, "3"], R: Float[Array, "3 3"], t: Float[Array, "3"]
) -> RenderMesh:
    return replace(mesh, vertices_cam_m=(mesh.vertices_cam_m - middle) @ R.T + t)


def turntable_frames(
    renderer: MeshRenderer,
    meshes: Sequence[RenderMesh],
    size_wh_px: tuple[int, int],
    frames: int = 120,
    *,
    pitch_deg: float = 8.0,
    background: RGB = LIGHT,
    legend: HeatScale | None = None,
) -> Iterator[UInt8[Array, "h w 3"]]:
    """Once around; the last frame is one step before the first, so that a loop is smooth.

    The legend stands beside the head, not on it.
    """
    width, height = size_wh_px
    beside = 0 if legend is None else min(legend_width_px(legend, size_wh_px), width - 1)
    for i in range(frames):
        placed, camera = portrait(meshes, (width - beside, height), 360.0 * i / frames, pitch_deg)
        picture = np.full((height, width, 3), background, np.uint8)
        picture[:, : width - beside] = renderer.draw(
            None, placed, camera, background=background
        ).rgb
        yield picture if legend is None else draw_legend(picture, legend)
