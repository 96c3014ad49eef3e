"""The report for people: Markdown, and one page of HTML without scripts or outside files."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from demo_app.evaluation.page_style import STYLE
from demo_app.evaluation.protocol_report import (
    BINS_FILE,
    COLUMNS,
    IMITATION,
    WORST_FOLDER,
    ProtocolResult,
    TableRow,
    cell,
    is_imitation,
    judged,
    notes,
    program,
    shown_columns,
    table_rows,
)
from demo_app.evaluation.published import SOURCES
from demo_app.evaluation.summary import Lost, Worst
from viewer.render.overlay import legend_html

Pictures = Sequence[tuple[Worst, bytes]]

_HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1">'
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "img-src data:; style-src 'unsafe-inline'\">"
)


def facts(result: ProtocolResult) -> dict[str, str]:
    """What was judged with what."""
    summary, subset = result.summary, result.subset
    published = result.protocol.samples
    of_it = "" if published is None else f" (the protocol has {published:,})"
    lost = summary.samples - judged(result)
    return {
        "Model": f"{result.model.shown}, {result.model.path.name}",
        "Weights, SHA-256": result.model.sha256,
        "Data": str(result.root),
        "Data, SHA-256": summary.data_sha256,
        "Samples": f"{judged(result):,} judged, {lost:,} lost, of {len(subset.keys):,} "
        f"here{of_it}; {len(subset.dropped):,} here are not in the protocol",
        "Hash of this result": result.result_hash,
        "Wall time": _duration(result.seconds),
        "Program": ", ".join(f"{name} {text}" for name, text in program(result).items()),
    }


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def below_table(result: ProtocolResult) -> str:
    """The interval of the geodesic error, and what the sources are."""
    interval, rows = result.summary.interval_deg, table_rows(result)
    said = []
    if interval is not None:
        said.append(f"GE, 95 % interval of the mean: {interval[0]:.2f} to {interval[1]:.2f}°.")
    if not all(row.is_own for row in rows):
        said.append("Published figures are their authors' own.")
    if any(row.source.startswith("TRG") for row in rows):
        said.append(SOURCES)
    return " ".join(said)


def markdown(result: ProtocolResult, pictures: Pictures) -> str:
    """Pictures are files beside it."""
    rows = table_rows(result)
    columns = shown_columns(rows)
    heads = ["", *(COLUMNS[name][0] for name in columns), "Source"]
    lines = [f"# {result.protocol.title}: {result.model.shown}", "", result.protocol.meaning, ""]
    lines += [f"- {name}: {text}" for name, text in facts(result).items()]
    lines += ["", "## Figures", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        method = f"**{row.method}**" if row.is_own else row.method
        cells = [method, *(cell(name, row.figures.get(name)) for name in columns), row.source]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", below_table(result), "", "## Choices", ""]
    lines += [f"- {name}: {text}" for name, text in result.choices.items()]
    lines += ["", "## Error by yaw and pitch", "", f"![bins]({BINS_FILE})", ""]
    lines += ["## Lost samples", "", *(_lost_line(one) for one in result.summary.lost)]
    lines += [] if result.summary.lost else ["None."]
    lines += ["", "## Largest errors", ""]
    for number, (one, _) in enumerate(pictures, start=1):
        name = f"{one.key}, {one.ge_deg:.2f}°"
        lines.append(f"![{name}]({WORST_FOLDER}/{number:02d}.jpg) {name}  ")
    lines += ["", "## Notes", "", *(f"- {note}" for note in notes(result))]
    return "\n".join(lines) + "\n"


def _lost_line(one: Lost) -> str:
    more = "" if one.samples <= len(one.keys) else " and more, see samples.parquet"
    return f"- {one.samples:,}: {one.reason} {', '.join(one.keys)}{more}"


def build_page(result: ProtocolResult, svg: str, pictures: Pictures) -> str:
    """The whole page."""
    title = f"{result.protocol.title}: {result.model.shown}"
    sections = [
        f"{_HEAD}<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>",
        f"<header><h1>{escape(result.protocol.title)}</h1>"
        f"<p class=model>{escape(result.model.shown)}</p>"
        f"<p class=soft>{escape(result.protocol.meaning)}</p>{_imitation(result)}</header>",
        _tiles(result),
        _figures(result),
        f"<section><h2>Error by yaw and pitch</h2><div class='panel pad'>{svg}</div>"
        "<p class=soft>Angles of the label, in bins of 30° around the number. Bars: mean; "
        "whiskers: 95 % interval, where five people or photos or more are in the bin."
        "</p></section>",
        _worst(pictures),
        _definitions("Choices", result.choices),
        _lost(result.summary.lost),
        _definitions("Files and program", facts(result)),
        _notes(notes(result)),
        "<footer class=soft>samples.parquet beside this page has every sample with its true and "
        "its predicted pose; report.json has these figures.</footer></main></body></html>",
    ]
    return "\n".join(part for part in sections if part) + "\n"


def _imitation(result: ProtocolResult) -> str:
    return f"<p class=warning>{escape(IMITATION)}</p>" if is_imitation(result) else ""


def _tiles(result: ProtocolResult) -> str:
    own = table_rows(result)[0].figures
    names = ("ge_deg", "mae_r_deg", "mae_t_mm", "add_mm", "dense_mean_mm")
    known = [name for name in names if own.get(name) is not None]
    tiles = [(cell(name, own[name]), COLUMNS[name][0]) for name in known]
    lost = result.summary.samples - judged(result)
    tiles.append((f"{judged(result):,}", "samples judged" + (f", {lost:,} lost" if lost else "")))
    cells = "".join(
        f"<div class=tile><b>{a}</b><span class=soft>{b}</span></div>" for a, b in tiles
    )
    return f"<div class=tiles>{cells}</div>"


def _figures(result: ProtocolResult) -> str:
    rows = table_rows(result)
    columns = shown_columns(rows)
    heads = "".join(f"<th class=n>{COLUMNS[name][0]}" for name in columns)
    body = "".join(_table_row(row, columns) for row in rows)
    return (
        "<section><h2>Figures</h2><div class=panel><table><thead><tr><th>Method"
        f"{heads}<th>Source</tr></thead><tbody>{body}</tbody></table></div>"
        f"<p class=soft>{escape(below_table(result))}</p></section>"
    )


def _table_row(row: TableRow, columns: Sequence[str]) -> str:
    cells = "".join(f"<td class=n>{cell(name, row.figures.get(name))}" for name in columns)
    kind = " class=own" if row.is_own else ""
    return (
        f"<tr{kind}><td class=name>{escape(row.method)}{cells}"
        f"<td class=source>{escape(row.source)}</tr>"
    )


def _worst(pictures: Pictures) -> str:
    if not pictures:
        return ""
    cards = "".join(
        "<figure class=card><img alt='' width=320 height=320 src='data:image/jpeg;base64,"
        f"{base64.b64encode(encoded).decode()}'><figcaption><b>{one.ge_deg:.2f}°</b> "
        f"<span class=mono>{escape(one.key)}</span></figcaption></figure>"
        for one, encoded in pictures
    )
    return (
        "<section><h2>Largest errors</h2><div class=legend>"
        f"{legend_html()}<span>Solid: label. Dashed and pale: prediction.</span></div>"
        f"<div class=grid>{cards}</div></section>"
    )


def _definitions(title: str, values: dict[str, str]) -> str:
    rows = "".join(
        f"<dt>{escape(name)}<dd{' class=mono' if 'SHA-256' in name or 'Hash' in name else ''}>"
        f"{escape(text)}"
        for name, text in values.items()
    )
    return f"<section><h2>{escape(title)}</h2><dl class='panel pad'>{rows}</dl></section>"


def _lost(lost: Sequence[Lost]) -> str:
    if not lost:
        return "<section><h2>Lost samples</h2><p class=soft>None.</p></section>"
    rows = "".join(
        f"<tr><td class=n>{one.samples:,}<td>{escape(one.reason)}<td class=mono>"
        f"{escape(', '.join(one.keys))}{' …' if one.samples > len(one.keys) else ''}</tr>"
        for one in lost
    )
    return (
        "<section><h2>Lost samples</h2><div class=panel><table><thead><tr><th class=n>Samples"
        f"<th>Why<th>Which</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _notes(said: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in said)
    return f"<section><h2>Notes</h2><ul class=notes>{items}</ul></section>" if said else ""
