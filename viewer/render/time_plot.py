"""Angles and position over time, what the network said against what was smoothed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

Array = np.ndarray

MAX_POINTS = 3000
"""Of one line; a longer one keeps the least and the greatest value of each stretch."""

ANGLES = (("yaw", "#e8590c"), ("pitch", "#1c7ed6"), ("roll", "#2f9e44"))
POSITIONS = (("x", "#e8590c"), ("y", "#1c7ed6"), ("z", "#2f9e44"))
NEUTRAL = "#8b93a3"


@dataclass(frozen=True)
class PoseSample:
    """One head at one moment. ypr_deg, t_mm: shown; raw_*: before smoothing."""

    track_id: int
    time_s: float
    ypr_deg: Sequence[float]
    t_mm: Sequence[float]
    raw_ypr_deg: Sequence[float]
    raw_t_mm: Sequence[float]


def build_time_figure(samples: Iterable[PoseSample]) -> go.Figure:
    """Two panels, degrees above millimetres, with a menu of tracks where there are several.

    Raw lines are thin and pale, and left out where nothing was smoothed. A gap where a head was not
    seen stays a gap.
    """
    tracks: dict[int, list[PoseSample]] = {}
    for sample in samples:
        tracks.setdefault(sample.track_id, []).append(sample)
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06, row_heights=[0.5, 0.5]
    )
    longest = max(tracks, key=lambda number: len(tracks[number]), default=None)
    owners: list[int] = []
    for number, kept in sorted(tracks.items()):
        traces = _track_traces(kept, visible=number == longest)
        for trace, row in traces:
            figure.add_trace(trace, row=row, col=1)
        owners += [number] * len(traces)
    _style(figure)
    if len(tracks) > 1:
        _add_menu(figure, owners, sorted(tracks), longest)
    return figure


def _track_traces(kept: list[PoseSample], visible: bool) -> list[tuple[go.Scattergl, int]]:
    time_s = np.array([sample.time_s for sample in kept])
    shown = np.array([[*sample.ypr_deg, *sample.t_mm] for sample in kept], float)
    raw = np.array([[*sample.raw_ypr_deg, *sample.raw_t_mm] for sample in kept], float)
    smoothed = not np.allclose(shown, raw)
    traces = []
    for k, (name, colour) in enumerate((*ANGLES, *POSITIONS)):
        row, unit = (1, "°") if k < 3 else (2, " mm")
        lines = [(shown[:, k], name, 2.0, 1.0)]
        if smoothed:
            lines.insert(0, (raw[:, k], f"{name} raw", 1.0, 0.45))
        for values, label, width, opacity in lines:
            x, y = _thinned(*_with_gaps(time_s, values))
            trace = go.Scattergl(
                x=x,
                y=y,
                mode="lines" if len(kept) > 1 else "markers",
                line={"color": colour, "width": width},
                marker={"color": colour, "size": 4 * width},
                opacity=opacity,
                name=label,
                visible=visible,
                hovertemplate="%{x:.2f} s: %{y:.1f}" + unit + f"<extra>{label}</extra>",
            )
            traces.append((trace, row))
    return traces


def _with_gaps(time_s: Array, values: Array) -> tuple[Array, Array]:
    """NaN between samples that are further apart than a few frames."""
    if len(time_s) < 3:
        return time_s, values
    steps = np.diff(time_s)
    breaks = np.flatnonzero(steps > max(4 * float(np.median(steps)), 0.2)) + 1
    return np.insert(time_s, breaks, time_s[breaks]), np.insert(values, breaks, np.nan)


def _thinned(x: Array, y: Array) -> tuple[Array, Array]:
    """At most `MAX_POINTS` beside the gaps: of each stretch its least and greatest value."""
    if len(x) <= MAX_POINTS:
        return x, y
    length = -(-2 * len(x) // MAX_POINTS)
    rows = np.arange(-(-len(x) // length) * length).reshape(-1, length).clip(max=len(x) - 1)
    values = y[rows]
    gap = np.isnan(values)
    picks = [
        np.where(gap, np.inf, values).argmin(1),
        np.where(gap, -np.inf, values).argmax(1),
    ]
    first = np.arange(len(rows))
    ids = np.unique(np.concatenate([rows[first, pick] for pick in picks] + [rows[gap]]))
    return x[ids], y[ids]


def _style(figure: go.Figure) -> None:
    axis = {"gridcolor": "rgba(139,147,163,0.25)", "zerolinecolor": "rgba(139,147,163,0.5)"}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    figure.update_yaxes(title_text="angle (°)", row=1, col=1)
    figure.update_yaxes(title_text="position (mm)", row=2, col=1)
    figure.update_xaxes(title_text="time (s)", row=2, col=1)
    figure.update_layout(
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": NEUTRAL, "size": 11},
        margin={"l": 56, "r": 8, "t": 34, "b": 40},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hovermode="x unified",
        uirevision="time",
    )


def _add_menu(
    figure: go.Figure, owners: Sequence[int], tracks: Sequence[int], active: int | None
) -> None:
    buttons = [
        {
            "label": f"head {number}",
            "method": "restyle",
            "args": [{"visible": [owner == number for owner in owners]}],
        }
        for number in tracks
    ]
    figure.update_layout(
        updatemenus=[
            {
                "buttons": buttons,
                "active": list(tracks).index(active),
                "x": 1.0,
                "xanchor": "right",
                "y": 1.02,
                "yanchor": "bottom",
                "bgcolor": "rgba(139,147,163,0.15)",
            }
        ]
    )
