"""One or two meshes to turn around in Plotly: lit, or coloured by a value, side by side.

All axes share one scale. Unlike `mesh_figure` nothing has a place before a camera: meshes are in an
upright frame with the camera's axes (x to image right, y down, nose towards -z), as `head` is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

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
from viewer.render.heat_map import LEGEND_SHADING, HeatScale
from viewer.render.palette import RGB, hex_colour
from viewer.render.render_scene import CLAY, RenderMesh
from viewer.render.surfaces import surface_of

Array = np.ndarray

GAP = 0.15
"""Room between two meshes, of the wider one's width."""

FRONT_VIEW = {"x": 0.35, "y": -1.25, "z": 0.25}
"""Nearly from the front: two heads do not hide one another."""

LAMPS_FROM_M = 2.0
"""The light is that of a camera so far in front of the mesh."""


@dataclass(frozen=True)
class FigureMesh:
    """A mesh of the figure.

    values: one for each vertex, coloured by `scale`, which must then be given. points_m: landmarks
    to be marked. has_axes: the frame's three axes at its origin.
    """

    name: str
    vertices_m: Float[Array, "v 3"]
    triangles: Int[Array, "f 3"]
    colour: RGB = CLAY
    values: Float[Array, "v"] | None = None
    scale: HeatScale | None = None
    points_m: Float[Array, "n 3"] | None = None
    has_axes: bool = False


def build_model_figure(
    meshes: Sequence[FigureMesh], *, revision: str = "model", camera: Camera | None = None
) -> go.Figure:
    """Meshes from left to right on a transparent ground, with one bar for the first heat map.

    revision: the view stays as the user turned it while this stays the same.
    camera: drawn as a frustum at the origin, for meshes that stand before it; they then keep their
    places. A mesh whose numbers are not finite is left out; without any there are bare axes.
    """
    figure = go.Figure()
    shown = [mesh for mesh in meshes if np.isfinite(mesh.vertices_m).all()]
    moves = _places(shown) if camera is None else np.zeros((len(shown), 3))
    for mesh, move in zip(shown, moves, strict=True):
        figure.add_trace(_mesh(mesh, move))
        if mesh.points_m is not None:
            figure.add_trace(_points(mesh.points_m + move, mesh.name))
        if mesh.has_axes:
            figure.add_traces(axes_lines(np.eye(3), move, width=4.0))
    scale = next((mesh.scale for mesh in shown if mesh.values is not None), None)
    if scale is not None:
        figure.add_trace(_bar(scale, shown[0].vertices_m[0] + moves[0]))
    if camera is not None:
        depth_m = 0.35 * min((float(m.vertices_m[:, 2].min()) for m in shown), default=0.9)
        figure.add_trace(lines(frustum(camera, max(0.05, depth_m)), NEUTRAL, 2.0, "camera"))
        figure.add_trace(camera_mark(camera))
    if not figure.data:
        figure.add_traces(axes_lines(np.eye(3), np.zeros(3)))
    set_scene(figure, revision)
    if camera is None:
        figure.update_scenes(camera_eye=FRONT_VIEW, yaxis_title_text="z (m)")
    return figure


def _places(meshes: Sequence[FigureMesh]) -> Float[Array, "n 3"]:
    """How each mesh is moved so that they stand beside one another, the first at the left."""
    widths = [float(np.ptp(mesh.vertices_m[:, 0])) for mesh in meshes]
    moves, left = np.zeros((len(meshes), 3)), 0.0
    for i, mesh in enumerate(meshes):
        if i:
            moves[i, 0] = left - float(mesh.vertices_m[:, 0].min())
        left = float(mesh.vertices_m[:, 0].max()) + moves[i, 0] + GAP * max(widths)
    return moves


def _mesh(mesh: FigureMesh, move_m: Float[Array, "3"]) -> go.Mesh3d:
    points = to_figure(mesh.vertices_m + move_m)
    hover, custom = mesh.name, None
    if mesh.values is not None and mesh.scale is not None:
        hover = f"{mesh.name}<br>%{{customdata:.2f}} {mesh.scale.unit}"
        custom = mesh.values
    return go.Mesh3d(
        x=points[:, 0],
        y=points[:, 1],
        z=points[:, 2],
        i=mesh.triangles[:, 0],
        j=mesh.triangles[:, 1],
        k=mesh.triangles[:, 2],
        vertexcolor=[hex_colour(tuple(rgb)) for rgb in _colours(mesh).tolist()],
        lighting=UNLIT,
        name=mesh.name,
        customdata=custom,
        hovertemplate=f"{hover}<extra></extra>",
    )


def _colours(mesh: FigureMesh) -> Array:
    """As the renderers colour the mesh; each mesh is lit alike, wherever it stands."""
    middle = (mesh.vertices_m.min(0) + mesh.vertices_m.max(0)) / 2
    placed = mesh.vertices_m - middle + [0.0, 0.0, LAMPS_FROM_M]
    if mesh.values is None or mesh.scale is None:
        return surface_of(RenderMesh(placed, mesh.triangles, colour=mesh.colour)).colours
    heat = mesh.scale.colours(mesh.values)
    return surface_of(
        RenderMesh(placed, mesh.triangles, vertex_colours=heat, shading=LEGEND_SHADING)
    ).colours


def _points(points_m: Float[Array, "n 3"], name: str) -> go.Scatter3d:
    points = to_figure(points_m)
    return go.Scatter3d(
        x=points[:, 0],
        y=points[:, 1],
        z=points[:, 2],
        mode="markers",
        marker={"size": 2.5, "color": "#ffb000"},
        customdata=np.arange(len(points)),
        hovertemplate=f"{name}: landmark %{{customdata}}<extra></extra>",
        name=name,
    )


def _bar(scale: HeatScale, place_m: Float[Array, "3"]) -> go.Scatter3d:
    """The legend hangs on a point that is not seen."""
    point = to_figure(place_m[None])[0]
    return go.Scatter3d(
        x=[point[0]],
        y=[point[1]],
        z=[point[2]],
        mode="markers",
        hoverinfo="skip",
        name=scale.title or "scale",
        marker={
            "size": 0.1,
            "opacity": 0.0,
            "color": [scale.low],
            "cmin": scale.low,
            "cmax": scale.high,
            "colorscale": scale.plotly(),
            "showscale": True,
            "colorbar": {
                "title": {"text": f"{scale.title} ({scale.unit})".strip()},
                "tickvals": scale.ticks(),
                "thickness": 12,
                "len": 0.6,
                "x": 1.0,
                "xanchor": "right",
            },
        },
    )
