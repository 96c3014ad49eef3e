"""The rows of an index once more, 64 to a block, so that a page's rows are read without the rest.

Parquet must decode whole columns to give one row; a page sorted by a number has rows everywhere.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from viewer.index.schema import COLUMNS

Array = np.ndarray

BLOCK_ROWS = 64
TABLE_ROWS = 8192


def write_rows(table: pa.Table, path: Path) -> None:
    """The columns of COLUMNS; not atomic: the file that names this one is."""
    chosen = table.select([column.name for column in COLUMNS]).combine_chunks()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, chosen.schema) as writer:
        writer.write_table(chosen, max_chunksize=BLOCK_ROWS)


class RowsFile:
    """Reads rows by their number. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self._reader = pa.ipc.open_file(pa.OSFile(str(path), "rb"))
        self._lock = threading.Lock()

    def read(
        self, numbers: Sequence[int], columns: Sequence[str] | None = None
    ) -> list[dict[str, object]]:
        """The rows, in the order of the numbers. columns: None: all."""
        wanted = None if columns is None else list(columns)
        rows: list[dict[str, object]] = []
        for start in range(0, len(numbers), TABLE_ROWS):
            found = [self._block(n).slice(n % BLOCK_ROWS, 1) for n in numbers[start:][:TABLE_ROWS]]
            if wanted is not None:
                found = [row.select(wanted) for row in found]
            rows += pa.Table.from_batches(found).combine_chunks().to_pylist()
        return rows

    def _block(self, number: int) -> pa.RecordBatch:
        with self._lock:
            return self._reader.get_batch(number // BLOCK_ROWS)

    def tables(self, numbers: Int[Array, "n"]) -> Iterator[pa.Table]:
        """Rows in growing order of their numbers, some thousand at a time."""
        wanted = numbers.astype(np.int64)
        for start in range(0, len(wanted), TABLE_ROWS):
            part = wanted[start : start + TABLE_ROWS]
            blocks, firsts = np.unique(part // BLOCK_ROWS, return_index=True)
            batches = []
            for block, rows in zip(blocks, np.split(part % BLOCK_ROWS, firsts[1:]), strict=True):
                batches.append(self._block(int(block) * BLOCK_ROWS).take(pa.array(rows)))
            yield pa.Table.from_batches(batches)
