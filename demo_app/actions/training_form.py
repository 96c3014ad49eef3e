"""The form of a new run: its fields and sets, what stands against it, what it takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from demo_app.actions.dataset_open import list_datasets
from demo_app.actions.progress_text import duration_text
from demo_app.actions.training_desk import desk_of
from demo_app.actions.training_values import config_from_values, short_try, values_of
from demo_app.run_config import (
    CONFIG_FILE,
    RECIPES,
    DatasetName,
    RunConfig,
    RunConfigError,
    default_config,
    read_run_config,
    write_run_config,
)
from demo_app.run_plan import command_of, estimate, measured_crops_per_s, problems_of
from demo_app.runs.fields import config_fields
from demo_app.runs.folders import RunError, checked_name
from demo_app.services import Services
from viewer.datasets.protocols import PROTOCOLS
from viewer.datasets.registry import bundled_root

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Length", ("train.epochs", "train.steps", "train.batch_size", "train.gradient_accumulation")),
    ("Learning rate", ("train.lr", "train.schedule", "train.warmup_steps", "train.weight_decay")),
    (
        "Machine",
        (
            *("train.device", "train.devices", "train.precision"),
            *("train.threads", "workers", "train.compile"),
        ),
    ),
    (
        "Checks and checkpoints",
        (
            *("train.log_every", "train.validate_every", "train.checkpoint_every"),
            *("train.keep_checkpoints", "train.best_by"),
        ),
    ),
)
"""What people change most; augmentation and the rest follow by themselves."""

TOP = ("recipe", "start", "backbone_file")
RECIPE_WORDS = {
    "trg-mini": "Small and quick: runs live on a processor. Learns from synthetic heads.",
    "trg": "The published network on ARKitFace, with the published settings.",
    "trg-multi": "The same on ARKitFace and 300W-LP (TRG★ of the paper).",
}
SPLITS = ("train", "train+validation")
CONFIG_FOLDER = "training-configs"
NO_TRAINING = {"aflw2000": "A test set: it is never trained on. Evaluate a checkpoint on it."}


def form_value(services: Services) -> dict[str, Any]:
    """Everything that the browser needs to draw the form."""
    return {
        "groups": _groups(),
        "fields": {path: {**asdict(f), "title": f.title} for path, f in config_fields().items()},
        "recipes": [
            {"name": name, "words": RECIPE_WORDS[name], "values": values_of(default_config(name))}
            for name in RECIPES
        ],
        "sets": [_set_row(choice) for choice in _sets(services)],
        "splits": SPLITS,
        "short": _short(),
        "protocols": offered_protocols(),
        "saved": saved_configs(services),
        "name": services.runs.free_name("trg-mini"),
        "place": str(services.config.runs_dir),
    }


def offered_protocols() -> list[tuple[str, str, str]]:
    """Name, title and data set of those that need nothing but a folder."""
    found = [(p.name, p.title, p.dataset) for p in PROTOCOLS.values() if not p.needs_list]
    return sorted(found, key=lambda one: one[2] != "synthetic")


def _groups() -> list[dict[str, Any]]:
    named = {path for _, paths in GROUPS for path in paths} | set(TOP)
    rest = [path for path in config_fields() if path not in named]
    more = [
        ("Augmentation of trg-mini", [p for p in rest if p.startswith("augment.")], "trg-mini"),
        ("Augmentation of trg", [p for p in rest if p.startswith("trg_augment.")], "trg"),
        ("Loss of trg-mini", [p for p in rest if p.startswith("train.loss.")], "trg-mini"),
        ("Loss of trg", [p for p in rest if p.startswith("train.trg_loss.")], "trg"),
    ]
    taken = {path for _, paths, _ in more for path in paths}
    more.append(("Everything else", [path for path in rest if path not in taken], ""))
    first = [{"title": t, "paths": list(p), "folded": False, "recipe": ""} for t, p in GROUPS]
    return first + [{"title": t, "paths": p, "folded": True, "recipe": r} for t, p, r in more]


def _sets(services: Services) -> list[Any]:
    return sorted(list_datasets(services), key=lambda one: one.name != "synthetic")


def _set_row(choice: Any) -> dict[str, Any]:
    can = choice.name in get_args(DatasetName)
    note = NO_TRAINING.get(choice.name, choice.note)
    return {
        "name": choice.name,
        "title": choice.title,
        "state": choice.state,
        "root": choice.root,
        "note": note,
        "link": choice.link,
        "trainable": can,
    }


def _short() -> dict[str, Any] | None:
    """A first run on the bundled samples."""
    root = bundled_root("synthetic")
    if root is None:
        return None
    config, limit = short_try(root)
    return {**values_of(config), "validation_limit": limit}


def check_values(services: Services, values: Mapping[str, Any]) -> dict[str, Any]:
    """What the form says beside its fields; never raises for what a visitor typed."""
    name = str(values.get("name") or "").strip()
    problems = _name_problems(services, name)
    try:
        config = config_from_values(values)
    except RunConfigError as error:
        return {"problems": [*problems, str(error)], "estimate": "", "command": "", "config": ""}
    counted = _counted(services, config)
    total = counted if isinstance(counted, int) else None
    folder = services.config.runs_dir / (name or "NAME")
    command = command_of(folder / CONFIG_FILE, folder, config.train)
    problems = [*problems, *problems_of(config)]
    if isinstance(counted, str):
        problems.append(counted)
    measured = values.get("measured")
    speed = float(measured) if isinstance(measured, int | float) and measured > 0 else None
    return {
        "problems": list(dict.fromkeys(problems)),
        "estimate": estimate_text(config, total, speed),
        "counting": counted is None and bool(config.data),
        "command": shlex.join(command),
        "config": config.to_json(),
    }


def _name_problems(services: Services, name: str) -> list[str]:
    try:
        if services.runs.is_taken(name):
            return [f"There is a run {name} already: choose another name."]
    except RunError as error:
        return [str(error)]
    return []


def _counted(services: Services, config: RunConfig) -> int | str | None:
    """Samples of the mix; None while they are counted, a sentence where that failed."""
    desk = desk_of(services)
    found = [desk.count(part) for part in config.data if part.root.is_dir()]
    failed = [one for one in found if isinstance(one, str)]
    if failed:
        return failed[0]
    return None if not found or None in found else sum(found)


def estimate_text(config: RunConfig, n_samples: int | None, measured: float | None) -> str:
    """Time and memory in a sentence or two."""
    told = estimate(config, n_samples, measured)
    seen = "" if n_samples is None else f"{n_samples:,} samples. "
    if told.hours is None:
        took = "How long it takes is known once the samples are counted. "
    else:
        took = f"About {_long_text(told.hours * 3600)} for {told.steps:,} steps. "
    memory = f"About {told.memory_mb / 1000:.1f} GB of memory for each process that trains. "
    return seen + took + memory + told.based_on


def _long_text(seconds: float) -> str:
    if seconds < 3600:
        return duration_text(seconds)
    hours = seconds / 3600
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"


def measure(values: Mapping[str, Any]) -> float:
    """Crops a second, here and now. Raises: RunConfigError."""
    return round(measured_crops_per_s(config_from_values(values), seconds=3.0), 2)


def saved_configs(services: Services) -> list[str]:
    """Names of the configurations that were saved here."""
    folder = services.config.data_dir / CONFIG_FOLDER
    return sorted(path.stem for path in folder.glob("*.json")) if folder.is_dir() else []


def _saved_path(services: Services, name: str) -> Path:
    return services.config.data_dir / CONFIG_FOLDER / f"{checked_name(name)}.json"


def save_config(services: Services, name: str, values: Mapping[str, Any]) -> str:
    """Returns its name. Raises: RunError, RunConfigError."""
    path = _saved_path(services, re.sub(r"\s+", "-", name.strip()))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_run_config(path, config_from_values(values))
    return path.stem


def saved_values(services: Services, name: str) -> dict[str, Any]:
    """Raises: RunError, RunConfigError."""
    return values_of(read_run_config(_saved_path(services, name)))


def loaded_values(text: str) -> dict[str, Any]:
    """Of a configuration file that a visitor gave. Raises: RunConfigError."""
    return values_of(RunConfig.from_json(text))
