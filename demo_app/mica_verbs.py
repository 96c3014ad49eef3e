"""The verb `prepare-mica`: MICA's training set from the pictures and fits that the user has."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.weights import REPOSITORY_ROOT
from viewer.datasets.mica_layout import IMAGE_LISTS
from viewer.datasets.source import DatasetError

SubsetName = Literal[
    "STIRLING", "D3DFACS", "FLORENCE", "BU3DFE", "LYHM", "FACEWAREHOUSE", "FRGC", "BP4D"
]
PROGRESS_EVERY_S = 2.0
STOPPED = 130


@dataclass(frozen=True)
class PrepareMica:
    """Prepare a subset of MICA for training: aligned faces beside FLAME parameters.

    Without a subset, or where its files are not there: what has to be requested, and where.
    """

    subset: SubsetName | None = None
    """Which of the eight."""
    source: Path | None = None
    """Folder of the original data set, with its pictures."""
    flame_parameters: Path | None = None
    """MICA's FLAME_parameters of this subset; registrations are looked for beside it."""
    image_paths: Path | None = None
    """MICA's list of pictures, SUBSET.npy, or the folder that holds it; if not given, it is looked
    for below the output, and without one MICA's rule draws the pictures (seed 42)."""
    registrations: Path | None = None
    """MICA's registrations of this subset, if they are elsewhere."""
    out: Path = REPOSITORY_ROOT / "dataset" / "MICA"
    """Folder of the prepared set; the subset's own folder is made in it."""
    workers: int = 2
    """Processes that look for faces; 0: this one alone."""
    overwrite: bool = False
    """Do everything again, and replace files that have another content. Otherwise nothing is
    replaced, and a run that was stopped goes on."""

    def run(self) -> int:
        from viewer.mica.prepare import Inputs, PreparationError, prepare_subset
        from viewer.mica.report import write_report

        if self.subset is None:
            return _say_requests(None)
        if self.source is None or self.flame_parameters is None:
            return self._refuse_absent("--source and --flame-parameters are needed.")
        absent = [path for path in (self.source, self.flame_parameters) if not path.is_dir()]
        if absent:
            return self._refuse_absent(f"{absent[0]} is no folder.")
        inputs = Inputs(
            self.subset,
            self.source,
            self.flame_parameters,
            self.out,
            self._list_file(),
            self.registrations,
        )
        try:
            done = prepare_subset(
                inputs, workers=self.workers, overwrite=self.overwrite, progress=_progress()
            )
            files = write_report(done)
        except (DatasetError, PreparationError, OSError) as error:
            return _refuse(str(error))
        states = Counter(result.state for result in done.results)
        counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        _say(
            f"{len(done.wanted.actors)} actors, {len(done.results)} pictures in "
            f"{done.seconds:.1f} s: {counts or 'none'}; {done.worked} looked at by this run, "
            f"{len(done.fits.problems)} problems with MICA's files. {files.page}"
        )
        if not done.is_complete:
            return _refuse("Stopped. The same command goes on from here.", STOPPED)
        return 0

    def _list_file(self) -> Path | None:
        """The list that was named; else one below the output."""
        name = f"{self.subset}.npy"
        if self.image_paths is None:
            path = self.out / IMAGE_LISTS / name
            return path if path.is_file() else None
        return self.image_paths / name if self.image_paths.is_dir() else self.image_paths

    def _refuse_absent(self, sentence: str) -> int:
        _say_requests(self.subset)
        return _refuse(sentence)


def _say_requests(subset: str | None) -> int:
    from viewer.mica.requests import requests_for, requests_text

    _say(requests_text(requests_for(None if subset is None else [subset])))
    return 0


def _progress() -> Callable[[int, int], None]:
    """Says how far it is and how long it will take, not more often than every two seconds."""
    start_s = said_s = time.monotonic()
    first: int | None = None

    def progress(done: int, total: int) -> None:
        nonlocal said_s, first
        first = done if first is None else first
        now_s = time.monotonic()
        if now_s - said_s < PROGRESS_EVERY_S or done == first:
            return
        said_s = now_s
        left_s = (now_s - start_s) / (done - first) * (total - done)
        left = f"{round(left_s)} s" if left_s < 90 else f"{round(left_s / 60)} min"
        _say(f"prepared {done} of {total} pictures, about {left} to go")

    return progress


def _say(text: str) -> None:
    sys.stdout.write(text.encode("ascii", "backslashreplace").decode() + "\n")
    sys.stdout.flush()


def _refuse(sentence: str, status: int = 2) -> int:
    sys.stderr.write(sentence + "\n")
    return status
