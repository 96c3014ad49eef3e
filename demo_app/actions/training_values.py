"""Values of the form to a RunConfig and back; both are plain JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from demo_app.run_config import DataPart, RunConfig, RunConfigError, default_config
from demo_app.runs.fields import FormField, config_fields

WITHOUT_VALIDATION = ("300w-lp",)
"""Sets that have no distances, so nothing to validate with."""


def values_of(config: RunConfig) -> dict[str, Any]:
    """Texts and switches for the form: {"fields": {path: value}, "data": [...], ...}."""
    plain = json.loads(config.to_json())
    fields = {path: _shown(_at(plain, path)) for path in config_fields()}
    return {"fields": fields, "data": plain["data"], "validation": plain["validation"]}


def _at(plain: Any, path: str) -> Any:
    for name in path.split("."):
        plain = plain[name]
    return plain


def _shown(value: Any) -> str | bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, list):
        return ", ".join(map(_number_text, value))
    if isinstance(value, int | float):
        return _number_text(value)
    return "" if value is None else str(value)


def _number_text(value: float) -> str:
    return repr(value).removesuffix(".0")


def config_from_values(values: Mapping[str, Any]) -> RunConfig:
    """Inverse of `values_of`; what is absent is the recipe's own. Raises: RunConfigError."""
    given = values.get("fields")
    if not isinstance(given, dict):
        raise RunConfigError("The form sent no fields.")
    fields = config_fields()
    plain: dict[str, Any] = {}
    for path, value in given.items():
        if path not in fields:
            raise RunConfigError(f"Unknown field {path}.")
        *places, last = path.split(".")
        place = plain
        for name in places:
            place = place.setdefault(name, {})
        place[last] = _meant(fields[path], value)
    plain["data"] = _parts(values.get("data"))
    plain["validation"] = _parts(values.get("validation"))
    config = RunConfig.from_json(json.dumps(plain))
    limit = str(values.get("validation_limit") or "").strip()
    return replace(config, validation=_limited(config, limit)) if limit else config


def _meant(field: FormField, value: Any) -> Any:
    """A value as JSON has it; what does not fit is left to `RunConfig.from_json` to refuse."""
    if field.kind == "switch":
        return value
    text = str(value).strip()
    if not text and field.may_be_empty:
        return None
    try:
        if field.kind == "whole":
            return int(text)
        if field.kind == "number":
            return float(text)
        if field.kind == "list":
            return [_number(part) for part in text.split(",")]
    except ValueError as error:
        raise RunConfigError(f"{field.path} must be a number, got {text!r}.") from error
    return text


def _number(text: str) -> int | float:
    text = text.strip()
    return int(text) if text.lstrip("+-").isdecimal() else float(text)


def _parts(given: Any) -> list[dict[str, Any]]:
    """Rows of the data mix, as the form sends them: weight and limit as texts."""
    rows = []
    for row in given or ():
        if not isinstance(row, dict):
            raise RunConfigError("A row of the data mix is no object.")
        part = {name: row[name] for name in ("dataset", "root", "split") if row.get(name)}
        if not part.get("root"):
            raise RunConfigError(f"{row.get('dataset')}: say which folder it is in.")
        weight, limit = str(row.get("weight", "")).strip(), str(row.get("limit") or "").strip()
        try:
            part["weight"] = float(weight or 1.0)
            part["limit"] = int(limit) if limit else None
        except ValueError as error:
            raise RunConfigError(
                f"{row.get('dataset')}: weight and limit must be numbers."
            ) from error
        rows.append(part)
    return rows


def _limited(config: RunConfig, limit: str) -> tuple[DataPart, ...]:
    """The validation part of every set that has one, at most so many of each."""
    if not limit.isdecimal() or not int(limit):
        raise RunConfigError(f"Validation crops must be a whole number above 0, got {limit!r}.")
    named = config.validation or tuple(
        DataPart(part.dataset, part.root, split="validation")
        for part in dict.fromkeys(
            DataPart(part.dataset, part.root)
            for part in config.data
            if part.dataset not in WITHOUT_VALIDATION
        )
    )
    return tuple(replace(part, limit=int(limit)) for part in named)


def short_try(root: Path) -> tuple[RunConfig, str]:
    """A run that shows within minutes, on any computer, that all works; and its validation limit.

    root: of synthetic heads.
    """
    base = default_config("trg-mini")
    train = replace(
        base.train,
        steps=60,
        batch_size=8,
        warmup_steps=5,
        log_every=1,
        validate_every=15,
        checkpoint_every=15,
        keep_checkpoints=3,
        threads=1,
    )
    data = (DataPart("synthetic", root),)
    return replace(base, data=data, train=train, workers=0), "24"
