"""What a preparation found, by actor and by picture: a page to read and two tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from viewer.mica.actor_rows import ActorRow, actor_rows
from viewer.mica.picture import PictureResult
from viewer.mica.prepare import RUN_FOLDER, Preparation
from viewer.mica.report_page import build_page
from viewer.mica.wanted import WantedPicture

PAGE_FILE, ACTORS_FILE, PICTURES_FILE = "report.html", "actors.parquet", "pictures.parquet"


@dataclass(frozen=True)
class ReportFiles:
    """page: for people. actors, pictures: for programs, a row each."""

    page: Path
    actors: Path
    pictures: Path


_TYPES = {"str": pa.string(), "int": pa.int64()}
_ACTOR_SCHEMA = pa.schema([pa.field(f.name, _TYPES[f.type]) for f in fields(ActorRow)])
_PICTURE_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("subset", "actor", "name", "source")),
        *(pa.field(name, pa.string()) for name in ("state", "reason")),
        pa.field("faces", pa.int64()),
        pa.field("score", pa.float64()),
        pa.field("same_name", pa.int64()),
        pa.field("kept", pa.list_(pa.string())),
    ]
)


def write_report(done: Preparation) -> ReportFiles:
    """Into `preparation/` of the subset; each file appears when it is whole. Raises: OSError."""
    folder = done.inputs.folder / RUN_FOLDER
    files = ReportFiles(folder / PAGE_FILE, folder / ACTORS_FILE, folder / PICTURES_FILE)
    rows = actor_rows(done)
    _write_table([asdict(row) for row in rows], _ACTOR_SCHEMA, files.actors)
    pairs = zip(done.wanted.pictures, done.results, strict=True)
    _write_table(
        [_picture_row(done.inputs.subset, *pair) for pair in pairs], _PICTURE_SCHEMA, files.pictures
    )
    partial = files.page.with_name(f"{PAGE_FILE}.partial")
    partial.write_text(build_page(done, rows), encoding="utf-8", errors="backslashreplace")
    partial.replace(files.page)
    return files


def _picture_row(subset: str, wanted: WantedPicture, result: PictureResult) -> dict[str, object]:
    row = asdict(result)
    del row["signature"]
    return row | {"subset": subset, "same_name": wanted.same_name, "kept": list(result.kept)}


def _write_table(rows: Iterable[dict[str, object]], schema: pa.Schema, path: Path) -> None:
    clean = [{name: _clean(value) for name, value in row.items()} for row in rows]
    partial = path.with_name(f"{path.name}.partial")
    pq.write_table(pa.Table.from_pylist(clean, schema), partial, compression="zstd")
    partial.replace(path)


def _clean(value: object) -> object:
    """File names may hold bytes that are no text."""
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
