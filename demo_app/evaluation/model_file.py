"""Which weights are meant: a model by name, a weights file, a checkpoint or a training run."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from demo_app.evaluation.faces import EvaluationError
from demo_app.run_config import CONFIG_FILE, RunConfigError
from demo_app.run_state import CHECKPOINT_FOLDER
from models.training.checkpoints import checkpoint_paths, read_best
from models.trg.bundle import read_bundle
from models.trg.checkpoints import CheckpointError, find_weights_file
from models.weights import MODELS, REPOSITORY_ROOT

_CHECKPOINT = re.compile(r"step-\d{8}\.(pt|safetensors)")


@dataclass(frozen=True)
class ModelFile:
    """Weights that can be loaded. name: the entry of `models.weights` that says how.

    shown: what the report calls it. sha256: of the weights.
    """

    name: str
    path: Path
    shown: str
    sha256: str

    @property
    def is_released_kind(self) -> bool:
        """Whether it is a TRG as published, by whoever trained."""
        return not MODELS[self.name].is_bundled


def find_model(model: str, weights: Path | None, exports: Path) -> ModelFile:
    """model: a name of `models.weights`, or a path: weights, a training run's checkpoint
    (step-00000250.pt or .safetensors), its checkpoints, or its folder, whose best checkpoint
    counts. weights: a file for a model that is given by name.

    exports: folder for weights that are made from a checkpoint.
    Raises: EvaluationError, CheckpointError.
    """
    if model in MODELS:
        entry = MODELS[model]
        path = weights or REPOSITORY_ROOT / entry.weights_file
        path = path if entry.is_bundled else find_weights_file(path)
        return _described(model, path, model)
    if weights is not None:
        raise EvaluationError("Give the weights once: as --model PATH, or as --weights.")
    path = Path(model)
    if not path.exists():
        known = ", ".join(MODELS)
        raise EvaluationError(f"{model} is neither a model ({known}) nor a file or folder here.")
    path = _checkpoint_of(path)
    if _CHECKPOINT.fullmatch(path.name):
        return _exported(path.with_suffix(".pt"), exports)
    if path.suffix == ".safetensors":
        return _of_bundle(path)
    return _described("trg", find_weights_file(path), path.name)


def _described(name: str, path: Path, shown: str) -> ModelFile:
    if not path.is_file():
        raise CheckpointError(f"There is no weights file {path}.")
    return ModelFile(name, path.resolve(), shown, sha256_of(path))


def _checkpoint_of(path: Path) -> Path:
    """The best checkpoint of a run's folder or of its checkpoints, otherwise the newest; any other
    path as it is."""
    folder = path / CHECKPOINT_FOLDER if (path / CONFIG_FILE).is_file() else path
    if not folder.is_dir() or folder.name != CHECKPOINT_FOLDER:
        return path
    best, there = read_best(folder), checkpoint_paths(folder)
    if best is None and not there:
        raise EvaluationError(f"{folder} holds no checkpoint yet.")
    return there[-1] if best is None else folder / best.checkpoint


def _exported(checkpoint: Path, exports: Path) -> ModelFile:
    from demo_app.recipes.export import export_weights
    from demo_app.recipes.setup import RecipeError

    try:
        paths = export_weights(checkpoint, exports)
    except (RunConfigError, RecipeError, FileNotFoundError, ValueError) as error:
        raise EvaluationError(f"{checkpoint} cannot be exported: {error}") from error
    run = checkpoint.resolve().parent.parent.name
    shown = f"{run}, {checkpoint.stem}"
    name = "trg-mini" if len(paths) == 1 else "trg"
    return _described(name, paths[-1], shown)


def _of_bundle(path: Path) -> ModelFile:
    """A bundle of a released network carries no axes, so its state_dict.bin is taken instead."""
    network, _ = read_bundle(path)
    if network.config.backbone == "facemesh":
        return _described("trg-mini", path, path.name)
    beside = sorted(path.parent.glob("checkpoint/*/checkpoint-30/state_dict.bin"))
    if len(beside) != 1:
        raise EvaluationError(
            f"{path} is a released network without its state_dict.bin beside it: give that file."
        )
    return _described("trg", beside[0], path.name)


def sha256_of(path: Path) -> str:
    """Of a file, read in parts."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
