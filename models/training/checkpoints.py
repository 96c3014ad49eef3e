"""Checkpoints of a training run: written whole or not at all, the newest readable one is found.

Of step 250: step-00000250.safetensors holds the weights, step-00000250.pt the rest. The second is
written last and makes the pair a checkpoint; both carry the same mark.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

FORMAT = "trg-studio training 2"
BEST_FILE = "best.json"
_NAME = re.compile(r"step-(\d{8})\.pt")
_UNREADABLE = (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError)
_WEIGHTS = ("network", "ema")


@dataclass(frozen=True)
class TrainingCheckpoint:
    """Everything that a run needs to go on as if it had never stopped.

    step: steps done; batches and learning rate follow from it. scaler: of fp16's loss, else empty.
    rng: torch's random state of every process, the GPU's after the processor's where there is one.
    network_config: `TrgConfig.to_json`. train_config: fields of TrainConfig.
    metrics: of the last validation.
    """

    step: int
    skipped_steps: int
    network: dict[str, Tensor]
    ema: dict[str, Tensor]
    optimizer: dict[str, object]
    scaler: dict[str, float]
    rng: list[list[Tensor]]
    network_config: str
    train_config: dict[str, object]
    metrics: dict[str, float]


@dataclass(frozen=True)
class BestCheckpoint:
    """The checkpoint with the smallest value of a validation's number.

    checkpoint: file name in the folder of checkpoints.
    """

    checkpoint: str
    step: int
    metric: str
    value: float


def write_checkpoint(folder: Path, checkpoint: TrainingCheckpoint, keep: int) -> Path:
    """Write the pair of files, each under another name first, then delete all but the newest `keep`
    and the best. Returns the .pt file."""
    folder.mkdir(parents=True, exist_ok=True)
    path, mark = checkpoint_path(folder, checkpoint.step), secrets.token_hex(16)
    weights = {
        f"{part}.{name}": value.detach().cpu().contiguous().clone()
        for part in _WEIGHTS
        for name, value in getattr(checkpoint, part).items()
    }
    header = {"format": FORMAT, "mark": mark, "config": checkpoint.network_config}
    rest = {f.name: getattr(checkpoint, f.name) for f in fields(checkpoint)}
    rest = {name: value for name, value in rest.items() if name not in _WEIGHTS}
    path.unlink(missing_ok=True)
    _write_whole(weights_path(path), lambda partial: save_file(weights, partial, header))
    _write_whole(path, lambda file: torch.save({"format": FORMAT, "mark": mark, **rest}, file))
    _delete_old(folder, keep)
    return path


def _write_whole(path: Path, write: Callable[[Path], None]) -> None:
    partial = path.with_name(f"{path.name}.partial")
    write(partial)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def _delete_old(folder: Path, keep: int) -> None:
    """Old pairs, and weights or partial files that a killed process left behind."""
    best = read_best(folder)
    paths = checkpoint_paths(folder)
    kept = {*paths[-keep:]} | ({folder / best.checkpoint} if best else set())
    for old in set(paths) - kept:
        old.unlink(missing_ok=True)
    for weights in folder.glob("step-*.safetensors"):
        if not weights.with_suffix(".pt").exists():
            weights.unlink(missing_ok=True)
    for partial in folder.glob("*.partial"):
        partial.unlink(missing_ok=True)


def delete_checkpoints_after(folder: Path, step: int) -> None:
    """What came after a step that a run goes on from; with the best, if that is later."""
    best = read_best(folder)
    if best is not None and best.step > step:
        (folder / BEST_FILE).unlink(missing_ok=True)
    for path in checkpoint_paths(folder):
        if checkpoint_step(path) > step:
            path.unlink(missing_ok=True)
            weights_path(path).unlink(missing_ok=True)


def checkpoint_path(folder: Path, step: int) -> Path:
    """Of a step; whether it is there is another question."""
    return folder / f"step-{step:08d}.pt"


def weights_path(path: Path) -> Path:
    """The file of weights that belongs to a .pt file."""
    return path.with_suffix(".safetensors")


def checkpoint_step(path: Path) -> int:
    """The step in the name of a .pt file. Raises: ValueError if it is not named so."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise ValueError(f"{path.name} is not named like a checkpoint, step-00000250.pt.")
    return int(match[1])


def checkpoint_paths(folder: Path) -> list[Path]:
    """Checkpoints of a folder, oldest first; whether they can be read is another question."""
    return sorted(path for path in folder.glob("step-*.pt") if _NAME.fullmatch(path.name))


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, str]]:
    """Of a checkpoint's .pt path: the network's weights, the averaged ones, and the header.

    Raises: ValueError if the file is absent, damaged or something else.
    """
    weights = weights_path(path)
    try:
        with safe_open(str(weights), framework="pt") as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{weights} cannot be read ({type(error).__name__}).") from error
    if header.get("format") != FORMAT:
        raise ValueError(f"{weights} holds no weights of a training run.")
    network, ema = (
        {k.removeprefix(f"{part}."): v for k, v in tensors.items() if k.startswith(f"{part}.")}
        for part in _WEIGHTS
    )
    return network, ema, header


def read_checkpoint(path: Path) -> TrainingCheckpoint:
    """On the CPU. Raises: ValueError if a file of the pair is absent, damaged or something else."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise ValueError(f"{path} cannot be read ({type(error).__name__}).") from error
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise ValueError(f"{path} is no checkpoint of a training run.")
    mark = content.pop("mark", None)
    network, ema, header = read_weights(path)
    if mark != header.get("mark"):
        raise ValueError(f"{path} and its weights are not of the same moment.")
    wanted = set(TrainingCheckpoint.__dataclass_fields__) - set(_WEIGHTS)
    if set(content) != wanted:
        raise ValueError(f"{path} lacks or has too much: {sorted(set(content) ^ wanted)}.")
    return TrainingCheckpoint(network=network, ema=ema, **content)


def newest_checkpoint(folder: Path, say: Callable[[str], None]) -> TrainingCheckpoint | None:
    """The newest one that can be read; damaged ones are passed over with a word in the log."""
    for path in reversed(checkpoint_paths(folder)):
        try:
            return read_checkpoint(path)
        except ValueError as error:
            say(f"WARNING: passed over a checkpoint: {error}")
    return None


def read_best(folder: Path) -> BestCheckpoint | None:
    """None where there is none whose files are there."""
    try:
        best = BestCheckpoint(**json.loads((folder / BEST_FILE).read_text(encoding="utf-8")))
        there = checkpoint_step(folder / best.checkpoint) == best.step
    except (OSError, ValueError, TypeError):
        return None
    return best if there and (folder / best.checkpoint).is_file() else None


def write_best(folder: Path, best: BestCheckpoint) -> None:
    """Whole or not at all; its checkpoint must be written before."""
    text = json.dumps(asdict(best)) + "\n"
    _write_whole(folder / BEST_FILE, lambda partial: partial.write_text(text, encoding="utf-8"))
