"""Evaluations of a run's checkpoints: processes of their own, reports in the run's folder."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from demo_app.runs.exports import export_bundle
from demo_app.runs.folders import RunError
from demo_app.runs.process import exit_code, read_launch, start
from demo_app.runs.status import last_lines

EVALUATION_FOLDER = "evaluations"
REPORT_ENDINGS = (".html", ".md", ".json")
_NAME = re.compile(r"step-(\d{8})-([a-z0-9-]+)")


@dataclass(frozen=True)
class Evaluation:
    """kind: running, done or failed. said: its last line. reports: file names, by preference."""

    name: str
    step: int
    protocol: str
    kind: str
    said: str
    reports: tuple[str, ...]


def start_evaluation(
    run: Path, step: int, protocol: str, data: Path, where: Path, environment: Mapping[str, str]
) -> str:
    """Start it; the earlier report of the same kind goes. Returns its name. Raises: RunError."""
    if not data.is_dir():
        raise RunError(f"There is no folder {data} to evaluate on.")
    bundle = export_bundle(run, step)
    name = f"step-{step:08d}-{protocol}"
    folder = run / EVALUATION_FOLDER / name
    launch = read_launch(folder)
    if launch is not None and launch.is_alive:
        raise RunError("This evaluation goes on already.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    start(folder, evaluation_command(bundle, protocol, data, folder), where, environment)
    return name


def evaluation_command(bundle: Path, protocol: str, data: Path, out: Path) -> list[str]:
    """Of the verb `evaluate`, as a list of arguments."""
    command = [sys.executable, "-m", "demo_app", "evaluate", "--model", str(bundle)]
    return [*command, "--protocol", protocol, "--root", str(data), "--out", str(out)]


def evaluations(run: Path) -> list[Evaluation]:
    """All of a run, the latest step first."""
    found = []
    for folder in sorted((run / EVALUATION_FOLDER).glob("step-*"), reverse=True):
        match = _NAME.fullmatch(folder.name)
        if match:
            found.append(_read(folder, int(match[1]), match[2]))
    return found


def _read(folder: Path, step: int, protocol: str) -> Evaluation:
    launch = read_launch(folder)
    files = [path for path in sorted(folder.iterdir()) if path.suffix in REPORT_ENDINGS]
    reports = [p.name for ending in REPORT_ENDINGS for p in files if p.suffix == ending]
    reports = [name for name in reports if name not in ("launch.json", "exit.json")]
    if launch is not None and launch.is_alive:
        kind = "running"
    else:
        kind = "done" if reports and exit_code(folder) in (0, None) else "failed"
    said = last_lines(folder, 1) if kind != "done" else []
    return Evaluation(folder.name, step, protocol, kind, said[0] if said else "", tuple(reports))


def report_path(run: Path, name: str, file: str) -> Path:
    """A file of an evaluation, by names that are there. Raises: RunError."""
    for one in evaluations(run):
        if one.name == name and file in one.reports:
            return run / EVALUATION_FOLDER / name / file
    raise RunError("There is no such report.")
