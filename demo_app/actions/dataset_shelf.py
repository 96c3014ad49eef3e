"""The data sets that are open in this server, and the long jobs on them, shared by all visitors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from demo_app.actions.background import Progress
from demo_app.services import Services
from viewer.datasets.sample import Sample
from viewer.datasets.source import AnnotatedDataset, DatasetError, DatasetInfo, SampleDetail
from viewer.index.flags import FlagStore
from viewer.index.query import Index
from viewer.index.schema import FLAGS_FILE

Report = Callable[[int, int | None], None]
Work = Callable[[Report, Callable[[], bool]], str]
"""Gets report(done, total) to call and cancelled() to ask; returns a sentence for the screen."""


class DatasetActionError(ValueError):
    """What was asked for cannot be done; the message is a sentence that says what to do."""


@dataclass(frozen=True)
class OpenDataset:
    """A data set in a folder, with the folder of its index.

    data_id: what addresses call it; says nothing of where it lies.
    """

    data_id: str
    dataset: AnnotatedDataset
    folder: Path
    is_bundled: bool

    @property
    def info(self) -> DatasetInfo:
        return self.dataset.info


@dataclass(frozen=True)
class JobState:
    """A long job as it is now. sentence: how it ended, "" while it runs and before."""

    kind: Literal["none", "running", "done", "cancelled", "failed"]
    progress: Progress
    sentence: str = ""

    @property
    def is_running(self) -> bool:
        return self.kind == "running"


NO_JOB = JobState("none", Progress(0, None, 0.0))


class SharedJob:
    """One thread that works, whoever watches; a page that is closed does not end it."""

    def __init__(self, work: Work, what: str) -> None:
        self._work, self._stop = work, threading.Event()
        self._state = JobState("running", Progress(0, None, 0.0))
        self._began_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=what, daemon=True)
        self._thread.start()

    @property
    def state(self) -> JobState:
        return self._state

    def cancel(self) -> None:
        """Ask it to end with what it has."""
        self._stop.set()

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _progress(self, done: int, total: int | None) -> Progress:
        return Progress(done, total, time.monotonic() - self._began_s)

    def _report(self, done: int, total: int | None) -> None:
        self._state = JobState("running", self._progress(done, total))

    def _run(self) -> None:
        kind, sentence = "failed", "The job ended by an error of the program: see its log."
        try:
            sentence = self._work(self._report, self._stop.is_set)
            kind = "cancelled" if self._stop.is_set() else "done"
        except (ValueError, OSError) as error:  # messages of ours are sentences
            sentence = str(error)
        finally:
            seen = self._state.progress
            self._state = JobState(kind, self._progress(seen.done, seen.total), sentence)


@dataclass
class Shelf:
    """What is open, by data_id, and the latest job of each kind on it."""

    opened: dict[str, OpenDataset] = field(default_factory=dict)
    jobs: dict[tuple[str, str], SharedJob] = field(default_factory=dict)
    indexes: dict[str, Index] = field(default_factory=dict)
    flags: dict[str, FlagStore] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, data_id: str) -> OpenDataset:
        """Raises: DatasetActionError for a data set that is not open."""
        opened = self.opened.get(data_id)
        if opened is None:
            raise DatasetActionError("This data set is not open any more: open it again.")
        return opened

    def start(self, data_id: str, purpose: str, work: Work) -> SharedJob:
        """The job of this purpose on this data set: the running one, or else a new one."""
        with self.lock:
            job = self.jobs.get((data_id, purpose))
            if job is None or not job.state.is_running:
                job = SharedJob(work, f"{purpose} {data_id}")
                self.jobs[data_id, purpose] = job
            return job

    def state(self, data_id: str, purpose: str) -> JobState:
        job = self.jobs.get((data_id, purpose))
        return NO_JOB if job is None else job.state

    def cancel(self, data_id: str, purpose: str) -> None:
        """Ask the job to end; nothing happens where none runs."""
        job = self.jobs.get((data_id, purpose))
        if job is not None:
            job.cancel()


def index_of(services: Services, data_id: str) -> Index:
    """The index of an open data set. Raises: DatasetActionError, IndexMissingError."""
    shelf = shelf_of(services)
    opened = shelf.get(data_id)
    with shelf.lock:
        if data_id not in shelf.indexes:
            shelf.indexes[data_id] = Index(opened.folder)
        return shelf.indexes[data_id]


def flags_of(services: Services, data_id: str) -> FlagStore:
    """The flags of an open data set. Raises: DatasetActionError."""
    shelf = shelf_of(services)
    opened = shelf.get(data_id)
    with shelf.lock:
        if data_id not in shelf.flags:
            opened.folder.mkdir(parents=True, exist_ok=True)
            shelf.flags[data_id] = FlagStore(opened.folder / FLAGS_FILE)
        return shelf.flags[data_id]


def known_row(services: Services, data_id: str, key: str) -> dict[str, object]:
    """The index's row of a sample; nothing is read of a key that is not there.

    Raises: DatasetActionError, IndexMissingError.
    """
    row = index_of(services, data_id).row(key)
    if row is None:
        raise DatasetActionError("There is no such sample in the index: build the index anew.")
    return row


def read_sample(opened: OpenDataset, key: str) -> Sample:
    """Raises: DatasetActionError where its files are damaged; it does not say where they lie."""
    with _without_root(opened):
        return opened.dataset.read(key)


def read_detail(opened: OpenDataset, key: str) -> SampleDetail:
    """Raises: as `read_sample`."""
    with _without_root(opened):
        return opened.dataset.detail(key)


@contextmanager
def _without_root(opened: OpenDataset) -> Iterator[None]:
    try:
        yield
    except DatasetError as error:
        root = str(opened.dataset.root)
        raise DatasetActionError(str(error).replace(f"{root}/", "").replace(root, "it")) from error


def shelf_of(services: Services) -> Shelf:
    """The shelf of a server; goes with its services."""
    return services.kept(Shelf)
