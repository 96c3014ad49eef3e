"""Linked charts of what the filters leave: angles, distance, yaw against pitch, nose directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demo_app.actions.dataset_filters import column_title
from demo_app.actions.dataset_shelf import flags_of, index_of
from demo_app.services import Services
from models.geometry.rotations import yaw_pitch_of_nose_deg
from viewer.index.filters import Filters
from viewer.index.query import Index
from viewer.index.stats import histogram, nose_directions, yaw_pitch_density
from viewer.render.charts import build_density, build_histogram, build_nose_sphere

BINS = (12, 36)
"""Fewest and most; in between, one for every three samples."""

MAX_NOSES = 4000


@dataclass(frozen=True)
class Charts:
    """Plotly's JSON; "" where the data set has no such number. Each figure's layout.meta is
    {"columns": [...]}, and each point's customdata [low, high, ...] is for
    `dataset_filters.with_click`."""

    yaw: str
    pitch: str
    roll: str
    distance: str
    density: str
    sphere: str


def build_charts(services: Services, data_id: str, filters: Filters, model: str = "") -> Charts:
    """Histograms show all samples pale behind those that the filters leave.

    model: whose errors the filters may be about.
    Raises: IndexMissingError, FilterError, DatasetActionError.
    """
    asked = _Asked(
        index_of(services, data_id), filters, flags_of(services, data_id).flagged_keys(), model
    )
    return Charts(
        *(
            _histogram_json(asked, column)
            for column in ("yaw_deg", "pitch_deg", "roll_deg", "distance_mm")
        ),
        density=_density_json(asked),
        sphere=_sphere_json(asked),
    )


@dataclass(frozen=True)
class _Asked:
    index: Index
    filters: Filters
    flagged_keys: Sequence[str]
    model: str


def _histogram_json(asked: _Asked, column: str) -> str:
    bins = min(max(asked.index.tables().count // 3, BINS[0]), BINS[1])
    everything = histogram(asked.index, column, Filters(), bins)
    if not np.sum(everything.counts):
        return ""
    shown = histogram(asked.index, column, asked.filters, bins, asked.flagged_keys, asked.model)
    title, unit = column_title(column)
    name = f"{title} ({'°' if unit == 'deg' else unit})"
    figure = build_histogram(column, name, everything.edges, shown.counts, everything.counts)
    return figure.to_json()


def _density_json(asked: _Asked) -> str:
    density = yaw_pitch_density(asked.index, asked.filters, asked.flagged_keys, asked.model)
    if not np.sum(density.counts):
        return ""
    figure = build_density(
        ("yaw_deg", "pitch_deg"),
        ("Yaw (°)", "Pitch (°)"),
        density.yaw_edges_deg,
        density.pitch_edges_deg,
        density.counts,
    )
    return figure.to_json()


def _sphere_json(asked: _Asked) -> str:
    directions = nose_directions(
        asked.index, asked.filters, MAX_NOSES, asked.flagged_keys, asked.model
    )
    if not len(directions):
        return ""
    return build_nose_sphere(directions, yaw_pitch_of_nose_deg(directions)).to_json()
