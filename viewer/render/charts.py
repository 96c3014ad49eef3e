"""Charts of many labels: histograms, a map of yaw against pitch, and where noses point.

Every figure says in `layout.meta` which columns it is about, and every bin's customdata is [low,
high] of each of them, so that a click on it can become a filter.
"""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

from viewer.render.palette import AXIS_COLOURS, hex_colour

Array = np.ndarray

NEUTRAL = "#8b93a3"
ACCENT = "#0d9488"
"""The page's teal, between its shades for light and for dark ground."""

PALE = "rgba(139,147,163,0.32)"

DENSITY_SCALE = ((0.0, "rgba(13,148,136,0.12)"), (1.0, "rgba(13,148,136,1)"))
"""A bin with a single sample stands out from an empty one on light and on dark ground."""

ERROR_SCALE = ((0.0, "rgb(46,160,110)"), (0.5, "rgb(250,204,70)"), (1.0, "rgb(224,72,60)"))


def build_histogram(
    column: str,
    title: str,
    edges: Float[Array, "n_plus_1"],
    counts: Int[Array, "n"],
    all_counts: Int[Array, "n"] | None = None,
) -> go.Figure:
    """Bars of the samples that the filters leave; all_counts: pale bars of all behind them.

    title: with its unit, such as "Yaw (deg)".
    """
    low, high = edges[:-1], edges[1:]
    middle, width = (low + high) / 2, high - low
    bounds = np.stack([low, high], 1)
    figure = go.Figure()
    filtered = all_counts is not None and not np.array_equal(all_counts, counts)
    if filtered:
        figure.add_trace(_bars(middle, width, all_counts, bounds, PALE, "all"))
    figure.add_trace(_bars(middle, width, counts, bounds, ACCENT, "shown" if filtered else ""))
    _style(figure, [column])
    figure.update_layout(barmode="overlay", bargap=0.0)
    figure.update_xaxes(title_text=title, range=[float(edges[0]), float(edges[-1])])
    figure.update_yaxes(rangemode="tozero", nticks=4)
    return figure


def _bars(
    middle: Array, width: Array, counts: Array, bounds: Array, colour: str, name: str
) -> go.Bar:
    return go.Bar(
        x=middle,
        y=counts,
        width=width * 0.94,
        customdata=bounds.tolist(),
        marker={"color": colour, "line": {"width": 0}},
        name=name,
        hovertemplate="%{customdata[0]:.1f} to %{customdata[1]:.1f}: %{y:,}"
        f"<extra>{name}</extra>",
    )


def build_density(
    columns: tuple[str, str],
    titles: tuple[str, str],
    x_edges: Float[Array, "nx_plus_1"],
    y_edges: Float[Array, "ny_plus_1"],
    counts: Int[Array, "ny nx"],
) -> go.Figure:
    """Samples by two columns; the colour is the square root of the count, empty bins are clear."""
    shown = np.where(counts > 0, np.sqrt(counts), np.nan)
    return _heat_map(
        columns, titles, (x_edges, y_edges), shown, counts, DENSITY_SCALE, "%{customdata[4]:,}"
    )


def build_error_map(
    columns: tuple[str, str],
    titles: tuple[str, str],
    x_edges: Float[Array, "nx_plus_1"],
    y_edges: Float[Array, "ny_plus_1"],
    mean_error: Float[Array, "ny nx"],
    counts: Int[Array, "ny nx"],
    unit: str = "°",
) -> go.Figure:
    """Mean error of a model by two columns; bins without a sample are clear."""
    shown = np.where(counts > 0, mean_error, np.nan)
    figure = _heat_map(
        columns,
        titles,
        (x_edges, y_edges),
        shown,
        counts,
        ERROR_SCALE,
        f"%{{z:.1f}}{unit}, %{{customdata[4]:,}} samples",
    )
    for axis, edges, has in (("x", x_edges, counts.any(0)), ("y", y_edges, counts.any(1))):
        used = np.flatnonzero(has)
        if len(used):
            span = [float(edges[used[0]]), float(edges[used[-1] + 1])]
            figure.update_layout({f"{axis}axis": {"range": span}})
    bar = {"thickness": 9, "outlinewidth": 0, "title": {"text": unit, "side": "top"}}
    figure.update_traces(showscale=True, colorbar=bar)
    return figure


def _heat_map(
    columns: tuple[str, str],
    titles: tuple[str, str],
    edges: tuple[Array, Array],
    shown: Float[Array, "ny nx"],
    counts: Int[Array, "ny nx"],
    scale: tuple[tuple[float, str], ...],
    said: str,
) -> go.Figure:
    x_edges, y_edges = edges
    bounds = [
        np.broadcast_to(values, counts.shape)
        for values in (x_edges[None, :-1], x_edges[None, 1:], y_edges[:-1, None], y_edges[1:, None])
    ]
    figure = go.Figure(
        go.Heatmap(
            x=(x_edges[:-1] + x_edges[1:]) / 2,
            y=(y_edges[:-1] + y_edges[1:]) / 2,
            z=shown,
            customdata=np.stack([*bounds, counts], -1).tolist(),
            colorscale=[list(stop) for stop in scale],
            zmin=0.0,
            zmax=float(np.nanmax(shown, initial=0.0)) or 1.0,
            showscale=False,
            hoverongaps=False,
            xgap=1,
            ygap=1,
            hovertemplate="%{customdata[0]:.0f} to %{customdata[1]:.0f}, "
            f"%{{customdata[2]:.0f}} to %{{customdata[3]:.0f}}: {said}<extra></extra>",
        )
    )
    _style(figure, list(columns))
    figure.update_xaxes(title_text=titles[0], zeroline=True)
    figure.update_yaxes(title_text=titles[1], zeroline=True)
    return figure


def build_nose_sphere(
    directions_cam: Float[Array, "n 3"],
    yaw_pitch_deg: Float[Array, "n 2"],
    columns: tuple[str, str] = ("yaw_deg", "pitch_deg"),
    reach_deg: float = 5.0,
) -> go.Figure:
    """Where noses point, on a unit sphere seen from the camera; up is up.

    directions_cam: unit vectors, OpenCV axes. A point's customdata is its yaw and pitch, each with
    reach_deg to both sides.
    """
    yaw, pitch = yaw_pitch_deg.T if len(yaw_pitch_deg) else (np.zeros(0), np.zeros(0))
    bounds = np.stack([yaw - reach_deg, yaw + reach_deg, pitch - reach_deg, pitch + reach_deg], 1)
    points = _sphere_points(directions_cam)
    dense = float(np.clip(60.0 / max(len(points), 1) ** 0.5, 1.6, 4.5))
    figure = go.Figure(
        [
            _net(),
            go.Scatter3d(
                x=points[:, 0],
                y=points[:, 1],
                z=points[:, 2],
                mode="markers",
                marker={
                    "size": dense,
                    "color": hex_colour(AXIS_COLOURS["nose"]),
                    "opacity": 0.75,
                },
                customdata=np.concatenate([bounds, yaw_pitch_deg], 1).round(2).tolist(),
                hovertemplate="yaw %{customdata[4]:.0f}°, pitch %{customdata[5]:.0f}°"
                "<extra></extra>",
                name="nose directions",
            ),
            _camera_arrow(),
        ]
    )
    _style(figure, list(columns))
    hidden = {"visible": False, "showspikes": False, "range": [-1.15, 1.15]}
    figure.update_layout(
        scene={
            "xaxis": hidden,
            "yaxis": {**hidden, "range": [-1.35, 1.15]},
            "zaxis": hidden,
            "aspectmode": "manual",
            "aspectratio": {"x": 1.5, "y": 1.63, "z": 1.5},
            "dragmode": "orbit",
            "camera": {
                "eye": {"x": 0.42, "y": -1.04, "z": 0.38},
                "projection": {"type": "orthographic"},
            },
        },
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
    )
    return figure


def _sphere_points(directions_cam: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
    """Camera axes to Plotly's: x right, y forward, z up."""
    return np.stack([directions_cam[:, 0], directions_cam[:, 2], -directions_cam[:, 1]], -1)


def _net() -> go.Scatter3d:
    ball = _sphere_lines()
    return go.Scatter3d(
        x=ball[:, 0],
        y=ball[:, 1],
        z=ball[:, 2],
        mode="lines",
        line={"color": "#a9b1bf", "width": 1},
        hoverinfo="skip",
        name="sphere",
    )


def _sphere_lines() -> Float[Array, "n 3"]:
    """Circles of latitude and longitude, parted by gaps."""
    turn = np.append(np.linspace(0, 2 * np.pi, 61), np.nan)
    rows = []
    for angle in np.radians(np.linspace(-60, 60, 5)):
        rows.append(
            np.stack(
                [
                    np.cos(angle) * np.cos(turn),
                    np.cos(angle) * np.sin(turn),
                    np.sin(angle) + 0 * turn,
                ],
                1,
            )
        )
    for angle in np.radians(np.arange(0, 180, 30)):
        rows.append(
            np.stack(
                [np.cos(turn) * np.cos(angle), np.cos(turn) * np.sin(angle), np.sin(turn)],
                1,
            )
        )
    return np.concatenate(rows)


def _camera_arrow() -> go.Scatter3d:
    """Towards the camera: where a frontal face's nose points."""
    return go.Scatter3d(
        x=[0, 0],
        y=[-1.0, -1.3],
        z=[0, 0],
        mode="lines+text",
        line={"color": NEUTRAL, "width": 3},
        text=["", "<br>camera"],
        textposition="bottom center",
        textfont={"color": NEUTRAL, "size": 11},
        hoverinfo="skip",
        name="camera",
    )


def _style(figure: go.Figure, columns: list[str]) -> None:
    axis = {
        "gridcolor": "rgba(139,147,163,0.22)",
        "zerolinecolor": "rgba(139,147,163,0.5)",
        "title_standoff": 6,
    }
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    figure.update_layout(
        meta={"columns": columns},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": NEUTRAL, "size": 11},
        margin={"l": 44, "r": 8, "t": 8, "b": 36},
        showlegend=False,
        hovermode="closest",
        clickmode="event",
        uirevision=" ".join(columns),
    )
