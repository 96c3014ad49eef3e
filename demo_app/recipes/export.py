"""Weights of a checkpoint as files that the program, and the released code, can load."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from demo_app.recipes.mini import BASIS_NAME, BUNDLE_NAME, write_mini
from demo_app.recipes.setup import RecipeError
from demo_app.recipes.trg import MIRROR_NAME, write_trg
from demo_app.run_config import CONFIG_FILE, read_run_config
from models.training.checkpoints import checkpoint_step, read_weights
from models.training.initialisation import read_face_basis
from models.trg.checkpoints import network_with_weights
from models.trg.config import TrgConfig


def export_weights(checkpoint: Path, out: Path) -> tuple[Path, ...]:
    """The averaged weights of a checkpoint of a run folder, written into another folder: a bundle,
    and for trg and trg-multi also checkpoint/<name>/checkpoint-30/state_dict.bin with its arrays.

    Uncertainties are not calibrated, as at the end of a run.
    Raises: RunConfigError, RecipeError, FileNotFoundError, CheckpointError, ValueError.
    """
    step, run_folder = checkpoint_step(checkpoint), checkpoint.resolve().parent.parent
    config = read_run_config(run_folder / CONFIG_FILE)
    basis = read_face_basis(run_folder / BASIS_NAME)
    _, weights, header = read_weights(checkpoint)
    try:
        kind = TrgConfig.from_json(header["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise RecipeError(f"{checkpoint} has no usable configuration: {error}") from error
    network = network_with_weights(kind, basis.sample_index, weights, str(checkpoint))
    out.mkdir(parents=True, exist_ok=True)
    if config.recipe == "trg-mini":
        return (write_mini(out / BUNDLE_NAME, network, basis, step),)
    mirror = np.load(run_folder / MIRROR_NAME, allow_pickle=False)
    return write_trg(out, network, basis, mirror, config.recipe, step)
