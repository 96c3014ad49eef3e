"""Builds the index of a data set: incremental, by worker processes, whole or not at all.

New rows go into small files while the build runs; one that was stopped or killed takes them up
again. The index itself is replaced at the end, in one step.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_NB, flock
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from viewer.datasets.source import AnnotatedDataset, Listing, Problem, Progress, silent
from viewer.index.build_rows import (
    Answer,
    Task,
    answer_task,
    clean,
    read_rows,
    signature_of,
    start_worker,
)
from viewer.index.build_table import (
    latest_rows,
    publish,
    read_table,
    with_comparisons,
    write_table,
)
from viewer.index.predictions import (
    PREDICTIONS_FOLDER,
    ModelRotations,
    PredictionError,
    latest_rotations,
)
from viewer.index.schema import FILE_SCHEMA, INDEX_FILE, AnnotationIndexError, index_folder

__all__ = ["BuildError", "IndexReport", "build_index", "index_folder"]

PARTS_FOLDER = "parts"
LOCK_FILE = "build.lock"
TASK_KEYS = 64
PART_ROWS = 2048
PART_S = 5.0
MOST_SHARD_FILES = 20_000
MOST_NOTES = 200


class BuildError(AnnotationIndexError):
    """The index cannot be built; the message says why."""


@dataclass(frozen=True)
class IndexReport:
    """What a build did. read: samples whose files were read; unchanged: those taken over from the
    old index or from a build that was stopped; unreadable: rows that only say why.

    is_complete: False if it was stopped; the index is then the old one.
    """

    folder: Path
    rows: int
    read: int
    unchanged: int
    unreadable: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    is_complete: bool
    seconds: float


def _never() -> bool:
    return False


def build_index(
    dataset: AnnotatedDataset,
    folder: Path,
    *,
    limit: int | None = None,
    workers: int = 2,
    progress: Progress = silent,
    should_stop: Callable[[], bool] = _never,
    fresh: bool = False,
) -> IndexReport:
    """Build or renew the index of a data set in a folder outside its root.

    limit: the first so many samples. workers: processes beside this one; 0: none.
    progress: is told samples listed (of None), then done and in all.
    fresh: read everything, whatever is known.
    Raises: DatasetError where nothing of the data set is there, BuildError.
    """
    start_s = time.monotonic()
    if folder.resolve().is_relative_to(dataset.root.resolve()):
        raise BuildError(f"{folder} lies in the data set's own folder, where nothing is written.")
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(folder):
        _tidy(folder, fresh)
        try:
            listing = dataset.list_samples(limit, _stopping(progress, should_stop))
        except _ListingStoppedError:
            seconds = time.monotonic() - start_s
            return IndexReport(folder, 0, 0, 0, 0, (), (), is_complete=False, seconds=seconds)
        build = _Build(dataset, folder, listing, fresh)
        is_complete = build.read_all(workers, progress, should_stop)
        is_complete = is_complete and build.finish(limit, should_stop)
    return IndexReport(
        folder,
        len(build.keys),
        build.read_count,
        build.unchanged_count,
        build.unreadable_count,
        tuple(build.problems),
        tuple(build.notes),
        is_complete,
        time.monotonic() - start_s,
    )


class _ListingStoppedError(Exception):
    """Asked to stop while the files were being listed."""


def _stopping(progress: Progress, should_stop: Callable[[], bool]) -> Progress:
    """The same, but ends the listing that calls it when it is asked to stop."""

    def told(done: int, total: int | None) -> None:
        progress(done, total)
        if should_stop():
            raise _ListingStoppedError

    return told


class _Build:
    """One run. What is known: the old index, then the parts of a build that did not end."""

    def __init__(
        self, dataset: AnnotatedDataset, folder: Path, listing: Listing, fresh: bool
    ) -> None:
        self.dataset, self.folder, self.listing = dataset, folder, listing
        self.problems, self.notes = list(listing.problems), list(listing.notes)[:MOST_NOTES]
        self.keys = [key for key in dict.fromkeys(listing.keys) if self._is_text(key)]
        self.said = {"dataset": dataset.info.name, "root": clean(str(dataset.root.resolve()))}
        self.read_count = self.unchanged_count = self.unreadable_count = 0
        name = dataset.info.name
        parts = sorted((folder / PARTS_FOLDER).glob("*.parquet"))
        old = [] if fresh else [folder / INDEX_FILE]
        self.known = [FILE_SCHEMA.empty_table(), *(read_table(p, name) for p in (*old, *parts))]
        self._waiting: list[pa.Table] = []
        self._waiting_since_s = time.monotonic()

    def _is_text(self, key: str) -> bool:
        if clean(key) == key:
            return True
        self.problems.append(Problem(clean(key), "The name holds bytes that are no text."))
        return False

    def read_all(self, workers: int, progress: Progress, should_stop: Callable[[], bool]) -> bool:
        """Whether every sample was looked at."""
        done, total = 0, len(self.keys)
        progress(done, total)
        answers = self._answers(workers)
        try:
            for answer in answers:
                self._take(answer)
                done += answer.rows.num_rows + len(answer.unchanged)
                progress(done, total)
                if should_stop() and done < total:
                    return False
        except BrokenProcessPool as error:
            raise BuildError(
                "A worker process ended: out of memory, or a reader crashed. The next build goes "
                "on from here; try it with fewer workers."
            ) from error
        finally:
            answers.close()
            self._store()
        return True

    def finish(self, limit: int | None, should_stop: Callable[[], bool]) -> bool:
        """Put the index in place. Whether it was not stopped before."""
        table = latest_rows(self.known, self.keys)
        predicted = self._predicted()
        table, notes = with_comparisons(table, self.dataset.info.name, should_stop, predicted.R_of)
        self.notes += [predicted.note] if predicted.note else []
        if should_stop():
            return False
        unreadable = table.filter(pc.not_equal(table["reason"], ""))
        self.unreadable_count = unreadable.num_rows
        for row in unreadable.select(["key", "reason"]).to_pylist():
            self.problems.append(Problem(row["key"], row["reason"]))
        self.notes += notes
        said = self.said | ({} if limit is None else {"limit": str(limit)})
        publish(table, self.folder, said, self.problems, self.notes)
        shutil.rmtree(self.folder / PARTS_FOLDER, ignore_errors=True)
        return True

    def _predicted(self) -> ModelRotations:
        """Of the model that was run last here; a damaged file is a problem and no obstacle."""
        try:
            return latest_rotations(self.folder)
        except PredictionError as error:
            self.problems.append(Problem(PREDICTIONS_FOLDER, str(error)))
            return ModelRotations("", {})

    def _tasks(self) -> Iterator[Task]:
        signatures: dict[str, str] = {}
        for table in self.known:
            pairs = (table[name].to_pylist() for name in ("key", "signature"))
            signatures |= dict(zip(*pairs, strict=True))
        files_of = self.listing.files_of
        has_shards = any(not files_of.get(key) for key in self.keys)
        default = _folder_signature(self.dataset.root) if has_shards else ""
        for start in range(0, len(self.keys), TASK_KEYS):
            keys = tuple(self.keys[start : start + TASK_KEYS])
            yield Task(
                keys,
                tuple(tuple(files_of.get(key, ())) for key in keys),
                tuple(signatures.get(key, "") for key in keys),
                default,
            )

    def _answers(self, workers: int) -> Iterator[Answer]:
        """A few tasks are under way at a time; closing it drops those that have not begun."""
        if workers < 1:
            for task in self._tasks():
                yield read_rows(self.dataset, task)
            return
        context = get_context("spawn")
        with ProcessPoolExecutor(workers, context, start_worker, (self.dataset,)) as pool:
            running: deque[Future[Answer]] = deque()
            try:
                for task in self._tasks():
                    running.append(pool.submit(answer_task, task))
                    if len(running) > 2 * workers:
                        yield running.popleft().result()
                while running:
                    yield running.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _take(self, answer: Answer) -> None:
        self.read_count += answer.rows.num_rows
        self.unchanged_count += len(answer.unchanged)
        if answer.rows.num_rows:
            self._waiting.append(answer.rows)
        waiting = sum(table.num_rows for table in self._waiting)
        is_late = time.monotonic() - self._waiting_since_s > PART_S
        if waiting >= PART_ROWS or (waiting and is_late):
            self._store()

    def _store(self) -> None:
        """What was read since, as a file of its own; the newest has the last name."""
        self._waiting_since_s = time.monotonic()
        if not self._waiting:
            return
        part = pa.concat_tables(self._waiting)
        folder = self.folder / PARTS_FOLDER
        folder.mkdir(exist_ok=True)
        name = f"{time.time_ns():020d}-{secrets.token_hex(2)}.parquet"
        write_table(part, folder / name, self.said)
        self.known.append(part)
        self._waiting = []


def _folder_signature(root: Path) -> str:
    """Of all files below a folder, for samples that share a few of them; "" if there are many."""
    names: list[str] = []
    for place, folders, files in os.walk(root):
        folders.sort()
        names += [os.path.relpath(Path(place) / name, root) for name in sorted(files)]
        if len(names) > MOST_SHARD_FILES:
            return ""
    return signature_of(root, names)


def _tidy(folder: Path, fresh: bool) -> None:
    """What a killed build left half written; with `fresh` also what it had read."""
    places = [folder, folder / PARTS_FOLDER]
    for path in (path for place in places for path in place.glob("*.partial")):
        path.unlink(missing_ok=True)
    if fresh:
        shutil.rmtree(folder / PARTS_FOLDER, ignore_errors=True)


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """One build of a folder at a time; the system lets go of the lock of a killed one."""
    with (folder / LOCK_FILE).open("ab") as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            raise BuildError("Another process is building this index now.") from error
        yield
