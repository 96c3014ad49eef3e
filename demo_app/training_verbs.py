"""The verbs around training: `synthesize` heads, `export` weights. `train` is `demo_app.train`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

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
    """Pictures of the persons kept for validation; 0: none, for data that others validate."""
    size_px: int = 256
    """Side of a picture."""
    seed: int = 1
    """Everything random follows from it: another seed gives other pictures."""
    negatives: float = 0.1
    """Share of pictures without a face."""
    worse_camera: float = 0.0
    """Share of pictures with side light, off colours or none, infrared, blur, low light, noise, few
    pixels and JPEG, drawn at random; training puts these on every crop anew in any case."""
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
            worse_camera=self.worse_camera,
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
class Export:
    """Write the weights of a run's checkpoint as files to use elsewhere."""

    checkpoint: Path
    """A file step-NNNNNNNN.pt in the folder checkpoints of a run."""
    out: Path
    """Folder for the weights: a .safetensors bundle, and for trg and trg-multi the layout of the
    released code too."""

    def run(self) -> int:
        from demo_app.recipes.export import export_weights

        try:
            for path in export_weights(self.checkpoint, self.out):
                _say(f"wrote {path}")
        except (FileNotFoundError, ValueError) as error:
            return _refuse(str(error))
        return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _refuse(sentence: str) -> int:
    sys.stderr.write(sentence + "\n")
    return 2
