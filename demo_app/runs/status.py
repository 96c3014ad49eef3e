"""How a run is: by its own word, and by whether its process is still there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from demo_app.run_state import LOG_FILE, STATE_FILE, STOP_FILE, is_alive, read_state
from demo_app.runs.process import OUTPUT_FILE, exit_code, read_launch, was_killed_here

Kind = Literal[
    "new", "starting", "running", "stopping", "finished", "stopped", "failed", "crashed", "killed"
]
GOES_ON: tuple[Kind, ...] = ("starting", "running", "stopping")
CRASHED = "The program crashed; its last words are below."
KILLED_HERE = "It was killed from here; it lost the steps since its last checkpoint."
VANISHED = (
    "Its process is gone without a word: it was killed, by hand or by the system for want of "
    "memory, or the computer went off. It lost the steps since its last checkpoint."
)
FATAL = "Fatal Python error"
"""What Python's fault handler writes at a crash; any other error the run itself would tell."""

TAIL_BYTES = 65_536


@dataclass(frozen=True)
class RunStatus:
    """kind: new: never started; failed: it said so itself; crashed, killed: it could not.

    message: a sentence, may be empty. since_s: unix time of its last word.
    """

    kind: Kind
    step: int = 0
    steps: int = 0
    message: str = ""
    since_s: float = 0.0

    @property
    def goes_on(self) -> bool:
        return self.kind in GOES_ON


def read_status(folder: Path) -> RunStatus:
    """Of a run's folder, whoever started it."""
    state, launch, written_s = read_state(folder), read_launch(folder), _changed_s(folder)
    asked = (folder / STOP_FILE).exists()
    if launch is not None and (state is None or written_s < launch.time_s):
        step, steps = (state.step, state.steps) if state else (0, 0)
        if launch.is_alive:
            return RunStatus("stopping" if asked else "starting", step, steps, "", launch.time_s)
        return _never_spoke(folder, step, steps, launch.time_s)
    if state is None:
        return RunStatus("new")
    if state.is_over:
        return RunStatus(state.status, state.step, state.steps, state.message, written_s)
    if is_alive(state):
        kind: Kind = "stopping" if asked else state.status
        return RunStatus(kind, state.step, state.steps, state.message, written_s)
    return RunStatus(*_cut_off(folder, state.step, state.steps), written_s)


def _cut_off(folder: Path, step: int, steps: int) -> tuple[Kind, int, int, str]:
    """Of a process that is gone and did not say that it ended."""
    if was_killed_here(folder):
        return "killed", step, steps, KILLED_HERE
    launch = read_launch(folder)
    words = _tail(folder / OUTPUT_FILE, 0 if launch is None else launch.output_bytes)
    if any(line.startswith(FATAL) for line in words):
        return "crashed", step, steps, CRASHED
    return "killed", step, steps, VANISHED


def _never_spoke(folder: Path, step: int, steps: int, since_s: float) -> RunStatus:
    """Started from here and gone before it wrote its state."""
    code = exit_code(folder)
    if code is None or code < 0:
        return RunStatus(*_cut_off(folder, step, steps), since_s)
    said = last_lines(folder, 1)
    return RunStatus("failed", step, steps, said[0] if said else "It did not start.", since_s)


def _changed_s(folder: Path) -> float:
    try:
        return (folder / STATE_FILE).stat().st_mtime
    except OSError:
        return 0.0


def last_lines(folder: Path, count: int) -> list[str]:
    """Of what the run said: what was started from here says more, such as the trace of a crash."""
    for name in (OUTPUT_FILE, LOG_FILE):
        if lines := _tail(folder / name):
            return lines[-count:]
    return []


def _tail(path: Path, start: int = 0) -> list[str]:
    """Whole lines of the last bytes of a file, from `start` on; those with nothing left out."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            first = file.seek(max(start, size - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return []
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return lines if first == start else lines[1:]
