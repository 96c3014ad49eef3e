"""Counts for charts: histograms, yaw against pitch, where noses point. Neither torch nor cv2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from viewer.index.filters import FilterError, Filters, can_be_ranged
from viewer.index.query import Index
from viewer.index.schema import PREDICTION_COLUMNS
from viewer.index.tables import Extent, IndexTables

Array = np.ndarray

MOST_BINS = 500
DENSITY_STEP_DEG = 5.0


@dataclass(frozen=True)
class Histogram:
    """counts[i]: rows from edges[i] to below edges[i + 1]; the last bin has its upper edge too."""

    column: str
    edges: Float[Array, "_edges"]
    counts: Int[Array, "_bins"]


@dataclass(frozen=True)
class Density:
    """counts[i, j]: rows in the i-th bin of pitch and the j-th of yaw; the edges are 5 deg apart.

    mean: of a column in each bin where one was asked for, NaN where a bin has none.
    """

    yaw_edges_deg: Float[Array, "_m"]
    pitch_edges_deg: Float[Array, "_n"]
    counts: Int[Array, "_p _y"]
    mean: Float[Array, "_p _y"] | None = None


def histogram(
    index: Index,
    column: str,
    filters: Filters,
    bins: int = 60,
    flagged_keys: Sequence[str] = (),
    model: str = "",
) -> Histogram:
    """Of a numeric column. The edges span the whole index, so that filters do not move them.

    Raises: FilterError.
    """
    if not can_be_ranged(column) or not 0 < bins <= MOST_BINS:
        raise FilterError(f"There is no histogram of {column!r:.60} with {bins} bins.")
    tables = index.tables()
    extent = _extent(tables, column, model)
    if extent.low is None or extent.high is None:
        return Histogram(column, np.zeros(0), np.zeros(0, np.int64))
    edges = _edges(extent.low, extent.high, bins)
    where = tables.condition(filters, flagged_keys)
    source = tables.source(model, {column, *filters.ranges})
    scale = bins / (edges[-1] - edges[0])
    sql = (
        f"select least(greatest(floor(({column} - ?::double) * ?::double), 0), ?::double)::integer"
        f" as bin, count(*) as many from {source}"
        f" where {where.sql} and {column} is not null group by bin"
    )
    values = (float(edges[0]), float(scale), float(bins - 1), *where.values)
    return Histogram(column, edges, _scatter(tables, sql, values, bins))


def yaw_pitch_density(
    index: Index,
    filters: Filters,
    flagged_keys: Sequence[str] = (),
    model: str = "",
    mean_of: str = "",
) -> Density:
    """yaw -180 to 180 by pitch -180 to 180 deg, cut to the bins that the index uses.

    mean_of: a numeric column, such as "geodesic_deg". Raises: FilterError.
    """
    if mean_of and not can_be_ranged(mean_of):
        raise FilterError(f"There is no column of numbers {mean_of!r:.60}.")
    tables = index.tables()
    yaw, pitch = (_steps(tables.extents[name]) for name in ("yaw_deg", "pitch_deg"))
    shape = (len(pitch) - 1, len(yaw) - 1)
    if min(shape) < 1:
        return Density(np.zeros(0), np.zeros(0), np.zeros((0, 0), np.int64))
    if mean_of and tables.is_empty(mean_of):
        mean_of = "null::float"
    where = tables.condition(filters, flagged_keys)
    source = tables.source(model, {mean_of, *filters.ranges})
    step = f"/ {DENSITY_STEP_DEG}"
    sql = (
        f"select least(floor((pitch_deg - ?::double) {step}), ?::double)::integer * ?::integer +"
        f" least(floor((yaw_deg - ?::double) {step}), ?::double)::integer as bin,"
        f" count({mean_of or '*'}) as many{f', avg({mean_of}) as mean' if mean_of else ''}"
        f" from {source} where {where.sql} and yaw_deg is not null and pitch_deg is not null"
        " group by bin"
    )
    found = tables.ask(
        sql,
        (
            *(float(pitch[0]), float(shape[0] - 1), shape[1]),
            *(float(yaw[0]), float(shape[1] - 1)),
            *where.values,
        ),
    ).fetchnumpy()
    counts = np.zeros(shape[0] * shape[1], np.int64)
    counts[found["bin"]] = found["many"]
    mean = None
    if mean_of:
        mean = np.full(counts.size, np.nan)
        mean[found["bin"]] = np.ma.filled(np.ma.asarray(found["mean"], np.float64), np.nan)
        mean = mean.reshape(shape)
    return Density(yaw, pitch, counts.reshape(shape), mean)


def nose_directions(
    index: Index,
    filters: Filters,
    limit: int = 5000,
    flagged_keys: Sequence[str] = (),
    model: str = "",
) -> Float[Array, "n 3"]:
    """Unit vectors from the head to where the nose points, camera frame; a frontal one is
    (0, 0, -1). Spread evenly over the rows where there are more than the limit.

    Raises: FilterError.
    """
    if limit < 1:
        raise FilterError("At least one direction.")
    tables = index.tables()
    if tables.is_empty("r22"):
        return np.zeros((0, 3))
    where = tables.condition(filters, flagged_keys)
    source = tables.source(model, set(filters.ranges))
    sql = f"select r02, r12, r22 from {source} where {where.sql} and r22 is not null"
    found = tables.ask(sql, where.values).fetchnumpy()
    columns = [np.ma.filled(np.ma.asarray(found[n]), np.nan) for n in ("r02", "r12", "r22")]
    chosen = np.linspace(0, len(columns[0]) - 1, min(limit, len(columns[0]))).astype(int)
    directions = -np.stack(columns, 1)[chosen].astype(np.float64)
    directions = directions[np.isfinite(directions).all(1)]
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    return directions[lengths[:, 0] > 0] / lengths[lengths[:, 0] > 0]


def _extent(tables: IndexTables, column: str, model: str) -> Extent:
    if column not in PREDICTION_COLUMNS:
        return tables.extents[column]
    source = tables.source(model, {column})
    sql = f"select min({column})::double, max({column})::double, count({column}) from {source}"
    return Extent(*tables.ask(sql).fetchone())


def _edges(low: float, high: float, bins: int) -> Float[Array, "edges"]:
    """Evenly apart; around the number where all are equal."""
    if not high > low:
        half = max(0.5, abs(low) * 1e-6)
        low, high = low - half, high + half
    return np.linspace(low, high, bins + 1)


def _steps(extent: Extent) -> Float[Array, "edges"]:
    """Multiples of the step around the extent."""
    if extent.low is None or extent.high is None:
        return np.zeros(1)
    low, high = (np.array([extent.low, extent.high]) / DENSITY_STEP_DEG).astype(np.float64)
    first, last = np.floor(low), max(np.ceil(high), np.floor(low) + 1)
    return np.arange(first, last + 1) * DENSITY_STEP_DEG


def _scatter(
    tables: IndexTables, sql: str, values: Sequence[object], bins: int
) -> Int[Array, "bins"]:
    found = tables.ask(sql, values).fetchnumpy()
    counts = np.zeros(bins, np.int64)
    counts[found["bin"]] = found["many"]
    return counts
