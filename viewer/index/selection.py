"""Which rows a page has: DuckDB filters, and of the rows that are left only as much is put in
order as is asked for.

DuckDB sorts all rows that stand before a page in the middle; finding the two values at the page's
ends and the rows between them takes one pass.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from viewer.index.filters import Filters, Sort
from viewer.index.schema import CATEGORY_COLUMNS, PREDICTION_COLUMNS
from viewer.index.tables import IndexTables, kind_of

Array = np.ndarray

KEPT_ANSWERS = 6
"""A million rows take 4 MB each."""

SAMPLE, SAMPLE_MARGIN = 4096, 128
"""The sample's error of a rank is a quarter of the margin (its standard deviation)."""


class Selection:
    """Filtered and ordered rows of one version of an index. Threads may share it.

    The latest filters and columns are kept: the next page, or the count, costs little.
    """

    def __init__(self, tables: IndexTables) -> None:
        self.tables = tables
        self._kept: OrderedDict[object, Array] = OrderedDict()
        self._lock = threading.Lock()

    def matching(
        self, filters: Filters, flagged_keys: Sequence[str] = (), model: str = ""
    ) -> Int[Array, "n"]:
        """Numbers of the rows that the filters leave, growing. Raises: FilterError."""
        source = self.tables.source(model, set(filters.ranges))
        where = self.tables.condition(filters, flagged_keys)
        changes = filters.flagged is not None or source != "hot"
        return self._once(
            None if changes else ("rows", filters.to_query_string()),
            lambda: self._ask_rows(f"select n from {source} where {where.sql}", where.values),
        )

    def rows(
        self,
        filters: Filters,
        sort: Sort,
        window: tuple[int, int],
        flagged_keys: Sequence[str] = (),
        model: str = "",
    ) -> list[int]:
        """Numbers of the rows from offset to offset + limit. Raises: FilterError."""
        numbers = self.matching(filters, flagged_keys, model)
        start, stop = window[0], window[0] + window[1]
        if sort.column == "key" or self.tables.is_empty(sort.column):
            is_turned = sort.descending and sort.column == "key"
            return (numbers[::-1] if is_turned else numbers)[start:stop].tolist()
        values = self._values(sort.column, model)
        if len(numbers) < len(values):
            values = values[numbers]
        places = places_in_order(-values if sort.descending else values, start, stop)
        return numbers[places].tolist()

    def _values(self, column: str, model: str) -> Float[Array, "rows"]:
        """Of every row what it is sorted by, NaN where it has no such number."""
        source = self.tables.source(model, {column})
        name = None if column in PREDICTION_COLUMNS else ("values", column)
        if column in CATEGORY_COLUMNS:
            return self._once(name, lambda: self._category(column))
        kind = kind_of(column)
        value = f"{column}::{kind}"
        if not self.tables.is_full(column):
            value = f"coalesce({value}, 'nan'::{kind})"
        return self._once(name, lambda: self._ask_values(value, source))

    def _category(self, column: str) -> Float[Array, "rows"]:
        """Numbers of names are in the order of the names; those without a name are last."""
        values = self._ask_values(column, "hot").astype(np.float32)
        names = self.tables.names[column]
        if names and names[0] == "":
            values[values == 0] = np.nan
        return values

    def _ask_rows(self, sql: str, values: Sequence[object]) -> Int[Array, "n"]:
        numbers = np.asarray(self.tables.ask(sql, values).fetchnumpy()["n"])
        return numbers if _is_growing(numbers) else np.sort(numbers)

    def _ask_values(self, value: str, source: str) -> Array:
        """Of every row. DuckDB keeps the order of a table's rows, and not that of a join's."""
        if source == "hot":
            return np.asarray(self.tables.ask(f"select {value} as v from hot").fetchnumpy()["v"])
        found = self.tables.ask(f"select n, {value} as v from {source}").fetchnumpy()
        return np.asarray(found["v"])[np.argsort(np.asarray(found["n"]))]

    def _once(self, name: object, ask: Callable[[], Array]) -> Array:
        """The kept answer of this name; name: None: it may be another one next time."""
        with self._lock:
            if name is not None and name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        answer = ask()
        if name is not None:
            with self._lock:
                self._kept[name] = answer
                while len(self._kept) > KEPT_ANSWERS:
                    self._kept.popitem(last=False)
        return answer


def _is_growing(numbers: Int[Array, "n"]) -> bool:
    return bool((numbers[1:] > numbers[:-1]).all())


def places_in_order(values: Float[Array, "n"], start: int, stop: int) -> Int[Array, "m"]:
    """`np.argsort(values, kind="stable")[start:stop]` without sorting all; NaN is last."""
    start, stop = min(start, len(values)), min(stop, len(values))
    is_missing = np.isnan(values)
    missing = np.flatnonzero(is_missing) if is_missing.any() else np.zeros(0, np.int64)
    count = len(values) - len(missing)
    behind = missing[max(0, start - count) : max(0, stop - count)]
    stop = min(stop, count)
    if start >= stop:
        return behind
    near, before = _near(values, start, stop, count) or (np.flatnonzero(~is_missing), 0)
    places = _in_order(values[near], start - before, stop - before)
    return np.concatenate([near[places], behind])


def _near(
    values: Float[Array, "n"], start: int, stop: int, count: int
) -> tuple[Int[Array, "k"], int] | None:
    """Places of values among which those from start to stop are, and how many are smaller.

    A sample says between which bounds they should be; None where it is wrong or all are few.
    """
    if count < 8 * SAMPLE:
        return None
    sample = values[:: len(values) // SAMPLE]
    sample = np.sort(sample[~np.isnan(sample)])
    low_place = int(start / count * len(sample)) - SAMPLE_MARGIN
    high_place = int(stop / count * len(sample)) + SAMPLE_MARGIN
    is_in = values <= (sample[high_place] if high_place < len(sample) else np.inf)
    before = 0
    if low_place >= 0:
        before = int(np.count_nonzero(values < sample[low_place]))
        is_in &= values >= sample[low_place]
    near = np.flatnonzero(is_in)
    return (near, before) if before <= start and stop <= before + len(near) else None


def _in_order(values: Float[Array, "n"], start: int, stop: int) -> Int[Array, "m"]:
    """`places_in_order` for values without NaN and start < stop."""
    parted = np.partition(values, (start, stop - 1))
    low, high = parted[start], parted[stop - 1]
    at_low = np.flatnonzero(values == low)[start - np.count_nonzero(values < low) :]
    if low == high:
        return at_low[: stop - start]
    between = np.flatnonzero((values > low) & (values < high))
    between = between[np.argsort(values[between], kind="stable")]
    at_high = np.flatnonzero(values == high)
    return np.concatenate([at_low, between, at_high])[: stop - start]
