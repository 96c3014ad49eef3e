"""What a run says of itself in state.json, and whether the process that said it still lives.

The folder of a run is all that the trainer and its readers share; its files are named here.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import typing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

Status = Literal["starting", "running", "finished", "stopped", "failed"]

STATE_FILE, COMMAND_FILE, LOG_FILE = "state.json", "command", "train.log"
METRICS_FILE, STOP_FILE = "metrics.jsonl", "STOP"
CHECKPOINT_FOLDER, PREVIEW_FOLDER = "checkpoints", "previews"
MAX_STATE_BYTES = 100_000


@dataclass(frozen=True)
class RunState:
    """The state of a run as its main process wrote it last.

    process_start: with the pid it names one process for good, see `process_start`.
    steps: 0 until they are known. message: a sentence, such as why the run failed; may be empty.
    """

    status: Status
    pid: int
    process_start: float
    step: int = 0
    steps: int = 0
    message: str = ""

    @property
    def is_over(self) -> bool:
        """By its own word; a process that was killed could not say so, see `is_alive`."""
        return self.status in ("finished", "stopped", "failed")


def own_state(status: Status) -> RunState:
    """The state of a run of this process, before its first step."""
    return RunState(status, os.getpid(), process_start(os.getpid()) or 0.0)


def write_state(folder: Path, state: RunState) -> None:
    """Whole or not at all."""
    partial = folder / f"{STATE_FILE}.partial"
    partial.write_text(json.dumps(asdict(state)) + "\n", encoding="utf-8")
    partial.replace(folder / STATE_FILE)


def read_state(folder: Path) -> RunState | None:
    """None where there is none, or none that can be read."""
    path = folder / STATE_FILE
    try:
        if path.stat().st_size > MAX_STATE_BYTES:
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        state = RunState(**values)
        plain = replace(
            state,
            pid=int(state.pid),
            process_start=float(state.process_start),
            step=int(state.step),
            steps=int(state.steps),
            message=str(state.message),
        )
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return plain if plain.status in typing.get_args(Status) else None


def is_alive(state: RunState) -> bool:
    """Whether the very process that wrote the state is still there; a zombie is not."""
    return state.pid > 0 and process_start(state.pid) == state.process_start


def process_start(pid: int) -> float | None:
    """When a process began, in ticks since the computer did (seconds since 1970 where there is no
    /proc); None if there is no such process. Only good for being compared."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _start_by_ps(pid)
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name before may hold spaces
    return None if fields[0] in "ZX" else float(fields[19])


def _start_by_ps(pid: int) -> float | None:
    try:
        told = subprocess.run(
            ["env", "LC_ALL=C", "ps", "-o", "stat=,lstart=", "-p", str(pid)],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.split(maxsplit=1)
        if len(told) < 2 or told[0].startswith("Z"):
            return None
        return time.mktime(time.strptime(told[1].strip(), "%a %b %d %H:%M:%S %Y"))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
