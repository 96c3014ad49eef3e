"""kill -9 at the worst moments: nothing is corrupt, and only the steps since the checkpoint are
lost."""

from __future__ import annotations

import json
import multiprocessing
import signal
from pathlib import Path

import pytest

from models.training.checkpoints import checkpoint_paths, newest_checkpoint, read_checkpoint
from tests.unit.models import killed_training
from tests.unit.models.killed_training import CONFIG, WHERE


def logged_steps(folder: Path) -> list[int]:
    """Of the whole lines alone: the last one may be cut short."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().split("\n")[:-1])
    return [line["step"] for line in lines if line["kind"] == "train"]


def test_killed_runs_end_like_one_that_was_not(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.unit.models.killed_training"])
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for where in WHERE:
        process = processes.Process(target=killed_training.train_until_killed, args=(killed, where))
        process.start()
        process.join(timeout=120)
        assert process.exitcode == -signal.SIGKILL, where
        found = newest_checkpoint(killed / "checkpoints", pytest.fail)
        assert found is not None, where
        assert 0 <= logged_steps(killed)[-1] - found.step <= CONFIG.checkpoint_every, where
    killed_training.train(killed)
    killed_training.train(whole)
    assert logged_steps(killed) == logged_steps(whole) == list(range(1, CONFIG.steps + 1))
    one, two = (checkpoint_paths(folder / "checkpoints") for folder in (killed, whole))
    assert [path.name for path in one] == [path.name for path in two]
    a, b = read_checkpoint(one[-1]), read_checkpoint(two[-1])
    assert all(value.equal(b.network[name]) for name, value in a.network.items())
    assert all(value.equal(b.ema[name]) for name, value in a.ema.items())
    assert not list(killed.rglob("*.partial"))
