"""The verbs that make a network: `synthesize` heads, `train` on them."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import tyro

from models.training.config import TrainConfig
from models.training.trainer import TrainingError, say_to_file
from models.trg.checkpoints import CheckpointError
from models.trg.config import TrgConfig
from viewer.datasets.synthetic import SyntheticDataError

TRAIN_REQUIREMENTS = "pip install -r requirements-train.txt"


@dataclass(frozen=True)
class Synthesize:
    """Render heads with known poses from a folder of portraits: data to train and test with."""

    portraits: Path
    """Folder of portraits, one person each; a fifth of the persons is kept for validation."""
    count: int
    """Training pictures."""
    out: Path
    """Folder for the data; a run that was stopped goes on there."""
    validation_count: int = 2000
    """Pictures of the persons kept for validation."""
    size_px: int = 256
    """Side of a picture."""
    seed: int = 1
    """Everything random follows from it: another seed gives other pictures."""
    negatives: float = 0.1
    """Share of pictures without a face."""
    face_free: Path | None = None
    """Folder of photos, looked through by you, that show no face: backgrounds and negatives of the
    training pictures."""
    depth: bool = True
    """Write depth maps too."""
    workers: int = 2
    """Processes; 0: this one alone."""

    def run(self) -> int:
        try:
            from viewer.synthesis.generate import GenerateConfig, generate
        except ModuleNotFoundError as error:
            return _refuse(f"{error.name} is not installed: {TRAIN_REQUIREMENTS}")
        from viewer.synthesis.portraits import PortraitError

        config = GenerateConfig(
            count=self.count,
            validation_count=self.validation_count,
            size_px=self.size_px,
            seed=self.seed,
            negatives=self.negatives,
            face_free=self.face_free,
            depth=self.depth,
            workers=self.workers,
        )
        try:
            generate(self.portraits, self.out, config, _say)
        except (PortraitError, SyntheticDataError, OSError) as error:
            return _refuse(str(error))
        return 0


@dataclass(frozen=True)
class Train:
    """Train a network by recipe; a run that was stopped or killed goes on from its checkpoint."""

    data: tyro.conf.UseAppendAction[tuple[Path, ...]]
    """Folder made by `synthesize`; may be given several times. The first one validates."""
    out: Path
    """Folder of the run: checkpoints, metrics, log, and the finished weights."""
    recipe: Literal["trg-mini"] = "trg-mini"
    """What is trained, and how."""
    start: str = "facemesh"
    """facemesh: the backbone of MediaPipe's FaceMesh, the rest new. Or a .safetensors bundle to
    train further."""
    workers: int = 1
    """Processes that prepare pictures."""
    train: TrainConfig = field(default_factory=lambda: replace(TrainConfig(), freeze_stem=True))
    """Steps, learning rate and the like."""

    def run(self) -> int:
        from demo_app.train import TrainJob, train_mini

        network = replace(TrgConfig.mini(), presence_head=True, uncertainty_head=True)
        job = TrainJob(self.data, self.out, self.train, network, self.start, self.workers)
        say = say_to_file(self.out / "train.log", _say)
        try:
            train_mini(job, say)
        except (
            CheckpointError,
            FileNotFoundError,
            SyntheticDataError,
            TrainingError,
            ValueError,
        ) as error:
            return _refuse(str(error))
        return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _refuse(sentence: str) -> int:
    sys.stderr.write(sentence + "\n")
    return 2
