"""What a model answers on the samples of an index, stored beside it, one Parquet file per model."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float

from viewer.index.schema import (
    PREDICTION_COLUMNS,
    ROTATION_COLUMNS,
    TRANSLATION_COLUMNS,
    AnnotationIndexError,
)

Array = np.ndarray

PREDICTIONS_FOLDER = "predictions"
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}")
_NUMBERS = (*ROTATION_COLUMNS, *TRANSLATION_COLUMNS, *PREDICTION_COLUMNS)
PREDICTION_SCHEMA = pa.schema([("key", pa.string()), *((name, pa.float64()) for name in _NUMBERS)])


class PredictionError(AnnotationIndexError):
    """Stored results of a model cannot be used; the message says why."""


@dataclass(frozen=True)
class Prediction:
    """A model's answer for one sample. geodesic_deg, t_error_mm: from the label, where it has such.

    R_cam_from_head: None where the model found no head.
    """

    key: str
    R_cam_from_head: Float[Array, "3 3"] | None
    t_cam_from_head_mm: Float[Array, "3"] | None = None
    geodesic_deg: float | None = None
    t_error_mm: float | None = None


def predictions_path(folder: Path, model: str) -> Path:
    """Raises: PredictionError for a name that could be a path."""
    if not _MODEL_NAME.fullmatch(model):
        raise PredictionError(f"{model!r:.60} is no name of a model.")
    return folder / PREDICTIONS_FOLDER / f"{model}.parquet"


def has_predictions(folder: Path, model: str) -> bool:
    return predictions_path(folder, model).is_file()


def write_predictions(folder: Path, model: str, rows: Iterable[Prediction]) -> int:
    """Add to what is stored; a sample's newest answer counts. Returns how many are stored now.

    Several processes may write at once. Raises: PredictionError.
    """
    path = predictions_path(folder, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    newest = {row.key: _row(row) for row in rows}
    with _locked(path.with_suffix(".lock")):
        stored = _read(path, list(PREDICTION_SCHEMA.names)) if path.is_file() else None
        new = pa.Table.from_pylist(list(newest.values()), PREDICTION_SCHEMA)
        if stored is not None:
            known = pc.is_in(stored["key"], value_set=new["key"].combine_chunks())
            new = pa.concat_tables([stored.filter(pc.invert(known)), new])
        partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
        pq.write_table(new.sort_by("key"), partial, compression="zstd")
        partial.replace(path)
        return new.num_rows


def read_predictions(
    folder: Path, model: str, keys: Collection[str] | None = None
) -> dict[str, Prediction]:
    """By key; keys: None: all of them. Nothing where nothing is stored. Raises: PredictionError."""
    path = predictions_path(folder, model)
    if not path.is_file():
        return {}
    table = _read(path, list(PREDICTION_SCHEMA.names))
    if keys is not None:
        table = table.filter(pc.is_in(table["key"], value_set=pa.array(list(keys), pa.string())))
    return {row["key"]: _prediction(row) for row in table.to_pylist()}


@dataclass(frozen=True)
class ModelRotations:
    """What a model said on the samples in which it found a head. R_of: R_cam_from_head by key.

    model: "" where none was run. note: a sentence on what the labels are compared with, or "".
    """

    model: str
    R_of: Mapping[str, Float[Array, "3 3"]]
    note: str = ""


def model_rotations(folder: Path, model: str) -> ModelRotations:
    """Of one model. Raises: PredictionError."""
    table = _read(predictions_path(folder, model), ["key", *ROTATION_COLUMNS])
    numbers = np.stack([table[name].to_numpy() for name in ROTATION_COLUMNS], -1)
    known = np.flatnonzero(np.isfinite(numbers).all(1))
    R, keys = numbers.reshape(-1, 3, 3), table["key"].to_pylist()
    note = f"The labels are compared with what {model} says on {len(known):,} samples."
    return ModelRotations(model, {keys[i]: R[i] for i in known}, note)


def latest_rotations(folder: Path) -> ModelRotations:
    """Of the model that was run last; empty where none was. Raises: PredictionError."""
    paths = (folder / PREDICTIONS_FOLDER).glob("*.parquet")
    newest = max(paths, key=lambda path: path.stat().st_mtime_ns, default=None)
    return ModelRotations("", {}) if newest is None else model_rotations(folder, newest.stem)


def predicted_keys(folder: Path, model: str) -> set[str]:
    """Samples that have an answer, one without a head included. Raises: PredictionError."""
    path = predictions_path(folder, model)
    return set(_read(path, ["key"])["key"].to_pylist()) if path.is_file() else set()


def read_error_columns(folder: Path, model: str) -> pa.Table:
    """key, geodesic_deg, t_error_mm. Raises: PredictionError."""
    return _read(predictions_path(folder, model), ["key", *PREDICTION_COLUMNS])


def _read(path: Path, columns: list[str]) -> pa.Table:
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(PREDICTION_SCHEMA):
                raise PredictionError(f"{path.name} has other columns: run the model again.")
            return file.read(columns=columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise PredictionError(f"{path.name} cannot be read: {error}.") from error


def _row(prediction: Prediction) -> dict[str, object]:
    row: dict[str, object] = {"key": prediction.key}
    for names, values in (
        (ROTATION_COLUMNS, prediction.R_cam_from_head),
        (TRANSLATION_COLUMNS, prediction.t_cam_from_head_mm),
        (PREDICTION_COLUMNS, (prediction.geodesic_deg, prediction.t_error_mm)),
    ):
        if values is not None:
            flat = [None if v is None else float(v) for v in np.ravel(np.array(values, object))]
            row |= {
                name: value
                for name, value in zip(names, flat, strict=True)
                if value is not None and np.isfinite(value)
            }
    return row


def _prediction(row: dict[str, object]) -> Prediction:
    R = [row[name] for name in ROTATION_COLUMNS]
    t = [row[name] for name in TRANSLATION_COLUMNS]
    return Prediction(
        row["key"],
        None if None in R else np.array(R, np.float64).reshape(3, 3),
        None if None in t else np.array(t, np.float64),
        row["geodesic_deg"],
        row["t_error_mm"],
    )


@contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    """Waits until no other process holds it; let go of by the system when a process dies."""
    with path.open("ab") as file:
        flock(file, LOCK_EX)
        yield file
