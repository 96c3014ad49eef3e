"""The numbers of a run: read on from where the last reading ended, thinned out to be drawn."""

from __future__ import annotations

import itertools
import json
import math
import statistics
from array import array
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from demo_app.run_state import METRICS_FILE

Array = np.ndarray

READ_BYTES = 4_000_000
MAX_LINE_BYTES = 1_000_000
MAX_SERIES = 200
RECENT_LINES = 30
KINDS = ("train", "validation", "system")


@dataclass
class Series:
    """One number over the steps; NaN where it was not finite."""

    steps: array = field(default_factory=lambda: array("d"))
    values: array = field(default_factory=lambda: array("d"))

    def thinned(self, points: int) -> tuple[Float[Array, "n"], Float[Array, "n"]]:
        """See `thinned`."""
        return thinned(np.array(self.steps), np.array(self.values), points)


class RunMetrics:
    """metrics.jsonl as far as it was read.

    series: by kind and name, such as "train/loss_total". last: the newest record of each kind.
    version: grows when there is something new, and when the run was set back.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / METRICS_FILE
        self._offset, self._file_id = 0, (0, 0)
        self.version = 0
        self.series: dict[str, Series] = {}
        self.last: dict[str, dict[str, float]] = {}
        self.times: list[tuple[float, float]] = []

    def refresh(self) -> None:
        """Read the lines that were completed since; all of them where the file is another one."""
        try:
            with self._path.open("rb") as file:
                found = file.seek(0, 2)
                self._start_anew_if_other(found)
                file.seek(self._offset)
                while chunk := file.read(READ_BYTES):
                    if not self._take(chunk):
                        break
                    file.seek(self._offset)
        except OSError:
            return

    def _start_anew_if_other(self, size: int) -> None:
        """A resumed run replaces the file by one without its later lines."""
        told = self._path.stat()
        file_id = (told.st_dev, told.st_ino)
        if file_id != self._file_id or size < self._offset:
            self._offset, self._file_id = 0, file_id
            self.series, self.last, self.times = {}, {}, []
            self.version += 1

    def _take(self, chunk: bytes) -> bool:
        """Whether a whole line was in it; half of one stays for the next time."""
        end = chunk.rfind(b"\n") + 1
        if not end:
            skip = len(chunk) if len(chunk) > MAX_LINE_BYTES else 0
            self._offset += skip
            return bool(skip)
        for line in chunk[:end].splitlines():
            self._add(line)
        self._offset += end
        self.version += 1
        return True

    def _add(self, line: bytes) -> None:
        try:
            record = json.loads(line)
            kind, step, time_s = record.pop("kind"), record.pop("step"), record.pop("time_s")
            known = kind in KINDS and math.isfinite(step) and math.isfinite(time_s)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return
        if not known:
            return
        numbers = {}
        for name, value in record.items():
            if value is None:
                value = math.nan
            elif type(value) not in (int, float):
                continue
            numbers[name] = value
            series = self.series.get(f"{kind}/{name}")
            if series is None:
                if len(self.series) >= MAX_SERIES:
                    continue
                series = self.series[f"{kind}/{name}"] = Series()
            series.steps.append(step)
            series.values.append(value)
        self.last[kind] = {"step": step, "time_s": time_s, **numbers}
        if kind == "train":
            self.times.append((step, time_s))

    def left_s(self, steps: int) -> float | None:
        """Until the last step, at the usual pace of the last lines, whatever pauses were between;
        None where it cannot be told."""
        recent = self.times[-RECENT_LINES:]
        paces_s = [
            (time_s - time_before_s) / (step - before)
            for (before, time_before_s), (step, time_s) in itertools.pairwise(recent)
            if step > before
        ]
        if not paces_s:
            return None
        return max(0.0, (steps - recent[-1][0]) * statistics.median(paces_s))


def thinned(
    steps: Float[Array, "n"], values: Float[Array, "n"], points: int
) -> tuple[Float[Array, "m"], Float[Array, "m"]]:
    """About so many points that keep the first, the last, and the lowest and the highest of every
    stretch; what is not finite is left out."""
    finite = np.isfinite(values)
    steps, values = steps[finite], values[finite]
    if len(values) <= max(points, 4):
        return steps, values
    stretch = -(-len(values) // (points // 2))
    rows = -(-len(values) // stretch)
    padded = np.pad(values, (0, rows * stretch - len(values)), mode="edge").reshape(rows, stretch)
    first = np.arange(rows) * stretch
    kept = np.concatenate([[0], first + padded.argmin(1), first + padded.argmax(1)])
    kept = np.unique(np.append(kept, len(values) - 1))
    return steps[kept], values[kept]
