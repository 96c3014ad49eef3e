"""The only unpickler of foreign files: a pickle names any code, here only what is allowed."""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Set
from pathlib import Path

import numpy as np

MAX_PICKLE_BYTES = 1 << 30

PLAIN: frozenset[str] = frozenset()
"""Numbers, strings, lists, dicts and the like: no class or function at all."""

NUMPY_ARRAYS: frozenset[str] = frozenset(
    {
        "numpy.ndarray",
        "numpy.dtype",
        "numpy._core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy._core.numeric._frombuffer",
        "_codecs.encode",
    }
)
"""What numpy needs for arrays and scalars, by the names of numpy 2 (numpy 1's are translated)."""


class UnsafePickleError(ValueError):
    """The pickle is refused or unreadable; the message says why."""


class _PickledDtype:
    """Stands in for numpy.dtype, whose own __setstate__ believes a file's flags and sizes."""

    def __init__(self, code: str, align: object = False, copy: object = True) -> None:
        if not re.fullmatch(r"[<>|=]?[biufcOSU?]\d{0,6}", str(code)):
            raise UnsafePickleError(f"an array type {str(code)[:20]!r} that is not read here")
        self.code, self.order = str(code).lstrip("|<>="), ""

    def __setstate__(self, state: tuple) -> None:
        _, order, subtype, names, fields, *_ = state
        if order not in ("<", ">", "|", "=") or (subtype, names, fields) != (None, None, None):
            raise UnsafePickleError("an array of records, which is not read here")
        self.order = order

    def dtype(self) -> np.dtype:
        return np.dtype(self.order + self.code)


class PickledArray(np.ndarray):
    """An array from a pickle; an ordinary one, but for the check of what it is filled with."""

    def __setstate__(self, state: tuple) -> None:
        _, shape, pickled_dtype, is_fortran, data = state
        dtype = pickled_dtype.dtype()
        if isinstance(data, str):  # Python 2, read as latin1
            data = data.encode("latin1")
        size = math.prod(shape)
        has_objects = dtype.hasobject
        expected = size if has_objects else size * dtype.itemsize
        if type(data) is not (list if has_objects else bytes) or len(data) != expected:
            raise UnsafePickleError("an array whose content does not fit its shape")
        super().__setstate__((1, tuple(shape), dtype, bool(is_fortran), data))


def _reconstruct(subtype: type, shape: object, code: object) -> PickledArray:
    return PickledArray((0,), np.int8)


def _scalar(pickled_dtype: _PickledDtype, data: bytes | str) -> np.generic:
    raw = data.encode("latin1") if isinstance(data, str) else bytes(data)
    dtype = pickled_dtype.dtype()
    if dtype.hasobject or len(raw) != dtype.itemsize:
        raise UnsafePickleError("a number whose content does not fit its type")
    return np.frombuffer(raw, dtype)[0]


def _from_buffer(
    data: bytes | bytearray,
    pickled_dtype: _PickledDtype,
    shape: tuple,
    order: str,
    axes: object = None,
) -> PickledArray:
    dtype = pickled_dtype.dtype()
    if dtype.hasobject or axes is not None or order not in ("C", "F"):
        raise UnsafePickleError("an array in a layout that is not read here")
    return np.frombuffer(data, dtype).reshape(shape, order=order).copy(order).view(PickledArray)


_STAND_INS = {
    "numpy.ndarray": PickledArray,
    "numpy.dtype": _PickledDtype,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.numeric._frombuffer": _from_buffer,
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file, allowed: Set[str], encoding: str) -> None:
        super().__init__(file, encoding=encoding)
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> object:
        if module.startswith("numpy.core."):
            module = "numpy._core." + module.removeprefix("numpy.core.")
        full = f"{module}.{name}"
        if full not in self._allowed:
            raise UnsafePickleError(f"{full}, which is not allowed in this kind of file")
        return _STAND_INS.get(full) or super().find_class(module, name)

    def persistent_load(self, pid: object) -> object:
        raise UnsafePickleError("objects outside the file")


def read_pickle(path: Path | str, allowed: Set[str], *, encoding: str = "ASCII") -> object:
    """The object in a pickle file that names nothing but `allowed` ("module.name" each).

    encoding: of Python 2 strings; "latin1" for arrays pickled by Python 2.
    Raises: UnsafePickleError if it names anything else, is no pickle, is cut short, or is larger
        than 1 GiB. FileNotFoundError if there is no such file.
    """
    path = Path(path)
    if path.stat().st_size > MAX_PICKLE_BYTES:
        raise UnsafePickleError(f"{path} is larger than 1 GiB and was not opened.")
    with path.open("rb") as file:
        try:
            return _Unpickler(file, allowed, encoding).load()
        except UnsafePickleError as error:
            raise UnsafePickleError(
                f"{path} was not opened: it wants to load {error}. It may be damaged, or made to "
                "run code on this computer."
            ) from error
        except (
            pickle.UnpicklingError,
            ArithmeticError,
            AttributeError,
            EOFError,
            ImportError,
            LookupError,
            MemoryError,
            TypeError,
            ValueError,
        ) as error:
            raise UnsafePickleError(
                f"{path} is not a readable pickle ({type(error).__name__}). It may be cut short or "
                "another kind of file; get it again."
            ) from error
