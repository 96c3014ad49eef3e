"""Run in another process by test_training_kill.py: a training that is killed while it writes."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from models.training import checkpoints, run_log
from models.training.config import TrainConfig
from models.training.trainer import fit
from tests.unit.models.small_trg import random_batches, small_network

CONFIG = TrainConfig(
    steps=14,
    batch_size=4,
    lr=1e-3,
    warmup_steps=2,
    threads=1,
    log_every=1,
    validate_every=100,
    checkpoint_every=2,
    keep_checkpoints=2,
)
WHERE = ("in the weights", "between weights and rest", "in the rest", "in a line of numbers")


def train(folder: Path) -> None:
    """From the newest checkpoint to the end."""
    fit(small_network(), CONFIG, random_batches, folder, lambda _: None)


def train_until_killed(folder: Path, where: str) -> None:
    """Killed by signal 9 in the second checkpoint after the start, or in the line before it."""
    if where == WHERE[0]:
        checkpoints.save_file = _dying(checkpoints.save_file, _half_weights)
    elif where == WHERE[1]:
        torch.save = _dying(torch.save, lambda content, path: None)
    elif where == WHERE[2]:
        save = torch.save
        torch.save = _dying(save, lambda content, path: _half_rest(save, content, path))
    else:
        write = os.write
        half = _dying(write, lambda file, line: write(file, line[: len(line) // 2]), calls=7)
        run_log.os.write = half
    train(folder)


def _dying(real: Callable, last: Callable, calls: int = 2) -> Callable:
    """Works like `real` until the last call, which it does not survive."""
    called = 0

    def call(*arguments: object) -> object:
        nonlocal called
        called += 1
        if called < calls:
            return real(*arguments)
        last(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("this process is dead")

    return call


def _half_weights(weights: dict[str, torch.Tensor], path: Path, header: dict[str, str]) -> None:
    save_file(weights, path, header)
    os.truncate(path, path.stat().st_size // 2)


def _half_rest(save: Callable, content: object, path: Path) -> None:
    whole = io.BytesIO()
    save(content, whole)
    path.write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
