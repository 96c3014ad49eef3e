"""The columns of an index: one row per sample, in one Parquet file, ordered by key.

Empty text where the data set has no such name, NULL where it gives no such number. This module
imports neither torch nor cv2, so that a process that only asks stays small.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from viewer.index.check_table import CHECKS

VERSION = 1
"""Of the columns' meaning: rows of another version are read anew."""

INDEX_FILE = "index.parquet"
PROBLEMS_FILE = "problems.json"
FLAGS_FILE = "flags.sqlite"
ROWS_PREFIX = "rows-"
CHECK_PREFIX = "check_"
PREDICTION_COLUMNS = ("geodesic_deg", "t_error_mm")
"""Columns that `Index` adds, with these names, when it is asked about a model."""

Kind = Literal["text", "float", "integer", "truth", "names"]

ARROW_TYPES: dict[Kind, pa.DataType] = {
    "text": pa.string(),
    "float": pa.float64(),
    "integer": pa.int64(),
    "truth": pa.bool_(),
    "names": pa.list_(pa.string()),
}


@dataclass(frozen=True)
class Column:
    """One column. title: for the screen. is_filter_range: a range of it may be asked for."""

    name: str
    kind: Kind
    title: str
    unit: str = ""
    is_filter_range: bool = False

    @property
    def arrow_type(self) -> pa.DataType:
        return ARROW_TYPES[self.kind]

    @property
    def is_numeric(self) -> bool:
        return self.kind in ("float", "integer")


def _number(name: str, title: str, unit: str = "", kind: Kind = "float") -> Column:
    return Column(name, kind, title, unit, is_filter_range=True)


ROTATION_COLUMNS = tuple(f"r{row}{column}" for row in range(3) for column in range(3))
"""R_cam_from_head, row by row."""

TRANSLATION_COLUMNS = ("tx_mm", "ty_mm", "tz_mm")
BOX_COLUMNS = ("box_left_px", "box_top_px", "box_right_px", "box_bottom_px")
CAMERA_COLUMNS = ("fx_px", "fy_px", "cx_px", "cy_px")
CATEGORY_COLUMNS = ("split", "subject", "sequence")

COLUMNS: tuple[Column, ...] = (
    Column("key", "text", "Sample"),
    Column("grp", "text", "Person or photo"),
    Column("split", "text", "Split"),
    Column("subject", "text", "Subject"),
    Column("sequence", "text", "Sequence"),
    _number("frame", "Frame", kind="integer"),
    Column("image", "text", "Picture"),
    _number("width_px", "Picture width", "px", "integer"),
    _number("height_px", "Picture height", "px", "integer"),
    *(_number(name, f"Box {name.split('_')[1]}", "px") for name in (*BOX_COLUMNS, "box_side_px")),
    *(_number(name, f"R {name[1]},{name[2]}") for name in ROTATION_COLUMNS),
    *(_number(name, f"{name[1]} of the head", "mm") for name in TRANSLATION_COLUMNS),
    *(_number(name, f"Camera {name[:2]}", "px") for name in CAMERA_COLUMNS),
    _number("yaw_deg", "Yaw", "deg"),
    _number("pitch_deg", "Pitch", "deg"),
    _number("roll_deg", "Roll", "deg"),
    _number("angle_deg", "Angle from frontal", "deg"),
    _number("distance_mm", "Distance", "mm"),
    Column("has_landmarks", "truth", "Has landmarks"),
    Column("has_mesh", "truth", "Has a mesh"),
    *(_number(CHECK_PREFIX + check.name, check.title, check.unit) for check in CHECKS),
    Column("findings", "names", "Findings"),
    Column("reason", "text", "Why it cannot be read"),
    Column("signature", "text", "Files' sizes and times"),
)
"""One row per sample; a sample that cannot be read has a reason, and its finding says so."""

COLUMN_BY_NAME: Mapping[str, Column] = {column.name: column for column in COLUMNS}

KEPT_FIELDS = (
    pa.field("picture_digest", pa.binary()),
    pa.field("picture_hash", pa.binary()),
    pa.field("landmarks_68_px", pa.binary()),
)
"""What the checks compare between samples: in the file only, for the next build."""

FILE_SCHEMA = pa.schema([*(pa.field(c.name, c.arrow_type) for c in COLUMNS), *KEPT_FIELDS])


class AnnotationIndexError(ValueError):
    """An index cannot be made or used; the message says why and what to do."""


class IndexMissingError(AnnotationIndexError):
    """There is no index in the folder, or none of this version."""


def require_columns(schema: pa.Schema) -> dict[str, str]:
    """What is written at the head of an index file. Raises: IndexMissingError."""
    said = {
        k.decode("utf-8", "replace"): v.decode("utf-8", "replace")
        for k, v in (schema.metadata or {}).items()
    }
    if said.get("version") != str(VERSION) or not schema.equals(FILE_SCHEMA):
        raise IndexMissingError("The index was made by another version: build it again.")
    return said


def index_folder(data_dir: Path, name: str, root: Path) -> Path:
    """Where the index, flags and thumbnails of a data set lie: never below its root."""
    where = hashlib.sha256(str(root.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    return data_dir / f"{name}-{where[:12]}"
