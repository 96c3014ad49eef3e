"""What a report says of a protocol's result: the table, the notes, the content for machines."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import torch

from demo_app.evaluation.model_file import ModelFile
from demo_app.evaluation.published import CAVEATS, PUBLISHED
from demo_app.evaluation.summary import Summary
from viewer.datasets.protocols import Protocol, Subset
from viewer.datasets.registry import SAMPLES_ROOT
from viewer.datasets.source import Problem

COLUMNS = {
    "samples": ("Samples", 0),
    "yaw_deg": ("Yaw °", 2),
    "pitch_deg": ("Pitch °", 2),
    "roll_deg": ("Roll °", 2),
    "mae_r_deg": ("MAE_r °", 2),
    "ge_deg": ("GE °", 2),
    "tx_mm": ("t_x mm", 2),
    "ty_mm": ("t_y mm", 2),
    "tz_mm": ("t_z mm", 2),
    "mae_t_mm": ("MAE_t mm", 2),
    "add_mm": ("ADD mm", 2),
    "dense_mean_mm": ("Dense mean mm", 2),
    "dense_median_mm": ("Dense median mm", 2),
}
"""Name of a figure -> its heading, decimals."""

BINS_FILE, WORST_FOLDER = "bins.svg", "worst"
SHOWN_PROBLEMS = 20

IMITATION = (
    "These are painted heads of this program in the data set's format, not the data set: no figure "
    "of this run compares with a published one."
)


@dataclass(frozen=True)
class ProtocolResult:
    """All that a report says. listing_*: of the data set's folder. count: a part was asked for."""

    protocol: Protocol
    model: ModelFile
    root: Path
    subset: Subset
    choices: dict[str, str]
    summary: Summary
    listing_problems: tuple[Problem, ...]
    listing_notes: tuple[str, ...]
    result_hash: str
    seconds: float
    device: str
    count: int | None


@dataclass(frozen=True)
class TableRow:
    """method: ours is_own; source: of a published figure."""

    method: str
    figures: dict[str, float | None]
    source: str
    is_own: bool


def report_content(result: ProtocolResult) -> dict[str, Any]:
    """For machines; `hash` is that of `choices`, weights, data, answers and figures."""
    summary, protocol = result.summary, result.protocol
    return {
        "protocol": protocol.name,
        "title": protocol.title,
        "meaning": protocol.meaning,
        "hash": result.result_hash,
        "is_whole_protocol": is_whole(result),
        "model": {
            "name": result.model.shown,
            "kind": result.model.name,
            "weights": result.model.path.name,
            "sha256": result.model.sha256,
        },
        "data": {"root": str(result.root), "sha256": summary.data_sha256},
        "choices": result.choices,
        "samples": {
            "of_the_protocol": protocol.samples,
            "here": len(result.subset.keys),
            "judged": judged(result),
            "lost": summary.samples - judged(result),
            "not_in_the_protocol": len(result.subset.dropped),
            "listed_but_not_here": len(result.subset.absent),
        },
        "table": [asdict(row) for row in table_rows(result)],
        "ge_interval_deg": summary.interval_deg,
        "bins": {
            "by_yaw": [asdict(b) for b in summary.by_yaw],
            "by_pitch": [asdict(b) for b in summary.by_pitch],
            "by_yaw_and_pitch": [asdict(b) for b in summary.by_both],
        },
        "worst": [asdict(one) for one in summary.worst],
        "lost": [asdict(one) for one in summary.lost],
        "notes": list(notes(result)),
        "program": program(result),
        "wall_time_s": round(result.seconds, 2),
    }


def judged(result: ProtocolResult) -> int:
    return next(iter(result.summary.figures.values())).samples


def is_whole(result: ProtocolResult) -> bool:
    """Whether every sample of the published protocol was judged."""
    return result.protocol.samples in (None, judged(result)) and result.count is None


def is_imitation(result: ProtocolResult) -> bool:
    """Whether the data are one of the program's sample sets in another data set's format."""
    own = result.root.resolve().is_relative_to(SAMPLES_ROOT)
    return own and result.protocol.dataset != "synthetic"


def table_rows(result: ProtocolResult) -> list[TableRow]:
    """Ours first, then the published ones."""
    whose = "this run" if is_whole(result) else "this run, not the whole protocol"
    if is_imitation(result):
        whose = "this run, on the program's own sample set"
    own = [
        TableRow(name, asdict(figures), whose, True)
        for name, figures in result.summary.figures.items()
    ]
    found = PUBLISHED.get(result.protocol.name, ())
    return own + [TableRow(p.method, dict(p.figures), p.source, False) for p in found]


def shown_columns(rows: Sequence[TableRow]) -> list[str]:
    """Those that any row has."""
    return [name for name in COLUMNS if any(row.figures.get(name) is not None for row in rows)]


def cell(name: str, value: float | None) -> str:
    return "" if value is None else f"{value:,.{COLUMNS[name][1]}f}"


def notes(result: ProtocolResult) -> tuple[str, ...]:
    """Sentences on what the figures are worth."""
    said = list(result.subset.notes)
    if is_imitation(result):
        said.insert(0, IMITATION)
    if result.count is not None:
        said.append(f"Only {result.summary.samples:,} samples were asked for (--count).")
    if result.protocol.name in CAVEATS:
        said.append(CAVEATS[result.protocol.name])
    if result.protocol.name not in PUBLISHED:
        said.append("No published figure compares with this protocol.")
    if result.summary.interval_deg is None:
        said.append("The samples are of too few people or photos for intervals.")
    said += result.listing_notes
    said += [f"{p.file}: {p.reason}" for p in result.listing_problems[:SHOWN_PROBLEMS]]
    more = len(result.listing_problems) - SHOWN_PROBLEMS
    return (*said, *([f"{more:,} more files give no sample."] if more > 0 else []))


def program(result: ProtocolResult) -> dict[str, str]:
    """Not in the hash."""
    return {
        "device": result.device,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "pyarrow": pa.__version__,
    }
