"""Two heads side by side: how far the first is from the second, after moving one onto the other."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from demo_app.actions.flame_desk import base64_of
from models.geometry.mesh_distance import nearest_on_surface
from models.geometry.rotations import (
    GL_FROM_CV,
    matrix_from_rotation_vector,
    nearest_rotation,
)
from viewer.render.heat_map import LEGEND_SHADING, HeatScale, scale_of
from viewer.render.mesh_files import NamedMesh
from viewer.render.render_scene import CLAY

Array = np.ndarray

_SAMPLED, _KEPT = 300, 0.8
_FIRST_STEPS, _STEPS = 4, 20
_STILL_MM = 0.005
_MOST_PERCENT = 95


@dataclass(frozen=True)
class Comparison:
    """distance_mm: from each vertex of the first to the surface of the second.

    other: moved and turned onto the first, not scaled. by_vertices: found from equal vertices,
    else by the nearest surfaces.
    """

    name: str
    mesh: NamedMesh
    other: NamedMesh
    distance_mm: Float[Array, "v"]
    by_vertices: bool

    @property
    def figures(self) -> dict[str, float]:
        """Mean, median and largest distance, mm."""
        values = self.distance_mm
        return {
            "mean": float(values.mean()),
            "median": float(np.median(values)),
            "max": float(values.max()),
        }


def compare(name: str, mesh: NamedMesh, other: NamedMesh) -> Comparison:
    """name: of the first. Takes one or two seconds."""
    by_vertices = np.array_equal(mesh.triangles, other.triangles)
    if by_vertices:
        T = rigid_fit(other.vertices_m, mesh.vertices_m)
    else:
        T = nearest_fit(other, mesh.vertices_m)
    moved = NamedMesh(other.name, _moved(T, other.vertices_m), other.triangles)
    found = nearest_on_surface(mesh.vertices_m, moved.vertices_m, moved.triangles)
    return Comparison(name, mesh, moved, 1000.0 * found.distance, by_vertices)


def rigid_fit(source: Float[Array, "n 3"], target: Float[Array, "n 3"]) -> Float[Array, "4 4"]:
    """p_target = T p_source, turned and shifted in the least-squares sense (Kabsch 1976)."""
    middle, goal = source.mean(0), target.mean(0)
    T = np.eye(4)
    T[:3, :3] = nearest_rotation((target - goal).T @ (source - middle))
    T[:3, 3] = goal - T[:3, :3] @ middle
    return T


def nearest_fit(source: NamedMesh, target_m: Float[Array, "v 3"]) -> Float[Array, "4 4"]:
    """The motion of one surface onto points of another (ICP).

    Tried with y up and with y down; the farthest fifth of the points does not count, as necks are
    cut at other places.
    """
    points = target_m[:: max(1, len(target_m) // _SAMPLED)]
    tries = []
    for R in (np.eye(3), GL_FROM_CV):
        T = np.eye(4)
        T[:3, :3] = R
        boxes = [(a.min(0) + a.max(0)) / 2 for a in (points, source.vertices_m @ R.T)]
        T[:3, 3] = boxes[0] - boxes[1]
        tries.append(_iterated(source, points, T, _FIRST_STEPS))
    return _iterated(source, points, min(tries, key=lambda one: one[0])[1], _STEPS)[1]


def _iterated(
    source: NamedMesh, points: Float[Array, "n 3"], T: Float[Array, "4 4"], steps: int
) -> tuple[float, Float[Array, "4 4"]]:
    """The mean distance, mm, and the motion; each step brings the surface's planes to the points.

    Chen and Medioni 1992: unlike a step from point to point it slides along the surface.
    """
    best = np.inf, T
    for _ in range(steps):
        moved = _moved(T, source.vertices_m)
        found = nearest_on_surface(points, moved, source.triangles)
        near = np.argsort(found.distance)[: round(_KEPT * len(points))]
        mean_mm = 1000.0 * float(found.distance[near].mean())
        is_still = best[0] - mean_mm < _STILL_MM
        best = min(best, (mean_mm, T), key=lambda one: one[0])
        if is_still:
            break
        corners = moved[source.triangles[found.triangle_id[near]]]
        T = _onto_planes(found.point[near], points[near], corners) @ T
    return best


def _onto_planes(
    places: Float[Array, "n 3"], points: Float[Array, "n 3"], corners: Float[Array, "n 3 3"]
) -> Float[Array, "4 4"]:
    """The small motion of the triangles that brings their planes nearest to the points."""
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-15)
    middle = places.mean(0)
    rows = np.c_[np.cross(places - middle, normals), normals]
    gaps = ((points - places) * normals).sum(1)
    turn_shift = np.linalg.lstsq(rows, gaps, rcond=None)[0]
    T = np.eye(4)
    T[:3, :3] = matrix_from_rotation_vector(turn_shift[None, :3])[0]
    T[:3, 3] = middle + turn_shift[3:] - T[:3, :3] @ middle
    return T


def _moved(T: Float[Array, "4 4"], points: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
    return points @ T[:3, :3].T + T[:3, 3]


def comparison_message(compared: Comparison) -> dict[str, Any]:
    """For the page: both heads, the first with its heat map."""
    distance_mm = compared.distance_mm
    # teeth and the rim of the neck are often far: they take the brightest colour
    most_mm = distance_mm[distance_mm <= np.percentile(distance_mm, _MOST_PERCENT)]
    scale = scale_of(np.round(most_mm, 3), "Distance")  # equal heads differ by less than 1 um
    clay = np.broadcast_to(np.array(CLAY, np.uint8), compared.other.vertices_m.shape)
    heads = [
        _head(compared.name, compared.mesh, scale.colours(distance_mm), LEGEND_SHADING),
        _head(compared.other.name, compared.other, clay, 1.0),
    ]
    return {"kind": "comparison", "heads": heads, "legend": legend_html(scale)}


def _head(name: str, mesh: NamedMesh, colours: Int[Array, "v 3"], lit: float) -> dict[str, object]:
    return {
        "name": name,
        "vertices": base64_of(mesh.vertices_m, "<f4"),
        "triangles": base64_of(mesh.triangles, "<u4"),
        "colours": base64_of(colours, "u1"),
        "lit": lit,
    }


def legend_html(scale: HeatScale) -> str:
    """What the colours mean."""
    stops = ", ".join(f"{colour} {100 * place:.0f}%" for place, colour in scale.plotly())
    span = scale.high - scale.low
    ticks = "".join(
        f'<span style="left:{100 * (tick - scale.low) / span:.1f}%">{tick:g}</span>'
        for tick in scale.ticks()
    )
    return (
        f"{escape(scale.title)}, {scale.unit}"
        f'<div class="flame-ramp" style="background:linear-gradient(90deg, {stops})"></div>'
        f'<div class="flame-ticks">{ticks}</div>'
    )


def comparison_html(compared: Comparison) -> str:
    """Mean, median and largest distance in words."""
    names = {"mean": "Mean", "median": "Median", "max": "Largest"}
    figures = "".join(
        f'<span class="ds-figure" data-field="{key}"><b>{compared.figures[key]:.2f}</b> mm'
        f"<small>{title}</small></span>"
        for key, title in names.items()
    )
    how = (
        "vertex by vertex, as both have the same triangles"
        if compared.by_vertices
        else "by nearest surfaces, without the farthest fifth"
    )
    note = (
        f"From each vertex of the first to the surface of the second, which was turned and moved "
        f"onto it ({how}) and not scaled."
    )
    return f'<div class="ds-figures">{figures}</div><p class="hint">{note}</p>'
