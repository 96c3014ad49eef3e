"""The folder of runs: one folder a run, found, made, copied and deleted by its name alone."""

from __future__ import annotations

import re
import secrets
import shutil
from pathlib import Path

from demo_app.run_config import CONFIG_FILE, RunConfig, write_run_config
from demo_app.run_state import CHECKPOINT_FOLDER, METRICS_FILE, STATE_FILE
from models.training.checkpoints import (
    BEST_FILE,
    checkpoint_path,
    read_best,
    weights_path,
)

MAX_NAME = 64
MAX_RUNS = 2000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_OWN_ENDINGS = (".npz", ".npy")
"""Files of a run's folder that its recipe wrote at the start: arrays of its mesh."""


class RunError(ValueError):
    """What was asked of a run cannot be done; the message is a sentence that says what to do."""


def checked_name(name: str) -> str:
    """Raises: RunError for what is no name, such as a path."""
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise RunError(
            "The name of a run is letters, digits, dot, dash and underscore, at most "
            f"{MAX_NAME}, and begins with a letter or a digit."
        )
    return name


class RunFolders:
    """All runs below one folder. No path comes from outside: only names, and they are checked."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """Of the folders that hold a run's configuration, the one that changed last first."""
        if not self.root.is_dir():
            return []
        found = []
        for folder in self.root.iterdir():
            if _NAME.fullmatch(folder.name) and self._is_run(folder):
                found.append((_changed_s(folder), folder.name))
        return [name for _, name in sorted(found, reverse=True)[:MAX_RUNS]]

    def path(self, name: str) -> Path:
        """The folder of a run that is there. Raises: RunError."""
        folder = self.root / checked_name(name)
        if not self._is_run(folder):
            raise RunError(f"There is no run {name}: it was deleted or renamed.")
        return folder

    @staticmethod
    def _is_run(folder: Path) -> bool:
        return not folder.is_symlink() and (folder / CONFIG_FILE).is_file()

    def is_taken(self, name: str) -> bool:
        """Whether something of that name is there. Raises: RunError."""
        path = self.root / checked_name(name)
        return path.is_symlink() or path.exists()

    def free_name(self, wish: str) -> str:
        """The wish, or the wish with a number behind it."""
        base = re.sub(r"[^A-Za-z0-9._-]+", "-", wish).strip("-._")[: MAX_NAME - 5] or "run"
        number, name = 1, base
        while self.is_taken(name):
            number += 1
            name = f"{base}-{number}"
        return name

    def new_path(self, name: str) -> Path:
        """Where a new run would be; nothing is made. Raises: RunError."""
        if self.is_taken(name):
            raise RunError(f"There is a run {name} already: choose another name.")
        return self.root / name

    def create(self, name: str, config: RunConfig) -> Path:
        """A folder with a configuration, not started. Raises: RunError."""
        folder = self.new_path(name)
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir()
        except FileExistsError as error:  # by another page, just now
            raise RunError(f"There is a run {name} already: choose another name.") from error
        write_run_config(folder / CONFIG_FILE, config)
        return folder

    def copy(self, name: str, new: str, step: int) -> Path:
        """A run as it was at one of its checkpoints, under a new name. Raises: RunError."""
        source, target = self.path(name), self.new_path(new)
        checkpoints = source / CHECKPOINT_FOLDER
        if not checkpoint_path(checkpoints, step).is_file():
            raise RunError(f"The run {name} has no checkpoint of step {step} any more.")
        partial = self.root / f".{secrets.token_hex(8)}.partial"
        (partial / CHECKPOINT_FOLDER).mkdir(parents=True)
        try:
            for file in source.iterdir():
                if _goes_along(file):
                    shutil.copyfile(file, partial / file.name)
            for chosen in _checkpoints_to_copy(checkpoints, step):
                shutil.copyfile(chosen, partial / CHECKPOINT_FOLDER / chosen.name)
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return target

    def delete(self, name: str) -> None:
        """The folder and all that is in it; links in it are removed, not followed.

        Raises: RunError for what is no run of this folder.
        """
        doomed = self.path(name)
        hidden = self.root / f".{secrets.token_hex(8)}.deleted"
        doomed.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)


def _goes_along(file: Path) -> bool:
    """Files at the top of a folder that a copy of the run needs."""
    is_own = file.suffix in _OWN_ENDINGS and not file.name.startswith("bad_batch")
    return file.is_file() and (is_own or file.name in (CONFIG_FILE, METRICS_FILE))


def _checkpoints_to_copy(folder: Path, step: int) -> list[Path]:
    """The pair of a step, and the best one with its mark if it came before."""
    steps, best = {step}, read_best(folder)
    files = []
    if best is not None and best.step <= step:
        steps.add(best.step)
        files.append(folder / BEST_FILE)
    for one in sorted(steps):
        path = checkpoint_path(folder, one)
        files += [weights_path(path), path]
    return files


def _changed_s(folder: Path) -> float:
    """When its state was written last, or when it was made."""
    for name in (STATE_FILE, CONFIG_FILE):
        try:
            return (folder / name).stat().st_mtime
        except OSError:
            continue
    return 0.0


def folder_size_mb(folder: Path) -> float:
    """Of all files in it."""
    total = 0
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            total += path.stat().st_size
    return total / 1e6
