"""All heads of a frame in metres, with the camera: a Plotly figure to turn around.

Hover texts give the camera's own numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Int

from models.estimator import HeadPose
from models.geometry.cameras import Camera
from viewer.render.figure_scene import (
    NEUTRAL,
    UNLIT,
    axes_lines,
    camera_mark,
    frustum,
    lines,
    set_scene,
    to_figure,
)
from viewer.render.mesh_shapes import drawable, lit_vertices
from viewer.render.palette import hex_colour, track_colour

Array = np.ndarray


def build_heads_figure(
    poses: Sequence[HeadPose],
    ids: Sequence[int],
    triangles: Int[Array, "f 3"],
    camera: Camera,
) -> go.Figure:
    """Heads as lit meshes with their axes, the camera as a frustum. Transparent ground.

    The view stays as the user turned it when the figure is replaced (`uirevision`). A head whose
    numbers are not finite is left out.
    """
    figure = go.Figure()
    heads = [(pose, number) for pose, number in zip(poses, ids, strict=True) if drawable(pose)]
    reach_m = _frustum_depth_m([pose for pose, _ in heads])
    figure.add_trace(lines(frustum(camera, reach_m), NEUTRAL, 2.0, "camera"))
    figure.add_trace(camera_mark(camera))
    for pose, number in heads:
        figure.add_trace(_head(pose, number, triangles))
        figure.add_traces(axes_lines(pose.R_cam_from_head, pose.t_cam_from_head_mm / 1000.0))
    set_scene(figure, "heads")
    return figure


def _frustum_depth_m(poses: Sequence[HeadPose]) -> float:
    """How far the picture's plane is drawn: well before the nearest head."""
    if not poses:
        return 0.3
    return float(
        np.clip(0.35 * min(pose.t_cam_from_head_mm[2] for pose in poses) / 1000, 0.05, 0.6)
    )


def _head(pose: HeadPose, number: int, triangles: Int[Array, "f 3"]) -> go.Mesh3d:
    points = to_figure(pose.vertices_cam_m())
    colours = [
        hex_colour(tuple(rgb))
        for rgb in lit_vertices(pose, triangles, track_colour(number)).tolist()
    ]
    yaw, pitch, roll = pose.ypr_deg
    x_mm, y_mm, z_mm = pose.t_cam_from_head_mm
    text = (
        f"head {number}<br>yaw {yaw:.1f}°, pitch {pitch:.1f}°, roll {roll:.1f}°"
        f"<br>x {x_mm:.0f}, y {y_mm:.0f}, z {z_mm:.0f} mm"
    )
    return go.Mesh3d(
        x=points[:, 0],
        y=points[:, 1],
        z=points[:, 2],
        i=triangles[:, 0],
        j=triangles[:, 1],
        k=triangles[:, 2],
        vertexcolor=colours,
        lighting=UNLIT,
        name=f"head {number}",
        hovertemplate=text + "<extra></extra>",
    )
