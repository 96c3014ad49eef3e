"""What an index says of its data set: counts, people, missing files, findings, licence."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from demo_app.actions.dataset_shelf import index_of, shelf_of
from demo_app.services import Services
from viewer.datasets.source import DatasetInfo
from viewer.index.check_table import CHECK_BY_NAME
from viewer.index.query import Summary

MOST_PROBLEMS_SHOWN = 50
MOST_NAMES = 6


def summary_html(services: Services, data_id: str) -> str:
    """Counts by split, subject and sequence, files missing or broken with their reasons, findings
    of the checks, and what the licence allows. Raises: IndexMissingError, DatasetActionError."""
    opened = shelf_of(services).get(data_id)
    summary = index_of(services, data_id).summary()
    return (
        '<div class="ds-summary">'
        f"{_figures_html(summary)}{_bundled_html(opened.info, opened.is_bundled)}"
        f"{_problems_html(summary)}{_notes_html(opened.info, summary)}</div>"
    )


def _figures_html(summary: Summary) -> str:
    """A row of numbers, each with its word; names below where there are few."""
    figures = [("samples", summary.rows, "first part only" if summary.is_limited else "")]
    for one, many, counts in (
        ("split", "splits", summary.by_split),
        ("subject", "subjects", summary.by_subject),
        ("sequence", "sequences", summary.by_sequence),
    ):
        named = {name: count for name, count in counts.items() if name}
        if named:
            figures.append((one if len(named) == 1 else many, len(named), _names(named)))
    findings = sum(summary.findings.values())
    said = _finding_words(summary) if findings else "by the checks"
    figures.append(("finding" if findings == 1 else "findings", findings, said))
    missing = summary.problem_count
    figures.append(("problem" if missing == 1 else "problems", missing, "in its files"))
    items = "".join(
        f'<div class="ds-figure"><b>{count:,}</b><span>{word}</span>'
        f'<small title="{escape(said)}">{escape(said)}</small></div>'
        for word, count, said in figures
    )
    return f'<div class="ds-figures">{items}</div>'


def _names(counts: dict[str, int]) -> str:
    if len(counts) > MOST_NAMES:
        few, many = min(counts.values()), max(counts.values())
        return f"{few:,} to {many:,} samples each" if few < many else f"{few:,} samples each"
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _finding_words(summary: Summary) -> str:
    most = sorted(summary.findings.items(), key=lambda item: -item[1])[:3]
    return "; ".join(
        f"{CHECK_BY_NAME[name].title if name in CHECK_BY_NAME else name} {count:,}"
        for name, count in most
    )


def _bundled_html(info: DatasetInfo, is_bundled: bool) -> str:
    licence = (
        f'<p class="ds-licence"><b>Licence of {escape(info.title)}:</b> {escape(info.licence)} '
        f'<a href="{escape(info.link)}" target="_blank" rel="noopener noreferrer">Source</a></p>'
    )
    if not is_bundled:
        return licence
    return (
        '<div class="notice notice-info">These are bundled samples in this data set’s format, made '
        "by this program from free material; the data set itself is not here.</div>" + licence
    )


def _problems_html(summary: Summary) -> str:
    if not summary.problem_count:
        return ""
    shown = summary.problems[:MOST_PROBLEMS_SHOWN]
    items = "".join(
        f"<li><code>{escape(file)}</code> {escape(reason)}</li>" for file, reason in shown
    )
    more = summary.problem_count - len(shown)
    rest = f"<li>And {more:,} more.</li>" if more > 0 else ""
    return (
        f'<details class="ds-problems"><summary>{summary.problem_count:,} files or rows are '
        f'missing or broken</summary><ul class="notes">{items}{rest}</ul></details>'
    )


def _notes_html(info: DatasetInfo, summary: Summary) -> str:
    notes: Sequence[str] = (*summary.notes, *info.facts)
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<ul class="notes">{items}</ul>' if items else ""
