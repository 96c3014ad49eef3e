"""Long work in parts that are kept: what was done before a stop or a kill is not done again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from demo_app.evaluation.faces import Progress

CHUNK = 64

Look = Callable[[Sequence[str]], pa.Table]


class Work(Protocol):
    """What is done to keys. It can be sent to another process; `open` is called there."""

    @property
    def schema(self) -> pa.Schema: ...

    def open(self) -> Look: ...


Run = Callable[[Work, Mapping[int, Sequence[str]]], Iterator[tuple[int, pa.Table]]]
"""(work, keys by chunk) to the chunks' tables, in any order."""


def in_this_process(
    work: Work, keys_of: Mapping[int, Sequence[str]]
) -> Iterator[tuple[int, pa.Table]]:
    """One chunk after the other."""
    look = work.open() if keys_of else None
    for number, keys in keys_of.items():
        yield number, look(keys)


@dataclass(frozen=True)
class Parts:
    """The folder of a work's finished chunks. mark: of what is done to what, for its name."""

    out: Path
    mark: Mapping[str, object]

    @property
    def folder(self) -> Path:
        text = json.dumps(self.mark, sort_keys=True)
        return self.out / f"parts-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def path(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.parquet"


def run_in_parts(
    work: Work,
    keys: Sequence[str],
    parts: Parts,
    run: Run,
    progress: Progress,
    what: str,
) -> pa.Table:
    """The rows of all keys in their order; whoever runs them, the table is the same.

    The parts are removed when all are there. Raises: as the work.
    """
    chunks = {i: keys[i * CHUNK : (i + 1) * CHUNK] for i in range(-(-len(keys) // CHUNK))}
    parts.folder.mkdir(parents=True, exist_ok=True)
    missing = {i: chunk for i, chunk in chunks.items() if not parts.path(i).is_file()}
    done = len(keys) - sum(map(len, missing.values()))
    if done:
        progress(done, len(keys), f"{what} (done before)")
    for number, table in run(work, missing):
        write_table(table, parts.path(number))
        done += len(missing[number])
        progress(done, len(keys), what)
    tables = [pq.read_table(parts.path(i), schema=work.schema) for i in chunks]
    table = pa.concat_tables(tables) if tables else work.schema.empty_table()
    shutil.rmtree(parts.folder)
    return table.combine_chunks()


def write_table(table: pa.Table, path: Path) -> None:
    """Whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    pq.write_table(table, partial, compression="zstd")
    partial.replace(path)
