"""What a run writes while it goes on: lines of text, lines of numbers, a batch that broke it."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.trg.batch import PoseBatch

METRICS_FILE = "metrics.jsonl"

Say = Callable[[str], None]


def say_to_file(path: Path, also: Say | None = None) -> Say:
    """A `say` that appends lines with the time of day to a file, and passes them on."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def say(text: str) -> None:
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}"
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        if also is not None:
            also(line)

    return say


def append_record(folder: Path, kind: str, step: int, numbers: Mapping[str, float]) -> None:
    """One line of metrics.jsonl, in one write; a number that is not finite becomes null."""
    finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    record = {"kind": kind, "step": step, "time_s": round(time.time(), 3), **finite}
    line = json.dumps(record, allow_nan=False) + "\n"
    target = os.open(folder / METRICS_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(target, line.encode())
    finally:
        os.close(target)


def drop_later_records(folder: Path, step: int) -> None:
    """A run that was killed wrote lines after its last checkpoint; those steps come again."""
    path = folder / METRICS_FILE
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):  # cut short by the kill
            continue
    partial = path.with_suffix(".partial")
    partial.write_text("".join(kept), encoding="utf-8")
    partial.replace(path)


def write_bad_batch(folder: Path, batch: PoseBatch, step: int, rank: int) -> Path:
    """The batch as .npz, for inspection; the one before it is replaced."""
    path = folder / f"bad_batch_rank{rank}.npz"
    partial = path.with_suffix(".partial")
    arrays = {f.name: getattr(batch, f.name) for f in fields(batch)}
    with partial.open("wb") as file:
        np.savez(
            file,
            step=np.int64(step),
            **{n: v.detach().cpu().numpy() for n, v in arrays.items() if v is not None},
        )
    partial.replace(path)
    return path


class Meter:
    """Means of the loss and the speed since the last line of the log."""

    def __init__(self, part_names: Sequence[str], batch_size: int) -> None:
        self._names, self._batch_size = tuple(part_names), batch_size
        self._started = time.perf_counter()
        self._sum: Tensor | None = None
        self._steps = 0
        self.waited_s = self.paused_s = 0.0

    def add(self, loss: Tensor) -> None:
        """Parts of the loss of one step."""
        self._sum = loss if self._sum is None else self._sum + loss
        self._steps += 1

    def read(self, over_processes: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Loss parts, images a second without pauses for validation, share of waiting for data."""
        seconds = max(time.perf_counter() - self._started - self.paused_s, 1e-9)
        sums = torch.full((len(self._names),), math.nan) if self._sum is None else self._sum
        means = (over_processes(sums) / max(self._steps, 1)).tolist()
        return {
            **{f"loss_{n}": mean for n, mean in zip(self._names, means, strict=True)},
            "images_per_s": self._steps * self._batch_size / seconds,
            "waiting_share": self.waited_s / seconds,
        }
