"""NumPy's files without pickles and with bounded memory."""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from viewer.datasets.source import DatasetError

Array = np.ndarray

MAX_ARRAY_BYTES = 8 << 20
MAX_ARRAYS = 64

_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# What zipfile and NumPy's header reader raise on damaged files, found by feeding them such files.
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    TypeError,
    OverflowError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)

Read = TypeVar("Read")


def read_npz(path: Path) -> tuple[dict[str, Array], tuple[str, ...]]:
    """The arrays of an .npz file by name, and the names of those that are pickles, not opened.

    Raises: DatasetError if the file is missing, damaged or larger than its limits.
    """
    return _reading(path, lambda: _archive(path))


def read_npy(path: Path) -> Array:
    """The array of an .npy file. Raises: DatasetError as `read_npz`, and for a pickle."""

    def read() -> Array:
        with path.open("rb") as file:
            array = _array(file.read(MAX_ARRAY_BYTES + 1))
        if array is None:
            raise ValueError("it is a pickle, which may run code, and was not opened")
        return array

    return _reading(path, read)


def _reading(path: Path, read: Callable[[], Read]) -> Read:
    try:
        return read()
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing.") from error
    except _DAMAGE as error:
        raise DatasetError(f"{path} cannot be used: {error}.") from error


def _archive(path: Path) -> tuple[dict[str, Array], tuple[str, ...]]:
    arrays: dict[str, Array] = {}
    pickled = []
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > MAX_ARRAYS:
            raise ValueError(f"it has {len(members)} arrays, {MAX_ARRAYS} are allowed")
        for member in members:
            name = member.filename.removesuffix(".npy")
            if member.file_size > MAX_ARRAY_BYTES:
                raise ValueError(f"{name} unpacks to {member.file_size} bytes, far too many")
            with archive.open(member) as file:
                array = _array(file.read(MAX_ARRAY_BYTES + 1))
            if array is None:
                pickled.append(name)
            else:
                arrays[name] = array
    return arrays, tuple(pickled)


def _array(content: bytes) -> Array | None:
    """The array in the bytes of an .npy file; None for a pickle."""
    if len(content) > MAX_ARRAY_BYTES:
        raise ValueError("an array is larger than 8 MiB")
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in _READERS:
        raise ValueError(f"version {version} of the format is not read here")
    shape, is_fortran, dtype = _READERS[version](file)
    if dtype.hasobject:
        return None
    data = content[file.tell() :]
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"its {len(data)} bytes do not fit the shape {shape}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")
