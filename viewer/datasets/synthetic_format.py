"""What a synthetic data set's folder holds: dataset.json, and Parquet shards of one schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FORMAT = "trg-studio synthetic 1"
INFO_NAME = "dataset.json"
SHARD_ROWS = 1000
DEPTH_UNITS_PER_M = 10_000.0
"""Depth is stored in 0.1 mm, so up to 6.55 m."""

THINGS = ("glasses", "mask", "hand", "phone", "microphone", "strands")
"""Tags of what is worn or held before a face."""


def _floats(count: int, kind: pa.DataType | None = None) -> pa.DataType:
    return pa.list_(kind or pa.float32(), count)


LABEL_FIELDS = (
    pa.field("key", pa.string()),
    pa.field("person", pa.string()),
    pa.field("tags", pa.list_(pa.string())),
    pa.field("is_face", pa.bool_()),
    pa.field("size_wh_px", _floats(2, pa.int32())),
    pa.field("fx_fy_cx_cy_px", _floats(4, pa.float64())),
    pa.field("R_cam_from_head", _floats(9, pa.float64())),
    pa.field("t_cam_from_head_mm", _floats(3, pa.float64())),
    pa.field("landmarks_468_head_m", _floats(468 * 3)),
    pa.field("visible_468", _floats(468, pa.uint8())),
    pa.field("identity", _floats(60)),
    pa.field("expression", _floats(52)),
    pa.field("eye_angles_deg", _floats(4)),
    pa.field("body_from_head", _floats(9)),
    pa.field("whole_focal_px", _floats(1)),
)
LATER_FIELDS = {
    "body_from_head": np.eye(3, dtype=np.float32).ravel(),
    "whole_focal_px": np.zeros(1, np.float32),
}
"""Labels that the first data sets of this format do not have, and what is read instead."""
_PICTURE_FIELDS = (
    pa.field("image_jpeg", pa.large_binary()),
    pa.field("mask_png", pa.large_binary()),
    pa.field("depth_png", pa.large_binary()),
)
SCHEMA = pa.schema([*LABEL_FIELDS, *_PICTURE_FIELDS], {"format": FORMAT})


Setting = str | float | bool


class SyntheticDataError(ValueError):
    """The folder is no such data set, a shard is damaged, or a record cannot be stored."""


@dataclass(frozen=True)
class SyntheticInfo:
    """What dataset.json says.

    count: rows of the finished data set. image_px: side of a picture. head_model_sha256: of the
    head model's file. shard_rows: rows of every shard but the last. made_with: whatever else the
    pictures follow from, by name, so that no run goes on with other settings; {}: nothing else.
    """

    seed: int
    count: int
    split: str
    image_px: int
    head_model_sha256: str
    shard_rows: int = SHARD_ROWS
    made_with: Mapping[str, Setting] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.count < 1 or not 1 <= self.shard_rows <= SHARD_ROWS:
            raise SyntheticDataError(
                f"A data set needs a row and 1 to {SHARD_ROWS} rows a shard, got count "
                f"{self.count} and shard_rows {self.shard_rows}."
            )

    def to_json(self) -> dict[str, object]:
        """What `read_info` reads."""
        content = {"format": FORMAT, **asdict(self), "made_with": dict(self.made_with)}
        if not self.made_with:
            del content["made_with"]
        return content

    def differences(self, other: SyntheticInfo) -> list[str]:
        """Settings in which another data set differs, as "name: mine, not the other's"."""
        mine, theirs = ({**asdict(i), **i.made_with, "made_with": ""} for i in (self, other))
        names = dict.fromkeys([*mine, *theirs])
        return [
            f"{name}: {mine.get(name, 'unknown')}, not {theirs.get(name, 'unknown')}"
            for name in names
            if mine.get(name) != theirs.get(name)
        ]

    @property
    def shard_count(self) -> int:
        return -(-self.count // self.shard_rows)

    def rows_of_shard(self, shard: int) -> range:
        """The rows' numbers in the data set."""
        first = shard * self.shard_rows
        return range(first, min(first + self.shard_rows, self.count))


def read_info(root: Path | str) -> SyntheticInfo:
    """dataset.json of a folder. Raises: SyntheticDataError."""
    path = Path(root) / INFO_NAME
    if not path.is_file():
        raise SyntheticDataError(f"{root} is no synthetic data set: it has no {INFO_NAME}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SyntheticDataError(f"{path} is damaged: {error}.") from error
    found = content.pop("format", None) if isinstance(content, dict) else None
    if found != FORMAT:
        raise SyntheticDataError(f"{path} is of format {found!r}; this program reads {FORMAT!r}.")
    kinds = {"int": int, "str": str}
    wanted = {f.name: kinds.get(f.type, dict) for f in fields(SyntheticInfo)}
    content.setdefault("made_with", {})
    for name, kind in wanted.items():
        if not isinstance(content.get(name), kind):
            raise SyntheticDataError(f"{path}: {name} is {content.get(name)!r}.")
    if not all(isinstance(value, str | int | float) for value in content["made_with"].values()):
        raise SyntheticDataError(f"{path}: made_with is {content['made_with']!r}.")
    return SyntheticInfo(**{name: content[name] for name in wanted})


def shard_path(root: Path | str, shard: int) -> Path:
    """Where a shard is, or will be."""
    return Path(root) / f"shard-{shard:05d}.parquet"


def shard_rows(path: Path) -> int:
    """Rows of a shard. Raises: SyntheticDataError if it is damaged or of another format."""
    try:
        metadata = pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise SyntheticDataError(f"{path} is damaged ({error}); write this shard again.") from error
    if (metadata.metadata or {}).get(b"format", b"").decode() != FORMAT:
        raise SyntheticDataError(f"{path} is not a shard of format {FORMAT!r}.")
    return metadata.num_rows
