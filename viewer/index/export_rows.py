"""Rows of an index as Parquet and CSV, some thousand at a time."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from viewer.index.predictions import has_predictions, read_error_columns
from viewer.index.schema import COLUMNS, PREDICTION_COLUMNS

_ROW_FIELDS = [(c.name, c.arrow_type) for c in COLUMNS if c.name != "signature"]
_MODEL_FIELDS = [("model", pa.string()), *((name, pa.float64()) for name in PREDICTION_COLUMNS)]


class ExportedRows:
    """Tables of rows with all columns by key, and with a model's errors where it has results.

    A sample without an answer of the model has no error; the errors are from the labels.
    """

    def __init__(self, tables: Iterable[pa.Table], folder: Path, model: str) -> None:
        """folder: of the index. Raises: PredictionError for results that cannot be read."""
        self._tables, self._model = tables, model
        known = bool(model) and has_predictions(folder, model)
        self._errors = read_error_columns(folder, model) if known else None
        self.schema = pa.schema([*_ROW_FIELDS, *(_MODEL_FIELDS if known else ())])

    def __iter__(self) -> Iterator[pa.Table]:
        names = [name for name, _ in _ROW_FIELDS]
        for table in self._tables:
            rows = table.select(names)
            yield rows if self._errors is None else self._with_errors(rows)

    def _with_errors(self, rows: pa.Table) -> pa.Table:
        places = pc.index_in(rows["key"], value_set=self._errors["key"].combine_chunks())
        found = self._errors.take(places.combine_chunks())
        rows = rows.append_column("model", pa.array([self._model] * len(rows), pa.string()))
        for name in PREDICTION_COLUMNS:
            rows = rows.append_column(name, found[name])
        return rows


def write_parquet(rows: ExportedRows, path: Path) -> int:
    """Returns how many rows were written."""
    with _partial(path) as partial, pq.ParquetWriter(partial, rows.schema) as writer:
        return _write(rows, writer.write_table)


def write_csv(rows: ExportedRows, path: Path) -> int:
    """The same; findings are joined by ";"."""
    schema = _as_csv(rows.schema.empty_table()).schema
    with _partial(path) as partial, pa_csv.CSVWriter(partial, schema) as writer:
        return _write(rows, lambda table: writer.write_table(_as_csv(table)))


def _write(rows: ExportedRows, write: Callable[[pa.Table], object]) -> int:
    count = 0
    for table in rows:
        write(table)
        count += len(table)
    return count


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """A path to write to; the file gets its name when it is whole, and is gone if it fails."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _as_csv(table: pa.Table) -> pa.Table:
    """CSV has no lists."""
    place = table.schema.get_field_index("findings")
    joined = pa.array([";".join(names) for names in table["findings"].to_pylist()], pa.string())
    return table.set_column(place, "findings", joined)
