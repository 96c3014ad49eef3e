"""A long job in a thread of its own, watched from a generator that may be closed at any time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
        self._result: Result | None = None
        self._error: BaseException | None = None
        self._finished = threading.Event()

    def watch(self) -> Iterator[Progress | Result]:
        """Progress several times a second, the result at last; closing it early cancels the job.

        Raises: BusyError, and what the work raises.
        """
        if not self._visitor.working.acquire(blocking=False):
            raise BusyError("A job of yours is still running: wait for it, or cancel it first.")
        self._visitor.cancelled.clear()
        began_s = time.monotonic()
        thread = threading.Thread(target=self._run, name="job", daemon=True)
        thread.start()
        try:
            while not self._finished.wait(LOOK_EVERY_S):
                yield Progress(self._done, self._total, time.monotonic() - began_s)
        finally:
            if not self._finished.is_set():
                self._visitor.cancelled.set()
        thread.join()
        if self._error is not None:
            raise self._error
        yield self._result

    def _report(self, done: int, total: int | None) -> None:
        self._done, self._total = done, total

    def _run(self) -> None:
        try:
            self._result = self._work(self._report, self._visitor.cancelled.is_set)
        except BaseException as error:  # noqa: BLE001 raised again by `watch`, in the caller's thread
            self._error = error
        finally:
            self._visitor.working.release()
            self._finished.set()
