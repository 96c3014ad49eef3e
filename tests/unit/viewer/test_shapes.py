"""Shapes: cut far outside the picture, and as JSON for the browser."""

from __future__ import annotations

import json

import numpy as np
import pytest

from viewer.render.shapes import Dots, DrawList, Label, Segments, Triangles, within_reach

SIZE = (640, 480)
REACH_PX = 640.0


def test_lines_are_cut_where_they_leave_the_reach_and_keep_their_direction() -> None:
    start, end = np.array([100.0, 200.0]), np.array([9e7, 4e7])
    (cut,) = within_reach([Segments(np.array([[start, end]]), (1, 2, 3), 2.0)], SIZE)
    np.testing.assert_allclose(cut.points_px[0, 0], start)
    way, kept = end - start, cut.points_px[0, 1] - start
    assert np.degrees(np.arctan2(way[0] * kept[1] - way[1] * kept[0], way @ kept)) == pytest.approx(
        0, abs=1e-6
    )
    assert cut.points_px.max() == pytest.approx(640 + REACH_PX)


def test_a_line_across_the_picture_with_both_ends_far_outside_stays() -> None:
    line = np.array([[[-1e6, 240.0], [1e6, 240.0]]])
    (cut,) = within_reach([Segments(line, (1, 2, 3), 2.0)], SIZE)
    np.testing.assert_allclose(
        np.sort(cut.points_px[0], 0), [[-REACH_PX, 240], [640 + REACH_PX, 240]]
    )


def test_what_is_wholly_outside_is_left_out() -> None:
    away = np.array([[[5000.0, 10.0], [5000.0, 400.0]], [[-9e9, -9e9], [9e9, -8e9]]])
    shapes = [
        Segments(away, (1, 2, 3), 1.0),
        Dots(np.array([[1e9, 3.0]]), (1, 2, 3), 1.0),
        Triangles(np.full((1, 3, 2), 1e9), np.zeros((1, 3), np.uint8), 0.5),
        Segments(np.zeros((0, 2, 2)), (1, 2, 3), 1.0),
    ]
    assert within_reach(shapes, SIZE) == ()


def test_what_is_inside_is_not_touched() -> None:
    shapes = (
        Segments(np.array([[[1.25, 2.5], [3.0, 4.0]]]), (1, 2, 3), 1.0),
        Dots(np.array([[1.0, 3.0]]), (1, 2, 3), 1.0),
        Label(1.0, 2.0, "a", 13.0, (1, 2, 3)),
    )
    kept = within_reach(shapes, SIZE)
    assert all(a is b for a, b in zip(kept, shapes, strict=True))


def test_json_holds_every_kind_in_tenths_of_a_pixel() -> None:
    draw_list = DrawList(
        (
            Segments(np.array([[[0.04, 1.26], [-3.55, 400.0]]]), (255, 0, 16), 1.234, 0.5),
            Triangles(
                np.arange(12.0).reshape(2, 3, 2), np.array([[1, 2, 3], [255, 0, 9]], np.uint8), 0.7
            ),
            Dots(np.array([[7.0, 8.0]]), (0, 0, 0), 2.0),
            Label(3.14159, 20.0, "1  Y +3°", 13.0, (255, 176, 0)),
        ),
        SIZE,
    )
    data = json.loads(json.dumps(draw_list.to_json(), allow_nan=False))
    assert data["size"] == [640, 480]
    assert data["scale"] == 10
    lines, triangles, dots, label = data["shapes"]
    assert lines["points"][:2] == [0, 13]
    np.testing.assert_allclose(np.array(lines["points"]) / 10, [0.04, 1.26, -3.55, 400], atol=0.051)
    assert (lines["kind"], lines["colour"], lines["width"], lines["alpha"]) == (
        "segments",
        "#ff0010",
        1.23,
        0.5,
    )
    assert triangles["kind"] == "triangles"
    assert triangles["points"] == [10 * k for k in range(12)]
    assert triangles["colours"] == [0x010203, 0xFF0009]
    assert dots == {
        "kind": "dots",
        "points": [70, 80],
        "alpha": 1.0,
        "colour": "#000000",
        "radius": 2.0,
    }
    assert label == {
        "kind": "label",
        "x": 3.1,
        "y": 20.0,
        "text": "1  Y +3°",
        "height": 13.0,
        "colour": "#ffb000",
    }
