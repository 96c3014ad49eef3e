"""FLAME's own files as plain arrays: FLAME2020's and FLAME2023's pickles, and .npz files.

The pickles are Python 2's and hold chumpy and SciPy objects; neither is imported, nothing in the
file is run, and what it may name is listed here.
"""

from __future__ import annotations

import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path

import numpy as np

from models.safe_pickle import (
    NUMPY_ARRAYS,
    UnsafePickleError,
    read_npy,
    read_pickle,
    spend_bytes,
)

Array = np.ndarray

MAX_VERTICES, MAX_JOINTS, MAX_NPZ_BYTES, MAX_NPZ_MEMBERS = 200_000, 64, 256 << 20, 256
FLAME_KEYS = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")


class FlameFileError(ValueError):
    """A file of FLAME's is missing, damaged, hostile or of another kind; the message says which."""


def read_flame_arrays(path: Path) -> dict[str, Array]:
    """What a FLAME pickle holds under FLAME_KEYS, or all arrays of an .npz.

    Raises: FlameFileError.
    """
    if not path.is_file():
        raise FlameFileError(f"{path} is missing. FLAME is at https://flame.is.tue.mpg.de .")
    try:
        return _npz_arrays(path) if path.suffix == ".npz" else _pickled_arrays(path)
    except UnsafePickleError as error:
        raise FlameFileError(str(error)) from error


class _Chumpy:
    """Stands in for chumpy.ch.Ch: an array with a cache; the array is in its state as `x`."""

    array: Array | None = None

    def __setstate__(self, state: dict) -> None:
        if not isinstance(state.get("x"), np.ndarray):
            raise UnsafePickleError("a chumpy object without its array `x`")
        self.array = state["x"]


class _Sparse:
    """Stands in for SciPy's csc_matrix: columns one after the other.

    Checked when it is read, spread out only when it is used: a file may hold many.
    """

    parts: tuple[Array, Array, Array] | None = None
    shape = (0, 0)

    def __setstate__(self, state: dict) -> None:
        rows, columns = state["_shape"] if "_shape" in state else state["shape"]
        data, ids, starts = (np.asarray(state[name]) for name in ("data", "indices", "indptr"))
        if not (0 <= rows <= MAX_JOINTS and 0 <= columns <= MAX_VERTICES):
            raise UnsafePickleError(f"a sparse matrix of {rows} by {columns} numbers")
        spend_bytes(data.nbytes + ids.nbytes + starts.nbytes)
        counts = np.diff(starts)
        fits = len(starts) == columns + 1 and starts[0] == 0 and starts[-1] == len(data) == len(ids)
        if not fits or (counts < 0).any() or (len(ids) and not 0 <= ids.min() <= ids.max() < rows):
            raise UnsafePickleError("a sparse matrix whose parts do not fit together")
        self.parts, self.shape = (data, ids, counts), (rows, columns)

    @property
    def array(self) -> Array | None:
        if self.parts is None:
            return None
        data, ids, counts = self.parts
        array = np.zeros(self.shape)
        np.add.at(array, (ids, np.repeat(np.arange(self.shape[1]), counts)), data)
        return array


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
        raise FlameFileError(f"{path} holds a {type(table).__name__}, not FLAME's dictionary.")
    arrays = {}
    for key in FLAME_KEYS:
        value = table.get(key)
        array = value.array if isinstance(value, _Chumpy | _Sparse) else value
        if isinstance(array, np.ndarray):
            arrays[key] = np.asarray(array)
    return arrays


def _npz_arrays(path: Path) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(path) as file:
            members = {info.filename.removesuffix(".npy"): info for info in file.infolist()}
            if len(members) > MAX_NPZ_MEMBERS:
                raise FlameFileError(f"{path} holds {len(members)} arrays and was not opened.")
            if sum(info.file_size for info in members.values()) > MAX_NPZ_BYTES:
                raise FlameFileError(f"{path} unpacks to more than 256 MiB and was not opened.")
            return {
                name: read_npy(file.read(info), frozenset(), f"{path} ({name})")
                for name, info in members.items()
            }
    except (
        OSError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error
    ) as error:  # fmt: skip
        raise FlameFileError(f"{path} is not a readable .npz file ({error}).") from error
