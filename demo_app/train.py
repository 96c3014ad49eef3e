"""Training by configuration: `python -m demo_app.train`, also under accelerate launch or torchrun.

The verb `train` is the same program. What a run leaves is its folder, see `demo_app.run_state`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import tyro

from demo_app.run_config import (
    CONFIG_FILE,
    DataPart,
    DatasetName,
    Recipe,
    RunConfig,
    RunConfigError,
    default_config,
    read_run_config,
    write_run_config,
)
from demo_app.run_plan import command_of
from models.training.config import TrainConfig


@dataclass(frozen=True)
class Train:
    """Train a network by recipe; a run that was stopped or killed goes on from its checkpoint.

    Without --config the recipe's own defaults hold; what is given beside it changes them.
    """

    out: Path
    """Folder of the run: checkpoints, metrics, log, and the finished weights."""
    config: Path | None = None
    """Configuration to follow, as the Training tab and every run folder write it."""
    data: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """FOLDER that `synthesize` made, or NAME=FOLDER of a data set: synthetic, arkitface, 300w-lp,
    biwi, mica; may be given several times."""
    validation: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """The same, for what chooses the best checkpoint; if not given, the validation parts of the
    data."""
    recipe: Recipe = "trg-mini"
    """What is trained, and how."""
    start: str = "facemesh"
    """facemesh, imagenet, random, or a file of weights to train further."""
    start_share: float = 0.0
    """trg-mini: what the weights that training started from count in the mean that is kept in the
    end, 0 to 1."""
    backbone_file: Path | None = None
    """ResNet-18 weights in torchvision's layout, for the start imagenet."""
    workers: int = 1
    """Processes that prepare pictures, for each process that trains; 0: that one itself."""
    seed: int = 0
    """Of the order of the data and of its variations."""
    from_checkpoint: Path | None = None
    """Go on from this checkpoint of the run, and forget what came later."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Steps, learning rate and the like."""

    def run(self) -> int:
        """Exit status: 0 finished or stopped, 1 failed in training, 2 could not start."""
        try:
            config = self.run_config()
        except ValueError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        return train(config, self.out, self.from_checkpoint)

    def run_config(self) -> RunConfig:
        """Raises: RunConfigError, ValueError."""
        base = read_run_config(self.config) if self.config else default_config(self.recipe)
        data, validation = (
            tuple(map(_named_part, parts)) for parts in (self.data, self.validation)
        )
        return replace(
            base,
            data=data or base.data,
            validation=tuple(replace(part, split="validation") for part in validation)
            or base.validation,
            start=self.start,
            start_share=self.start_share,
            backbone_file=self.backbone_file,
            workers=self.workers,
            seed=self.seed,
            train=self.train,
        )


def _named_part(text: str) -> DataPart:
    name, _, folder = text.rpartition("=")
    if name not in ("", *get_args(DatasetName)):
        raise RunConfigError(
            f"There is no data set {name!r}; there are {', '.join(get_args(DatasetName))}."
        )
    return DataPart(name or "synthetic", Path(folder))


def train_defaults(arguments: Sequence[str]) -> Train:
    """The verb's defaults: those of the recipe, or of the configuration file, that is named."""
    named = dict(_pairs(arguments))
    path, recipe = named.get("--config"), named.get("--recipe", "trg-mini")
    try:
        base = read_run_config(path) if path else default_config(recipe)
    except (RunConfigError, ValueError):  # said when the verb runs
        base = default_config("trg-mini")
    train = base.train
    if "--train.steps" in named and "--train.epochs" not in named:
        train = replace(train, epochs=None)
    return Train(
        out=tyro.MISSING,
        recipe=base.recipe,
        start=base.start,
        start_share=base.start_share,
        backbone_file=base.backbone_file,
        workers=base.workers,
        seed=base.seed,
        train=train,
    )


def _pairs(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Options with their values, spelled --a-b v or --a_b=v."""
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, given, value = word.partition("=")
        if name.startswith("--"):
            yield name.replace("_", "-"), value if given else following


def train(config: RunConfig, folder: Path, from_checkpoint: Path | None = None) -> int:
    """Train in a run folder; more than one device starts the program again through Accelerate or
    torchrun. Returns the exit status as `Train.run` does."""
    import torch

    from demo_app.recipes.run import TrainingRun, refuse, stop_signals
    from models.training.engine import EngineError, build_accelerator

    if config.train.devices > 1 and not torch.distributed.is_torchelastic_launched():
        return _launch(config, folder, from_checkpoint)
    try:
        accelerator = build_accelerator(config.train)
    except EngineError as error:
        return refuse(str(error))
    with stop_signals() as asked:
        run = TrainingRun(config, folder, accelerator, lambda: bool(asked))
        return run.go(from_checkpoint)


def _launch(config: RunConfig, folder: Path, from_checkpoint: Path | None) -> int:
    """This process becomes the launcher, and its processes come here again."""
    folder.mkdir(parents=True, exist_ok=True)
    write_run_config(folder / CONFIG_FILE, config)
    command = command_of(folder / CONFIG_FILE, folder, config.train)
    if from_checkpoint is not None:
        command += ["--from-checkpoint", str(from_checkpoint)]
    sys.stdout.flush()
    os.execv(command[0], command)


def main(arguments: Sequence[str] | None = None, prog: str = "python -m demo_app.train") -> int:
    """Returns the exit status, see `Train.run`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return tyro.cli(Train, args=words, default=train_defaults(words), prog=prog).run()


if __name__ == "__main__":
    sys.exit(main())
