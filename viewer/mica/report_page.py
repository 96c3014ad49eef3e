"""The page of a preparation: no scripts, no outside files, every name escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from viewer.index.check_page_style import STYLE
from viewer.mica.actor_rows import ActorRow
from viewer.mica.prepare import Preparation
from viewer.mica.requests import requests_for, requests_html

SHOWN_PICTURES = 300
_COLUMNS = (
    ("listed", "Listed"),
    ("found", "Found"),
    ("missing", "Missing"),
    ("ready", "Ready"),
    ("no_face", "No face"),
    ("several_faces", "Several faces"),
    ("unreadable", "Unreadable"),
    ("clashes", "Same stem"),
    ("same_name", "Name found twice"),
    ("kept", "Files kept"),
    ("not_yet", "Not yet"),
)
_ALWAYS = ("listed", "found", "missing", "ready", "no_face", "several_faces")
_BAD = ("missing", "no_face", "unreadable", "clashes", "not_yet")
_MORE_STYLE = "table.actors td,table.actors th{padding:6px 12px}section{margin-top:34px}"
_HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1">'
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "style-src 'unsafe-inline'\">"
)


def build_page(done: Preparation, rows: Sequence[ActorRow]) -> str:
    """The whole page."""
    title = f"{done.adapter.subset.title}: MICA training set"
    sums = {name: sum(getattr(row, name) for row in rows) for name, _ in _COLUMNS}
    parts = [
        f"{_HEAD}<title>{escape(title)}</title><style>{STYLE}{_MORE_STYLE}</style></head>"
        "<body><main>",
        _header(done, rows, sums),
        _tiles(rows, sums),
        _method(done),
        _actors(rows, sums),
        _pictures(done),
        _fits(done),
        _requests(done, rows, sums),
        "<footer class=soft>actors.parquet and pictures.parquet beside this page have every actor "
        "and every picture. The licences of the original data set and of MICA hold for all of "
        "it.</footer></main></body></html>",
    ]
    return "\n".join(part for part in parts if part)


def _header(done: Preparation, rows: Sequence[ActorRow], sums: dict[str, int]) -> str:
    without = sum(not row.parameters for row in rows)
    faults = [
        f"{sums[name]:,} {words}"
        for name, words in (
            ("missing", "pictures are missing"),
            ("no_face", "have no face"),
            ("unreadable", "cannot be read"),
            ("clashes", "were left out for their name"),
        )
        if sums[name]
    ]
    faults += [f"{without:,} actors have no FLAME parameters"] if without else []
    if not done.is_complete:
        faults.insert(0, f"Stopped with {sums['not_yet']:,} pictures to go; run it again to go on")
    kind = "bad" if faults else "ok"
    verdict = ", ".join(faults) or f"All {sums['ready']:,} pictures are ready"
    return (
        f"<header><h1>{escape(done.adapter.subset.title)}</h1><div class=soft>Prepared for MICA's "
        f"training in <span class=mono>{escape(str(done.inputs.folder))}</span></div>"
        f"<div class='verdict {kind}'>{escape(verdict)}.</div></header>"
    )


def _tiles(rows: Sequence[ActorRow], sums: dict[str, int]) -> str:
    usable = sum(bool(row.ready and row.parameters) for row in rows)
    tiles = (
        (f"{usable:,} of {len(rows):,}", "actors can be trained with"),
        (f"{sums['ready']:,}", f"pictures ready of {sums['listed']:,} listed"),
        (f"{sums['missing']:,}", "missing in the original data set"),
        (f"{sums['no_face']:,}", "without a face"),
        (f"{sums['several_faces']:,}", "with several faces"),
    )
    cells = "".join(
        f"<div class=tile><b>{n}</b><span class=soft>{t}</span></div>" for n, t in tiles
    )
    return f"<div class=tiles>{cells}</div>"


def _method(done: Preparation) -> str:
    inputs, score = done.inputs, done.adapter.min_score
    drawn = done.adapter.sample_count
    how = f"{drawn} drawn per actor with seed 42" if drawn else "all that the data set has"
    listed = "pictures" if inputs.image_list is None else f"listed in {inputs.image_list.name}"
    facts = (
        f"Original pictures: {inputs.source}",
        f"Which ones: {listed}" + (f", {how}." if inputs.image_list is None else "."),
        f"Detector and limit: {done.settings}. MICA used insightface's SCRFD (antelopev2) with "
        f"{score:g} on that detector's own scale; scores of the two are not the same measure.",
        "Of several faces the one whose box is centred nearest to the middle of the picture was "
        "taken.",
        "Where several files of an actor have the listed name, the first one by path was taken.",
        "Crops and arrays: five points onto ArcFace's template by a similarity; 112 px float32 "
        "RGB (x - 127.5) / 127.5, and 224 px.",
    )
    items = "".join(f"<li>{escape(fact)}" for fact in facts)
    return f"<section><h2>How it was made</h2><ul class=notes>{items}</ul></section>"


def _actors(rows: Sequence[ActorRow], sums: dict[str, int]) -> str:
    columns = [(name, title) for name, title in _COLUMNS if name in _ALWAYS or sums[name]]
    head = "".join(f"<th class=n>{title}" for _, title in columns)
    body = "".join(_actor(row, [name for name, _ in columns]) for row in rows)
    total = "".join(f"<td class=n><b>{sums[name]:,}</b>" for name, _ in columns)
    return (
        "<section><h2>Actors</h2><div class=panel><table class=actors><thead><tr><th>Actor"
        f"{head}<th>FLAME parameters</tr></thead><tbody><tr><td><b>All</b>{total}<td></tr>"
        f"{body}</tbody></table></div></section>"
    )


def _actor(row: ActorRow, names: Sequence[str]) -> str:
    counts = {name: getattr(row, name) for name in names}
    kinds = {name: "bad" if name in _BAD else "" for name in names}
    cells = "".join(
        f"<td class='n {kinds[name] if count else 'soft'}'>{count:,}"
        for name, count in counts.items()
    )
    fit = f"<span class=mono>{escape(row.parameters)}</span>"
    if not row.parameters:
        fit = "<span class=chip>missing</span>"
    return f"<tr><td class=mono>{escape(row.actor)}{cells}<td>{fit}</tr>"


def _pictures(done: Preparation) -> str:
    left_out = [result for result in done.results if result.state not in ("ready", "not yet")]
    if not left_out:
        return ""
    body = "".join(
        f"<tr><td class=mono>{escape(result.actor)}/{escape(result.name)}<td>"
        f"<span class='chip plain'>{result.state}</span><td class=soft>{escape(result.reason)}</tr>"
        for result in left_out[:SHOWN_PICTURES]
    )
    more = len(left_out) - SHOWN_PICTURES
    rest = f"<p class=none>{more:,} more are in pictures.parquet.</p>" if more > 0 else ""
    return (
        f"<section><h2>Pictures left out</h2><div class=panel><table class=actors><thead><tr>"
        f"<th>Picture<th>State<th>Why</tr></thead><tbody>{body}</tbody></table>{rest}</div></section>"
    )


def _fits(done: Preparation) -> str:
    problems = done.fits.problems
    if not problems:
        return ""
    items = "".join(
        f"<li><span class=mono>{escape(p.file)}</span>: {escape(p.reason)}"
        for p in problems[:SHOWN_PICTURES]
    )
    return f"<section><h2>MICA's files</h2><ul class=notes>{items}</ul></section>"


def _requests(done: Preparation, rows: Sequence[ActorRow], sums: dict[str, int]) -> str:
    """Where to ask, if something is missing."""
    if not sums["missing"] and all(row.parameters for row in rows):
        return ""
    table = requests_html(requests_for([done.inputs.subset]))
    return f"<section><h2>What is missing, and where to request it</h2>{table}</section>"
