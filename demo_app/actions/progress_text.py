"""Progress of a job and its end as HTML for the status line."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from demo_app.actions.background import Progress


def progress_html(progress: Progress, unit: str) -> str:
    """A bar with counts, speed and the time left. unit: "frames" or "pictures"."""
    of = "" if progress.total is None else f" of {progress.total}"
    parts = [f"{progress.done}{of} {unit}"]
    if progress.done:
        parts.append(f"{progress.per_s:.1f} per second")
    if progress.left_s is not None:
        parts.append(f"{duration_text(progress.left_s)} left")
    fraction = 0.0 if not progress.total else min(1.0, progress.done / progress.total)
    percent = f"{fraction * 100:.1f}"
    return (
        f'<div class="progress" role="progressbar" aria-valuenow="{percent}" aria-valuemin="0" '
        f'aria-valuemax="100"><div class="progress-bar" style="width:{percent}%"></div></div>'
        f'<p class="status">{" · ".join(parts)}</p>'
    )


def duration_text(seconds: float) -> str:
    """ "42 s", "3 min 5 s"."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def end_html(summary: str, notes: Sequence[str], at_most: int = 8) -> str:
    """A sentence about what was done and the notes below it."""
    shown = [*notes[:at_most]]
    if len(notes) > at_most:
        shown.append(f"And {len(notes) - at_most} more.")
    items = "".join(f"<li>{escape(note)}</li>" for note in shown)
    listed = f'<ul class="notes">{items}</ul>' if items else ""
    return f'<p class="status">{escape(summary)}</p>{listed}'
