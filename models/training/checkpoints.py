"""Checkpoints of a training run: written whole or not at all, the newest readable one is found."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

FORMAT = "trg-studio training 1"
_NAME = re.compile(r"step-(\d{8})\.pt")
_UNREADABLE = (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError)


@dataclass(frozen=True)
class TrainingCheckpoint:
    """Everything that a run needs to go on as if it had never stopped.

    step: steps done. network_config: `TrgConfig.to_json`. train_config: fields of TrainConfig.
    """

    step: int
    skipped_steps: int
    network: dict[str, Tensor]
    ema: dict[str, Tensor]
    optimizer: dict[str, object]
    torch_rng: Tensor
    cuda_rng: list[Tensor]
    network_config: str
    train_config: dict[str, object]


def write_checkpoint(folder: Path, checkpoint: TrainingCheckpoint, keep: int) -> Path:
    """Write step-NNNNNNNN.pt under another name first, then delete all but the newest `keep`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{checkpoint.step:08d}.pt"
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save({"format": FORMAT, **vars(checkpoint)}, file)
    partial.replace(path)
    for old in checkpoint_paths(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def checkpoint_paths(folder: Path) -> list[Path]:
    """Checkpoints of a folder, oldest first; whether they can be read is another question."""
    return sorted(path for path in folder.glob("step-*.pt") if _NAME.fullmatch(path.name))


def read_checkpoint(path: Path) -> TrainingCheckpoint:
    """On the CPU. Raises: ValueError if the file is damaged or something else."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise ValueError(f"{path} cannot be read ({type(error).__name__}).") from error
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise ValueError(f"{path} is no checkpoint of a training run.")
    wanted = set(TrainingCheckpoint.__dataclass_fields__)
    if set(content) != wanted:
        raise ValueError(f"{path} lacks or has too much: {sorted(set(content) ^ wanted)}.")
    return TrainingCheckpoint(**content)


def newest_checkpoint(folder: Path, say: Callable[[str], None]) -> TrainingCheckpoint | None:
    """The newest one that can be read; damaged ones are passed over with a word in the log."""
    for path in reversed(checkpoint_paths(folder)):
        try:
            return read_checkpoint(path)
        except ValueError as error:
            say(f"WARNING: passed over a checkpoint: {error}")
    return None
