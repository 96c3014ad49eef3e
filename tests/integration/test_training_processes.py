"""Two processes (gloo, CPU) train as one does: the same losses, gradients and validation.

Batch norm is in evaluation mode: in training mode its statistics are each process's own on CPUs and
shared on GPUs, so there the equality does not hold on CPUs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.training.checkpoints import checkpoint_paths, read_checkpoint
from tests.integration.two_processes import RUNS, STEPS, run

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("two_processes.py")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of one process and of two."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launcher, str(WORKER), str(two)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        for name in RUNS:
            run(name, one / name)
        output = process.communicate(timeout=200)[0].decode()
    assert process.returncode == 0, output[-3000:]
    return one, two


def environment() -> dict[str, str]:
    """Few threads; the tests' own modules can be imported."""
    import os

    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def numbers(folder: Path, kind: str) -> list[dict[str, float]]:
    records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    skipped = ("images_per_s", "waiting_share", "time_s", "kind")
    return [
        {name: value for name, value in record.items() if name not in skipped}
        for record in records
        if record["kind"] == kind
    ]


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_have_the_losses_of_one(folders: tuple[Path, Path], name: str) -> None:
    one, two = (numbers(folder / name, "train") for folder in folders)
    assert len(one) == STEPS.steps
    for mine, theirs in zip(one, two, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-7)
    assert one[0]["loss_total"] != pytest.approx(one[-1]["loss_total"], rel=1e-3)
    seen = [json.loads((folders[1] / name / f"seen-{r}.json").read_text()) for r in (0, 1)]
    assert seen == [{"rank": 0, "world": 2}, {"rank": 1, "world": 2}]


@pytest.mark.parametrize("name", RUNS)
def test_their_weights_and_validation_are_the_same(folders: tuple[Path, Path], name: str) -> None:
    one, two = (
        read_checkpoint(checkpoint_paths(folder / name / "checkpoints")[-1]) for folder in folders
    )
    assert one.step == two.step == STEPS.steps and len(two.rng) == 2
    for key, value in one.network.items():
        # Adam divides by the size of tiny gradients: their rounding moves a weight by far less
        # than the learning rate
        assert torch.allclose(value, two.network[key], rtol=1e-4, atol=STEPS.lr * 1e-2), key
    mine, theirs = (numbers(folder / name, "validation") for folder in folders)
    assert [r["step"] for r in mine] == [0, 4]
    for a, b in zip(mine, theirs, strict=True):
        assert a == pytest.approx(b, rel=1e-4)


def test_parts_of_a_batch_make_the_same_step(folders: tuple[Path, Path]) -> None:
    whole, parts = (numbers(folders[0] / name, "train") for name in ("mini", "mini-parts"))
    for mine, theirs in zip(whole, parts, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-7)
    assert np.isfinite(whole[0]["loss_total"])
