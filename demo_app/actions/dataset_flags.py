"""Flags, tags and notes on samples, in the user's folder beside the index."""

from __future__ import annotations

from pathlib import Path

from demo_app.actions.dataset_shelf import DatasetActionError, flags_of, known_row, shelf_of
from demo_app.services import Services, Visitor

MOST_PROBLEMS_SAID = 3


def may_write(services: Services) -> bool:
    """Not on a page that others reach: flags are shared by all visitors."""
    return services.config.local_paths_allowed


def require_may_write(services: Services) -> None:
    """Raises: DatasetActionError where flags may not be set."""
    if not may_write(services):
        raise DatasetActionError(
            "Flags are kept for one person: run the program on your own computer to set them."
        )


def toggle_flag(services: Services, data_id: str, key: str) -> bool:
    """The new state. Raises: DatasetActionError for a key that is not in the index; FlagError."""
    require_may_write(services)
    known_row(services, data_id, key)
    store = flags_of(services, data_id)
    is_flagged = not store.get(key).is_flagged
    store.set_flag(key, is_flagged)
    return is_flagged


def set_tags(services: Services, data_id: str, key: str, text: str) -> str:
    """Comma-separated tags as they were stored (trimmed, each once). Raises: as `toggle_flag`."""
    require_may_write(services)
    known_row(services, data_id, key)
    store = flags_of(services, data_id)
    store.set_tags(key, tuple(text.split(",")))
    return ", ".join(store.get(key).tags)


def set_note(services: Services, data_id: str, key: str, text: str) -> str:
    """The note as it was stored. Raises: as `toggle_flag`."""
    require_may_write(services)
    known_row(services, data_id, key)
    store = flags_of(services, data_id)
    store.set_note(key, text.strip())
    return store.get(key).note


def export_flags(services: Services, visitor: Visitor, data_id: str) -> Path:
    """A CSV in the visitor's folder. Raises: DatasetActionError, FlagError."""
    name = shelf_of(services).get(data_id).info.name
    path = visitor.new_folder("flags") / f"{name}_flags.csv"
    flags_of(services, data_id).export_csv(path)
    return path


def import_flags(services: Services, data_id: str, csv: str) -> str:
    """Read such a CSV; returns a sentence on what was taken. Raises: as `export_flags`."""
    require_may_write(services)
    if not csv:
        raise DatasetActionError("Choose a CSV of flags first.")
    report = flags_of(services, data_id).import_csv(Path(csv))
    said = f"{report.taken} flags taken, {report.kept} left because yours are newer."
    if report.problems:
        more = len(report.problems) - MOST_PROBLEMS_SAID
        said += f" {len(report.problems)} rows could not be read: "
        said += "; ".join(report.problems[:MOST_PROBLEMS_SAID])
        said += f"; and {more} more." if more > 0 else "."
    return said
