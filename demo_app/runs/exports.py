"""Weights of a run's checkpoint as files: for the Pose tab, for elsewhere, as ONNX."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from demo_app.recipes.export import export_weights
from demo_app.recipes.setup import RecipeError
from demo_app.run_config import CONFIG_FILE, Recipe, RunConfigError, read_run_config
from demo_app.run_state import CHECKPOINT_FOLDER
from demo_app.runs.folders import RunError, RunFolders
from models.training.checkpoints import checkpoint_path
from models.trg.bundle import read_bundle
from models.trg.checkpoints import CheckpointError

ExportKind = Literal["safetensors", "released", "onnx"]
EXPORT_FOLDER, MARK_FILE = "exports", "pose.json"
ZIP_NAME, ONNX_NAME = "released_layout.zip", "network.onnx"
OWN_PREFIX = "run:"
_OWN_NAME = re.compile(r"run:([A-Za-z0-9][A-Za-z0-9._-]*)@(\d{1,8})")


@dataclass(frozen=True)
class OwnModel:
    """Weights of a run of one's own that the Pose tab may use. file: a bundle."""

    run: str
    step: int
    recipe: Recipe
    file: Path

    @property
    def name(self) -> str:
        """Among the names of `models.weights`; none of those begins so."""
        return f"{OWN_PREFIX}{self.run}@{self.step}"

    @property
    def label(self) -> str:
        return f"your own training: {self.run}, step {self.step}"


def is_own_name(name: object) -> bool:
    """Whether a name is of the shape that `OwnModel.name` has."""
    return isinstance(name, str) and _OWN_NAME.fullmatch(name) is not None


def export_folder(run: Path, step: int) -> Path:
    """Where the files of a checkpoint's weights go."""
    return run / EXPORT_FOLDER / f"step-{step:08d}"


def export_bundle(run: Path, step: int) -> Path:
    """The weights of a checkpoint as a bundle; written once. Raises: RunError."""
    folder = export_folder(run, step)
    found = sorted(folder.glob("*.safetensors")) if (folder / "done").is_file() else []
    if found:
        return found[0]
    checkpoint = checkpoint_path(run / CHECKPOINT_FOLDER, step)
    if not checkpoint.is_file():
        raise RunError(f"The checkpoint of step {step} was deleted; choose another one.")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        paths = export_weights(checkpoint, folder)
    except (FileNotFoundError, CheckpointError, RecipeError, RunConfigError, ValueError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise RunError(f"The weights could not be exported: {error}") from error
    (folder / "done").touch()
    return next(path for path in paths if path.suffix == ".safetensors")


def export_file(run: Path, step: int, kind: ExportKind) -> Path:
    """One file to download. Raises: RunError."""
    bundle = export_bundle(run, step)
    if kind == "safetensors":
        return bundle
    return _onnx(bundle) if kind == "onnx" else _released(bundle)


def _onnx(bundle: Path) -> Path:
    from models.trg.onnx_export import write_onnx

    path = bundle.with_name(ONNX_NAME)
    if not path.is_file():
        partial = path.with_suffix(".partial")
        try:
            write_onnx(read_bundle(bundle)[0], partial)
        except ImportError as error:
            raise RunError("ONNX needs a package: pip install onnx.") from error
        partial.replace(path)
    return path


def _released(bundle: Path) -> Path:
    """The folder checkpoint/ of the released code, in one archive."""
    source, path = bundle.parent / "checkpoint", bundle.with_name(ZIP_NAME)
    if not source.is_dir():
        raise RunError("trg-mini has no released layout: that is for the recipes trg, trg-multi.")
    if not path.is_file():
        partial = path.with_suffix(".partial")
        with zipfile.ZipFile(partial, "w") as archive:
            for file in sorted(source.rglob("*")):
                if file.is_file():
                    archive.write(file, file.relative_to(bundle.parent).as_posix())
        partial.replace(path)
    return path


def offer_to_pose_tab(folders: RunFolders, name: str, step: int) -> OwnModel:
    """Export a checkpoint and remember it as a model of the program. Raises: RunError."""
    run = folders.path(name)
    bundle = export_bundle(run, step)
    mark = {"file": bundle.name}
    (bundle.parent / MARK_FILE).write_text(json.dumps(mark) + "\n", encoding="utf-8")
    return _own_model(name, run, bundle.parent)


def own_models(folders: RunFolders) -> list[OwnModel]:
    """Those that were offered to the Pose tab and are still there."""
    found = []
    for name in folders.names():
        run = folders.root / name
        for mark in sorted((run / EXPORT_FOLDER).glob(f"step-*/{MARK_FILE}")):
            try:
                found.append(_own_model(name, run, mark.parent))
            except RunError:
                continue
    return found


def own_model(folders: RunFolders, name: str) -> OwnModel:
    """By its name among models; only what was offered is given. Raises: RunError."""
    match = _OWN_NAME.fullmatch(name)
    if match is None:
        raise RunError(f"{name!r} is no model of a run.")
    run, step = folders.path(match[1]), int(match[2])
    return _own_model(match[1], run, export_folder(run, step))


def _own_model(name: str, run: Path, folder: Path) -> OwnModel:
    try:
        mark = json.loads((folder / MARK_FILE).read_text(encoding="utf-8"))
        file = folder / Path(mark["file"]).name
        step = int(folder.name.removeprefix("step-"))
        recipe = read_run_config(run / CONFIG_FILE).recipe
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"The run {name} has no such weights for the Pose tab.") from error
    if not file.is_file():
        raise RunError(f"The weights of {name} for the Pose tab are gone.")
    return OwnModel(name, step, recipe, file)
