"""A record of figures as JSON and as Markdown tables, one file each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

Record = Any
"""Frozen dataclass with `protocol` and `notes`; figures are records in dicts by name."""


@dataclass(frozen=True)
class ModelUsed:
    """name: as in `models.weights`. weights: the file, with its SHA-256."""

    name: str
    weights: str
    weights_sha256: str


def write_report(record: Record, model: ModelUsed, out: Path) -> tuple[dict[str, Any], str]:
    """PROTOCOL.json and PROTOCOL.md in a folder, made if absent; returns both contents."""
    content = {"model": asdict(model), **asdict(record)}
    text = markdown(record, model)
    out.mkdir(parents=True, exist_ok=True)
    for ending, written in ((".json", json.dumps(content, indent=1) + "\n"), (".md", text)):
        write_text(out / (record.protocol + ending), written)
    return content, text


def write_text(path: Path, text: str) -> None:
    """Whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def markdown(record: Record, model: ModelUsed) -> str:
    """Title, plain facts, one table for each group of figures, notes."""
    lines = [f"# {record.protocol}: {model.name}", ""]
    lines += [f"- weights: {model.weights} (SHA-256 {model.weights_sha256[:12]})"]
    lines += [*_facts(record), "", *_sections(record), *record.notes]
    return "\n".join(lines) + "\n"


def _facts(record: Record) -> list[str]:
    """What is neither a table nor a note."""
    plain = {f.name: getattr(record, f.name) for f in fields(record)}
    return [
        f"- {_words(name)}: {_cell(value)}"
        for name, value in plain.items()
        if name not in ("protocol", "notes")
        and value is not None
        and not isinstance(value, dict)
        and not is_dataclass(value)
    ]


def _sections(record: Record) -> list[str]:
    """A record in a record is a table of one row, a dict of records a table, a dict of dicts of
    records an overview of the rows `all` and then a table each."""
    lines: list[str] = []
    for f in fields(record):
        value, title = getattr(record, f.name), _words(f.name)
        if is_dataclass(value):
            lines += _titled_table(title, {"all": value})
        elif isinstance(value, dict):
            lines += _sections_of_dict(title, value)
    return lines


def _sections_of_dict(title: str, values: Mapping[str, Any]) -> list[str]:
    rows = {k: v for k, v in values.items() if is_dataclass(v) and not _has_tables(v)}
    overview = {k: v["all"] for k, v in values.items() if isinstance(v, dict) and "all" in v}
    lines = _titled_table(title, rows) if rows else []
    lines += _titled_table("all heads", overview) if len(overview) > 1 else []
    for name, value in values.items():
        if isinstance(value, dict):
            lines += _titled_table(name, value)
        elif _has_tables(value):
            lines += [f"# {name}", "", *_facts(value), "", *_sections(value)]
    return lines


def _titled_table(title: str, rows: Mapping[str, Record]) -> list[str]:
    return [f"## {title}", "", *_table(rows), ""]


def _has_tables(value: Record) -> bool:
    return is_dataclass(value) and any(
        isinstance(getattr(value, f.name), dict) for f in fields(value)
    )


def _table(rows: Mapping[str, Record]) -> list[str]:
    """Markdown; figures that no row has, and rows of no head, are left out."""
    cells = {name: asdict(row) for name, row in rows.items()}
    cells = {name: row for name, row in cells.items() if next(iter(row.values())) != 0}
    names = [
        key
        for key in next(iter(cells.values()), {})
        if any(row[key] is not None for row in cells.values())
    ]
    lines = [
        "| | " + " | ".join(_words(name) for name in names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for name, row in cells.items():
        lines.append(f"| {name} | " + " | ".join(_cell(row[key]) for key in names) + " |")
    return lines


def _words(name: str) -> str:
    return name.replace("_", " ")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 0.1 else f"{value:.2f}"
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value) or "none"
    return str(value)
