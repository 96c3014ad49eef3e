"""The whole table of an index: old rows and new ones put together, compared, and written."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float

from viewer.datasets.source import Problem
from viewer.index.build_rows import COMPARED_COLUMNS, SET_CHECKS, check_row_of, clean
from viewer.index.check_table import CHECKS
from viewer.index.checks_set import CheckRow, SetFindings, set_findings
from viewer.index.rows_file import write_rows
from viewer.index.schema import (
    CHECK_PREFIX,
    FILE_SCHEMA,
    INDEX_FILE,
    PROBLEMS_FILE,
    ROWS_PREFIX,
    VERSION,
    IndexMissingError,
    require_columns,
)

Array = np.ndarray

GROUP_ROWS = 16_384
"""Small, so that a process that loads the file holds little of it at a time."""

ROWS_AT_ONCE = 2048

NAMES = ("grp", "split", "subject", "sequence")


def read_table(path: Path, dataset: str) -> pa.Table:
    """The rows of a file of this data set and version; none if it is not there or is damaged."""
    try:
        with pq.ParquetFile(path) as file:
            if require_columns(file.schema_arrow).get("dataset") == dataset:
                return file.read().replace_schema_metadata(None)
    except (OSError, pa.ArrowInvalid, IndexMissingError):
        pass
    return FILE_SCHEMA.empty_table()


def write_table(table: pa.Table, path: Path, said: Mapping[str, str]) -> None:
    """A Parquet file that appears when it is whole."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    head = table.replace_schema_metadata({"version": str(VERSION), **said})
    pq.write_table(
        head, partial, compression="zstd", row_group_size=GROUP_ROWS, use_dictionary=list(NAMES)
    )
    partial.replace(path)


def latest_rows(tables: Sequence[pa.Table], keys: Sequence[str]) -> pa.Table:
    """Of each key the row of the last table that has it, in the order of the keys' bytes."""
    together = pa.concat_tables(tables)
    place_of = {key: place for place, key in enumerate(together["key"].to_pylist())}
    places = [place_of[key] for key in sorted(keys)]
    return together.take(pa.array(places, pa.int64())).combine_chunks()


def with_comparisons(
    table: pa.Table,
    dataset: str,
    should_stop: Callable[[], bool],
    predicted: Mapping[str, Float[Array, "3 3"]] | None = None,
) -> tuple[pa.Table, tuple[str, ...]]:
    """The table with the scores of the checks between samples, the findings of all checks, and
    what there is to say of the whole. predicted: a model's rotations by key."""
    rows: list[CheckRow] = []
    for batch in table.select(COMPARED_COLUMNS).to_batches(ROWS_AT_ONCE):
        rows += [
            check_row_of(row, dataset)
            for row in batch.to_pylist()
            if row[CHECK_PREFIX + "label_unreadable"] != 1.0
        ]
        if should_stop():
            return table, ()
    found = set_findings(rows, predicted)
    del rows
    return with_findings(_with_scores(table, found)), tuple(found.notes)


def _with_scores(table: pa.Table, found: SetFindings) -> pa.Table:
    keys = table["key"].to_pylist()
    for check in SET_CHECKS:
        scores = [found.scores.get(key, {}).get(check) for key in keys]
        name = CHECK_PREFIX + check
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(place), pa.array(scores, pa.float64()))
    return table


def with_findings(table: pa.Table) -> pa.Table:
    """The column `findings`, from the scores and the checks' limits."""
    beyond = np.zeros((table.num_rows, len(CHECKS)), bool)
    for place, check in enumerate(CHECKS):
        scores = table[CHECK_PREFIX + check.name]
        compare = pc.greater if check.higher_is_worse else pc.less
        found = pc.fill_null(compare(scores, check.limit), False)
        beyond[:, place] = found.combine_chunks().to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(beyond.sum(1))]).astype(np.int32)
    names = pa.array([check.name for check in CHECKS]).take(pa.array(np.nonzero(beyond)[1]))
    findings = pa.ListArray.from_arrays(pa.array(offsets), names)
    place = table.schema.get_field_index("findings")
    return table.set_column(place, table.schema.field(place), findings)


def publish(
    table: pa.Table,
    folder: Path,
    said: Mapping[str, str],
    problems: Sequence[Problem],
    notes: Sequence[str],
) -> None:
    """Write the index. Whoever reads sees the old one or the new one whole: the Parquet file names
    the file of rows that belongs to it, and is put in place last."""
    rows_name = f"{ROWS_PREFIX}{secrets.token_hex(8)}.arrow"
    write_rows(table, folder / rows_name)
    write_problems(folder, problems, notes)
    head = {**said, "rows": rows_name, "made_s": repr(time.time())}
    write_table(table, folder / INDEX_FILE, head)
    for path in folder.glob(f"{ROWS_PREFIX}*.arrow"):
        if path.name != rows_name:
            path.unlink(missing_ok=True)


def write_problems(folder: Path, problems: Sequence[Problem], notes: Sequence[str]) -> None:
    path = folder / PROBLEMS_FILE
    partial = path.with_name(path.name + ".partial")
    listed = [{"file": clean(p.file), "reason": clean(p.reason)} for p in problems]
    whole = {"problems": listed, "notes": [clean(note) for note in notes]}
    partial.write_text(json.dumps(whole, indent=1), encoding="utf-8")
    partial.replace(path)
