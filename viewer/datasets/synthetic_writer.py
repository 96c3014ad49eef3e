"""Writing the synthetic head data set: encoded rows, shards that appear only when complete."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, UInt16

from viewer.datasets.synthetic import SyntheticHead
from viewer.datasets.synthetic_format import (
    DEPTH_UNITS_PER_M,
    INFO_NAME,
    SCHEMA,
    SyntheticDataError,
    SyntheticInfo,
    read_info,
    shard_path,
    shard_rows,
)

Array = np.ndarray

JPEG_QUALITY = 92

_ROW_GROUP_ROWS = 20
"""Masks and depths are read by row groups: few rows are decoded for one."""

# A head is smooth down a column, so of PNG's filters "up" makes depth the smallest. PNG's own
# compression takes twice as long as Zstandard's, which the column gets, for larger files.
_DEPTH_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 0, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)
_COMPRESSION = {field.name: "none" for field in SCHEMA} | {"depth_png": "zstd"}
_GRAY_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)
_BILEVEL_PNG = (cv2.IMWRITE_PNG_BILEVEL, 1, cv2.IMWRITE_PNG_COMPRESSION, 1)


class SyntheticWriter:
    """Writes a data set shard by shard; several processes may write different shards."""

    def __init__(self, root: Path | str, info: SyntheticInfo) -> None:
        """Opens the folder, made if absent.

        Raises: SyntheticDataError if it holds a data set made with other settings.
        """
        self.root, self.info = Path(root), info
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / INFO_NAME
        if not path.exists():
            content = json.dumps(info.to_json(), indent=1)
            partial = path.with_name(f"{INFO_NAME}.{os.getpid()}.partial")
            partial.write_text(content + "\n", encoding="utf-8")
            partial.replace(path)
        elif (found := read_info(root)) != info:
            raise SyntheticDataError(
                f"{root} holds a data set made with other settings "
                f"({'; '.join(found.differences(info))}). Give another folder, or delete this one."
            )

    def missing_shards(self) -> list[int]:
        """Shards that are absent or damaged, in order."""
        return [k for k in range(self.info.shard_count) if not self._is_complete(k)]

    def write_shard(self, shard: int, heads: Iterable[SyntheticHead]) -> Path:
        """Encodes the heads, as they come, into one shard; nothing appears if it fails.

        Raises: SyntheticDataError for a wrong number of heads or one that cannot be stored.
        """
        rows = [encode_head(head) for head in heads]
        wanted = len(self.info.rows_of_shard(shard))
        if len(rows) != wanted:
            raise SyntheticDataError(f"Shard {shard} has {wanted} rows, got {len(rows)}.")
        path = shard_path(self.root, shard)
        partial = path.with_name(f"{path.name}.partial")
        pq.write_table(
            _table(rows),
            partial,
            row_group_size=_ROW_GROUP_ROWS,
            compression=_COMPRESSION,
            compression_level={"depth_png": 1},
            use_dictionary=False,
            write_statistics=False,
        )
        partial.replace(path)
        return path

    def _is_complete(self, shard: int) -> bool:
        path = shard_path(self.root, shard)
        if not path.is_file():
            return False
        try:
            return shard_rows(path) == len(self.info.rows_of_shard(shard))
        except SyntheticDataError:
            return False


def _table(rows: list[dict[str, object]]) -> pa.Table:
    """Rows as columns; numbers go through numpy."""
    columns = []
    for field in SCHEMA:
        values = [row[field.name] for row in rows]
        if pa.types.is_fixed_size_list(field.type):
            flat = pa.array(np.concatenate(values), field.type.value_type)
            columns.append(pa.FixedSizeListArray.from_arrays(flat, type=field.type))
        else:
            columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def encode_head(head: SyntheticHead) -> dict[str, object]:
    """A row of the file. Raises: SyntheticDataError."""
    height, width = head.image_rgb.shape[:2]
    depth = head.depth_m
    if head.camera.size_wh_px != (width, height) or head.mask.shape != (height, width):
        raise SyntheticDataError(
            f"{head.key}: picture {(width, height)}, camera {head.camera.size_wh_px}, mask "
            f"{head.mask.shape[::-1]} differ."
        )
    if depth is not None and (
        depth.shape != (height, width)
        or not 0 <= depth.min() <= depth.max() < 65_535 / DEPTH_UNITS_PER_M
    ):
        raise SyntheticDataError(f"{head.key}: depth must have the picture's size, 0 to 6.55 m.")
    K = head.camera.K_image_from_cam
    bgr = cv2.cvtColor(head.image_rgb, cv2.COLOR_RGB2BGR)
    is_bilevel = bool(((head.mask == 0) | (head.mask == 255)).all())
    return {
        "key": head.key,
        "person": head.person,
        "tags": list(head.tags),
        "is_face": bool(head.is_face),
        "size_wh_px": [width, height],
        "fx_fy_cx_cy_px": K[[0, 1, 0, 1], [0, 1, 2, 2]],
        "R_cam_from_head": np.asarray(head.R_cam_from_head, np.float64).ravel(),
        "t_cam_from_head_mm": np.asarray(head.t_cam_from_head_mm, np.float64),
        "landmarks_468_head_m": np.asarray(head.landmarks_468_head_m, np.float32).ravel(),
        "visible_468": np.asarray(head.visible_468, np.uint8),
        "identity": np.asarray(head.identity, np.float32),
        "expression": np.asarray(head.expression, np.float32),
        "eye_angles_deg": np.asarray(head.eye_angles_deg, np.float32).ravel(),
        "body_from_head": np.asarray(head.body_from_head, np.float32).ravel(),
        "whole_focal_px": np.array([head.whole_focal_px], np.float32),
        "image_jpeg": _encoded(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY)),
        "mask_png": _encoded(".png", head.mask, _BILEVEL_PNG if is_bilevel else _GRAY_PNG),
        "depth_png": None if depth is None else _encoded(".png", _depth_units(depth), _DEPTH_PNG),
    }


def _depth_units(depth_m: Float[Array, "h w"]) -> UInt16[Array, "h w"]:
    return np.rint(depth_m * DEPTH_UNITS_PER_M).astype(np.uint16)


def _encoded(extension: str, picture: Array, settings: tuple[int, ...]) -> bytes:
    done, encoded = cv2.imencode(extension, picture, settings)
    if not done:
        raise SyntheticDataError(f"A {picture.shape} picture cannot be encoded as {extension}.")
    return encoded.tobytes()
