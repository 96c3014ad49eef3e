"""What the Training tab shows: all runs, the open one, curves of those that are compared."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from demo_app.actions.training_desk import TrainingDesk, desk_of, why_not
from demo_app.run_config import CONFIG_FILE, RunConfig
from demo_app.run_state import CHECKPOINT_FOLDER, COMMAND_FILE, PREVIEW_FOLDER
from demo_app.runs.evaluations import evaluations
from demo_app.runs.folders import RunError
from demo_app.runs.metrics import RunMetrics
from demo_app.runs.status import RunStatus, last_lines, read_status
from demo_app.services import Services
from models.training.checkpoints import checkpoint_paths, checkpoint_step, read_best, weights_path

OPEN_POINTS, COMPARED_POINTS = 600, 240
LOG_LINES, LAST_LINES = 200, 12
MAX_COMPARED = 50
KILL_AFTER_S = 15.0
MOST_READING_S = 0.5
"""Of curves in one look, so that the page stays quick while many long runs are read."""


def look(services: Services, query: Mapping[str, Any]) -> dict[str, Any]:
    """Everything on screen as it is now.

    query: run: the open one, "" for none. compare: names drawn beside it. seen: versions of the
        curves that the browser has, by name.
    """
    desk, private = desk_of(services), not why_not(services)
    rows = [_row(services, desk, name) for name in services.runs.names()]
    known = {row["name"] for row in rows}
    name = str(query.get("run") or "")
    compared = [one for one in _texts(query.get("compare")) if one in known and one != name]
    answer: dict[str, Any] = {
        "runs": rows,
        "why": why_not(services),
        "token": desk.token if private else "",
        "place": str(services.config.runs_dir) if private else "",
        "run": None,
    }
    drawn = compared[:MAX_COMPARED]
    if name in known:
        answer["run"] = run_view(services, desk, name, private)
        drawn = [name, *drawn]
    seen = query.get("seen")
    seen, began_s = seen if isinstance(seen, dict) else {}, time.monotonic()
    answer["curves"], answer["more"] = {}, False
    for one in drawn:
        if time.monotonic() - began_s > MOST_READING_S:  # the rest comes with the next look
            answer["more"] = True
            break
        curves = _curves(services, desk, one, seen.get(one), one == name)
        if curves is not None:
            answer["curves"][one] = curves
    return answer


def _texts(given: Any) -> list[str]:
    return [str(one) for one in given] if isinstance(given, Sequence) else []


def _row(services: Services, desk: TrainingDesk, name: str) -> dict[str, Any]:
    """A line of the list of runs; reads nothing long."""
    folder = services.runs.root / name
    status, config = read_status(folder), desk.config(folder)
    best = read_best(folder / CHECKPOINT_FOLDER)
    saved = [checkpoint_step(path) for path in checkpoint_paths(folder / CHECKPOINT_FOLDER)[-1:]]
    return {
        "name": name,
        "kind": status.kind,
        "step": max(status.step, *saved, 0),
        "steps": status.steps,
        "since_s": status.since_s,
        "recipe": config.recipe if config else "",
        "data": ", ".join(dict.fromkeys(part.dataset for part in config.data)) if config else "",
        "batch": config.train.batch_size if config else None,
        "lr": config.train.lr if config else None,
        "best": None if best is None else best.value,
        "best_step": None if best is None else best.step,
    }


def run_view(services: Services, desk: TrainingDesk, name: str, private: bool) -> dict[str, Any]:
    """The open run. private: paths, log and command are told too."""
    folder = services.runs.path(name)
    status, config, numbers = read_status(folder), desk.config(folder), desk.numbers(folder)
    gone_wrong = status.kind in ("failed", "crashed", "killed")
    trained = int(numbers.last.get("train", {}).get("step", 0))
    message = status.message if private or not gone_wrong else "It did not end by itself."
    return {
        "name": name,
        "kind": status.kind,
        "goes_on": status.goes_on,
        "step": max(status.step, min(trained, status.steps)),
        "steps": status.steps,
        "message": message,
        "since_s": _last_word_s(numbers) or status.since_s,
        "left_s": numbers.left_s(status.steps) if status.kind == "running" else None,
        "kill_in_s": _kill_in_s(folder, status),
        "facts": _facts(config, private),
        "numbers": _newest(numbers),
        "checkpoints": _checkpoints(folder),
        "previews": _previews(folder),
        "evaluations": [_evaluation(one) for one in evaluations(folder)],
        "released": config is not None and config.recipe != "trg-mini",
        "command": _command(folder) if private else "",
        "config": _config_text(folder) if private else "",
        "log": last_lines(folder, LOG_LINES) if private else [],
    }


def _last_word_s(numbers: RunMetrics) -> float:
    """By the run's own clock, since a copied folder has other times; 0 where it said nothing."""
    return max((record.get("time_s") or 0.0 for record in numbers.last.values()), default=0.0)


def _facts(config: RunConfig | None, private: bool) -> list[tuple[str, str]]:
    if config is None:
        return [("Configuration", "cannot be read")]
    train = config.train
    length = f"{train.epochs} epochs" if train.epochs else f"{train.steps:,} steps"
    place = train.device if train.devices == 1 else f"{train.devices} x {train.device}"
    data = [f"{p.dataset} {p.split} x {p.weight:g}" if p.weight != 1 else p.dataset
            for p in config.data]  # fmt: skip
    roots = ", ".join(dict.fromkeys(str(part.root) for part in config.data))
    return [
        ("Recipe", config.recipe),
        ("Data", ", ".join(data)),
        *([("From", roots)] if private else []),
        ("Start", config.start if private else Path(config.start).name),
        ("Length", f"{length} of {train.batch_size}"),
        ("Learning rate", f"{train.lr:g}, {train.schedule}"),
        ("Machine", f"{place}, {train.precision}"),
    ]


def _kill_in_s(folder: Path, status: RunStatus) -> float | None:
    """Seconds until killing is offered; None where nobody asked it to stop."""
    if status.kind != "stopping":
        return None
    try:
        asked_s = (folder / "STOP").stat().st_mtime
    except OSError:
        return None
    return max(0.0, KILL_AFTER_S - (time.time() - asked_s))


def _newest(numbers: RunMetrics) -> dict[str, dict[str, float | None]]:
    return {
        kind: {name: value if value == value else None for name, value in record.items()}
        for kind, record in numbers.last.items()
    }


def _checkpoints(folder: Path) -> list[dict[str, Any]]:
    """Newest first."""
    best = read_best(folder / CHECKPOINT_FOLDER)
    found = []
    for path in reversed(checkpoint_paths(folder / CHECKPOINT_FOLDER)):
        try:
            told = path.stat()
            size = told.st_size + weights_path(path).stat().st_size
        except OSError:  # deleted just now
            continue
        step = checkpoint_step(path)
        is_best = best is not None and best.step == step
        found.append(
            {
                "step": step,
                "size_mb": size / 1e6,
                "time_s": told.st_mtime,
                "best": f"{best.metric} {best.value:.4g}" if is_best else "",
            }
        )
    return found


def _previews(folder: Path) -> list[int]:
    """Steps of the contact sheets."""
    steps = []
    for path in (folder / PREVIEW_FOLDER).glob("step-*.jpg"):
        digits = path.stem.removeprefix("step-")
        if digits.isdecimal():
            steps.append(int(digits))
    return sorted(steps)


def _evaluation(one: Any) -> dict[str, Any]:
    return {
        "name": one.name,
        "step": one.step,
        "protocol": one.protocol,
        "kind": one.kind,
        "said": one.said,
        "reports": list(one.reports),
    }


def _command(folder: Path) -> str:
    try:
        return shlex.join(json.loads((folder / COMMAND_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return ""


def _config_text(folder: Path) -> str:
    try:
        return (folder / CONFIG_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _curves(
    services: Services, desk: TrainingDesk, name: str, seen: Any, is_open: bool
) -> dict[str, Any] | None:
    """Thinned series of a run; None where the browser has this version."""
    try:
        numbers = desk.numbers(services.runs.path(name))
    except RunError:
        return None
    points = OPEN_POINTS if is_open else COMPARED_POINTS
    version = f"{numbers.version}/{points}/{desk.life}"
    if seen == version:
        return None
    series = {}
    for key, one in list(numbers.series.items()):
        steps, values = one.thinned(points)
        series[key] = [steps.tolist(), [float(f"{value:.5g}") for value in values]]
    return {"version": version, "series": series}
