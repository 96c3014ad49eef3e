"""The figures of a protocol from its rows: means, bins with intervals, what was lost, the hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float

from demo_app.evaluation.errors import (
    readable_ypr_deg,
    ypr_deg_from_matrices,
    ypr_errors_deg,
)
from demo_app.evaluation.faces import EvaluationError
from models.geometry.rotations import geodesic_deg, ypr_trg_metric_from_matrix
from models.training.metrics import (
    ProtocolMetrics,
    aligned_rotations,
    mean_interval,
    protocol_metrics,
    wrapped_deg,
)
from viewer.datasets.protocols import Protocol

Array = np.ndarray

SEED, DRAWS = 0, 1000
BIN_EDGES_DEG = (-105.0, -75.0, -45.0, -15.0, 15.0, 45.0, 75.0, 105.0)
"""Of yaw and of pitch; what lies beyond is in the last bin."""

WORST = 12
ROUNDED_TO = 6
"""Decimals of the answers that the hash sees."""


@dataclass(frozen=True)
class Bin:
    """Geodesic error of n samples. low_deg, high_deg: 95 % interval of the mean, or None."""

    yaw_from_deg: float | None
    pitch_from_deg: float | None
    samples: int
    ge_deg: float | None
    low_deg: float | None
    high_deg: float | None


@dataclass(frozen=True)
class Lost:
    """Samples without an answer, for one reason. keys: the first of them."""

    reason: str
    samples: int
    keys: tuple[str, ...]
    example: str


@dataclass(frozen=True)
class Worst:
    """row: in the table. key: of the sample."""

    row: int
    key: str
    ge_deg: float


@dataclass(frozen=True)
class Summary:
    """figures: by name of the row; intervals: of the geodesic error, by the same name."""

    samples: int
    figures: dict[str, ProtocolMetrics]
    interval_deg: tuple[float, float] | None
    by_yaw: tuple[Bin, ...]
    by_pitch: tuple[Bin, ...]
    by_both: tuple[Bin, ...]
    lost: tuple[Lost, ...]
    worst: tuple[Worst, ...]
    data_sha256: str
    answers_sha256: str


def summarise(table: pa.Table, protocol: Protocol, row_name: str) -> Summary:
    """Raises: EvaluationError if no sample has an answer."""
    lost = _lost(table)
    rows = np.flatnonzero(np.array(table["lost"].to_pylist(), object) == "")
    if not len(rows):
        first = f" {lost[0].reason} ({lost[0].example})" if lost else ""
        raise EvaluationError(f"None of the {table.num_rows} samples could be judged.{first}")
    seen = table.take(pa.array(rows))
    keys, groups = seen["key"].to_pylist(), seen["group"].to_pylist()
    R_true = _numbers(seen, "R_true", 9).reshape(-1, 3, 3)
    R_found = _numbers(seen, "R_found", 9).reshape(-1, 3, 3)
    if protocol.aligns_sequences:
        R_found = aligned_rotations(R_found, R_true, seen["sequence"].to_pylist())
    ge_deg = np.asarray(geodesic_deg(R_found, R_true), np.float64).reshape(-1)
    angles = readable_ypr_deg(R_true)
    order = np.argsort(-ge_deg, kind="stable")[:WORST]
    return Summary(
        table.num_rows,
        _figures(seen, protocol, row_name, (R_found, R_true), ge_deg),
        mean_interval(ge_deg, groups, SEED, DRAWS),
        _bins(ge_deg, groups, angles[:, 0], None),
        _bins(ge_deg, groups, None, angles[:, 1]),
        _bins(ge_deg, groups, angles[:, 0], angles[:, 1]),
        lost,
        tuple(Worst(int(rows[i]), keys[i], float(ge_deg[i])) for i in order),
        _data_hash(table),
        _answers_hash(table),
    )


def _figures(
    seen: pa.Table,
    protocol: Protocol,
    name: str,
    R: tuple[Float[Array, "n 3 3"], Float[Array, "n 3 3"]],
    ge_deg: Float[Array, "n"],
) -> dict[str, ProtocolMetrics]:
    """The protocol's own row and, where origins differ, one with the right origin."""
    errors = _angle_errors_deg(*R, protocol)
    t_true = _numbers(seen, "t_true_mm", 3)
    dense, unknown = _numbers(seen, "dense_mm"), np.full(len(ge_deg), np.nan)
    t_other = _numbers(seen, "t_found_other_origin_mm", 3) - t_true
    if protocol.aligns_sequences:
        return {name: protocol_metrics(errors, ge_deg, t_other, unknown, unknown)}
    t_own = _numbers(seen, "t_found_mm", 3) - t_true
    add = _numbers(seen, "add_mm")
    rows = {name: protocol_metrics(errors, ge_deg, t_own, add, dense)}
    if np.isfinite(t_other).any():
        add = _numbers(seen, "add_other_origin_mm")
        rows[f"{name}, origins aligned"] = protocol_metrics(errors, ge_deg, t_other, add, dense)
    return rows


def _angle_errors_deg(
    R_found: Float[Array, "n 3 3"], R_true: Float[Array, "n 3 3"], protocol: Protocol
) -> Float[Array, "n 3"]:
    if protocol.takes_nearer_angles:
        return ypr_errors_deg(R_found, R_true)
    return wrapped_deg(_ypr_deg(R_found, protocol) - _ypr_deg(R_true, protocol))


def _ypr_deg(R: Float[Array, "n 3 3"], protocol: Protocol) -> Float[Array, "n 3"]:
    if protocol.euler == "300w-lp":
        return ypr_deg_from_matrices(R)
    return np.array([ypr_trg_metric_from_matrix(one) for one in R], np.float64).reshape(-1, 3)


def _numbers(table: pa.Table, name: str, width: int = 1) -> Array:
    """A column as (n,) or (n, width), NaN where there is nothing."""
    values = table[name].to_pylist()
    if width == 1:
        return np.array([np.nan if v is None else v for v in values], np.float64)
    nothing = [np.nan] * width
    return np.array([nothing if v is None else v for v in values], np.float64).reshape(-1, width)


def _bins(
    ge_deg: Float[Array, "n"],
    groups: Sequence[str],
    yaw_deg: Float[Array, "n"] | None,
    pitch_deg: Float[Array, "n"] | None,
) -> tuple[Bin, ...]:
    """None: not told apart by this angle."""
    names, found = np.asarray(groups), []
    for yaw_from, in_yaw in _slices(yaw_deg):
        for pitch_from, in_pitch in _slices(pitch_deg):
            chosen = np.ones(len(ge_deg), bool) & in_yaw & in_pitch
            found.append(_bin(ge_deg[chosen], names[chosen], yaw_from, pitch_from))
    return tuple(found)


def _slices(angle_deg: Float[Array, "n"] | None) -> list[tuple[float | None, Bool[Array, "*n"]]]:
    if angle_deg is None:
        return [(None, np.array(True))]
    last = len(BIN_EDGES_DEG) - 2
    which = np.clip(np.searchsorted(BIN_EDGES_DEG, angle_deg, side="right") - 1, 0, last)
    return [(edge, which == i) for i, edge in enumerate(BIN_EDGES_DEG[:-1])]


def _bin(
    ge_deg: Float[Array, "n"], groups: Array, yaw_from: float | None, pitch_from: float | None
) -> Bin:
    if not len(ge_deg):
        return Bin(yaw_from, pitch_from, 0, None, None, None)
    low, high = mean_interval(ge_deg, groups.tolist(), SEED, DRAWS) or (None, None)
    return Bin(yaw_from, pitch_from, len(ge_deg), float(ge_deg.mean()), low, high)


def _lost(table: pa.Table) -> tuple[Lost, ...]:
    """By reason, the most frequent first."""
    found: dict[str, list[tuple[str, str]]] = {}
    names = ("lost", "key", "why")
    for reason, key, why in zip(*(table[name].to_pylist() for name in names), strict=True):
        if reason:
            found.setdefault(reason, []).append((key, why))
    by_count = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(
        Lost(reason, len(rows), tuple(key for key, _ in rows[:20]), rows[0][1])
        for reason, rows in by_count
    )


def _data_hash(table: pa.Table) -> str:
    digest = hashlib.sha256()
    for key, data in zip(table["key"].to_pylist(), table["data_sha256"].to_pylist(), strict=True):
        digest.update(f"{key} {data}\n".encode())
    return digest.hexdigest()


def _answers_hash(table: pa.Table) -> str:
    digest = hashlib.sha256("\n".join(table["lost"].to_pylist()).encode())
    for name, width in (("R_found", 9), ("t_found_mm", 3), ("add_mm", 1), ("dense_mm", 1)):
        rounded = np.round(_numbers(table, name, width), ROUNDED_TO) + 0.0
        digest.update(np.ascontiguousarray(rounded, "<f8").tobytes())
    return digest.hexdigest()


def result_hash(summary: Summary, choices: Mapping[str, str], model_sha256: str) -> str:
    """Of what was chosen, the weights, the data, every answer and every figure."""
    content = {
        "choices": dict(choices),
        "model": model_sha256,
        "data": summary.data_sha256,
        "answers": summary.answers_sha256,
        "figures": {
            name: {k: None if v is None else round(v, ROUNDED_TO) for k, v in asdict(row).items()}
            for name, row in summary.figures.items()
        },
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
