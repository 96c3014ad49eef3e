"""All heads of a frame in metres, with the camera: a Plotly figure to turn around.

Plotly's axes are x right, y forward, z up, so that up is up on the screen: figure (x, y, z) =
camera (x, z, -y). Hover texts give the camera's own numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

from models.estimator import HeadPose
from models.geometry.cameras import Camera
from viewer.render.mesh_shapes import drawable, lit_vertices
from viewer.render.overlay import AXES_HEAD, AXIS_LENGTH_M
from viewer.render.palette import AXIS_COLOURS, hex_colour, track_colour

Array = np.ndarray

SCENE_SIZE = 2.15
"""Diagonal of the scene in Plotly's units: all of it is in the first view. Axes share one scale."""

NEUTRAL = "#8b93a3"
"""Grey that stands on white and on near-black."""

UNLIT = {"ambient": 1.0, "diffuse": 0.0, "specular": 0.0, "fresnel": 0.0}
"""The light is in the vertices' colours: Plotly's own lamp does nothing in parallel projection."""


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
    figure.add_trace(_lines(_frustum(camera, reach_m), NEUTRAL, 2.0, "camera"))
    figure.add_trace(_camera_mark(camera))
    for pose, number in heads:
        figure.add_trace(_head(pose, number, triangles))
        figure.add_traces(_axes(pose))
    ground = {
        "backgroundcolor": "rgba(0,0,0,0)",
        "gridcolor": "#a3aab8",
        "zerolinecolor": NEUTRAL,
        "color": NEUTRAL,
        "showspikes": False,
        "nticks": 6,
    }
    low, high = _extent(figure)
    span = high - low
    scale = SCENE_SIZE / float(np.linalg.norm(span))
    ranges = [[float(a), float(b)] for a, b in zip(low, high, strict=True)]
    figure.update_layout(
        scene={
            "aspectmode": "manual",
            "aspectratio": dict(zip("xyz", (span * scale).tolist(), strict=True)),
            "xaxis": {**ground, "range": ranges[0], "title": {"text": "x (m)"}},
            "yaxis": {**ground, "range": ranges[1], "title": {"text": "z, distance (m)"}},
            "zaxis": {**ground, "range": ranges[2], "title": {"text": "up, -y (m)"}},
            "camera": _first_view(),
            "dragmode": "orbit",
        },
        paper_bgcolor="rgba(0,0,0,0)",
        font={"color": NEUTRAL, "size": 11},
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        showlegend=False,
        uirevision="heads",
    )
    return figure


def _extent(figure: go.Figure) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
    """Lowest and highest corner of all that is drawn, with some room."""
    points = np.concatenate(
        [np.stack([trace.x, trace.y, trace.z], -1).astype(np.float64) for trace in figure.data]
    )
    low, high = np.nanmin(points, 0), np.nanmax(points, 0)
    room = 0.04 * float(np.max(high - low))
    return low - room, high + room


def _to_figure(points_cam_m: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
    return np.stack([points_cam_m[..., 0], points_cam_m[..., 2], -points_cam_m[..., 1]], -1)


def _frustum_depth_m(poses: Sequence[HeadPose]) -> float:
    """How far the picture's plane is drawn: well before the nearest head."""
    if not poses:
        return 0.3
    return float(
        np.clip(0.35 * min(pose.t_cam_from_head_mm[2] for pose in poses) / 1000, 0.05, 0.6)
    )


def _frustum(camera: Camera, depth_m: float) -> list[Array]:
    """Four rays to the corners of the picture and its rim, with a notch at the top."""
    width, height = camera.size_wh_px
    corners = camera.normalise(np.array([[0, 0], [width, 0], [width, height], [0, height]], float))
    rim = np.concatenate([corners, np.ones((4, 1))], 1) * depth_m
    top = (rim[0] + rim[1]) / 2
    notch = [
        rim[0] * 0.7 + rim[1] * 0.3,
        top + (rim[0] - rim[3]) * 0.18,
        rim[0] * 0.3 + rim[1] * 0.7,
    ]
    rays = [np.stack([np.zeros(3), corner]) for corner in rim]
    return [*rays, np.concatenate([rim, rim[:1]]), np.stack(notch)]


def _lines(parts: Sequence[Array], colour: str, width: float, name: str) -> go.Scatter3d:
    """Polylines in one trace, parted by gaps."""
    gap = np.full((1, 3), np.nan)
    points = np.concatenate([np.concatenate([_to_figure(part), gap]) for part in parts])
    return go.Scatter3d(
        x=points[:, 0],
        y=points[:, 1],
        z=points[:, 2],
        mode="lines",
        line={"color": colour, "width": width},
        hoverinfo="skip",
        name=name,
    )


def _camera_mark(camera: Camera) -> go.Scatter3d:
    width, height = camera.size_wh_px
    return go.Scatter3d(
        x=[0.0],
        y=[0.0],
        z=[0.0],
        mode="markers",
        marker={"size": 4, "color": NEUTRAL},
        name="camera",
        hovertemplate=(
            f"camera<br>{width} x {height} px, fx {camera.fx_px:.0f}, fy {camera.fy_px:.0f}"
            f"<br>{camera.source}<extra></extra>"
        ),
    )


def _head(pose: HeadPose, number: int, triangles: Int[Array, "f 3"]) -> go.Mesh3d:
    points = _to_figure(pose.vertices_cam_m())
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


def _axes(pose: HeadPose) -> list[go.Scatter3d]:
    origin = pose.t_cam_from_head_mm / 1000.0
    return [
        _lines(
            [np.stack([origin, origin + AXIS_LENGTH_M * pose.R_cam_from_head @ axis])],
            hex_colour(AXIS_COLOURS[name]),
            6.0,
            name,
        )
        for name, axis in AXES_HEAD.items()
    ]


def _first_view() -> dict[str, object]:
    """From beside the camera's right shoulder, a little above, all of the scene in view.

    Parallel projection: far heads are not drawn smaller than near ones.
    """
    return {
        "eye": {"x": 0.72, "y": -1.02, "z": 0.5},
        "up": {"x": 0.0, "y": 0.0, "z": 1.0},
        "center": {"x": 0.0, "y": 0.0, "z": -0.05},
        "projection": {"type": "orthographic"},
    }
