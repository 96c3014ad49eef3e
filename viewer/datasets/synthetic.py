"""The synthetic head data set: rendered pictures with everything known about them, in Parquet.

A folder holds dataset.json (`SyntheticInfo`) and shards of at most 1000 rows, which
`viewer.datasets.synthetic_writer` makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Int, UInt8

from models.flame.open_head import HeadAssets
from models.geometry.cameras import Camera, camera_from_intrinsics
from models.weights import T_HEAD_FROM_TRG_MINI
from viewer.datasets.sample import UnreadablePictureError, decode_rgb
from viewer.datasets.synthetic_format import (
    DEPTH_UNITS_PER_M,
    LABEL_FIELDS,
    LATER_FIELDS,
    SyntheticDataError,
    read_info,
    shard_path,
    shard_rows,
)

Array = np.ndarray

_POSE_COLUMNS = (
    "is_face",
    "size_wh_px",
    "fx_fy_cx_cy_px",
    "R_cam_from_head",
    "t_cam_from_head_mm",
    "landmarks_468_head_m",
)


@dataclass(frozen=True)
class SyntheticHead:
    """One rendered picture with everything known about it.

    key: "<split>/<seed>/<index>".
    is_face: False for a background, a hand, the back of a head; the labels are then zeros and
        identity.
    identity, expression: coefficients of the open head.
    eye_angles_deg: left and right eye: yaw and pitch of the ball.
    body_from_head: turn of the body under the head, see `HeadAssets.with_body_turned`.
    whole_focal_px: focal length of the wider picture that this one is cut out of, perhaps scaled
        down (`camera` is this one's own); 0 where there is none or it is not known.
    person: the portrait's name such as "female/12"; a split may not cut it.
    tags: what was done: the kind of hair or of negative, then things in front such as "mask".
    mask: 255 where the head with its hair is seen.
    depth_m: z in the camera frame of what is seen of the head, 0 elsewhere.
    """

    key: str
    image_rgb: UInt8[Array, "h w 3"]
    camera: Camera
    is_face: bool
    R_cam_from_head: Float[Array, "3 3"]
    t_cam_from_head_mm: Float[Array, "3"]
    landmarks_468_head_m: Float[Array, "468 3"]
    visible_468: Bool[Array, "468"]
    identity: Float[Array, "60"]
    expression: Float[Array, "52"]
    eye_angles_deg: Float[Array, "2 2"]
    person: str
    tags: tuple[str, ...]
    mask: UInt8[Array, "h w"]
    depth_m: Float[Array, "h w"] | None
    body_from_head: Float[Array, "3 3"] = field(default_factory=lambda: np.eye(3))
    whole_focal_px: float = 0.0

    def landmarks_468_px(self) -> Float[Array, "468 2"]:
        """Where the landmarks are in the picture."""
        points = np.asarray(self.landmarks_468_head_m, np.float64)
        return self.camera.project(
            points @ self.R_cam_from_head.T + self.t_cam_from_head_mm / 1000.0
        )

    def vertices_head_m(self, head_model: HeadAssets) -> Float[Array, "v 3"]:
        """The whole head's mesh in the `head` frame, with its gaze and its bent neck.

        head_model: the one of the data set's head_model_sha256.
        """
        expression = dict(
            zip(head_model.expression_names, map(float, self.expression), strict=True)
        )
        vertices = head_model.vertices_m(
            np.asarray(self.identity, np.float64),
            expression,
            np.asarray(self.eye_angles_deg, np.float64),
        )
        vertices = head_model.with_body_turned(vertices, self.body_from_head)
        return vertices @ T_HEAD_FROM_TRG_MINI[:3, :3].T + T_HEAD_FROM_TRG_MINI[:3, 3]


@dataclass(frozen=True)
class PosedPicture:
    """A picture and the pose of its head: what training reads of a `SyntheticHead`."""

    image_rgb: UInt8[Array, "h w 3"]
    camera: Camera
    is_face: bool
    R_cam_from_head: Float[Array, "3 3"]
    t_cam_from_head_mm: Float[Array, "3"]
    landmarks_468_head_m: Float[Array, "468 3"]


class SyntheticDataset:
    """Random access to a data set's rows.

    The encoded pictures and the pose labels are kept in memory from the first access of a shard;
    masks, depths and the rest are read when a whole record is asked for.
    """

    def __init__(self, root: Path | str, *, allow_partial: bool = False) -> None:
        """allow_partial: take the shards that are there of a data set still being made.

        Raises: SyntheticDataError if a shard is missing, damaged, or of another format.
        """
        self.root, self.info = Path(root), read_info(root)
        shards = [k for k in range(self.info.shard_count) if shard_path(root, k).is_file()]
        if len(shards) < self.info.shard_count and not (allow_partial and shards):
            raise SyntheticDataError(
                f"{root} has {len(shards)} of its {self.info.shard_count} shards; go on with "
                "making it."
            )
        self.shard_paths = [shard_path(root, k) for k in shards]
        counts = [shard_rows(path) for path in self.shard_paths]
        self._first_rows = np.concatenate([[0], np.cumsum(counts)])
        self._columns: dict[int, _PoseColumns] = {}

    def __len__(self) -> int:
        return int(self._first_rows[-1])

    def __getitem__(self, row: int) -> SyntheticHead:
        """Everything about one row. Raises: IndexError; SyntheticDataError."""
        shard, within = self._place(row)
        file = _open_shard(self.shard_paths[shard])
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if within < rows:
                return _heads_of_group(
                    file, group, self.shard_paths[shard], slice(within, within + 1)
                )[0]
            within -= rows
        raise IndexError(f"There is no row {row}.")

    def posed_picture(self, row: int) -> PosedPicture:
        """Picture and pose of one row; neither mask nor depth is read or decoded.

        Raises: IndexError; SyntheticDataError.
        """
        shard, within = self._place(row)
        columns = self._pose_columns(shard)
        return columns.posed_picture(within, f"{self.shard_paths[shard]} row {within}")

    def jpeg(self, row: int) -> UInt8[Array, "n"]:
        """The bytes of one row's picture."""
        shard, within = self._place(row)
        return self._pose_columns(shard).jpeg(within)

    def preload(self) -> None:
        """Takes every shard's pictures and poses into memory, so forked workers share them."""
        for shard in range(len(self.shard_paths)):
            self._pose_columns(shard)

    @cached_property
    def person_of_row(self) -> tuple[str, ...]:
        """The portrait of each row."""
        return tuple(
            person
            for path in self.shard_paths
            for person in _read_columns(path, ["person"]).column("person").to_pylist()
        )

    @cached_property
    def is_face_of_row(self) -> Bool[Array, "n"]:
        """False for negatives."""
        columns = [_read_columns(path, ["is_face"]).column("is_face") for path in self.shard_paths]
        return np.concatenate([column.to_numpy() for column in columns])

    @cached_property
    def tags_of_row(self) -> tuple[tuple[str, ...], ...]:
        """What was done to each row's head, see `SyntheticHead.tags`."""
        return tuple(
            tuple(tags)
            for path in self.shard_paths
            for tags in _read_columns(path, ["tags"]).column("tags").to_pylist()
        )

    def persons(self) -> tuple[str, ...]:
        """The portraits that occur, sorted."""
        return tuple(sorted(set(self.person_of_row)))

    def rows_of_persons(self, persons: Sequence[str]) -> Int[Array, "n"]:
        """The rows of these portraits, in order."""
        return np.flatnonzero(np.isin(np.array(self.person_of_row), list(persons)))

    def _place(self, row: int) -> tuple[int, int]:
        """Shard (among those here) and row in it."""
        if not 0 <= row < len(self):
            raise IndexError(f"Row {row} of {len(self)}.")
        shard = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        return shard, int(row - self._first_rows[shard])

    def _pose_columns(self, shard: int) -> _PoseColumns:
        if shard not in self._columns:
            self._columns[shard] = _PoseColumns.read(self.shard_paths[shard])
        return self._columns[shard]


def read_synthetic(root: Path | str, *, allow_partial: bool = False) -> Iterator[SyntheticHead]:
    """All rows in order, see `SyntheticDataset`. Raises: SyntheticDataError."""
    dataset = SyntheticDataset(root, allow_partial=allow_partial)
    for path in dataset.shard_paths:
        file = _open_shard(path)
        for group in range(file.num_row_groups):
            yield from _heads_of_group(file, group, path, slice(None))


@dataclass(frozen=True)
class _PoseColumns:
    """One shard's encoded pictures and pose labels as plain arrays."""

    jpeg_ends: Int[Array, "n_plus_1"]
    jpeg_bytes: UInt8[Array, "size"]
    is_face: Bool[Array, "n"]
    size_wh_px: Int[Array, "n 2"]
    fx_fy_cx_cy_px: Float[Array, "n 4"]
    R_cam_from_head: Float[Array, "n 3 3"]
    t_cam_from_head_mm: Float[Array, "n 3"]
    landmarks_468_head_m: Float[Array, "n 468 3"]

    @classmethod
    def read(cls, path: Path) -> _PoseColumns:
        table = _read_columns(path, ["image_jpeg", *_POSE_COLUMNS])
        jpegs = table.column("image_jpeg").chunk(0)
        _, ends, data = jpegs.buffers()
        arrays = {name: _array_of_column(table, name) for name in _POSE_COLUMNS}
        arrays["R_cam_from_head"] = arrays["R_cam_from_head"].reshape(-1, 3, 3)
        arrays["landmarks_468_head_m"] = arrays["landmarks_468_head_m"].reshape(-1, 468, 3)
        return cls(
            np.frombuffer(ends, np.int64)[jpegs.offset : jpegs.offset + len(jpegs) + 1],
            np.frombuffer(data, np.uint8),
            **arrays,
        )

    def jpeg(self, row: int) -> UInt8[Array, "n"]:
        return self.jpeg_bytes[self.jpeg_ends[row] : self.jpeg_ends[row + 1]]

    def posed_picture(self, row: int, what: str) -> PosedPicture:
        return PosedPicture(
            _decoded_rgb(self.jpeg(row), what),
            _camera(self.fx_fy_cx_cy_px[row], self.size_wh_px[row]),
            bool(self.is_face[row]),
            self.R_cam_from_head[row],
            self.t_cam_from_head_mm[row],
            self.landmarks_468_head_m[row],
        )


def _open_shard(path: Path) -> pq.ParquetFile:
    shard_rows(path)
    return pq.ParquetFile(path)


def _read_columns(path: Path, names: list[str]) -> pa.Table:
    """Columns of a shard, each in one piece, without threads (workers are forked later)."""
    try:
        return pq.read_table(path, columns=names, use_threads=False).combine_chunks()
    except (pa.ArrowException, OSError) as error:
        raise SyntheticDataError(f"{path} is damaged ({error}); write this shard again.") from error


def _array_of_column(table: pa.Table, name: str) -> Array:
    """(n, k) for a list column, (n,) for a plain one."""
    column = table.column(name).chunk(0)
    if pa.types.is_fixed_size_list(column.type):
        values = column.flatten().to_numpy(zero_copy_only=False)
        return values.reshape(len(column), column.type.list_size)
    return column.to_numpy(zero_copy_only=False)


def _heads_of_group(
    file: pq.ParquetFile, group: int, path: Path, rows: slice
) -> list[SyntheticHead]:
    try:
        table = file.read_row_group(group, use_threads=False).combine_chunks()
    except (pa.ArrowException, OSError) as error:
        raise SyntheticDataError(f"{path} is damaged ({error}); write this shard again.") from error
    labels = {
        f.name: _array_of_column(table, f.name)
        if f.name in table.column_names
        else np.tile(LATER_FIELDS[f.name], (len(table), 1))
        for f in LABEL_FIELDS
        if pa.types.is_fixed_size_list(f.type)
    }
    plain = ("key", "person", "tags", "is_face", "image_jpeg", "mask_png", "depth_png")
    texts = {name: table.column(name) for name in plain}
    return [
        _head(
            {name: column[k].as_py() for name, column in texts.items()},
            {name: array[k] for name, array in labels.items()},
        )
        for k in range(table.num_rows)[rows]
    ]


def _head(plain: dict[str, object], labels: dict[str, Array]) -> SyntheticHead:
    key, depth_png = plain["key"], plain["depth_png"]
    depth = None if depth_png is None else _decoded_gray(depth_png, key, np.uint16)
    return SyntheticHead(
        key=key,
        image_rgb=_decoded_rgb(plain["image_jpeg"], key),
        camera=_camera(labels["fx_fy_cx_cy_px"], labels["size_wh_px"]),
        is_face=plain["is_face"],
        R_cam_from_head=labels["R_cam_from_head"].reshape(3, 3),
        t_cam_from_head_mm=labels["t_cam_from_head_mm"],
        landmarks_468_head_m=labels["landmarks_468_head_m"].reshape(468, 3),
        visible_468=labels["visible_468"].astype(bool),
        identity=labels["identity"],
        expression=labels["expression"],
        eye_angles_deg=labels["eye_angles_deg"].reshape(2, 2),
        body_from_head=labels["body_from_head"].reshape(3, 3),
        whole_focal_px=float(labels["whole_focal_px"][0]),
        person=plain["person"],
        tags=tuple(plain["tags"]),
        mask=_decoded_gray(plain["mask_png"], key, np.uint8),
        depth_m=None if depth is None else depth.astype(np.float32) / DEPTH_UNITS_PER_M,
    )


def _camera(fx_fy_cx_cy_px: Float[Array, "4"], size_wh_px: Int[Array, "2"]) -> Camera:
    fx, fy, cx, cy = map(float, fx_fy_cx_cy_px)
    return camera_from_intrinsics(tuple(map(int, size_wh_px)), fx, fy, cx, cy, "rendered")


def _decoded_rgb(encoded: bytes | UInt8[Array, "n"], what: str) -> UInt8[Array, "h w 3"]:
    try:
        return decode_rgb(encoded, what)
    except UnreadablePictureError as error:
        raise SyntheticDataError(f"A damaged shard: {error}") from error


def _decoded_gray(encoded: bytes, what: str, kind: type) -> Array:
    picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.dtype != kind or picture.ndim != 2:
        raise SyntheticDataError(
            f"A damaged shard: {what}: no {kind.__name__} picture of one channel."
        )
    return picture
