"""What `demo_app.train` wants of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from models.training.objective import Objective
from models.trg.batch import PoseBatch
from models.trg.network import Trg

Say = Callable[[str], None]

CPU = torch.device("cpu")


class RecipeError(ValueError):
    """The recipe cannot be followed with what there is; the message says what is missing."""


def _no_others() -> None:
    """One process waits for nobody."""


@dataclass(frozen=True)
class Place:
    """Where a run happens: its folder, and which of how many processes this is.

    device: what it trains on. wait: until all processes are here.
    """

    folder: Path
    say: Say
    rank: int = 0
    world: int = 1
    device: torch.device = CPU
    wait: Callable[[], None] = _no_others

    def made_once(self, path: Path, make: Callable[[], None]) -> Path:
        """A file that the first process makes, if it is absent, before the others go on."""
        if self.rank == 0 and not path.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            make()
        self.wait()
        return path


@dataclass(frozen=True)
class RunData:
    """What a run learns from and is judged by; this process's shares.

    batches: batches(start_step, stop_step) yields one share a step. n_samples: of the training
        data, all processes together. validation: by name; empty: there is none.
    """

    batches: Callable[[int, int], Iterable[PoseBatch]]
    n_samples: int
    validation: Mapping[str, list[PoseBatch]]


@dataclass(frozen=True)
class RunSetup:
    """Everything that a run needs beside its TrainConfig.

    finish: calibrates, if the recipe does, and writes the finished weights of so many steps.
    """

    network: Trg
    objective: Objective
    data: RunData
    finish: Callable[[Trg, int], tuple[Path, ...]]
