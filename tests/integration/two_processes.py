"""Run by torchrun from test_training_processes.py: short trainings, one folder each."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.training.config import TrainConfig
from models.training.engine import Engine, build_accelerator
from models.training.losses_trg import TrgObjective
from models.training.objective import MiniObjective
from models.training.trainer import Callbacks, fit
from models.training.validation import predict_shares
from models.trg.config import TrgConfig
from models.trg.network import Trg
from tests.unit.models.small_trg import (
    N_VERTICES,
    labelled_batch,
    labelled_batches,
    small_network,
    small_released_network,
)

STEPS = TrainConfig(
    steps=4,
    batch_size=6,
    lr=1e-3,
    warmup_steps=2,
    threads=1,
    log_every=1,
    checkpoint_every=2,
    validate_every=4,
    freeze_batch_norm=True,
    gradient_clip=5.0,
)
RUNS = ("mini", "mini-parts", "trg")


def run(name: str, folder: Path) -> None:
    """One training in this process's place among the others."""
    config = replace(STEPS, gradient_accumulation=2) if name == "mini-parts" else STEPS
    network = small_released_network() if name == "trg" else small_network(dropout=0.0)
    accelerator = build_accelerator(config)
    engine = Engine(accelerator, config)
    rank, world = engine.rank, engine.world
    rows = slice(config.batch_size * rank // world, config.batch_size * (rank + 1) // world)
    held_out = labelled_batch(77, 7)[rank::world]

    def validate(average: Trg) -> dict[str, float]:
        found = predict_shares(average, [held_out], engine.gathered)
        assert len(found) == 7
        numbers = np.concatenate([found.R_predicted.ravel(), found.t_predicted_m.ravel()])
        weights = np.arange(len(numbers))  # their order counts
        return {"geodesic_mean_deg": float(numbers @ weights)}

    fit(
        network,
        config,
        lambda start: (batch[rows] for batch in labelled_batches(start, config.batch_size)),
        folder,
        lambda _: None,
        callbacks=Callbacks(validate),
        objective=_objective(name, network.config),
        accelerator=accelerator,
    )
    (folder / f"seen-{rank}.json").write_text(json.dumps({"rank": rank, "world": world}))


def _objective(name: str, config: TrgConfig) -> MiniObjective | TrgObjective:
    if name != "trg":
        return MiniObjective(config, STEPS.loss)
    triangles, landmarks = np.array([[0, 1, 2], [3, 4, 5]]), np.arange(68) % N_VERTICES
    return TrgObjective(STEPS.trg_loss, triangles, landmarks)


if __name__ == "__main__":
    for run_name in RUNS:
        run(run_name, Path(sys.argv[1]) / run_name)
