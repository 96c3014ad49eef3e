"""How a run is: by its own word, and by whether its process is still there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from demo_app.run_state import LOG_FILE, STATE_FILE, STOP_FILE, RunState, is_alive, read_state
from demo_app.runs.process import OUTPUT_FILE, exit_code, read_launch, was_killed

Kind = Literal[
    "new", "starting", "running", "stopping", "finished", "stopped", "failed", "crashed", "killed"
]
GOES_ON: tuple[Kind, ...] = ("starting", "running", "stopping")
CUT_OFF = {
    "crashed": "Its process is gone and did not say why; it may have run out of memory.",
    "killed": "Its process was killed; it lost the steps since its last checkpoint.",
}
TAIL_BYTES = 65_536


@dataclass(frozen=True)
class RunStatus:
    """kind: new: never started; crashed, killed: the process went without a word.

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
    kind: Kind = state.status
    if not state.is_over:
        kind = _kind_of_running(folder, state, asked)
    message = CUT_OFF.get(kind, state.message)
    return RunStatus(kind, state.step, state.steps, message, written_s)


def _kind_of_running(folder: Path, state: RunState, asked: bool) -> Kind:
    if is_alive(state):
        return "stopping" if asked else state.status
    return "killed" if was_killed(folder) else "crashed"


def _never_spoke(folder: Path, step: int, steps: int, since_s: float) -> RunStatus:
    """Started from here and gone before it wrote its state."""
    if was_killed(folder):
        return RunStatus("killed", step, steps, CUT_OFF["killed"], since_s)
    if exit_code(folder) is None:
        return RunStatus("crashed", step, steps, CUT_OFF["crashed"], since_s)
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
        try:
            with (folder / name).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - TAIL_BYTES))
                text = file.read(TAIL_BYTES).decode("utf-8", errors="replace")
        except OSError:
            continue
        lines = [line.rstrip() for line in text.splitlines() if line.strip()]
        if size > TAIL_BYTES:
            lines = lines[1:]
        if lines:
            return lines[-count:]
    return []
