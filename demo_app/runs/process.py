"""The process of a run: started for itself, found again by pid and start time, stopped, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from demo_app.run_state import STOP_FILE, is_alive, process_start, read_state
from demo_app.runs.folders import RunError

LAUNCH_FILE, EXIT_FILE, KILLED_FILE = "launch.json", "exit.json", "killed"
OUTPUT_FILE = "output.log"
MAX_BYTES = 10_000


@dataclass(frozen=True)
class Launch:
    """The process that was started in a folder. time_s: unix seconds, just before it was.

    output_bytes: where its words begin in output.log; those of processes before it stay there.
    """

    pid: int
    process_start: float
    time_s: float
    output_bytes: int = 0

    @property
    def is_alive(self) -> bool:
        """Whether that very process is still there, and not another one with its number."""
        return self.pid > 0 and process_start(self.pid) == self.process_start


def start(
    folder: Path, command: Sequence[str], where: Path, environment: Mapping[str, str]
) -> Launch:
    """Start a command that outlives this program: a session of its own, its words to output.log.

    where: the working directory. Raises: RunError where it cannot be started.
    """
    for name in (STOP_FILE, EXIT_FILE, KILLED_FILE):
        (folder / name).unlink(missing_ok=True)
    time_s = time.time()
    try:
        with (folder / OUTPUT_FILE).open("ab") as output:
            output_bytes = output.tell()
            process = subprocess.Popen(
                list(command),
                cwd=where,
                env={**environment, "PYTHONFAULTHANDLER": "1"},  # a crash says so in its output
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise RunError(f"The run could not be started ({error.strerror}).") from error
    launch = Launch(process.pid, process_start(process.pid) or 0.0, time_s, output_bytes)
    _write_json(folder / LAUNCH_FILE, asdict(launch))
    threading.Thread(target=_reap, args=(process, folder), name="reap", daemon=True).start()
    return launch


def _reap(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Keep how it ended, as long as this program lives to see it."""
    code = process.wait()
    with suppress(OSError):  # the folder may be gone
        _write_json(folder / EXIT_FILE, {"pid": process.pid, "code": code})


def read_launch(folder: Path) -> Launch | None:
    """None where nothing was started from here."""
    values = _read_json(folder / LAUNCH_FILE)
    try:
        return Launch(
            int(values["pid"]),
            float(values["process_start"]),
            float(values["time_s"]),
            int(values.get("output_bytes", 0)),
        )
    except (KeyError, TypeError, ValueError):
        return None


def exit_code(folder: Path) -> int | None:
    """Of the last process that was started there, if its end was seen; negative: the signal."""
    code, launch = _read_json(folder / EXIT_FILE), read_launch(folder)
    same = launch is not None and code.get("pid") == launch.pid
    return code["code"] if same and isinstance(code.get("code"), int) else None


def was_killed_here(folder: Path) -> bool:
    """By `kill`."""
    return (folder / KILLED_FILE).is_file()


def ask_to_stop(folder: Path) -> None:
    """The run finishes its step, writes a checkpoint and ends. Raises: RunError if none goes on."""
    state, launch = read_state(folder), read_launch(folder)
    writes = state is not None and not state.is_over and is_alive(state)
    if not writes and not (launch is not None and launch.is_alive):
        raise RunError("This run does not go on any more.")
    (folder / STOP_FILE).touch()
    if writes:  # it has its handler by now; this reaches it in the middle of a validation too
        _signal(state.pid, state.process_start, signal.SIGTERM)


def kill(folder: Path) -> None:
    """End a run at once: its whole session if it was started from here, else its one process.

    Raises: RunError if none goes on.
    """
    state, launch = read_state(folder), read_launch(folder)
    hit = False
    if launch is not None and launch.is_alive:
        (folder / KILLED_FILE).touch()
        with suppress(ProcessLookupError):
            os.killpg(launch.pid, signal.SIGKILL)  # it leads its session, so its pid is the group's
            hit = True
    if state is not None and not state.is_over and is_alive(state):
        (folder / KILLED_FILE).touch()
        hit = _signal(state.pid, state.process_start, signal.SIGKILL) or hit
    if not hit:
        raise RunError("This run does not go on any more.")
    (folder / STOP_FILE).unlink(missing_ok=True)


def _signal(pid: int, start: float, number: int) -> bool:
    """Only to the process that began then: a pid that was given away again is left alone."""
    if not hasattr(os, "pidfd_open"):
        if process_start(pid) != start:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            return True
        return False
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if process_start(pid) != start:
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def _write_json(path: Path, values: Mapping[str, object]) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(values) + "\n", encoding="utf-8")
    partial.replace(path)


def _read_json(path: Path) -> dict[str, object]:
    """Empty where there is none that can be read."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return {}
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
