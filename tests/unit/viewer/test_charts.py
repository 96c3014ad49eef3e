"""Charts of labels: the numbers that were given, and bins that can become filters."""

from __future__ import annotations

import json

import numpy as np

from viewer.render.charts import (
    build_density,
    build_error_map,
    build_histogram,
    build_nose_sphere,
)

EDGES = np.array([-20.0, -10.0, 0.0, 10.0])


def test_a_histogram_has_all_samples_behind_those_that_are_left() -> None:
    figure = build_histogram("yaw_deg", "Yaw (°)", EDGES, np.array([1, 0, 2]), np.array([5, 4, 3]))
    back, front = figure.data
    assert list(back.y) == [5, 4, 3]
    assert list(front.y) == [1, 0, 2]
    assert list(front.x) == [-15.0, -5.0, 5.0]
    assert [list(bounds) for bounds in front.customdata] == [[-20, -10], [-10, 0], [0, 10]]
    assert figure.layout.meta["columns"] == ["yaw_deg"]
    alone = build_histogram("yaw_deg", "Yaw", EDGES, np.array([1, 0, 2]), np.array([1, 0, 2]))
    assert len(alone.data) == 1


def test_the_maps_bins_know_their_edges_and_empty_ones_are_clear() -> None:
    counts = np.array([[0, 4, 1], [9, 0, 0]])
    figure = build_density(
        ("yaw_deg", "pitch_deg"), ("Yaw", "Pitch"), EDGES, np.array([0.0, 5.0, 10.0]), counts
    )
    (heat,) = figure.data
    assert np.isnan(heat.z[0][0]) and heat.z[1][0] == 3.0 and heat.zmin == 0.0
    assert list(heat.customdata[1][0]) == [-20, -10, 5, 10, 9]
    assert list(heat.x) == [-15, -5, 5] and list(heat.y) == [2.5, 7.5]
    errors = build_error_map(
        ("yaw_deg", "pitch_deg"),
        ("Yaw", "Pitch"),
        EDGES,
        np.array([0.0, 5.0, 10.0]),
        np.full((2, 3), 2.5),
        counts,
    )
    assert np.isnan(errors.data[0].z[1][1]) and errors.data[0].z[0][1] == 2.5


def test_noses_point_to_the_camera_and_up_is_up() -> None:
    noses = np.array([[0.0, 0.0, -1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])
    angles = np.array([[0.0, 0.0], [0.0, 90.0], [-90.0, 0.0]])
    figure = build_nose_sphere(noses, angles, reach_deg=5.0)
    (dots,) = [trace for trace in figure.data if trace.name == "nose directions"]
    np.testing.assert_allclose(
        np.stack([dots.x, dots.y, dots.z], 1), [[0, -1, 0], [0, 0, 1], [1, 0, 0]], atol=1e-12
    )
    assert list(dots.customdata[1][:4]) == [-5.0, 5.0, 85.0, 95.0]
    (camera,) = [trace for trace in figure.data if trace.name == "camera"]
    assert camera.y[-1] < 0


def test_figures_are_plain_json_for_the_page() -> None:
    figure = build_nose_sphere(np.zeros((0, 3)), np.zeros((0, 2)))
    assert json.loads(figure.to_json())["layout"]["meta"] == {"columns": ["yaw_deg", "pitch_deg"]}
