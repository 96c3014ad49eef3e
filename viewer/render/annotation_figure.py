"""One annotated head in 3D, in metres: meshes, camera, axes, landmarks, depth; a Plotly figure.

Two meshes of one head can be compared: the second stands beside the first and carries the distance
of each of its vertices as a heat map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int, UInt8

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
from viewer.render.mesh_shapes import lit_points
from viewer.render.overlay import LANDMARK_LINES
from viewer.render.palette import LIGHT, hex_colour, track_colour

Array = np.ndarray

MAX_DEPTH_POINTS = 12000
HEAT_SCALE = "Inferno"
HEAT_PERCENTILE = 98.0
"""Top of the heat map's scale; a few stray vertices do not darken the rest."""

GAP = 1.2
"""Distance of two meshes beside each other, in widths."""


@dataclass(frozen=True)
class FigureMesh:
    """A mesh in the figure's frame. triangles: None: its points. heat_mm: of each vertex."""

    name: str
    vertices_m: Float[Array, "v 3"]
    triangles: Int[Array, "f 3"] | None = None
    heat_mm: Float[Array, "v"] | None = None


@dataclass(frozen=True)
class FigureContent:
    """What is known, in one frame: the camera's where there is one, the head's otherwise.

    t_cam_from_head_m: (3,); zeros in the head's frame. camera: None: no frustum.
    side_by_side: meshes stand beside each other (axes and landmarks stay with the first).
    """

    meshes: Sequence[FigureMesh] = ()
    camera: Camera | None = None
    R_cam_from_head: Float[Array, "3 3"] | None = None
    t_cam_from_head_m: Float[Array, "3"] | None = None
    landmarks_68_m: Float[Array, "68 3"] | None = None
    depth_m: Float[Array, "d 3"] | None = None
    side_by_side: bool = False

    def is_empty(self) -> bool:
        """Nothing but perhaps a camera."""
        posed = self.R_cam_from_head is not None and self.t_cam_from_head_m is not None
        return not (self.meshes or posed or _given(self.landmarks_68_m) or _given(self.depth_m))


def build_annotation_figure(content: FigureContent) -> go.Figure:
    """Transparent ground; hover texts give the numbers. Raises: ValueError for empty content."""
    if content.is_empty():
        raise ValueError("There is nothing to show in 3D.")
    figure = go.Figure()
    for number, mesh in enumerate(_placed(content), start=1):
        figure.add_trace(_mesh(mesh, number))
    if _given(content.depth_m):
        figure.add_trace(_depth(content.depth_m))
    if _given(content.landmarks_68_m):
        figure.add_traces(_landmarks(content.landmarks_68_m))
    if content.R_cam_from_head is not None and content.t_cam_from_head_m is not None:
        figure.add_traces(axes_lines(content.R_cam_from_head, content.t_cam_from_head_m))
    if content.camera is not None:
        nearest_m = _nearest_m(figure)
        depth_m = float(np.clip(0.35 * nearest_m, 0.05, 0.6))
        figure.add_trace(lines(frustum(content.camera, depth_m), NEUTRAL, 2.0, "camera"))
        figure.add_trace(camera_mark(content.camera))
    set_scene(figure, "annotation" if content.camera is not None else "head")
    if content.camera is None:
        figure.update_layout(scene_camera_eye={"x": -0.9, "y": -1.25, "z": 0.35})
        figure.update_layout(scene_camera_center={"x": 0.0, "y": 0.0, "z": 0.0})
        figure.update_layout(scene_yaxis_title_text="z, back (m)")
    return figure


def _given(values: Array | None) -> bool:
    return values is not None and len(values) > 0


def _placed(content: FigureContent) -> list[FigureMesh]:
    """The meshes where they are drawn: beside each other if so asked."""
    meshes = [mesh for mesh in content.meshes if np.isfinite(mesh.vertices_m).all()]
    if not content.side_by_side or len(meshes) < 2:
        return meshes
    width = max(float(np.ptp(mesh.vertices_m[:, 0])) for mesh in meshes)
    shift = np.array([GAP * width, 0.0, 0.0])
    return [
        FigureMesh(mesh.name, mesh.vertices_m + i * shift, mesh.triangles, mesh.heat_mm)
        for i, mesh in enumerate(meshes)
    ]


def _mesh(mesh: FigureMesh, number: int) -> go.Mesh3d | go.Scatter3d:
    points = to_figure(mesh.vertices_m)
    where = dict(zip("xyz", points.T, strict=True))
    said = f"{mesh.name}<br>{len(points)} vertices"
    if mesh.triangles is None or len(mesh.triangles) == 0:
        return go.Scatter3d(
            **where,
            mode="markers",
            marker={"size": 1.6, "color": hex_colour(track_colour(number + 1))},
            name=mesh.name,
            hovertemplate=said + "<extra></extra>",
        )
    corners = dict(zip("ijk", mesh.triangles.T, strict=True))
    if mesh.heat_mm is not None:
        return _heat_mesh(mesh, where | corners)
    before_camera_m = mesh.vertices_m + np.array([0.0, 0.0, 1.0])  # one in `head` lies around 0
    colours = lit_points(before_camera_m, mesh.triangles, track_colour(number + 1))
    return go.Mesh3d(
        **where,
        **corners,
        vertexcolor=_hex_list(colours),
        lighting=UNLIT,
        name=mesh.name,
        hovertemplate=f"{said}, {len(mesh.triangles)} triangles<extra></extra>",
    )


def _heat_mesh(mesh: FigureMesh, shape: dict[str, Array]) -> go.Mesh3d:
    heat = np.asarray(mesh.heat_mm, np.float64)
    finite = heat[np.isfinite(heat)]
    top = float(np.percentile(finite, HEAT_PERCENTILE)) if len(finite) else 1.0
    return go.Mesh3d(
        **shape,
        intensity=heat,
        cmin=0.0,
        cmax=max(top, 1e-3),
        colorscale=HEAT_SCALE,
        colorbar={
            "title": {"text": "mm", "side": "top"},
            "thickness": 10,
            "len": 0.6,
            "x": 0.98,
            "outlinewidth": 0,
            "tickcolor": NEUTRAL,
        },
        lighting={"ambient": 0.85, "diffuse": 0.3, "specular": 0.0, "fresnel": 0.0},
        name=mesh.name,
        customdata=heat,
        hovertemplate=f"{mesh.name}<br>%{{intensity:.2f}} mm<extra></extra>",
    )


def _hex_list(colours: UInt8[Array, "n 3"]) -> list[str]:
    return [hex_colour(tuple(rgb)) for rgb in colours.tolist()]


def _depth(points_m: Float[Array, "d 3"]) -> go.Scatter3d:
    points_m = points_m[:: -(-len(points_m) // MAX_DEPTH_POINTS)]
    x, y, z = to_figure(points_m).T
    return go.Scatter3d(
        x=x,
        y=y,
        z=z,
        mode="markers",
        marker={"size": 1.4, "color": y, "colorscale": "Viridis", "reversescale": True},
        name="depth",
        hovertemplate="depth<br>%{y:.3f} m<extra></extra>",
    )


def _landmarks(points_m: Float[Array, "68 3"]) -> list[go.Scatter3d]:
    x, y, z = to_figure(points_m).T
    joined = lines([points_m[line] for line in LANDMARK_LINES], NEUTRAL, 2.0, "landmarks")
    dots = go.Scatter3d(
        x=x,
        y=y,
        z=z,
        mode="markers",
        marker={
            "size": 2.6,
            "color": hex_colour(LIGHT),
            "line": {"color": "#11141c", "width": 1},
        },
        name="landmarks",
        text=[f"landmark {k}" for k in range(68)],
        hovertemplate="%{text}<extra></extra>",
    )
    return [joined, dots]


def _nearest_m(figure: go.Figure) -> float:
    """Distance along the camera's z of the nearest thing drawn."""
    depths = np.concatenate([np.asarray(trace.y, np.float64) for trace in figure.data])
    return float(np.nanmin(depths))
