"""A long job in a thread of its own, watched from a generator that may be closed at any time."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from demo_app.services import Visitor

Result = TypeVar("Result")

LOOK_EVERY_S = 0.25


class BusyError(ValueError):
    """The visitor's earlier job is still running."""


@dataclass(frozen=True)
class Progress:
    """done of total frames or pictures; total is None where it is not known."""

    done: int
    total: int | None
    seconds: float

    @property
    def per_s(self) -> float:
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def left_s(self) -> float | None:
        """Until the end at this pace; None while it cannot be told."""
        if self.total is None or self.done < 3:
            return None
        return max(0, self.total - self.done) / max(self.per_s, 1e-6)


@contextmanager
def removed_on_error(folder: Path) -> Iterator[None]:
    """The folder goes if what is done within fails or is interrupted."""
    with ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        yield
        cleanup.pop_all()


class Job(Generic[Result]):
    """Runs `work(report, cancelled)` in a thread; `watch` yields its progress and then its result.

    work: gets report(done, total) to call and cancelled() to ask. One job a visitor at a time.
    """

    def __init__(
        self,
        visitor: Visitor,
        work: Callable[[Callable[[int, int | None], None], Callable[[], bool]], Result],
    ) -> None:
        self._visitor, self._work = visitor, work
        self._done, self._total = 0, None

    def watch(self) -> Iterator[Progress | Result]:
        """Progress several times a second, the result at last; closing it early cancels the job.

        Raises: BusyError, and what the work raises.
        """
        if not self._visitor.working.acquire(blocking=False):
            raise BusyError("A job of yours is still running: wait for it, or cancel it first.")
        self._visitor.cancelled.clear()
        began_s = time.monotonic()
        executor = ThreadPoolExecutor(1, "job")
        job = executor.submit(self._run)
        executor.shutdown(wait=False)
        try:
            while not wait([job], LOOK_EVERY_S).done:
                yield Progress(self._done, self._total, time.monotonic() - began_s)
        finally:
            if not job.done():
                self._visitor.cancelled.set()
        yield job.result()

    def _report(self, done: int, total: int | None) -> None:
        self._done, self._total = done, total

    def _run(self) -> Result:
        try:
            return self._work(self._report, self._visitor.cancelled.is_set)
        finally:
            self._visitor.working.release()
