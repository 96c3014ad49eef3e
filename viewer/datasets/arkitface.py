"""ARKitFace: pictures of an iPhone with ARKit's face mesh and its pose.

Kao et al. 2022 (6dof_face). An .npz file holds `verts`, the face in its own axes (x to the
subject's left, y up, z out of the face, metres), and `R_t`, 4x4 for ROW vectors: verts @ R_t is in
OpenGL's camera (y up, z to the viewer), translation in the last row. With S = diag(1, -1, -1) it is
R = S R_t[:3, :3]' S and t = S R_t[3, :3] in OpenCV's axes. The face anchor is the project's origin.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from models.geometry.boxes import bounding_box_xyxy
from models.geometry.cameras import Camera, camera_from_intrinsics
from models.geometry.rotations import GL_FROM_CV
from viewer.datasets.arkitface_files import (
    ArkitFiles,
    FilesOfKeys,
    FolderNames,
    Row,
    read_rows,
    row_of_key,
)
from viewer.datasets.arkitface_resources import (
    ARKIT_VERTICES,
    FaceTopology,
    checked_flip_index,
    flip_index_from_uv,
    read_topology,
)
from viewer.datasets.file_lists import read_list_text
from viewer.datasets.npz_file import read_npy, read_npz
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
from viewer.datasets.weak_perspective import array_text

Array = np.ndarray

SIDE_PX = 800
PROJECTION = 1.57443701
"""projection_matrix.txt, diagonal: focal length in half sides, the same for every picture."""

OPENCV_PIXEL = 0.5
"""WCPA's landmarks are numbers of pixels; our first pixel has its centre at 0.5."""

MAX_VERTICES = 100_000
LISTED_AT_ONCE = 1000
"""Rows between two words of progress."""


@dataclass(frozen=True)
class _Labels:
    """An .npz file in the project's axes. Rows of the vertices as stored."""

    vertices_head_m: Float[Array, "v 3"]
    R_cam_from_head: Float[Array, "3 3"]
    t_cam_from_head_m: Float[Array, "3"]
    arrays: dict[str, Array]
    pickled: tuple[str, ...]

    @property
    def vertices_cam_m(self) -> Float[Array, "v 3"]:
        return self.vertices_head_m @ self.R_cam_from_head.T + self.t_cam_from_head_m


@dataclass(frozen=True)
class ArkitFace:
    """ARKitFace in one of its three layouts. Keys: `Row.key`.

    R_cam_from_head is as stored, so that a label that is no rotation can be seen.
    """

    root: Path

    info = DATASET_INFOS["arkitface"]

    @cached_property
    def files(self) -> ArkitFiles:
        """Raises: DatasetError."""
        return ArkitFiles.found_in(self.root)

    def list_samples(self, limit: int | None = None, progress: Progress = silent) -> Listing:
        """The rows of the lists in their order; without lists every label file, sorted.

        A row without its picture is listed, and named among the problems; one without labels is
        among the problems only. Raises: DatasetError where nothing of ARKitFace is there.
        """
        lists = self.files.lists()
        notes = [f"The layout is that of {self.files.layout}."]
        if not lists:
            notes.append("There is no list: every label file is taken.")
        keys: dict[str, Row] = {}
        problems: list[Problem] = []
        there = FolderNames()
        for row in self._rows(lists):
            if len(keys) == limit:
                break
            if len(keys) % LISTED_AT_ONCE == 0:
                progress(len(keys), None)
            problems += [row] if isinstance(row, Problem) else self._taken(row, keys, there)
        if not keys and not problems:
            raise DatasetError(f"{self.root} has no label file of ARKitFace (*_info.npz).")
        files_of = FilesOfKeys(keys.keys(), partial(_files_of, self.files))
        return Listing(tuple(keys), tuple(problems), tuple(notes), files_of)

    def _rows(self, lists: list[Path]) -> Iterator[Row | Problem]:
        """Of all lists, or of the folders; a list that cannot be read is a problem."""
        if not lists:
            yield from self.files.all_rows()
        for path in lists:
            try:
                yield from read_rows(path, needs_split=self.files.layout == "TRG")
            except DatasetError as error:
                yield Problem(path.relative_to(self.root).as_posix(), str(error))

    def _taken(self, row: Row, keys: dict[str, Row], there: FolderNames) -> list[Problem]:
        """What is wrong with a row, which is added to the keys if it has labels."""
        image, labels = self.files.image(row), self.files.labels(row)
        if row.key in keys:
            return [Problem(labels.as_posix(), "It is listed again.")]
        if not there.has(self.root / labels):
            return [Problem(labels.as_posix(), "The label file is missing.")]
        keys[row.key] = row
        if there.has(self.root / image):
            return []
        return [Problem(image.as_posix(), "The picture is missing.")]

    def read(self, key: str) -> Sample:
        """One sample. Raises: DatasetError."""
        row = row_of_key(key)
        return self._sample(row, self._labels(row))

    def read_with_mesh(self, key: str) -> tuple[Sample, Float[Array, "v 3"]]:
        """One sample, and its vertices in the head's axes, metres. Raises: DatasetError."""
        row = row_of_key(key)
        labels = self._labels(row)
        return self._sample(row, labels), labels.vertices_head_m

    def detail(self, key: str) -> SampleDetail:
        """One sample with its mesh and fields. Raises: DatasetError."""
        row = row_of_key(key)
        labels = self._labels(row)
        topology, notes = self._topology_of(labels)
        fits = topology is not None
        triangles, ids = (topology.triangles, topology.landmark_68_ids) if fits else (None, None)
        file = self.files.labels(row).name
        raw = {f"{file}: {name}": array_text(array) for name, array in labels.arrays.items()}
        raw |= {f"{file}: {name}": "a pickle, not opened" for name in labels.pickled}
        return SampleDetail(
            sample=self._sample(row, labels),
            meshes=(SampleMesh("face mesh", "cam", labels.vertices_cam_m, triangles),),
            points_px=_extra_points(labels),
            landmarks_68_m=None if ids is None else labels.vertices_cam_m[ids],
            raw=raw,
            notes=notes,
        )

    def flip_index(self) -> Int[Array, "v"] | None:
        """The vertex that each vertex becomes in a mirror: flip_index.npy, otherwise derived from
        the texture template; None where neither is there. Raises: DatasetError."""
        topology, path = read_topology(self.files), self.root / "flip_index.npy"
        if path.is_file():
            stored = read_npy(path)
            return checked_flip_index(stored, len(stored) if stored.ndim else 0, str(path))
        return None if topology.uv is None else flip_index_from_uv(topology.uv)

    def _topology_of(self, labels: _Labels) -> tuple[FaceTopology | None, tuple[str, ...]]:
        """The resources if they are for this mesh, and sentences about them."""
        topology, count = read_topology(self.files), len(labels.vertices_head_m)
        notes = list(topology.notes)
        if count != ARKIT_VERTICES:
            notes.append(f"Not ARKit's topology: {count} vertices, not {ARKIT_VERTICES}.")
        if count != topology.vertex_count:
            notes.append(f"The resources are for {topology.vertex_count} vertices: points only.")
            return None, tuple(notes)
        return topology, tuple(notes)

    def _labels(self, row: Row) -> _Labels:
        path = self.root / self.files.labels(row)
        arrays, pickled = read_npz(path)
        verts, R_t = (_numbers(arrays, name, path) for name in ("verts", "R_t"))
        if R_t.shape != (4, 4) or verts.ndim != 2 or verts.shape[1] != 3 or not len(verts):
            raise DatasetError(f"{path}: verts {verts.shape}, R_t {R_t.shape}; not (v, 3), (4, 4).")
        if len(verts) > MAX_VERTICES:
            raise DatasetError(f"{path}: {len(verts)} vertices are no face mesh.")
        S = GL_FROM_CV
        return _Labels(verts @ S, S @ R_t[:3, :3].T @ S, S @ R_t[3, :3], arrays, pickled)

    def _sample(self, row: Row, labels: _Labels) -> Sample:
        camera = arkit_camera()
        points = labels.vertices_cam_m
        in_front = bool((points[:, 2] > 0).all())
        return Sample(
            dataset=self.info.name,
            key=row.key,
            group=row.subject_id,
            image=self.root / self.files.image(row),
            camera=camera,
            R_cam_from_head=labels.R_cam_from_head,
            t_cam_from_head_mm=1000.0 * labels.t_cam_from_head_m,
            landmarks_68_px=self._landmarks_px(row, labels, in_front, camera),
            box_xyxy_px=bounding_box_xyxy(camera.project(points)) if in_front else None,
            split=row.split,
            subject=row.subject_id,
            sequence=f"{row.subject_id}/{row.facial_action}",
            frame=int(row.img_id) if row.img_id.isdecimal() and len(row.img_id) < 19 else None,
        )

    def _landmarks_px(
        self, row: Row, labels: _Labels, in_front: bool, camera: Camera
    ) -> Float[Array, "68 2"] | None:
        """WCPA's file where there is one, otherwise the mesh's landmark vertices."""
        path = self.root / self.files.landmarks(row)
        if path.is_file():
            return _read_landmarks(path)
        topology = read_topology(self.files)
        ids = topology.landmark_68_ids
        if ids is None or not in_front or len(labels.vertices_head_m) != topology.vertex_count:
            return None
        return camera.project(labels.vertices_cam_m[ids])


def arkit_camera() -> Camera:
    """ARKitFace's one camera."""
    f_px = PROJECTION * SIDE_PX / 2
    return camera_from_intrinsics(
        (SIDE_PX, SIDE_PX), f_px, f_px, SIDE_PX / 2, SIDE_PX / 2, "ARKitFace's projection"
    )


def _files_of(files: ArkitFiles, key: str) -> tuple[str, ...]:
    row = row_of_key(key)
    paths = (files.image(row), files.labels(row), files.landmarks(row))
    return tuple(path.as_posix() for path in paths if (files.root / path).is_file())


def _numbers(arrays: dict[str, Array], name: str, path: Path) -> Array:
    """A field as float64. Raises: DatasetError if it is absent, a pickle, or not finite."""
    array = arrays.get(name)
    if array is None or array.dtype.kind not in "fiu":
        raise DatasetError(f"{path} has no numbers called {name}.")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise DatasetError(f"{path}: {name} has values that are not finite.")
    return array


def _read_landmarks(path: Path) -> Float[Array, "68 2"]:
    try:
        points = np.array(read_list_text(path).split(), np.float64).reshape(68, 2)
    except ValueError as error:
        raise DatasetError(f"{path} does not hold 68 rows of x and y: {error}.") from error
    return points + OPENCV_PIXEL


def _extra_points(labels: _Labels) -> dict[str, Float[Array, "_n 2"]]:
    """Points that 6dof_face adds to files it converts."""
    points = labels.arrays.get("points2d")
    if points is None or points.dtype.kind not in "fiu" or points.ndim != 2:
        return {}
    return {"points2d": points.astype(np.float64)} if points.shape[1] == 2 else {}
