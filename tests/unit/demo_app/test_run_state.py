"""state.json: a run's word, and whether the process that gave it still lives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from demo_app.run_state import (
    RunState,
    is_alive,
    own_state,
    process_start,
    read_state,
    write_state,
)


def test_a_state_comes_back(tmp_path: Path) -> None:
    state = replace(own_state("running"), step=3, steps=9, message="ä")
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state and not state.is_over
    assert is_alive(state) and state.pid == os.getpid()
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_a_reused_pid_is_not_taken_for_the_run() -> None:
    mine = own_state("running")
    assert not is_alive(replace(mine, process_start=mine.process_start - 1.0))
    assert not is_alive(replace(mine, pid=0)) and not is_alive(replace(mine, pid=2**22 + 1))


def test_a_dead_process_is_not_alive_even_before_it_is_waited_for() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = process_start(process.pid)
        assert started is not None
        state = RunState("running", process.pid, started)
        assert is_alive(state)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, but still a zombie
        assert not is_alive(state)
    assert not is_alive(state)


def test_states_that_are_none_are_none(tmp_path: Path) -> None:
    good = {"status": "running", "pid": 1, "process_start": 2.0}
    broken = ["", "[1]", "{", '{"status": "running"}', json.dumps({**good, "status": "x"})]
    broken += [json.dumps({**good, "more": 1}), json.dumps({**good, "pid": "a"}), "[" * 99_999]
    assert read_state(tmp_path) is None
    for text in broken:
        (tmp_path / "state.json").write_text(text)
        assert read_state(tmp_path) is None, text[:40]
    (tmp_path / "state.json").write_text(json.dumps(good))
    assert read_state(tmp_path) == RunState("running", 1, 2.0)
