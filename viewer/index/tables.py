"""The columns that are filtered and sorted by, in DuckDB's memory: a million rows in a few hundred
megabytes, where decoding Parquet for every question would take seconds.

Table `hot`, one row per sample in the order of the keys: `n` (0, 1, ...), the numeric columns in
single precision (whole numbers as such), split, subject and sequence as numbers of their names,
`finding_bits`, `key_hash` and `key_lower`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from viewer.index.check_table import CHECKS
from viewer.index.filters import FilterError, Filters
from viewer.index.predictions import has_predictions, predictions_path, read_error_columns
from viewer.index.rows_file import RowsFile
from viewer.index.schema import (
    CATEGORY_COLUMNS,
    COLUMN_BY_NAME,
    COLUMNS,
    INDEX_FILE,
    PREDICTION_COLUMNS,
    Column,
    IndexMissingError,
    require_columns,
)

BYTES_PER_ROW = 600
LEAST_MEMORY_MB = 256
THREADS = 2
LARGEST_INTEGER = 2**31 - 1

NUMERIC = tuple(column for column in COLUMNS if column.is_numeric)
FINDING_BIT = {check.name: 1 << bit for bit, check in enumerate(CHECKS)}


@dataclass(frozen=True)
class Extent:
    """Of a numeric column: its finite numbers. low, high: None where there are none."""

    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True)
class Condition:
    """SQL with ? for each value."""

    sql: str
    values: tuple[object, ...]


class IndexTables:
    """One version of an index file, loaded. Threads may share it; each asks through its own cursor.

    said: what stands at the head of the file.
    """

    def __init__(self, folder: Path, threads: int = THREADS) -> None:
        """Raises: IndexMissingError; FileNotFoundError where a build just replaced the files."""
        self.folder = folder
        self._lock = threading.Lock()
        self._predictions: dict[str, tuple[int, str]] = {}
        with _open_parquet(folder / INDEX_FILE) as file:
            self.said = require_columns(file.schema_arrow)
            self.rows_file = RowsFile(folder / Path(self.said.get("rows", "")).name)
            self.count: int = file.metadata.num_rows
            self._db = _connect(self.count, threads)
            self.extents = _extents(file.metadata)
        self._db.execute("set threads = 1")  # rows stay in order, and reading takes less memory
        try:
            self.names = _load(self._db, folder / INDEX_FILE, self.extents)
        except duckdb.Error as error:  # damaged, or replaced by a build while it was read
            raise IndexMissingError(f"The index cannot be read, build it again: {error}") from error
        self._db.execute(f"set threads = {int(threads)}")
        self._require_order()
        self.codes: dict[str, dict[str, int]] = {
            column: {name: code for code, name in enumerate(names)}
            for column, names in self.names.items()
        }

    def _require_order(self) -> None:
        numbers = np.asarray(self.ask("select n from hot").fetchnumpy()["n"])
        if not np.array_equal(numbers, np.arange(self.count)):
            raise IndexMissingError("The index has rows in disorder: build it again.")

    def ask(self, sql: str, values: Sequence[object] = ()) -> duckdb.DuckDBPyConnection:
        """A cursor of its own with the answer. sql: never text of a user."""
        return self._db.cursor().execute(sql, list(values))

    def condition(self, filters: Filters, flagged_keys: Sequence[str]) -> Condition:
        """The filters as the part behind `where`. Names in it are those of COLUMNS alone."""
        parts, values = ["true"], []
        for column, bounds in filters.ranges.items():
            if self.is_empty(column):
                parts.append("false")
                continue
            kind = kind_of(column)
            for sign, bound in zip((">=", "<="), bounds, strict=True):
                if bound is not None:
                    parts.append(f"{column} {sign} ?::{kind}")
                    values.append(_within_single(bound) if kind == "float" else bound)
            parts += [f"{column} is not null"] if bounds == (None, None) else []
        for column, names in filters.values.items():
            codes = [self.codes[column][name] for name in names if name in self.codes[column]]
            parts.append(f"{column} in ({', '.join('?' * len(codes))})" if codes else "false")
            values += codes
        if filters.findings:
            parts.append("(finding_bits & ?::bigint) <> 0")
            values.append(sum(FINDING_BIT[name] for name in filters.findings))
        if filters.flagged is not None:
            known = "select hash(k) from (select unnest(?::varchar[]) as k)"
            parts.append(f"key_hash {'' if filters.flagged else 'not '}in ({known})")
            values.append(list(flagged_keys))
        if filters.text:
            parts.append("contains(key_lower, lower(?))")
            values.append(filters.text)
        return Condition(" and ".join(parts), tuple(values))

    def is_empty(self, column: str) -> bool:
        """Whether no row has a number in a column: then `hot` has no such column."""
        return column in self.extents and not self.extents[column].count

    def is_full(self, column: str) -> bool:
        """Whether every row has a number in a column."""
        return column in self.extents and self.extents[column].count == self.count

    def source(self, model: str, columns: set[str]) -> str:
        """What stands behind `from`: the table, with a model's errors where they are needed.

        Raises: FilterError where a model is needed and none is given, or it has no results.
        """
        if not columns & set(PREDICTION_COLUMNS):
            return "hot"
        if not model:
            raise FilterError("Errors of a model can only be asked for with a model chosen.")
        return f"(hot left join {self._prediction_table(model)} using (n))"

    def number_of(self, key: str) -> int | None:
        """The row with this key."""
        for (n,) in self.ask("select n from hot where key_hash = hash(?)", (key,)).fetchall():
            if self.rows_file.read([n], ("key",))[0]["key"] == key:
                return n
        return None

    def _prediction_table(self, model: str) -> str:
        """Loaded when first asked for, and again when the file has changed."""
        if not has_predictions(self.folder, model):
            raise FilterError("This model has no stored results for this data set yet.")
        stamp = predictions_path(self.folder, model).stat().st_mtime_ns
        with self._lock:
            known = self._predictions.get(model)
            if known is not None and known[0] == stamp:
                return known[1]
            name = f"errors_{sum(1 for _ in self._predictions)}_{stamp}"
            stored = read_error_columns(self.folder, model)
            self.ask(
                f"create table {name} as select hot.n, stored.geodesic_deg, stored.t_error_mm from"
                " (select unnest(?::varchar[]) as key, unnest(?::float[]) as geodesic_deg,"
                " unnest(?::float[]) as t_error_mm) as stored"
                " join hot on hot.key_hash = hash(stored.key)",
                [stored[column].to_pylist() for column in ("key", *PREDICTION_COLUMNS)],
            )
            self._predictions[model] = (stamp, name)
            return name


def _within_single(bound: float) -> float:
    """Numbers that single precision cannot hold would be an error."""
    largest = float(np.finfo(np.float32).max)
    return min(max(float(bound), -largest), largest)


def _open_parquet(path: Path) -> pq.ParquetFile:
    if not path.is_file():
        raise IndexMissingError("There is no index of this data set yet: build it first.")
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise IndexMissingError(f"The index cannot be read, build it again: {error}.") from error


def _connect(rows: int, threads: int) -> duckdb.DuckDBPyConnection:
    memory_mb = LEAST_MEMORY_MB + rows * BYTES_PER_ROW // 1_000_000
    settings = {
        "threads": threads,
        "memory_limit": f"{memory_mb}MB",
        "autoload_known_extensions": False,
        "autoinstall_known_extensions": False,
    }
    return duckdb.connect(":memory:", config=settings)


def kind_of(column: str) -> str:
    """In which a column is compared: single precision does not hold every whole number."""
    known = COLUMN_BY_NAME.get(column)
    return "double" if known is not None and known.kind == "integer" else "float"


def _load(
    db: duckdb.DuckDBPyConnection, path: Path, extents: Mapping[str, Extent]
) -> dict[str, list[str]]:
    """Fill `hot`; from then on the database opens no file. Returns each category's names, sorted:
    a name's number is its place."""
    names, joins = {}, []
    for column in CATEGORY_COLUMNS:
        sql = f"select distinct {column} from read_parquet(?) order by {column}"
        names[column] = [name for (name,) in db.execute(sql, (str(path),)).fetchall()]
        db.execute(f"create temp table {column}_names (name varchar, code integer)")
        values = (names[column], list(range(len(names[column]))))
        db.execute(f"insert into {column}_names select unnest(?), unnest(?)", values)
        joins.append(f"join {column}_names on {column}_names.name = part.{column}")
    db.execute(
        f"create table hot as select {', '.join(_expressions(extents))} from"
        f" read_parquet(?, file_row_number = true) as part {' '.join(joins)}",
        (str(path),),
    )
    for column in CATEGORY_COLUMNS:
        db.execute(f"drop table {column}_names")
    db.execute("set enable_external_access = false")
    return names


def _expressions(extents: Mapping[str, Extent]) -> list[str]:
    """What `hot` has of each row of the file; names are those of COLUMNS and CHECKS."""
    bits = " | ".join(
        f"(list_contains(findings, '{name}')::bigint << {bit.bit_length() - 1})"
        for name, bit in FINDING_BIT.items()
    )
    kinds = {c.name: _stored_kind(c, extents[c.name]) for c in NUMERIC if extents[c.name].count}
    return [
        "file_row_number::integer as n",
        *(f"part.{name}::{kind} as {name}" for name, kind in kinds.items()),
        *(f"{column}_names.code as {column}" for column in CATEGORY_COLUMNS),
        f"case when len(findings) = 0 then 0::bigint else {bits} end as finding_bits",
        "hash(key) as key_hash",
        "lower(key) as key_lower",
    ]


def _stored_kind(column: Column, extent: Extent) -> str:
    if column.kind != "integer":
        return "float"
    is_small = extent.low >= -LARGEST_INTEGER and extent.high <= LARGEST_INTEGER
    return "integer" if is_small else "bigint"


def _extents(metadata: pq.FileMetaData) -> dict[str, Extent]:
    """From what the file says of its parts: nothing is read. Numbers in it are finite."""
    extents = {}
    for column in NUMERIC:
        place = metadata.schema.names.index(column.name)
        parts = [
            metadata.row_group(i).column(place).statistics for i in range(metadata.num_row_groups)
        ]
        known = [part for part in parts if part is not None and part.has_min_max]
        extents[column.name] = Extent(
            float(min(part.min for part in known)) if known else None,
            float(max(part.max for part in known)) if known else None,
            sum(part.num_values for part in known),
        )
    return extents
