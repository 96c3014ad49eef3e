"""Poses as rows, and rows as JSON, CSV and Parquet files that appear whole or not at all."""

from __future__ import annotations

import csv
import json
import math
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:  # records bring torch, which writing files does not need
    from demo_app.inference.records import FacePose, FrameResult

Row = dict[str, Any]
"""One face of one frame under `ROW_KEYS`: plain strings, ints, floats and nested lists."""

ROW_KEYS = (
    "source",
    "frame_index",
    "time_s",
    "track_id",
    "box_xyxy_px",
    "confidence",
    "yaw_deg",
    "pitch_deg",
    "roll_deg",
    "R_cam_from_head",
    "t_cam_from_head_mm",
    "K_image_from_cam",
    "uncertainty_deg",
    "rotation_covariance_cam_rad2",
    "t_sigma_mm",
    "model",
)

_MATRIX = pa.list_(pa.list_(pa.float64()))
PARQUET_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("frame_index", pa.int64()),
        ("time_s", pa.float64()),
        ("track_id", pa.int64()),
        ("box_xyxy_px", pa.list_(pa.float64())),
        ("confidence", pa.float64()),
        ("yaw_deg", pa.float64()),
        ("pitch_deg", pa.float64()),
        ("roll_deg", pa.float64()),
        ("R_cam_from_head", _MATRIX),
        ("t_cam_from_head_mm", pa.list_(pa.float64())),
        ("K_image_from_cam", _MATRIX),
        ("uncertainty_deg", pa.float64()),
        ("rotation_covariance_cam_rad2", _MATRIX),
        ("t_sigma_mm", pa.list_(pa.float64())),
        ("model", pa.string()),
    ],
    metadata={
        "frames": "camera: OpenCV (x right, y down, z forward); head: the same axes when frontal",
        "angles": "300W-LP: R = Rx(-pitch) Ry(yaw) Rz(roll)",
        "matrices": "lists of rows, acting on column vectors",
    },
)
PARQUET_ROWS_PER_GROUP = 4096
_UNKNOWN_CELLS = {"rotation_covariance_cam_rad2": 9, "t_sigma_mm": 3}
"""Cells of a table that stay empty where the network does not say."""


class ExportError(ValueError):
    """The poses cannot be written as they are; the message says which and why."""


def rows_from_result(result: FrameResult) -> list[Row]:
    """One row for each face of a frame, in the order of the frame; keys are exactly `ROW_KEYS`.

    The values are those of `FacePose.pose`, which is what is shown. Angles are 300W-LP's. An
    uncertainty that is not finite becomes None (not known); any other such number is an error.

    Raises: ExportError.
    """
    return [_row(result, face) for face in result.faces]


def _row(result: FrameResult, face: FacePose) -> Row:
    pose = face.pose
    angles = pose.ypr_deg
    uncertainty_deg = float(pose.uncertainty_deg)
    row: Row = {
        "source": _clean_text(result.source),
        "frame_index": int(result.frame_index),
        "time_s": float(result.time_s),
        "track_id": int(face.track_id),
        "box_xyxy_px": _plain(pose.box_xyxy_px, (4,)),
        "confidence": float(pose.confidence),
        "yaw_deg": float(angles.yaw_deg),
        "pitch_deg": float(angles.pitch_deg),
        "roll_deg": float(angles.roll_deg),
        "R_cam_from_head": _plain(pose.R_cam_from_head, (3, 3)),
        "t_cam_from_head_mm": _plain(pose.t_cam_from_head_mm, (3,)),
        "K_image_from_cam": _plain(pose.K_image_from_cam, (3, 3)),
        "uncertainty_deg": uncertainty_deg if math.isfinite(uncertainty_deg) else None,
        "rotation_covariance_cam_rad2": _known(pose.rotation_covariance_cam, (3, 3)),
        "t_sigma_mm": _known(pose.t_sigma_mm, (3,)),
        "model": _clean_text(pose.model),
    }
    for key, value in row.items():
        if isinstance(value, (float, list)) and not np.isfinite(value).all():
            raise ExportError(
                f"Face {row['track_id']} of frame {row['frame_index']} of {row['source']} has a "
                f"{key} that is not a finite number."
            )
    return row


def _plain(values: Any, shape: tuple[int, ...]) -> list[Any]:
    array = np.asarray(values, np.float64)
    if array.shape != shape:
        raise ExportError(f"Expected an array of shape {shape}, got {array.shape}.")
    return array.tolist()


def _known(values: Any, shape: tuple[int, ...]) -> list[Any] | None:
    return None if values is None else _plain(values, shape)


def _clean_text(text: str) -> str:
    """The text as valid Unicode: bytes of a file name that are no UTF-8 become question marks."""
    return text.encode("utf-8", "replace").decode()


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A binary file that takes the name `path` when the block ends well and vanishes when not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(rows: Iterable[Row], path: Path) -> None:
    """A list of rows, one a line. Rows are taken one by one: a generator of any length will do."""
    with atomic_file(path) as file:
        separator = b"[\n"
        for row in rows:
            file.write(separator + json_line(row))
            separator = b",\n"
        file.write(b"\n]\n" if separator == b",\n" else b"[]\n")


def json_line(row: Row) -> bytes:
    """A row as one line of JSON without its end. Raises: ValueError for NaN and infinity."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False).encode()


def csv_columns() -> list[str]:
    """Column names of the CSV file; a table has no place for matrices, so they are spelt out."""
    spelt_out = {
        "box_xyxy_px": [f"box_{corner}_px" for corner in ("x_min", "y_min", "x_max", "y_max")],
        "R_cam_from_head": [f"R_cam_from_head_{r}{c}" for r in range(3) for c in range(3)],
        "t_cam_from_head_mm": [f"t_cam_from_head_{axis}_mm" for axis in "xyz"],
        "K_image_from_cam": ["fx_px", "fy_px", "cx_px", "cy_px"],
        "rotation_covariance_cam_rad2": [
            f"rotation_covariance_cam_{r}{c}_rad2" for r in range(3) for c in range(3)
        ],
        "t_sigma_mm": [f"t_sigma_{axis}_mm" for axis in "xyz"],
    }
    return [column for key in ROW_KEYS for column in spelt_out.get(key, [key])]


def _csv_values(row: Row) -> list[Any]:
    values: list[Any] = []
    for key in ROW_KEYS:
        value = row[key]
        if key == "K_image_from_cam":
            values += [value[0][0], value[1][1], value[0][2], value[1][2]]
        elif value is None and key in _UNKNOWN_CELLS:
            values += [None] * _UNKNOWN_CELLS[key]
        elif isinstance(value, list):
            values += np.ravel(value).tolist()
        else:
            values.append(value)
    return values


def write_csv(rows: Iterable[Row], path: Path) -> None:
    """UTF-8, a header line, full float precision; an unknown uncertainty is an empty cell."""
    with atomic_file(path) as file:
        writer = csv.writer(_Utf8Lines(file), lineterminator="\n")
        writer.writerow(csv_columns())
        for row in rows:
            writer.writerow(_csv_values(row))


class _Utf8Lines:
    """What csv.writer needs of a text file, over a binary one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(text.encode())


def write_parquet(rows: Iterable[Row], path: Path) -> None:
    """One column a key, matrices as nested lists; written in groups, so memory stays small."""
    iterator = iter(rows)
    with (
        atomic_file(path) as file,
        pq.ParquetWriter(file, PARQUET_SCHEMA, compression="zstd") as writer,
    ):
        while group := list(islice(iterator, PARQUET_ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=PARQUET_SCHEMA))


WRITERS = {"json": write_json, "csv": write_csv, "parquet": write_parquet}
"""Format name, which is also the file's extension, to its writer."""


class RowLog:
    """Rows of a long job on disk, line by line: a cancelled or killed run keeps what it did.

    Every `append` reaches the operating system before it returns. resume: go on behind the last
    whole line of an existing log, cutting off a line that a killed run left torn; otherwise an
    existing log is emptied.
    """

    def __init__(self, path: Path, resume: bool = False) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab+")
        self._file.truncate(_end_of_last_line(self._file) if resume else 0)

    def append(self, rows: Iterable[Row]) -> None:
        """Add the rows of a frame; none is fine."""
        lines = b"".join(json_line(row) + b"\n" for row in rows)
        if lines:
            self._file.write(lines)
            self._file.flush()

    def close(self) -> None:
        """Close the file; the log stays readable and may be opened again."""
        self._file.close()

    def __enter__(self) -> RowLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rows(self) -> Iterator[Row]:
        """All rows on disk so far, one at a time."""
        return read_row_log(self.path)

    def write_all(self, stem: Path, formats: Iterable[str]) -> list[Path]:
        """`stem`.json, .csv and .parquet as asked for, streamed from the log. Returns their paths.

        Raises: ExportError for an unknown format.
        """
        wanted = list(formats)
        unknown = [name for name in wanted if name not in WRITERS]
        if unknown:
            raise ExportError(f"Unknown format {unknown[0]}: use {', '.join(WRITERS)}.")
        paths = [stem.with_name(f"{stem.name}.{name}") for name in wanted]
        for name, path in zip(wanted, paths, strict=True):
            WRITERS[name](self.rows(), path)
        return paths


def read_row_log(path: Path) -> Iterator[Row]:
    """Rows of a log, one at a time; a torn last line is left out. Raises: ExportError."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ExportError(f"Line {number} of {path.name} is damaged: {error}.") from error


def _end_of_last_line(file: BinaryIO) -> int:
    """Where the last whole line of the file ends, searched from the back."""
    end = file.seek(0, 2)
    while end > 0:
        start = max(0, end - 65536)
        file.seek(start)
        at = file.read(end - start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0
