"""MATLAB's MAT-files of level 5, numbers only, with bounded memory.

SciPy's reader inflates whatever a file asks for, so a file of a few kilobytes can fill the memory;
this one stops at a limit. Format: MathWorks, "MAT-File Format", R2019b, chapter 1.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from viewer.datasets.source import DatasetError

Array = np.ndarray

MAX_FILE_BYTES = 1 << 20
MAX_VARIABLE_BYTES = 4 << 20
"""Labels of 300W-LP have 4 kB a file."""

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8"} | {
    13: "u8"
}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4"} | {
    14: "i8",
    15: "u8",
}
_COMPLEX = 0x0800


class _DamagedError(ValueError):
    """What is wrong with the bytes, for the end of a sentence."""


def read_mat(path: Path, only: frozenset[str] | None = None) -> dict[str, Array]:
    """The real numeric variables of a file, two-dimensional as MATLAB has them.

    only: the names wanted; what stands behind the last of them is not looked at. None: all.
    Texts, cells, structs and complex numbers are left out.
    Raises: DatasetError if the file is missing, damaged, of another version, or too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        if len(content) > MAX_FILE_BYTES:
            raise _DamagedError("it is larger than 1 MiB")
        found: dict[str, Array] = {}
        for name, values in _variables(content, only):
            found[name] = values
            if only is not None and found.keys() >= only:
                break
        return found
    except (_DamagedError, struct.error, zlib.error) as error:
        raise DatasetError(f"{path} is no MAT-file of labels: {error}.") from error


def _variables(content: bytes, only: frozenset[str] | None) -> Iterator[tuple[str, Array]]:
    if len(content) < _HEADER_BYTES or content[126:128] not in (b"IM", b"MI"):
        raise _DamagedError("it does not start as files of level 5 do")
    order = "<" if content[126:128] == b"IM" else ">"
    at = _HEADER_BYTES
    while at + 8 <= len(content):
        kind, size = struct.unpack_from(order + "2I", content, at)
        at += 8
        if at + size > len(content):
            raise _DamagedError("it is cut short")
        body = content[at : at + size]
        at += size if kind == _COMPRESSED else -(-size // 8) * 8
        if kind == _COMPRESSED:
            kind, body = _inflated(body, order)
        if kind == _MATRIX:
            yield from _matrix(body, order, only)


def _inflated(body: bytes, order: str) -> tuple[int, bytes]:
    inflated = zlib.decompressobj().decompress(body, MAX_VARIABLE_BYTES)
    kind, size = struct.unpack_from(order + "2I", inflated)
    if len(inflated) < 8 + size:
        raise _DamagedError("a variable is cut short or larger than 4 MiB")
    return kind, inflated[8 : 8 + size]


def _matrix(body: bytes, order: str, only: frozenset[str] | None) -> Iterator[tuple[str, Array]]:
    """One variable, if it is wanted and made of real numbers."""
    parts = _elements(body, order)
    _, flags = next(parts, (0, b""))
    _, dimensions = next(parts, (0, b""))
    _, name = next(parts, (0, b""))
    (flag_bits,) = struct.unpack_from(order + "I", flags)
    name = name.decode("ascii", "replace")
    kind = _CLASSES.get(flag_bits & 0xFF)
    if kind is None or flag_bits & _COMPLEX or (only is not None and name not in only):
        return
    shape = struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions)
    stored, data = next(parts, (0, b""))
    if stored not in _STORED or min(shape, default=-1) < 0:
        raise _DamagedError(f"{name} has no numbers")
    values = np.frombuffer(data, order + _STORED[stored]) if data else np.zeros(0)
    if len(values) != math.prod(shape):
        raise _DamagedError(f"{name} has {len(values)} numbers for the shape {shape}")
    yield name, values.astype(kind).reshape(shape, order="F")


def _elements(body: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and bytes of each element; up to four bytes sit in the tag itself."""
    at = 0
    while at + 8 <= len(body):
        (word,) = struct.unpack_from(order + "I", body, at)
        if word >> 16:
            kind, size, start, step = word & 0xFFFF, word >> 16, at + 4, 8
        else:
            (size,) = struct.unpack_from(order + "I", body, at + 4)
            kind, start, step = word, at + 8, 8 + -(-size // 8) * 8
        if start + size > len(body) or (step == 8 and size > 4):
            raise _DamagedError("a variable is cut short")
        yield kind, body[start : start + size]
        at += step
