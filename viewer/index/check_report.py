"""Writes what the checks found: a page to read and a table with a row per sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models.geometry.rotations import geodesic_deg, ypr_300wlp_from_matrix
from viewer.datasets.source import AnnotatedDataset
from viewer.index.check_page import build_page
from viewer.index.check_table import CHECKS
from viewer.index.checks_run import CheckedSample, CheckResult
from viewer.index.checks_sample import rotation_error
from viewer.index.schema import CHECK_PREFIX, ROTATION_COLUMNS, TRANSLATION_COLUMNS

Array = np.ndarray

PAGE_FILE = "report.html"
TABLE_FILE = "samples.parquet"

_ROWS_AT_ONCE = 2_000
_LARGEST_ROTATION_ERROR = 0.1
"""Of a matrix whose angles are still worth giving."""

_ANGLE_COLUMNS = ("yaw_deg", "pitch_deg", "roll_deg", "angle_deg")
_TEXT_COLUMNS = ("split", "subject", "sequence", "image", "reason")

_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string()),
        pa.field("grp", pa.string()),
        *(pa.field(name, pa.string()) for name in _TEXT_COLUMNS),
        pa.field("frame", pa.int64()),
        pa.field("width_px", pa.int64()),
        pa.field("height_px", pa.int64()),
        *(pa.field(name, pa.float64()) for name in (*ROTATION_COLUMNS, *TRANSLATION_COLUMNS)),
        *(pa.field(name, pa.float64()) for name in (*_ANGLE_COLUMNS, "distance_mm")),
        *(pa.field(CHECK_PREFIX + c.name, pa.float64(), metadata={"unit": c.unit}) for c in CHECKS),
        pa.field("findings", pa.list_(pa.string())),
    ]
)


class ReportPlaceError(ValueError):
    """The report cannot be written there; the message says why."""


@dataclass(frozen=True)
class ReportFiles:
    """page: for people. table: for programs."""

    page: Path
    table: Path


def make_place(dataset: AnnotatedDataset, folder: Path) -> None:
    """Makes the folder of a report. Raises: ReportPlaceError below the data set's root, and where
    it cannot be made."""
    if folder.resolve().is_relative_to(dataset.root.resolve()):
        raise ReportPlaceError(
            f"{folder} lies in the data set's own folder, where nothing is written. Name another."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReportPlaceError(f"{folder} cannot be made: {error.strerror}.") from error


def write_report(result: CheckResult, folder: Path) -> ReportFiles:
    """report.html and samples.parquet in a folder, made if absent; each appears when it is whole.

    Raises: as `make_place`.
    """
    make_place(result.dataset, folder)
    files = ReportFiles(folder / PAGE_FILE, folder / TABLE_FILE)
    _write_table(result.samples, files.table)
    partial = files.page.with_name(files.page.name + ".partial")
    partial.write_text(build_page(result), encoding="utf-8", errors="backslashreplace")
    partial.replace(files.page)
    return files


def _write_table(samples: Sequence[CheckedSample], path: Path) -> None:
    partial = path.with_name(path.name + ".partial")
    with pq.ParquetWriter(partial, _SCHEMA, compression="zstd") as writer:
        for start in range(0, len(samples), _ROWS_AT_ONCE):
            rows = [_row(sample) for sample in samples[start : start + _ROWS_AT_ONCE]]
            writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
    partial.replace(path)


def _row(sample: CheckedSample) -> dict[str, object]:
    scores = sample.scores or {}
    width, height = sample.size_wh_px or (None, None)
    return (
        {
            "key": _clean(sample.key),
            "grp": _clean(sample.group),
            "frame": sample.frame,
            "width_px": width,
            "height_px": height,
            "findings": list(sample.findings),
        }
        | {name: _clean(getattr(sample, name)) for name in _TEXT_COLUMNS}
        | _pose_columns(sample)
        | {CHECK_PREFIX + name: score for name, score in scores.items()}
    )


def _pose_columns(sample: CheckedSample) -> dict[str, float]:
    """Only what the data set says; no angles of a matrix that is far from a rotation."""
    columns: dict[str, float] = {}
    R, t_mm = sample.R_cam_from_head, sample.t_cam_from_head_mm
    if R is not None and np.isfinite(R).all():
        columns |= dict(zip(ROTATION_COLUMNS, map(float, R.ravel()), strict=True))
        if rotation_error(R) < _LARGEST_ROTATION_ERROR:
            columns |= ypr_300wlp_from_matrix(R)._asdict()
            columns["angle_deg"] = float(geodesic_deg(np.eye(3), R))
    if t_mm is not None and np.isfinite(t_mm).all():
        columns |= dict(zip(TRANSLATION_COLUMNS, map(float, t_mm), strict=True))
        columns["distance_mm"] = float(np.linalg.norm(t_mm))
    return columns


def _clean(text: str) -> str:
    """File names may hold bytes that are no text."""
    return text.encode("utf-8", "backslashreplace").decode()
