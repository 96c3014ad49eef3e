"""What the 3D figures share: axes, lines, the camera as a frustum, one scale, the first view.

Plotly's axes are x right, y forward, z up, so that up is up on the screen: figure (x, y, z) =
camera (x, z, -y).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from models.geometry.cameras import Camera
from viewer.render.overlay import AXES_HEAD, AXIS_LENGTH_M
from viewer.render.palette import AXIS_COLOURS, hex_colour

Array = np.ndarray

SCENE_SIZE = 2.15
"""Diagonal of the scene in Plotly's units: all of it is in the first view. Axes share one scale."""

NEUTRAL = "#8b93a3"
"""Grey that stands on white and on near-black."""

UNLIT = {"ambient": 1.0, "diffuse": 0.0, "specular": 0.0, "fresnel": 0.0}
"""The light is in the vertices' colours: Plotly's own lamp does nothing in parallel projection."""


def set_scene(figure: go.Figure, revision: str) -> None:
    """One scale for the three axes, all of what is drawn in the first view, transparent ground.

    revision: the view stays as the user turned it while this stays the same.
    """
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
            "camera": first_view(),
            "dragmode": "orbit",
        },
        paper_bgcolor="rgba(0,0,0,0)",
        font={"color": NEUTRAL, "size": 11},
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        showlegend=False,
        uirevision=revision,
    )


def _extent(figure: go.Figure) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
    """Lowest and highest corner of all that is drawn, with some room."""
    points = np.concatenate(
        [np.stack([trace.x, trace.y, trace.z], -1).astype(np.float64) for trace in figure.data]
    )
    low, high = np.nanmin(points, 0), np.nanmax(points, 0)
    room = 0.04 * float(np.max(high - low))
    return low - room, high + room


def to_figure(points_cam_m: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
    """Camera axes to Plotly's."""
    return np.stack([points_cam_m[..., 0], points_cam_m[..., 2], -points_cam_m[..., 1]], -1)


def frustum(camera: Camera, depth_m: float) -> list[Array]:
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


def lines(parts: Sequence[Array], colour: str, width: float, name: str) -> go.Scatter3d:
    """Polylines in one trace, parted by gaps."""
    gap = np.full((1, 3), np.nan)
    points = np.concatenate([np.concatenate([to_figure(part), gap]) for part in parts])
    return go.Scatter3d(
        x=points[:, 0],
        y=points[:, 1],
        z=points[:, 2],
        mode="lines",
        line={"color": colour, "width": width},
        hoverinfo="skip",
        name=name,
    )


def camera_mark(camera: Camera) -> go.Scatter3d:
    """A point at the camera's centre that says what camera it is."""
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


def axes_lines(
    R_cam_from_head: Float[Array, "3 3"], t_cam_from_head_m: Float[Array, "3"], width: float = 6.0
) -> list[go.Scatter3d]:
    """The head's three axes in their colours."""
    origin = t_cam_from_head_m
    return [
        lines(
            [np.stack([origin, origin + AXIS_LENGTH_M * R_cam_from_head @ axis])],
            hex_colour(AXIS_COLOURS[name]),
            width,
            name,
        )
        for name, axis in AXES_HEAD.items()
    ]


def first_view() -> dict[str, object]:
    """From beside the camera's right shoulder, a little above, all of the scene in view.

    Parallel projection: far heads are not drawn smaller than near ones.
    """
    return {
        "eye": {"x": 0.72, "y": -1.02, "z": 0.5},
        "up": {"x": 0.0, "y": 0.0, "z": 1.0},
        "center": {"x": 0.0, "y": 0.0, "z": -0.05},
        "projection": {"type": "orthographic"},
    }
