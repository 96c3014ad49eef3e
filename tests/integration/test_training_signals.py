"""The program itself, on the bundled heads: stopped by SIGTERM and by STOP, gone on, refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demo_app.run_config import read_run_config
from demo_app.run_state import RunState, is_alive, read_state
from demo_app.train import main
from models.training.checkpoints import checkpoint_paths, newest_checkpoint
from models.weights import load_pose_model

ROOT = Path(__file__).parents[2]
HEADS = ROOT / "assets" / "samples" / "synthetic"
SMALL = ("--train.batch-size", "2", "--train.threads", "1", "--workers", "0")
SELDOM = ("--train.checkpoint-every", "9999", "--train.validate-every", "9999")


def _arguments(out: Path, steps: int) -> list[str]:
    named = ["--data", str(HEADS), "--out", str(out), "--train.steps", str(steps)]
    return [*named, "--train.log-every", "1", *SMALL, *SELDOM]


def _state_when(folder: Path, process: subprocess.Popen[bytes], step: int) -> RunState:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        state = read_state(folder)
        if state is not None and state.step >= step:
            return state
        assert process.poll() is None, "the run ended by itself"
        time.sleep(0.05)
    raise AssertionError(f"no step {step} in time")


def test_sigterm_finishes_the_step_saves_and_exits_with_0(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "demo_app.train", *_arguments(out, 5000)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        state = _state_when(out, process, 1)
        assert state.status == "running" and state.pid == process.pid and is_alive(state)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    state = read_state(out)
    assert state is not None and state.status == "stopped" and not is_alive(state)
    assert state.steps == 5000 and 1 <= state.step < 200
    found = newest_checkpoint(out / "checkpoints", pytest.fail)
    assert found is not None and found.step == state.step
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert {"train", "validation", "system"} == {line["kind"] for line in lines}
    assert max(line["step"] for line in lines) == state.step

    goes_on = _arguments(out, state.step + 1)
    assert main(goes_on) == 0
    ended = read_state(out)
    assert ended is not None and ended.status == "finished" and ended.step == state.step + 1
    assert f"resumed after step {state.step}" in (out / "train.log").read_text()
    assert load_pose_model(device="cpu", path=out / "trg_mini.safetensors")
    assert len(list((out / "previews").glob("step-*.jpg"))) == 2
    command = json.loads((out / "command").read_text())
    assert command[1:3] == ["-m", "demo_app.train"] and str(out / "config.json") in command
    assert read_run_config(out / "config.json").train.steps == state.step + 1


def test_what_cannot_start_says_so_and_leaves_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    nothing = ["--data", str(tmp_path / "none"), "--out", str(out), *SMALL]
    assert main(nothing) == 2
    assert "there is no folder" in capsys.readouterr().err and not out.exists()
    assert main([*_arguments(out, 1), "--train.precision", "fp16"]) == 2
    assert "fp16 needs a GPU" in capsys.readouterr().err
    assert main([*_arguments(out, 1), "--config", str(tmp_path / "no.json")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert main([*_arguments(out, 1), "--start", str(tmp_path / "w.safetensors")]) == 2
    assert "no weights" in capsys.readouterr().err
    assert not checkpoint_paths(out / "checkpoints")
