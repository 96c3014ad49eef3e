"""What the Training tab keeps between two looks: numbers read so far, sizes of data sets."""

from __future__ import annotations

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from demo_app.run_config import CONFIG_FILE, DataPart, RunConfig, RunConfigError, read_run_config
from demo_app.runs.metrics import RunMetrics
from demo_app.services import Services
from models.weights import REPOSITORY_ROOT
from viewer.datasets.source import DatasetError
from viewer.datasets.training_parts import open_part

__all__ = ["REPOSITORY_ROOT", "TrainingDesk", "desk_of", "why_not"]

WHY_SPACE = (
    "This is a public Space: recorded runs can be looked at, and nothing can be started, since "
    "that would run on a machine that all visitors share. Run the program on your own computer "
    "to train."
)
WHY_OPEN = (
    "This page can be reached from other computers without a password, so runs can only be looked "
    "at. Start the program with a login (--auth NAME:PASSWORD, or TRG_AUTH), or on 127.0.0.1."
)


def why_not(services: Services) -> str:
    """Why nothing can be started or changed from this page; "" where it can."""
    if services.config.training_allowed:
        return ""
    return WHY_SPACE if services.config.on_space else WHY_OPEN


@dataclass
class TrainingDesk:
    """token: what a page must show to change anything; another site cannot read it.
    life: of this server, so that curves of an earlier one are not taken for its own.

    counts: of the samples of parts; None while they are counted, a sentence where that failed.
    """

    life: str = field(default_factory=lambda: secrets.token_hex(4))
    token: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    metrics: dict[str, RunMetrics] = field(default_factory=dict)
    configs: dict[Path, tuple[int, RunConfig | None]] = field(default_factory=dict)
    counts: dict[DataPart, int | str | None] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    counter: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, "count samples")
    )

    def numbers(self, folder: Path) -> RunMetrics:
        """Of a run, up to now."""
        with self.lock:
            known = self.metrics.setdefault(str(folder), RunMetrics(folder))
            known.refresh()
            return known

    def config(self, folder: Path) -> RunConfig | None:
        """Of a run; None where it cannot be read."""
        path = folder / CONFIG_FILE
        try:
            changed = path.stat().st_mtime_ns
        except OSError:
            return None
        known = self.configs.get(path)
        if known is None or known[0] != changed:
            try:
                found = read_run_config(path)
            except RunConfigError:
                found = None
            known = self.configs[path] = (changed, found)
        return known[1]

    def forget(self, folder: Path) -> None:
        """Of a run that is deleted."""
        with self.lock:
            self.metrics.pop(str(folder), None)
            self.configs.pop(folder / CONFIG_FILE, None)

    def count(self, part: DataPart) -> int | str | None:
        """Samples of a part; counted beside, since a large set takes a while to list."""
        with self.lock:
            if part not in self.counts:
                self.counts[part] = None
                self.counter.submit(self._count, part)
            return self.counts[part]

    def _count(self, part: DataPart) -> None:
        found: int | str
        try:
            found = len(open_part(part, as_released=True))
        except (DatasetError, OSError, ValueError) as error:
            found = str(error)
        with self.lock:
            self.counts[part] = found


def desk_of(services: Services) -> TrainingDesk:
    """The desk of a server; all pages share it."""
    return services.kept(TrainingDesk)
