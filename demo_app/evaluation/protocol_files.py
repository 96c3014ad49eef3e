"""A protocol's result as report.json, report.md and report.html with its pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from demo_app.evaluation.bin_picture import bin_picture_svg
from demo_app.evaluation.protocol_faces import FaceSource
from demo_app.evaluation.protocol_page import build_page, markdown
from demo_app.evaluation.protocol_report import (
    BINS_FILE,
    WORST_FOLDER,
    ProtocolResult,
    report_content,
)
from demo_app.evaluation.report import write_text
from demo_app.evaluation.summary import Worst
from demo_app.evaluation.worst_pictures import worst_jpegs


def write_protocol_report(
    result: ProtocolResult, source: FaceSource, table: pa.Table, out: Path
) -> None:
    """Pictures of the worst samples lie in worst/. report.json comes last."""
    pictures = worst_jpegs(source, table, result.summary.worst)
    svg = bin_picture_svg(result.summary)
    _write_pictures(pictures, out / WORST_FOLDER)
    write_text(out / BINS_FILE, svg)
    write_text(out / "report.md", markdown(result, pictures))
    write_text(out / "report.html", build_page(result, svg, pictures))
    write_text(out / "report.json", json.dumps(report_content(result), indent=1) + "\n")


def _write_pictures(pictures: Sequence[tuple[Worst, bytes]], folder: Path) -> None:
    """Instead of those of a run before."""
    for path in folder.glob("[0-9][0-9].jpg"):
        path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    for number, (_, encoded) in enumerate(pictures, start=1):
        (folder / f"{number:02d}.jpg").write_bytes(encoded)
