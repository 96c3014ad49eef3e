"""Synthetic heads as a data set to look at: `SyntheticDataset`'s rows as samples."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from models.flame.open_head import OPEN_HEAD_PATH, HeadAssets, load_open_head
from models.geometry.boxes import bounding_box_xyxy
from viewer.datasets.registry import DATASET_INFOS
from viewer.datasets.sample import Sample
from viewer.datasets.source import (
    DatasetError,
    Listing,
    Problem,
    Progress,
    SampleDetail,
    SampleMesh,
    silent,
)
from viewer.datasets.synthetic import SyntheticDataset, SyntheticHead
from viewer.datasets.synthetic_format import (
    INFO_NAME,
    SyntheticDataError,
    SyntheticInfo,
    read_info,
    shard_path,
    shard_rows,
)

Array = np.ndarray

MAX_DEPTH_POINTS = 20_000


@dataclass(frozen=True)
class _Place:
    """Where a row is."""

    split: str
    root: Path
    info: SyntheticInfo
    shard: int
    within: int

    @property
    def path(self) -> Path:
        return shard_path(self.root, self.shard)


@dataclass(frozen=True)
class SyntheticHeads:
    """A data set that `synthesize` wrote, or a folder of several (its splits).

    Keys: "<split>/<row>"; the split is the folder's name, of a single data set the one it says.
    """

    root: Path

    info = DATASET_INFOS["synthetic"]

    def list_samples(self, limit: int | None = None, progress: Progress = silent) -> Listing:
        """All rows of the shards that are there; missing and damaged shards are problems.

        Raises: DatasetError where there is no dataset.json.
        """
        files_of: dict[str, tuple[str, ...]] = {}
        problems: list[Problem] = []
        for split, folder in self._splits().items():
            try:
                info = read_info(folder)
            except SyntheticDataError as error:
                problems.append(Problem(self._relative(folder / INFO_NAME), str(error)))
                continue
            for shard in range(info.shard_count):
                if len(files_of) == limit:
                    break
                progress(len(files_of), None)
                path = shard_path(folder, shard)
                file, rows = self._relative(path), info.rows_of_shard(shard)
                try:
                    if shard_rows(path) != len(rows):
                        raise SyntheticDataError(f"It has not its {len(rows)} rows.")
                except SyntheticDataError as error:
                    problems.append(Problem(file, str(error)))
                    continue
                room = len(rows) if limit is None else limit - len(files_of)
                files_of |= {f"{split}/{row}": (file,) for row in rows[:room]}
        return Listing(tuple(files_of), tuple(problems), (), files_of)

    def read(self, key: str) -> Sample:
        """One sample; the picture as its encoded bytes. Raises: DatasetError."""
        return self._read(key)[0]

    def read_with_labels(self, key: str) -> tuple[Sample, SyntheticHead]:
        """One sample with its rendering's record. Raises: DatasetError."""
        sample, head, _ = self._read(key)
        return sample, head

    def detail(self, key: str) -> SampleDetail:
        """One sample with mesh, landmarks, depth and labels. Raises: DatasetError."""
        sample, head, info = self._read(key)
        if not head.is_face:
            return SampleDetail(sample, raw=_raw(head), notes=("A picture without a face.",))
        R, t_m = head.R_cam_from_head, head.t_cam_from_head_mm / 1000.0
        landmarks_cam_m = head.landmarks_468_head_m.astype(np.float64) @ R.T + t_m
        landmarks_px = head.landmarks_468_px()
        model = _open_head()
        meshes: tuple[SampleMesh, ...] = ()
        notes = ()
        if info.head_model_sha256 == _open_head_sha256():
            # without the shoulders: some pictures show those of the portrait instead
            vertices = head.vertices_head_m(model)[: model.head_vertex_count] @ R.T + t_m
            meshes = (SampleMesh("head", "cam", vertices, np.asarray(model.head_triangles)),)
        else:
            notes = ("Made with another head model than the one here, so its mesh is not shown.",)
        return SampleDetail(
            sample=sample,
            meshes=meshes,
            points_px={
                "FaceMesh 468": np.where(head.visible_468[:, None], landmarks_px, np.nan),
            },
            landmarks_68_m=landmarks_cam_m[model.landmark_68_of_468],
            depth_cam_m=_depth_points_m(head),
            raw=_raw(head),
            notes=notes,
        )

    def _splits(self) -> dict[str, Path]:
        """Folders with a dataset.json by name. Raises: DatasetError."""
        if (self.root / INFO_NAME).is_file():
            try:
                return {read_info(self.root).split: self.root}
            except SyntheticDataError as error:
                raise DatasetError(str(error)) from error
        found = {path.parent.name: path.parent for path in sorted(self.root.glob(f"*/{INFO_NAME}"))}
        if not found:
            raise DatasetError(f"{self.root} is no synthetic data set: it has no {INFO_NAME}.")
        return found

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _place(self, key: str) -> _Place:
        split, _, number = key.rpartition("/")
        folder = self._splits().get(split)
        if folder is None or not (number.isascii() and number.isdecimal()):
            raise DatasetError(f"{key!r} is no sample of {self.root}.")
        info = read_info(folder)
        if int(number) >= info.count:
            raise DatasetError(f"{key!r}: {folder} has {info.count} rows.")
        shard, within = divmod(int(number), info.shard_rows)
        return _Place(split, folder, info, shard, within)

    def _read(self, key: str) -> tuple[Sample, SyntheticHead, SyntheticInfo]:
        try:
            place = self._place(key)
            encoded, head = _row(place)
        except SyntheticDataError as error:
            raise DatasetError(str(error)) from error
        landmarks_px = None
        if head.is_face:
            landmarks_px = head.landmarks_468_px()[_open_head().landmark_68_of_468]
        sample = Sample(
            dataset=self.info.name,
            key=key,
            group=head.person,
            image=encoded,
            camera=head.camera,
            R_cam_from_head=head.R_cam_from_head if head.is_face else None,
            t_cam_from_head_mm=head.t_cam_from_head_mm if head.is_face else None,
            landmarks_68_px=landmarks_px,
            box_xyxy_px=None if landmarks_px is None else bounding_box_xyxy(landmarks_px),
            split=place.split,
            subject=head.person,
        )
        return sample, head, place.info


def _row(place: _Place) -> tuple[bytes, SyntheticHead]:
    """Encoded picture and record of a row. Raises: SyntheticDataError."""
    dataset = SyntheticDataset(place.root, allow_partial=True)
    if place.path not in dataset.shard_paths:
        raise SyntheticDataError(f"{place.path} is missing; go on with making it.")
    # every shard but the last has the same number of rows, whichever of them are there
    first = dataset.shard_paths.index(place.path) * place.info.shard_rows
    try:
        file, within = pq.ParquetFile(place.path), place.within
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if within < rows:
                table = file.read_row_group(group, columns=["image_jpeg"], use_threads=False)
                encoded = table.column("image_jpeg")[within].as_py()
                return encoded, dataset[first + place.within]
            within -= rows
    except (pa.ArrowException, OSError) as error:
        raise SyntheticDataError(f"{place.path} is damaged ({error}).") from error
    raise SyntheticDataError(f"{place.path} has no row {place.within}.")


@lru_cache(maxsize=1)
def _open_head() -> HeadAssets:
    return load_open_head()


@lru_cache(maxsize=1)
def _open_head_sha256() -> str:
    return hashlib.sha256(OPEN_HEAD_PATH.read_bytes()).hexdigest()


def _depth_points_m(head: SyntheticHead) -> Float[Array, "n 3"] | None:
    """Points of the depth map, every k-th so that they are not too many."""
    if head.depth_m is None:
        return None
    rows, columns = np.nonzero(head.depth_m)
    chosen = slice(None, None, max(1, -(-len(rows) // MAX_DEPTH_POINTS)))
    rows, columns = rows[chosen], columns[chosen]
    rays = head.camera.normalise(np.stack([columns + 0.5, rows + 0.5], -1))
    z = head.depth_m[rows, columns].astype(np.float64)[:, None]
    return np.concatenate([rays * z, z], -1)


def _raw(head: SyntheticHead) -> dict[str, str]:
    model = _open_head()
    expression = ", ".join(
        f"{name} {weight:.2f}"
        for name, weight in zip(model.expression_names, head.expression, strict=True)
        if weight
    )
    return {
        "row: key": head.key,
        "row: person": head.person,
        "row: tags": ", ".join(head.tags),
        "row: is_face": str(head.is_face),
        "row: expression": expression,
        "row: identity": f"60 numbers, {head.identity.min():.2f} to {head.identity.max():.2f} sd",
        "row: whole_focal_px": f"{head.whole_focal_px:.0f}" if head.whole_focal_px else "unknown",
        "row: eye_angles_deg": np.array2string(head.eye_angles_deg, precision=2),
    }
