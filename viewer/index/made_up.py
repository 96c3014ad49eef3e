"""Rows of heads that do not exist, as an index has them: for tests and for measuring speed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from viewer.index.check_table import CHECKS
from viewer.index.schema import (
    BOX_COLUMNS,
    CAMERA_COLUMNS,
    CHECK_PREFIX,
    FILE_SCHEMA,
    ROTATION_COLUMNS,
    TRANSLATION_COLUMNS,
)

Array = np.ndarray

ROWS_PER_SEQUENCE = 100
SEQUENCES_PER_SUBJECT = 5
SHARE_WITHOUT_DISTANCE = 0.05
SHARE_WITHOUT_SCORE = 0.1
CHECKS_WITHOUT_SCORES = 10
"""No data set gives every check something to look at."""

_SIZES_WH_PX = np.array([[640, 480], [800, 800], [450, 450]])


def made_up_rows(first: int, count: int, seed: int) -> pa.Table:
    """Rows number first to first + count of an endless data set, without findings.

    Keys grow with the number; angles are spread as in recorded data, the rotations fit them.
    """
    rng = np.random.default_rng([seed, first])
    number = np.arange(first, first + count)
    columns = _names(number) | _pose(rng, count) | _picture(rng, number, count)
    for place, check in enumerate(CHECKS):
        scores = rng.exponential(max(check.limit, 0.1) / 4.0, count)
        is_missing = rng.random(count) < SHARE_WITHOUT_SCORE
        if place >= len(CHECKS) - CHECKS_WITHOUT_SCORES:
            is_missing[:] = True
        scores = scores if check.higher_is_worse else check.limit * 4.0 - scores
        columns[CHECK_PREFIX + check.name] = pa.array(scores, mask=is_missing)
    findings = pa.array([[]] * count, pa.list_(pa.string()))
    columns |= {"findings": findings, "reason": pa.array([""] * count)}
    empty = pa.nulls(count, pa.binary())
    columns |= {name: empty for name in ("picture_digest", "picture_hash", "landmarks_68_px")}
    return pa.table(
        [columns[name].cast(FILE_SCHEMA.field(name).type) for name in FILE_SCHEMA.names],
        schema=FILE_SCHEMA,
    )


def _names(number: Array) -> dict[str, pa.Array]:
    sequence = number // ROWS_PER_SEQUENCE
    subject = sequence // SEQUENCES_PER_SUBJECT
    keys = [
        f"S{s:05d}/{q % SEQUENCES_PER_SUBJECT:02d}_LeftToRight/{1616212230000 + n}"
        for s, q, n in zip(subject.tolist(), sequence.tolist(), number.tolist(), strict=True)
    ]
    names = [key.split("/") for key in keys]
    subjects = [parts[0] for parts in names]
    return {
        "key": pa.array(keys),
        "grp": pa.array(subjects),
        "subject": pa.array(subjects),
        "sequence": pa.array([parts[1] for parts in names]),
        "split": pa.array(["test" if s % 5 == 4 else "train" for s in subject.tolist()]),
        "frame": pa.array(number % ROWS_PER_SEQUENCE),
        "image": pa.array([f"image/{key}_ar.jpg" for key in keys]),
        "signature": pa.array([f"{n * 0x9E3779B97F4A7C15 % 2**96:024x}" for n in number.tolist()]),
    }


def _pose(rng: np.random.Generator, count: int) -> dict[str, pa.Array]:
    yaw, pitch, roll = rng.normal(0, (27.0, 17.0, 9.0), (count, 3)).T
    yaw, pitch = np.clip(yaw, -89, 89), np.clip(pitch, -80, 80)
    R = _rotations(np.radians(yaw), np.radians(pitch), np.radians(roll))
    t_mm = rng.normal((0.0, 10.0, 600.0), (60.0, 40.0, 90.0), (count, 3))
    t_mm[:, 2] = np.maximum(t_mm[:, 2], 150.0)
    is_missing = rng.random(count) < SHARE_WITHOUT_DISTANCE
    cosine = (R[:, [0, 4, 8]].sum(1) - 1) / 2
    numbers = {"yaw_deg": yaw, "pitch_deg": pitch, "roll_deg": roll}
    numbers["angle_deg"] = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    columns = {name: pa.array(values) for name, values in numbers.items()}
    columns |= {name: pa.array(R[:, i]) for i, name in enumerate(ROTATION_COLUMNS)}
    columns |= {
        name: pa.array(t_mm[:, i], mask=is_missing) for i, name in enumerate(TRANSLATION_COLUMNS)
    }
    distance_mm = np.linalg.norm(t_mm, axis=1)
    return columns | {"distance_mm": pa.array(distance_mm, mask=is_missing)}


def _rotations(yaw: Array, pitch: Array, roll: Array) -> Array:
    """Rx(-pitch) Ry(yaw) Rz(roll), row by row, of angles in radians."""
    (sy, sp, sr), (cy, cp, cr) = np.sin([yaw, -pitch, roll]), np.cos([yaw, -pitch, roll])
    return np.stack(
        [
            *(cy * cr, -cy * sr, sy),
            *(cp * sr + sp * sy * cr, cp * cr - sp * sy * sr, -sp * cy),
            *(sp * sr - cp * sy * cr, sp * cr + cp * sy * sr, cp * cy),
        ],
        axis=1,
    )


def _picture(rng: np.random.Generator, number: Array, count: int) -> dict[str, pa.Array]:
    size = _SIZES_WH_PX[number // 50_000 % len(_SIZES_WH_PX)]
    corner, side = rng.uniform(20, 200, (count, 2)), rng.uniform(80, 240, count)
    box = np.concatenate([corner, corner + side[:, None]], 1)
    camera = np.stack([size[:, 0] * 0.787, size[:, 0] * 0.787, size[:, 0] / 2, size[:, 1] / 2], 1)
    columns = {"width_px": size[:, 0], "height_px": size[:, 1], "box_side_px": side}
    columns |= {name: box[:, i] for i, name in enumerate(BOX_COLUMNS)}
    columns |= {name: camera[:, i] for i, name in enumerate(CAMERA_COLUMNS)}
    columns |= {"has_landmarks": np.ones(count, bool), "has_mesh": np.ones(count, bool)}
    return {name: pa.array(values) for name, values in columns.items()}
