"""MICA's own files: FLAME parameters, registrations, lists of pictures; and its eight subsets.

Each number is given as the file has it; units and axes are decided in `mica.py`.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float, Int

from models.safe_pickle import NUMPY_ARRAYS, UnsafePickleError, read_npy
from viewer.datasets.source import DatasetError

Array = np.ndarray

MAX_LIST_BYTES, MAX_OBJ_BYTES, MAX_PARAMETER_BYTES = 64 << 20, 128 << 20, 16 << 20
MAX_FIELDS, MAX_PRINTED = 64, 1000
SHAPE_COUNT, EXPRESSION_COUNT, POSE_COUNT = 300, 100, 15
UNITS_M = {"metres": 1.0, "decimetres": 0.1, "centimetres": 0.01, "millimetres": 0.001}
HEAD_EXTENT_M = (0.16, 0.6)
"""Largest side of the bounding box of a head with its neck; FLAME's heads have 0.31 to 0.33 m."""

_DAMAGE = (OSError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Subset:
    """One of the eight. folder: its name in MICA's programs. subjects: as published.

    listed_actors, listed_images: in image_paths, which MICA was trained and validated with.
    """

    folder: str
    title: str
    subjects: int
    listed_actors: int
    listed_images: int
    link: str
    split: str = "train"


SUBSETS = (
    Subset("STIRLING", "Stirling", 133, 96, 649, "http://pics.stir.ac.uk/ESRC/"),
    Subset("D3DFACS", "D3DFACS", 10, 10, 6047, "https://www.cs.bath.ac.uk/~dpc/D3DFACS/"),
    Subset(
        "FLORENCE",
        "Florence 2D/3D",
        53,
        53,
        14207,
        "https://www.micc.unifi.it/resources/datasets/florence-3d-faces/",
        "validation",
    ),
    Subset(
        "BU3DFE",
        "BU-3DFE",
        100,
        100,
        5000,
        "https://www.cs.binghamton.edu/~lijun/Research/3DFE/3DFE_Analysis.html",
    ),
    Subset("LYHM", "LYHM", 1211, 1211, 2422, "https://www-users.cs.york.ac.uk/~nep/research/LYHM/"),
    Subset(
        "FACEWAREHOUSE",
        "FaceWarehouse",
        150,
        150,
        3000,
        "http://kunzhou.net/zjugaps/facewarehouse/",
    ),
    Subset(
        "FRGC",
        "FRGC",
        531,
        531,
        42206,
        "https://cvrl.nd.edu/projects/data/#face-recognition-grand-challenge-frgc-v20-data-collection",
    ),
    Subset(
        "BP4D",
        "BP4D+",
        127,
        127,
        12119,
        "http://www.cs.binghamton.edu/~lijun/Research/3DFE/3DFE_Analysis.html",
    ),
)


@dataclass(frozen=True)
class ActorImages:
    """An actor in a list of pictures. images: paths below the pictures' folder; parameters: of the
    .npz below FLAME_parameters."""

    images: tuple[str, ...]
    parameters: str


@dataclass(frozen=True)
class Parameters:
    """A fit of FLAME. betas: identity, then expression. pose_rad: root, neck, jaw, two eyes.

    printed: every field of the file, as text.
    """

    betas: Float[Array, "_k"] | None
    pose_rad: Float[Array, "15"] | None
    printed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ObjMesh:
    """Vertices in the file's order, unit and axes. triangles: polygons are cut into fans."""

    vertices: Float[Array, "v 3"]
    triangles: Int[Array, "f 3"]


def subset_of(folder: str) -> Subset | None:
    """The subset that a folder's name means ("BU-3DFE", "bp4d+", "Florence"), if it is one."""
    name = "".join(letter for letter in folder.upper() if letter.isalnum())
    return next((subset for subset in SUBSETS if name.startswith(subset.folder)), None)


def read_image_list(path: Path) -> dict[str, ActorImages]:
    """image_paths/SUBSET.npy: the actors and their pictures, in the file's order.

    Raises: DatasetError if the file is missing, damaged, hostile, or leaves its folder.
    """
    array = _unpickled(path, _bytes_of(path, MAX_LIST_BYTES))
    table = array.item() if array.size == 1 else None
    if not isinstance(table, dict):
        raise DatasetError(f"{path} holds no table of actors.")
    return {str(actor): _actor_images(path, actor, row) for actor, row in table.items()}


def read_parameters(path: Path) -> Parameters:
    """A FLAME_parameters .npz. Raises: DatasetError if it is missing, damaged or hostile."""
    arrays: dict[str, Array] = {}
    try:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
            size = sum(member.file_size for member in members)
            if size > MAX_PARAMETER_BYTES or len(members) > MAX_FIELDS:
                raise DatasetError(
                    f"{path} unpacks to {size} bytes in {len(members)} arrays; that is no fit."
                )
            for member in members:
                name = member.filename.removesuffix(".npy")
                arrays[name] = _unpickled(path, file.read(member))
    except _DAMAGE as error:
        raise DatasetError(f"{path} cannot be read: {error}.") from error
    betas, pose = (_numbers(path, name, arrays.get(name)) for name in ("betas", "pose"))
    if pose is not None and len(pose) != POSE_COUNT:
        raise DatasetError(f"{path}: pose has {len(pose)} numbers, {POSE_COUNT} are needed.")
    return Parameters(betas, pose, {name: _printed(arrays[name]) for name in sorted(arrays)})


def read_obj(path: Path) -> ObjMesh:
    """Vertices and faces of a Wavefront file; texture coordinates and normals are passed over.

    Raises: DatasetError if it is missing, damaged, or points at vertices that it has not.
    """
    text = _bytes_of(path, MAX_OBJ_BYTES).decode("ascii", "replace")
    vertices: list[list[float]] = []
    triangles: list[tuple[int, int, int]] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        try:
            if words[:1] == ["v"]:
                x, y, z = words[1:4]
                vertices.append([float(x), float(y), float(z)])
            elif words[:1] == ["f"]:
                ids = [_vertex_id(word, len(vertices)) for word in words[1:]]
                triangles += [(ids[0], b, c) for b, c in pairwise(ids[1:])]
        except (ValueError, IndexError) as error:
            raise DatasetError(f"{path}, line {number}: {line[:60]!r} ({error}).") from error
    points = np.array(vertices, np.float64).reshape(-1, 3)
    faces = np.array(triangles, np.int64).reshape(-1, 3)
    if not len(points) or not np.isfinite(points).all():
        raise DatasetError(f"{path} has {len(points)} vertices; finite ones are needed.")
    if len(faces) and not 0 <= faces.min() <= faces.max() < len(points):
        raise DatasetError(f"{path} has faces with vertices that it does not have.")
    return ObjMesh(points, faces)


def guess_unit(vertices: Float[Array, "v 3"]) -> str | None:
    """The unit in which the bounding box is that of a head; None where there is none."""
    largest = float(np.ptp(vertices, axis=0).max())
    low, high = HEAD_EXTENT_M
    fitting = [name for name, metres in UNITS_M.items() if low <= largest * metres <= high]
    return fitting[0] if fitting else None


def _vertex_id(word: str, count: int) -> int:
    """`7/3/5` or `7`; negative numbers count from the last vertex."""
    number = int(word.split("/", 1)[0])
    return number - 1 if number > 0 else count + number if number else -1


def _actor_images(path: Path, actor: object, row: object) -> ActorImages:
    if not isinstance(row, tuple | list) or len(row) != 2 or not isinstance(row[0], list | tuple):
        raise DatasetError(f"{path}: the row of {str(actor)[:40]!r} is no list of pictures.")
    for name in (actor, *row[0], row[1]):
        is_inside = isinstance(name, str) and not PurePosixPath(name).is_absolute()
        if not is_inside or {"..", ""} & set(name.replace("\\", "/").split("/")):
            raise DatasetError(f"{path}: {str(name)[:60]!r} is no path below the pictures.")
    return ActorImages(tuple(row[0]), row[1])


def _bytes_of(path: Path, limit: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > limit:
            raise DatasetError(f"{path} has {size} bytes; at most {limit} are read.")
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error}.") from error


def _unpickled(path: Path, data: bytes) -> Array:
    try:
        return read_npy(data, NUMPY_ARRAYS, path)
    except UnsafePickleError as error:
        raise DatasetError(str(error)) from error


def _numbers(path: Path, name: str, array: Array | None) -> Float[Array, "_k"] | None:
    """The array as floats; one of Python objects too, where they are numbers."""
    if array is None:
        return None
    if array.dtype == object and array.shape == () and isinstance(array.item(), np.ndarray):
        array = array.item()
    is_plain = array.dtype.kind in "fiu" or all(
        isinstance(value, int | float | np.number) for value in array.ravel().tolist()
    )
    values = np.asarray(array, np.float64).ravel() if is_plain else np.array([np.nan])
    if not np.isfinite(values).all():
        raise DatasetError(f"{path}: {name} holds something that is no finite number.")
    return values


def _printed(array: Array) -> str:
    """Numbers in full, as far as they are not thousands; of other things only what they are."""
    if array.dtype.kind in "fiub" and array.size <= MAX_PRINTED:
        return " ".join(f"{value:.7g}" for value in array.ravel())
    if array.dtype.kind in "US" and array.size == 1:
        return str(array.item())[:MAX_PRINTED]
    return f"{array.dtype} {array.shape}"
