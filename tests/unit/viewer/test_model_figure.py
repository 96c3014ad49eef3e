"""The figure of one or two meshes: one scale for all axes, side by side, colours with a bar."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.flame.open_head import load_open_head
from models.geometry.cameras import camera_from_horizontal_fov
from models.geometry.rotations import GL_FROM_CV
from viewer.render.heat_map import HeatScale
from viewer.render.model_figure import FigureMesh, build_model_figure

CAMERA = camera_from_horizontal_fov((640, 480))


@pytest.fixture(scope="module")
def mesh() -> FigureMesh:
    head = load_open_head()
    return FigureMesh("mean head", head.template_vertices_m @ GL_FROM_CV, head.triangles)


def with_fields(mesh: FigureMesh, **fields: object) -> FigureMesh:
    return FigureMesh(**(vars(mesh) | fields))


def extent(trace) -> np.ndarray:
    points = np.stack([trace.x, trace.y, trace.z], -1)
    return np.stack([points.min(0), points.max(0)])


def test_all_axes_share_one_scale(mesh: FigureMesh) -> None:
    scene = build_model_figure([mesh]).layout.scene
    spans = [np.ptp(axis.range) for axis in (scene.xaxis, scene.yaxis, scene.zaxis)]
    aspect = [scene.aspectratio.x, scene.aspectratio.y, scene.aspectratio.z]
    assert np.allclose(np.divide(aspect, spans), aspect[0] / spans[0])
    assert scene.aspectmode == "manual"


def test_up_is_up_and_the_nose_points_to_the_viewer(mesh: FigureMesh) -> None:
    (trace,) = build_model_figure([mesh]).data
    vertices = mesh.vertices_m
    assert np.argmax(trace.z) == vertices[:, 1].argmin()
    assert np.argmin(trace.y) == vertices[:, 2].argmin()
    assert np.allclose(trace.x, vertices[:, 0])


def test_two_meshes_stand_side_by_side(mesh: FigureMesh) -> None:
    wide = with_fields(mesh, name="wide", vertices_m=mesh.vertices_m * [1.3, 1, 1])
    left, right = (extent(trace) for trace in build_model_figure([mesh, wide]).data)
    gap = right[0, 0] - left[1, 0]
    assert gap == pytest.approx(0.15 * np.ptp(wide.vertices_m[:, 0]))
    assert np.allclose(left[:, 1:], right[:, 1:])


def test_values_are_colours_with_a_bar_and_a_hover_text(mesh: FigureMesh) -> None:
    values = np.linspace(0, 4, len(mesh.vertices_m))
    scale = HeatScale(0.0, 4.0, "distance")
    heat = with_fields(mesh, values=values, scale=scale)
    figure = build_model_figure([mesh, heat])
    plain, coloured, bar = figure.data
    assert plain.vertexcolor[-1] != coloured.vertexcolor[-1]
    assert "mm" in coloured.hovertemplate and np.allclose(coloured.customdata, values)
    marker = bar.marker
    assert (marker.cmin, marker.cmax, marker.colorbar.title.text) == (0.0, 4.0, "distance (mm)")
    assert list(marker.colorbar.tickvals) == scale.ticks()
    ends = [colour for _, colour in (marker.colorscale[0], marker.colorscale[-1])]
    assert ends == ["#440154", "#fde725"]
    json.loads(figure.to_json())


def test_landmarks_axes_and_the_camera(mesh: FigureMesh) -> None:
    points = mesh.vertices_m[:68]
    marked = with_fields(mesh, points_m=points, has_axes=True)
    names = [trace.name for trace in build_model_figure([marked]).data]
    assert names == ["mean head", "mean head", "x", "up", "nose"]
    before = with_fields(mesh, vertices_m=mesh.vertices_m + np.array([0, 0, 0.9]))
    figure = build_model_figure([before], camera=CAMERA)
    assert [trace.name for trace in figure.data][1:] == ["camera", "camera"]
    assert extent(figure.data[0])[0, 1] == pytest.approx(before.vertices_m[:, 2].min())
    assert figure.data[2].x[0] == figure.data[2].y[0] == 0.0


def test_nothing_and_the_impossible_are_shown_as_bare_axes(mesh: FigureMesh) -> None:
    bad = with_fields(mesh, vertices_m=np.full_like(mesh.vertices_m, np.nan))
    for meshes in ([], [bad]):
        figure = build_model_figure(meshes)
        json.loads(figure.to_json())
        assert [trace.name for trace in figure.data] == ["x", "up", "nose"]
    assert build_model_figure([mesh], revision="a").layout.uirevision == "a"
