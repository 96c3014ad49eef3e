"""FLAME's own files as plain arrays: FLAME2020's and FLAME2023's pickles, and an .npz of them.

The pickles are Python 2's and hold chumpy and SciPy objects; neither is imported, nothing in the
file is run, and what it may name is listed here. Users bring these files: FLAME 2020 and 2023 need
a registration at https://flame.is.tue.mpg.de , FLAME 2023 Open is CC-BY-4.0.

Frame `flame`: x to the subject's left, y up, z out of the face, metres, origin inside the head.
"""

from __future__ import annotations

import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from models.flame.assets import HeadAssets, HeadAssetsError
from models.geometry.rotations import GL_FROM_CV, about_x
from models.safe_pickle import NUMPY_ARRAYS, UnsafePickleError, read_npy, read_pickle

Array = np.ndarray

FLAME_VERTICES, FLAME_TRIANGLES = 5023, 9976
SHAPE_COUNT = 300
"""FLAME's directions are 300 of identity, then 100 of expression."""

MAX_VERTICES, MAX_JOINTS, MAX_NPZ_BYTES = 200_000, 64, 1 << 30
JOINT_NAMES = ("root", "neck", "jaw", "eye_l", "eye_r")
_KEYS = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
_WEIGHT_SUM_ERROR = 1e-3

_HEAD_TILT_DEG, _HEAD_OFFSET_M = 5.756, (0.0, -0.0064, -0.0015)
T_HEAD_FROM_FLAME = np.eye(4)
T_HEAD_FROM_FLAME[:3, :3] = about_x(_HEAD_TILT_DEG) @ GL_FROM_CV
T_HEAD_FROM_FLAME[:3, 3] = _HEAD_OFFSET_M
"""p_head = T @ p_flame, metres. As for the pose models: tilt of FLAME's mean face (51 inner
landmarks) to 300W-LP's model about x, and its landmarks' centroid to that of ARKit's mean face."""


@dataclass(frozen=True)
class FlameModel:
    """A head of FLAME's form: v vertices, f triangles, s identity, e expression and p pose
    directions, j joints.

    name: of its file. triangles: counter-clockwise seen from outside.
    shape_directions_m: offsets for one standard deviation each; expression_directions_m alike.
    pose_directions_m: p = 9 (j - 1): offsets for the entries, row by row, of (R_k - identity) of
        joints 1, 2, ...; the root has none.
    joint_regressor: joints = joint_regressor @ vertices of the unposed person.
    joint_parents: -1 for the root, which is first; a parent comes before its children.
    skinning_weights: how far each vertex follows each joint; rows sum to 1.
    """

    name: str
    template_vertices_m: Float[Array, "v 3"]
    triangles: Int[Array, "f 3"]
    shape_directions_m: Float[Array, "s v 3"]
    expression_directions_m: Float[Array, "e v 3"]
    pose_directions_m: Float[Array, "p v 3"]
    joint_names: tuple[str, ...]
    joint_parents: Int[Array, "j"]
    joint_regressor: Float[Array, "j v"]
    skinning_weights: Float[Array, "v j"]

    def __post_init__(self) -> None:
        v, j = len(self.template_vertices_m), len(self.joint_names)
        wanted = {
            "template_vertices_m": (v, 3),
            "triangles": (len(self.triangles), 3),
            "shape_directions_m": (len(self.shape_directions_m), v, 3),
            "expression_directions_m": (len(self.expression_directions_m), v, 3),
            "pose_directions_m": (9 * (j - 1), v, 3),
            "joint_parents": (j,),
            "joint_regressor": (j, v),
            "skinning_weights": (v, j),
        }
        for name, shape in wanted.items():
            array = getattr(self, name)
            if array.shape != shape:
                self._refuse(f"{name} has shape {array.shape}, expected {shape}")
            if not np.isfinite(array).all():
                self._refuse(f"{name} has numbers that are not finite")
        if not self.triangles.size or not 0 <= self.triangles.min() <= self.triangles.max() < v:
            self._refuse(f"its triangles point outside 0 to {v - 1}")
        parents = self.joint_parents
        if parents[0] != -1 or any(not 0 <= p < k for k, p in enumerate(parents[1:], 1)):
            self._refuse(f"its joints' parents {parents.tolist()} are no tree from the first joint")
        if np.abs(self.skinning_weights.sum(1) - 1).max() > _WEIGHT_SUM_ERROR:
            self._refuse("its skinning weights do not sum to 1")

    def _refuse(self, why: str) -> None:
        raise HeadAssetsError(f"{self.name} is no head model of FLAME's form: {why}.")

    @property
    def is_flame_topology(self) -> bool:
        """Whether the counts are FLAME's."""
        return has_flame_counts(len(self.template_vertices_m), len(self.triangles))


def has_flame_counts(vertices: int, triangles: int) -> bool:
    """Whether a mesh has as many vertices and triangles as FLAME's head."""
    return (vertices, triangles) == (FLAME_VERTICES, FLAME_TRIANGLES)


def load_flame_model(path: Path | str, shape_count: int = SHAPE_COUNT) -> FlameModel:
    """A FLAME model from generic_model.pkl, flame2023*.pkl, or an .npz of `write_flame_npz`.

    shape_count: how many of the directions are of identity, where the file does not say.
    Raises: HeadAssetsError if the file is missing, damaged, hostile or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise HeadAssetsError(f"{path} is missing. FLAME is at https://flame.is.tue.mpg.de .")
    try:
        arrays = _npz_arrays(path) if path.suffix == ".npz" else _pickled_arrays(path)
    except UnsafePickleError as error:
        raise HeadAssetsError(str(error)) from error
    return _model(arrays, path.name, int(arrays.get("shape_count", shape_count)))


def write_flame_npz(path: Path | str, model: FlameModel) -> None:
    """The model under FLAME's own names, without pickles; written beside and renamed."""
    path = Path(path)
    directions = np.concatenate([model.shape_directions_m, model.expression_directions_m])
    arrays = {
        "v_template": model.template_vertices_m,
        "f": model.triangles.astype(np.uint32),
        "shapedirs": directions.transpose(1, 2, 0),
        "posedirs": model.pose_directions_m.transpose(1, 2, 0),
        "J_regressor": model.joint_regressor,
        "weights": model.skinning_weights,
        "kintree_table": np.stack([model.joint_parents, np.arange(len(model.joint_parents))]),
        "shape_count": np.array(len(model.shape_directions_m)),
    }
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, **arrays)
    unfinished.replace(path)


def flame_model_from_open_head(head: HeadAssets) -> FlameModel:
    """The project's open head in FLAME's form; it has no pose directions, so these are 0.

    Its expressions are ARKit's 52 by name, its root joint is the neck, its frame `open_head`.
    """
    v, j = len(head.template_vertices_m), len(head.joint_names)
    return FlameModel(
        name="the open head",
        template_vertices_m=head.template_vertices_m,
        triangles=head.triangles,
        shape_directions_m=head.shape_directions_m,
        expression_directions_m=head.expression_directions_m,
        pose_directions_m=np.zeros((9 * (j - 1), v, 3)),
        joint_names=head.joint_names,
        joint_parents=head.joint_parents,
        joint_regressor=head.joint_regressor,
        skinning_weights=head.skinning_weights / head.skinning_weights.sum(1, keepdims=True),
    )


class _Chumpy:
    """Stands in for chumpy.ch.Ch: an array with a cache; the array is in its state as `x`."""

    array: Array | None = None

    def __setstate__(self, state: dict) -> None:
        if not isinstance(state.get("x"), np.ndarray):
            raise UnsafePickleError("a chumpy object without its array `x`")
        self.array = state["x"]


class _Sparse:
    """Stands in for SciPy's csc_matrix: columns one after the other."""

    array: Array | None = None

    def __setstate__(self, state: dict) -> None:
        rows, columns = state["_shape"] if "_shape" in state else state["shape"]
        data, ids, starts = (np.asarray(state[name]) for name in ("data", "indices", "indptr"))
        if not (0 <= rows <= MAX_JOINTS and 0 <= columns <= MAX_VERTICES):
            raise UnsafePickleError(f"a sparse matrix of {rows} by {columns} numbers")
        counts = np.diff(starts)
        fits = len(starts) == columns + 1 and starts[0] == 0 and starts[-1] == len(data) == len(ids)
        if not fits or (counts < 0).any() or (len(ids) and not 0 <= ids.min() <= ids.max() < rows):
            raise UnsafePickleError("a sparse matrix whose parts do not fit together")
        self.array = np.zeros((rows, columns))
        np.add.at(self.array, (ids, np.repeat(np.arange(columns), counts)), data)


def _new_object(cls: type, base: type, state: object) -> object:
    """Python 2's way to make an object before its state is given."""
    if cls not in (_Chumpy, _Sparse):
        raise UnsafePickleError("an object of a kind that FLAME does not have")
    return cls()


_FLAME_NAMES = {
    "chumpy.ch.Ch": _Chumpy,
    "scipy.sparse.csc.csc_matrix": _Sparse,
    "scipy.sparse._csc.csc_matrix": _Sparse,
    "copy_reg._reconstructor": _new_object,
    "copyreg._reconstructor": _new_object,
    "__builtin__.object": object,
    "builtins.object": object,
    "__builtin__.set": set,
    "builtins.set": set,
    "collections.OrderedDict": OrderedDict,
}


def _pickled_arrays(path: Path) -> dict[str, Array]:
    table = read_pickle(path, NUMPY_ARRAYS, encoding="latin1", stand_ins=_FLAME_NAMES)
    if not isinstance(table, dict):
        raise HeadAssetsError(f"{path} holds a {type(table).__name__}, not FLAME's dictionary.")
    arrays = {}
    for key in _KEYS:
        value = table.get(key)
        array = value.array if isinstance(value, _Chumpy | _Sparse) else value
        if isinstance(array, np.ndarray):
            arrays[key] = np.asarray(array)
    return arrays


def _npz_arrays(path: Path) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(path) as file:
            members = {info.filename.removesuffix(".npy"): info for info in file.infolist()}
            wanted = [key for key in (*_KEYS, "shape_count") if key in members]
            if sum(members[key].file_size for key in wanted) > MAX_NPZ_BYTES:
                raise HeadAssetsError(f"{path} unpacks to more than 1 GiB and was not opened.")
            return {key: read_npy(file.read(members[key]), frozenset(), path) for key in wanted}
    except (OSError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise HeadAssetsError(f"{path} is not a readable .npz file ({error}).") from error


def _model(arrays: Mapping[str, Array], name: str, shape_count: int) -> FlameModel:
    missing = [key for key in _KEYS if key not in arrays]
    if missing:
        raise HeadAssetsError(f"{name} is no FLAME model: it has no array {', '.join(missing)}.")
    dimensions = dict(zip(_KEYS, (2, 2, 3, 3, 2, 2, 2), strict=True))
    for key, count in dimensions.items():
        if arrays[key].ndim != count or arrays[key].dtype.kind not in "fiu":
            shape, kind = arrays[key].shape, arrays[key].dtype
            raise HeadAssetsError(f"{name} is no FLAME model: {key} is {shape} of {kind}.")
    directions = arrays["shapedirs"].transpose(2, 0, 1).astype(np.float64)
    joints = len(arrays["J_regressor"])
    is_flame = joints == len(JOINT_NAMES)
    # The root's parent is 4294967295 in FLAME's file.
    parents = arrays["kintree_table"][0].astype(np.int64)
    return FlameModel(
        name=name,
        template_vertices_m=arrays["v_template"].astype(np.float64),
        triangles=arrays["f"].astype(np.int64),
        shape_directions_m=directions[:shape_count],
        expression_directions_m=directions[shape_count:],
        pose_directions_m=arrays["posedirs"].transpose(2, 0, 1).astype(np.float64),
        joint_names=JOINT_NAMES if is_flame else tuple(f"joint {k}" for k in range(joints)),
        joint_parents=np.where(parents >= joints, -1, parents),
        joint_regressor=arrays["J_regressor"].astype(np.float64),
        skinning_weights=arrays["weights"].astype(np.float64),
    )
