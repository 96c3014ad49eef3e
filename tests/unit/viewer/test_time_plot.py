"""Angles and position over time."""

from __future__ import annotations

import json

import numpy as np
import pytest

from viewer.render.time_plot import MAX_POINTS, PoseSample, build_time_figure

NAMES = ["yaw", "pitch", "roll", "x", "y", "z"]


def sample(k: int, track: int = 1, smoothed: bool = False, at_s: float | None = None) -> PoseSample:
    angles, place = [k * 0.1, 2.0, 3.0], [10.0, 20.0, 900.0 + k]
    shift = 0.5 if smoothed else 0.0
    return PoseSample(
        track,
        k / 30 if at_s is None else at_s,
        angles,
        place,
        [a + shift for a in angles],
        [p + shift for p in place],
    )


def test_six_lines_in_two_panels() -> None:
    figure = build_time_figure(sample(k) for k in range(10))
    assert [trace.name for trace in figure.data] == NAMES
    assert [trace.yaxis for trace in figure.data] == ["y"] * 3 + ["y2"] * 3
    np.testing.assert_allclose(figure.data[0].y, np.arange(10) * 0.1)
    np.testing.assert_allclose(figure.data[5].y, 900.0 + np.arange(10))
    np.testing.assert_allclose(figure.data[0].x, np.arange(10) / 30)
    assert figure.layout.yaxis.title.text == "angle (°)"
    assert figure.layout.yaxis2.title.text == "position (mm)"
    assert not figure.layout.updatemenus


def test_raw_lines_only_where_something_was_smoothed_thin_and_below() -> None:
    figure = build_time_figure([sample(k, smoothed=True) for k in range(10)])
    assert [trace.name for trace in figure.data] == [
        label for name in NAMES for label in (f"{name} raw", name)
    ]
    raw, shown = figure.data[:2]
    np.testing.assert_allclose(np.array(raw.y) - shown.y, 0.5)
    assert raw.line.width < shown.line.width
    assert raw.opacity < shown.opacity
    assert raw.line.color == shown.line.color


def test_a_gap_where_the_head_was_not_seen_stays_a_gap() -> None:
    figure = build_time_figure([sample(k) for k in [*range(10), *range(60, 70)]])
    y = np.array(figure.data[0].y, float)
    assert len(y) == 21
    assert np.flatnonzero(np.isnan(y)).tolist() == [10]
    assert figure.data[0].connectgaps is not True


def test_thinning_keeps_extremes_order_and_gaps() -> None:
    rng = np.random.default_rng(1)
    count = 18_000
    values = rng.normal(0, 1, count)
    values[[777, 12_345]] = [90.0, -80.0]
    moments = np.arange(count) / 30 + np.where(np.arange(count) >= 9001, 20.0, 0.0)
    samples = [
        PoseSample(1, float(t), [v, 0.0, 0.0], [0.0, 0.0, v], [v, 0.0, 0.0], [0.0, 0.0, v])
        for t, v in zip(moments.tolist(), values.tolist(), strict=True)
    ]
    figure = build_time_figure(samples)
    x, y = np.array(figure.data[0].x, float), np.array(figure.data[0].y, float)
    assert len(x) <= MAX_POINTS + 1
    assert (np.diff(x) >= 0).all()
    assert (np.nanmin(y), np.nanmax(y)) == (-80.0, 90.0)
    (gap,) = np.flatnonzero(np.isnan(y))
    assert x[gap - 1] <= 300.1
    assert x[gap + 1] >= 320.0
    seen = dict(zip(moments.tolist(), values.tolist(), strict=True))
    assert all(seen[t] == v for t, v in zip(x, y, strict=True) if np.isfinite(v))


def test_ten_minutes_of_video_stay_a_small_figure() -> None:
    samples = [sample(k, smoothed=True) for k in range(18_000)]
    assert len(build_time_figure(samples).to_json()) < 3_000_000


def test_a_menu_shows_one_track_at_a_time_the_longest_first() -> None:
    figure = build_time_figure(
        [sample(k, track=2) for k in range(5)]
        + [sample(k, track=5, smoothed=True) for k in range(9)]
        + [sample(3, track=9)]
    )
    (menu,) = figure.layout.updatemenus
    assert [button.label for button in menu.buttons] == ["head 2", "head 5", "head 9"]
    assert menu.active == 1
    assert [trace.visible for trace in figure.data] == [False] * 6 + [True] * 12 + [False] * 6
    for button, (first, last) in zip(menu.buttons, [(0, 6), (6, 18), (18, 24)], strict=True):
        wanted = [first <= k < last for k in range(24)]
        assert list(button.args[0]["visible"]) == wanted


def test_a_single_moment_is_a_mark_in_the_lines_colour() -> None:
    figure = build_time_figure([sample(0)])
    assert figure.data[0].mode == "markers"
    assert figure.data[0].marker.color == figure.data[0].line.color


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_samples_are_json(count: int) -> None:
    data = json.loads(build_time_figure([sample(k) for k in range(count)]).to_json())
    assert len(data["data"]) == (6 if count else 0)
