"""Processes of runs: found by pid and start time, stopped in order, killed; what they leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from demo_app.run_state import RunState, process_start, write_state
from demo_app.runs.folders import RunError
from demo_app.runs.process import Launch, ask_to_stop, exit_code, kill, read_launch, start
from demo_app.runs.status import last_lines, read_status

SLEEPER = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(SLEEPER, stdout=subprocess.DEVNULL, start_new_session=True)
    yield process
    process.kill()
    process.wait()


def _wait_for(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < end_s, "it did not come"
        time.sleep(0.02)


def _state(pid: int, status: str = "running") -> RunState:
    return RunState(status, pid, process_start(pid) or 0.0, step=7, steps=20)


def test_started_apart_and_killed_with_all_its_children(tmp_path: Path) -> None:
    code = "import os, time; print('child', os.fork(), flush=True); time.sleep(60)"
    launch = start(tmp_path, [sys.executable, "-c", code], tmp_path, os.environ)
    assert read_launch(tmp_path) == launch and launch.is_alive
    assert os.getsid(launch.pid) == launch.pid != os.getsid(0)
    assert read_status(tmp_path).kind == "starting"
    _wait_for(lambda: len(last_lines(tmp_path, 9)) == 2)
    child = max(int(line.split()[1]) for line in last_lines(tmp_path, 9))
    assert process_start(child) is not None
    kill(tmp_path)
    _wait_for(lambda: process_start(child) is None and exit_code(tmp_path) is not None)
    assert exit_code(tmp_path) == -signal.SIGKILL
    assert read_status(tmp_path).kind == "killed"


def test_what_could_not_start_says_why_and_where_it_ended(tmp_path: Path) -> None:
    code = "import sys; sys.stderr.write('there is no data\\n'); sys.exit(2)"
    start(tmp_path, [sys.executable, "-c", code], tmp_path, os.environ)
    _wait_for(lambda: exit_code(tmp_path) is not None)
    status = read_status(tmp_path)
    assert (status.kind, status.message) == ("failed", "there is no data")
    with pytest.raises(RunError, match="could not be started"):
        start(tmp_path, ["/no/such/program"], tmp_path, os.environ)


def test_a_pid_that_was_given_away_is_left_alone(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    other = replace(_state(sleeper.pid), process_start=1.0)
    write_state(tmp_path, other)
    status = read_status(tmp_path)
    assert (status.kind, status.step, status.goes_on) == ("killed", 7, False)
    for act in (ask_to_stop, kill):
        with pytest.raises(RunError, match="does not go on"):
            act(tmp_path)
    (tmp_path / "launch.json").write_text(
        f'{{"pid": {sleeper.pid}, "process_start": 1.0, "time_s": 1.0}}'
    )
    with pytest.raises(RunError, match="does not go on"):
        kill(tmp_path)
    assert sleeper.poll() is None, "another process was hit"
    assert not Launch(sleeper.pid, 1.0, 1.0).is_alive


def test_stop_leaves_a_file_and_a_signal(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    write_state(tmp_path, _state(sleeper.pid))
    assert read_status(tmp_path).kind == "running"
    ask_to_stop(tmp_path)
    assert (tmp_path / "STOP").exists()
    assert sleeper.wait(10) == -signal.SIGTERM
    status = read_status(tmp_path)
    assert status.kind == "killed" and "without a word" in status.message


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("import ctypes; ctypes.string_at(0)", "crashed", "last words"),
        ("import os; os.kill(os.getpid(), 9)", "killed", "without a word"),
    ],
)
@pytest.mark.parametrize("end_was_seen", [True, False])
def test_a_crash_is_told_from_a_kill_even_after_a_restart(
    code: str, kind: str, said: str, end_was_seen: bool, tmp_path: Path
) -> None:
    (tmp_path / "output.log").write_text("Fatal Python error: of an earlier process\n")
    launch = start(tmp_path, [sys.executable, "-c", code], tmp_path, os.environ)
    _wait_for(lambda: exit_code(tmp_path) is not None)
    if not end_was_seen:  # as for a program that was not there when the run ended
        (tmp_path / "exit.json").unlink()
    for spoke in (False, True):
        if spoke:
            write_state(tmp_path, RunState("running", launch.pid, launch.process_start, 7, 20))
        status = read_status(tmp_path)
        assert (status.kind, said in status.message) == (kind, True)


def test_an_end_by_its_own_word_is_believed(tmp_path: Path) -> None:
    for kind in ("finished", "stopped", "failed"):
        write_state(tmp_path, replace(_state(os.getpid(), kind), message="so it was"))
        assert (read_status(tmp_path).kind, read_status(tmp_path).message) == (kind, "so it was")
    (tmp_path / "state.json").write_text("{")
    assert read_status(tmp_path).kind == "new"


def test_last_lines_of_a_large_log(tmp_path: Path) -> None:
    lines = [f"line {i} " + "x" * 100 for i in range(5000)]
    (tmp_path / "train.log").write_text("\n".join(lines) + "\n\n")
    assert last_lines(tmp_path, 3) == lines[-3:]
    assert len(last_lines(tmp_path, 10_000)) < 700
    (tmp_path / "output.log").write_bytes(b"\xff\xfe broken\n")
    assert last_lines(tmp_path, 1)[0].endswith("broken")
