"""The report as one page of HTML: no scripts, no outside files, every name escaped."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from viewer.datasets.source import Problem
from viewer.index.check_page_style import STYLE
from viewer.index.check_table import CHECKS, LARGEST_SCORE, Check, number_text
from viewer.index.check_thumbs import thumbnail_jpeg
from viewer.index.checks_run import CheckedSample, CheckResult
from viewer.render.overlay import legend_html

Array = np.ndarray

SHOWN_SAMPLES = 8
SHOWN_PROBLEMS = 300
_HISTOGRAM_WH = (150, 26)
_BINS = 30
_HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1">'
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "img-src data:; style-src 'unsafe-inline'\">"
)


def build_page(result: CheckResult) -> str:
    """The whole page; thumbnails are read and drawn here."""
    scores = _scores_by_check(result.samples)
    title = f"{result.dataset.info.title}: labels checked"
    found = [check for check in CHECKS if _findings(check, scores.get(check.name, np.zeros(0)))]
    parts = [
        f"{_HEAD}<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>",
        _header(result),
        _tiles(result, len(found)),
        _overview(scores),
        _legend() if found else "",
        *(_section(result, check) for check in found),
        _problems(result.problems),
        _notes(result.notes),
        f"<footer class=soft>samples.parquet beside this page has every sample with its pose, its "
        f"scores and its findings. {escape(result.dataset.info.licence)}</footer>",
        "</main></body></html>",
    ]
    return "\n".join(part for part in parts if part)


def _findings(check: Check, scores: Array) -> int:
    beyond = scores > check.limit if check.higher_is_worse else scores < check.limit
    return int(beyond.sum())


def _scores_by_check(samples: Sequence[CheckedSample]) -> dict[str, Array]:
    """Of the checks that any sample has."""
    values: dict[str, list[float]] = {}
    for sample in samples:
        for name, score in (sample.scores or {}).items():
            values.setdefault(name, []).append(score)
    return {name: np.array(column) for name, column in values.items()}


def _header(result: CheckResult) -> str:
    checked = len(result.samples)
    with_finding = sum(bool(sample.findings) for sample in result.samples)
    stopped = "" if result.is_complete else f" Stopped after {checked:,} of {result.listed:,}."
    if with_finding or result.problems:
        parts = [f"{with_finding:,} of {checked:,} samples have a finding"] if with_finding else []
        parts += [f"{len(result.problems):,} files give no sample"] if result.problems else []
        kind, verdict = "bad", ", ".join(parts)
    elif checked == 0:
        kind, verdict = "bad", "No sample was checked"
    else:
        kind, verdict = "ok", f"Nothing found in {_count(checked, 'sample')}"
    return (
        f"<header><h1>{escape(result.dataset.info.title)}</h1>"
        f"<div class=soft>Label check of <span class=mono>{escape(str(result.dataset.root))}</span>"
        f"</div><div class='verdict {kind}'>{escape(verdict)}.{stopped}</div></header>"
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _tiles(result: CheckResult, checks_with_findings: int) -> str:
    checked = len(result.samples)
    with_finding = sum(bool(sample.findings) for sample in result.samples)
    share = f" ({with_finding / checked:.1%})" if checked else ""
    people = len({sample.group for sample in result.samples if sample.group})
    tiles = (
        (f"{checked:,}", f"samples checked in {_duration(result.seconds)}"),
        (f"{people:,}", "people or photos"),
        (f"{with_finding:,}", f"samples with a finding{share}"),
        (f"{checks_with_findings} of {len(CHECKS)}", "checks found something"),
        (f"{len(result.problems):,}", "files or rows give no sample"),
    )
    cells = "".join(
        f"<div class=tile><b>{n}</b><span class=soft>{t}</span></div>" for n, t in tiles
    )
    return f"<div class=tiles>{cells}</div>"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def _overview(scores: dict[str, Array]) -> str:
    """One row per check that applied, those with findings first; the others in a line."""
    applied = [check for check in CHECKS if len(scores.get(check.name, ()))]
    counts = {c.name: _findings(c, scores[c.name]) for c in applied}
    applied.sort(key=lambda check: -counts[check.name])
    rows = "".join(_overview_row(c, scores[c.name], counts[c.name]) for c in applied)
    absent = ", ".join(escape(check.title.lower()) for check in CHECKS if check.name not in scores)
    none = f"<p class=none>Nothing to check here for: {absent}.</p>" if absent else ""
    return (
        "<div class=panel><table><thead><tr><th>Check<th class=n>Findings<th class=n>Scored"
        "<th class=wide>Scores and limit<th class='n wide'>Median<th class='n wide'>Worst"
        "<th class='n wide'>Limit<th class=wide>Unit"
        f"</tr></thead><tbody>{rows}</tbody></table>{none}</div>"
    )


def _overview_row(check: Check, scores: Array, count: int) -> str:
    name = escape(check.title)
    title = f"<a href='#{check.name}'>{name}</a>" if count else name
    numbers = "<td class=wide colspan=5>"
    if not check.is_flag:
        worst = float(scores.max() if check.higher_is_worse else scores.min())
        shown = "".join(
            f"<td class='n wide'>{number_text(value)}"
            for value in (float(np.median(scores)), worst, check.limit)
        )
        drawn = _histogram(check, scores) if check.limit > 0 else ""
        numbers = f"<td class=wide>{drawn}{shown}<td class='unit wide'>{escape(check.unit)}"
    bad = " bad" if count else ""
    return (
        f"<tr class={'loud' if count else 'quiet'}><td class=name>{title}"
        f"<td class='n{bad}'>{count:,}<td class=n>{len(scores):,}{numbers}</tr>"
    )


def _histogram(check: Check, scores: Array) -> str:
    """Counts on a root scale, so that a single finding is seen; the limit is a line."""
    width, height = _HISTOGRAM_WH
    usual = scores[scores < LARGEST_SCORE]
    top = max(1.6 * check.limit, float(np.percentile(usual, 99.5)) if len(usual) else 0.0, 1e-9)
    top = min(top, 4.0 * check.limit) if check.limit > 0 else top
    counts, edges = np.histogram(np.clip(scores, 0.0, top), bins=_BINS, range=(0.0, top))
    tall = np.sqrt(counts / max(counts.max(), 1)) * height
    bars = "".join(
        f"<rect x={i * width / _BINS:.1f} y={height - h:.1f} width={width / _BINS - 1:.1f} "
        f"height={h:.1f} fill=var({_bar_colour(check, edges[i], edges[i + 1])}) />"
        for i, h in enumerate(tall)
        if h > 0
    )
    x = check.limit / top * width
    line = f"<path d='M{x:.1f} 0V{height}' stroke=var(--bad) stroke-dasharray='2 2' />"
    return (
        f"<svg width={width} height={height} role=img aria-label='Distribution of the scores'>"
        f"{bars}{line}</svg>"
    )


def _bar_colour(check: Check, low: float, high: float) -> str:
    is_bad = low >= check.limit if check.higher_is_worse else high <= check.limit
    return "--bar" if is_bad else "--hist"


def _legend() -> str:
    """Once for all pictures."""
    return (
        f"<div class=legend>{legend_html()}<span>White: labelled landmarks. Orange: labelled box. "
        "Pink: landmarks projected from 3D. Blue: the label's mesh.</span></div>"
    )


def _section(result: CheckResult, check: Check) -> str:
    worst = result.worst(check.name)
    cards = "".join(_card(result, sample, check) for sample in _varied(worst)[:SHOWN_SAMPLES])
    left = len(worst) - SHOWN_SAMPLES
    more = (
        f"<p class='more soft'>{left:,} more: the rows of samples.parquet whose findings have "
        f"<span class=mono>{check.name}</span>.</p>"
        if left > 0
        else ""
    )
    count = _count(len(worst), "sample")
    return (
        f"<section id={check.name}><div class=head><h2>{escape(check.title)}</h2>"
        f"<span class=chip>{count}</span></div><p class=meaning>{escape(check.meaning)}</p>"
        f"<div class=grid>{cards}</div>{more}</section>"
    )


def _varied(worst: Sequence[CheckedSample]) -> list[CheckedSample]:
    """One sample of each person or photo first: eight frames of one person say little."""
    seen: set[str] = set()
    first = [s for s in worst if not (s.group in seen or seen.add(s.group))]
    kept = {sample.key for sample in first}
    return first + [sample for sample in worst if sample.key not in kept]


def _card(result: CheckResult, sample: CheckedSample, check: Check) -> str:
    partner = (sample.partners or {}).get(check.name)
    keys = [sample.key] if partner is None else [sample.key, partner]
    pictures = [thumbnail_jpeg(result.dataset, key, check.name) for key in keys]
    if not any(pictures):
        pictures = pictures[:1]
    names = ("this sample", "compared with")
    views = "".join(
        _view(jpeg, names[i] if len(pictures) > 1 else "") for i, jpeg in enumerate(pictures)
    )
    has_picture = " has-picture" if any(pictures) else ""
    facts = [
        _score(check, sample.scores[check.name]),
        f"<span class=mono>{escape(sample.key)}</span>",
    ]
    if partner is not None:
        facts.append(f"<span class=soft>with <span class=mono>{escape(partner)}</span></span>")
    if sample.reason:
        facts.append(f"<span class=soft>{escape(sample.reason)}</span>")
    return (
        f"<article class='finding{' two' if len(pictures) > 1 else ''}'>"
        f"<div class='views{has_picture}'>{views}</div>"
        f"<div class=facts>{''.join(facts)}</div></article>"
    )


def _score(check: Check, score: float) -> str:
    if check.is_flag:
        return ""
    unit = f" <span class=soft>{escape(check.unit)}</span>" if score < LARGEST_SCORE else ""
    return f"<div><b>{number_text(score)}</b>{unit}</div>"


def _view(jpeg: bytes | None, caption: str) -> str:
    words = f"<figcaption>{caption}</figcaption>" if caption else ""
    if jpeg is None:
        return f"<figure><div class=blank>no picture to show</div>{words}</figure>"
    data = base64.b64encode(jpeg).decode("ascii")
    return f"<figure><img alt='' src='data:image/jpeg;base64,{data}'>{words}</figure>"


def _problems(problems: Sequence[Problem]) -> str:
    """Files and rows that give no sample, as the listing reports them."""
    if not problems:
        return ""
    reasons = Counter(problem.reason for problem in problems)
    common = ""
    if len(problems) > SHOWN_PROBLEMS:
        lines = (f"{escape(reason)} ({count:,})" for reason, count in reasons.most_common(8))
        common = _list(lines)
    rows = "".join(
        f"<tr><td class=mono>{escape(problem.file)}<td>{escape(problem.reason)}</tr>"
        for problem in problems[:SHOWN_PROBLEMS]
    )
    left = len(problems) - SHOWN_PROBLEMS
    more = f"<p class=none>{left:,} more are not shown.</p>" if left > 0 else ""
    return (
        "<section><div class=head><h2>Files that give no sample</h2>"
        f"<span class=chip>{len(problems):,}</span></div>{common}<div class=panel><table><thead>"
        f"<tr><th>File<th>Reason</tr></thead><tbody>{rows}</tbody></table>{more}</div></section>"
    )


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    lines = _list(escape(note) for note in notes)
    return f"<section><div class=head><h2>Worth knowing</h2></div>{lines}</section>"


def _list(lines: Iterable[str]) -> str:
    return f"<ul class=notes>{''.join(f'<li>{line}</li>' for line in lines)}</ul>"
