"""What is common to ARKitFace's meshes: triangles, landmark vertices, and the mirror's order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from viewer.datasets.arkitface_files import ArkitFiles
from viewer.datasets.file_lists import read_list_text
from viewer.datasets.npz_file import read_npy
from viewer.datasets.source import DatasetError

Array = np.ndarray

ARKIT_VERTICES = 1220

_UV = "uv_coords_std_202109.npy"
_RESOURCES = ("example.obj", "kpt_ind.npy", "triangles.npy", _UV)

UV_TOLERANCE = 0.02
"""How far a mirrored texture coordinate may be from its partner's; the real template's: 1e-7."""


@dataclass(frozen=True)
class FaceTopology:
    """A face mesh's fixed parts. None: the resources do not say.

    vertex_count: of the meshes these arrays are for.
    uv: texture coordinates of each vertex.
    notes: sentences about what is missing or unusable.
    """

    vertex_count: int
    triangles: Int[Array, "f 3"] | None
    landmark_68_ids: Int[Array, "68"] | None
    uv: Float[Array, "v 2"] | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ObjTemplate:
    """The corners of a Wavefront file in its own order. uv: None unless one for each vertex."""

    vertices: Float[Array, "v 3"]
    triangles: Int[Array, "f 3"]
    uv: Float[Array, "v 2"] | None


def read_topology(files: ArkitFiles) -> FaceTopology:
    """Of the folder of resources: example.obj, triangles.npy, kpt_ind.npy, uv_coords_std*.npy.

    A file that is damaged becomes a note: the meshes are then points only. The files are read
    again when they have changed.
    """
    found = ((name, files.resource(name)) for name in _RESOURCES)
    places = tuple((name, path, path.stat().st_mtime_ns) for name, path in found if path)
    return _topology(places)


@lru_cache(maxsize=8)
def _topology(places: tuple[tuple[str, Path, int], ...]) -> FaceTopology:
    paths = {name: path for name, path, _ in places}
    notes: list[str] = []
    template = _noted(notes, paths.get("example.obj"), read_obj_template)
    ids = _noted(notes, paths.get("kpt_ind.npy"), _read_ids)
    triangles = None if template is None else template.triangles
    if triangles is None:
        triangles = _noted(notes, paths.get("triangles.npy"), _read_triangles)
    count = ARKIT_VERTICES if template is None else len(template.vertices)
    if triangles is not None and triangles.max(initial=0) >= count:
        notes.append(f"The triangles do not fit a mesh of {count} vertices.")
        triangles = None
    if ids is not None and not (ids.shape == (68,) and 0 <= ids.min() <= ids.max() < count):
        notes.append(f"kpt_ind.npy does not hold 68 vertices of a mesh of {count}.")
        ids = None
    if triangles is None:
        notes.append("No usable ARKitFace_resources/example.obj: the mesh is points only.")
    if ids is None:
        notes.append("No usable ARKitFace_resources/kpt_ind.npy: the mesh has no 68 landmarks.")
    uv = _uv(template, paths.get(_UV), count, notes)
    return FaceTopology(count, triangles, ids, uv, tuple(notes))


def _noted(notes: list[str], path: Path | None, read: Callable[[Path], object]) -> object | None:
    if path is None:
        return None
    try:
        return read(path)
    except DatasetError as error:
        notes.append(str(error))
        return None


def _uv(
    template: ObjTemplate | None, path: Path | None, count: int, notes: list[str]
) -> Float[Array, "v 2"] | None:
    """Of the template, or of the file, whose first rows are the vertices."""
    if template is not None and template.uv is not None:
        return template.uv
    uv = _noted(notes, path, read_npy)
    if uv is None or uv.ndim != 2 or uv.shape[1] != 2 or len(uv) < count or uv.dtype.kind != "f":
        return None
    return uv[:count].astype(np.float64)


def _read_ids(path: Path) -> Int[Array, "n"]:
    ids = read_npy(path)
    if ids.dtype.kind not in "iu" or ids.size == 0:
        raise DatasetError(f"{path} holds no vertex numbers.")
    return ids.ravel().astype(np.int64)


def _read_triangles(path: Path) -> Int[Array, "f 3"]:
    triangles = read_npy(path)
    if triangles.dtype.kind not in "iu" or triangles.ndim != 2 or triangles.shape[1] != 3:
        raise DatasetError(f"{path} holds no triangles.")
    return triangles.astype(np.int64)


def read_obj_template(path: Path) -> ObjTemplate:
    """Vertices, triangles and texture coordinates of a Wavefront file, nothing re-ordered.

    Raises: DatasetError.
    """
    rows: dict[str, list[list[str]]] = {"v": [], "vt": [], "f": []}
    for line in read_list_text(path).splitlines():
        kind, *fields = line.split() or [""]
        if kind in rows:
            rows[kind].append(fields)
    try:
        vertices = np.array([row[:3] for row in rows["v"]], np.float64).reshape(-1, 3)
        corners = [[corner.split("/")[0] for corner in row] for row in rows["f"]]
        triangles = np.array(corners, np.int64).reshape(-1, 3) - 1
        uv = np.array([row[:2] for row in rows["vt"]], np.float64).reshape(-1, 2)
    except ValueError as error:
        raise DatasetError(f"{path} is no mesh of triangles: {error}.") from error
    if triangles.size and not 0 <= triangles.min() <= triangles.max() < len(vertices):
        raise DatasetError(f"{path} has triangles of vertices that are not there.")
    return ObjTemplate(vertices, triangles, uv if len(uv) == len(vertices) > 0 else None)


def flip_index_from_uv(uv: Float[Array, "v 2"]) -> Int[Array, "v"]:
    """The vertex that each vertex becomes in a mirror, from a template that is symmetric in u.

    Mirrored coordinates (1 - u, v) are matched to the nearest vertex.
    Raises: DatasetError unless that is an exact involution: every vertex its partner's partner.
    """
    distance, flip_index = cKDTree(uv).query(uv * [-1.0, 1.0] + [1.0, 0.0])
    if distance.max(initial=0.0) > UV_TOLERANCE:
        raise DatasetError(f"The texture template is not symmetric: {distance.max():.3f} apart.")
    return checked_flip_index(flip_index, len(uv), "the texture template")


def checked_flip_index(flip_index: Int[Array, "_n"], count: int, what: str) -> Int[Array, "_n"]:
    """The same, if it is an involution of so many vertices. Raises: DatasetError."""
    is_ids = flip_index.shape == (count,) and flip_index.dtype.kind in "iu"
    if is_ids and 0 <= flip_index.min() <= flip_index.max() < count:
        ids = flip_index.astype(np.int64)
        if np.array_equal(ids[ids], np.arange(count)):
            return ids
    raise DatasetError(f"The mirror order of {what} is no involution of {count} vertices.")
