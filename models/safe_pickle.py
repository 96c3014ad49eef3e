"""The only unpickler of foreign files: a pickle names any code, here only what is allowed."""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np

MAX_PICKLE_BYTES = 512 << 20

COPIES, SLACK_BYTES = 4, 1 << 20
"""A pickle's arrays may hold so many times its own length, and a little more; a text that is used
twice counts twice."""

_left_bytes: ContextVar[int] = ContextVar("left_bytes")

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


def spend_bytes(size: int) -> None:
    """Called by stand-ins for what they copy: a few bytes may name the same text again and again.

    Raises: UnsafePickleError when it is more than this pickle may hold.
    """
    _left_bytes.set(_left_bytes.get() - size)
    if _left_bytes.get() < 0:
        raise UnsafePickleError("arrays of more bytes than the file has")


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
        spend_bytes(len(data))
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
    spend_bytes(len(data))
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
    spend_bytes(len(data))
    dtype = pickled_dtype.dtype()
    if dtype.hasobject or axes is not None or order not in ("C", "F"):
        raise UnsafePickleError("an array in a layout that is not read here")
    return np.frombuffer(data, dtype).reshape(shape, order=order).copy(order).view(PickledArray)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How Python 3 writes bytes for Python 2; other encodings of the real function may grow."""
    if encoding not in ("latin1", "latin-1"):
        raise UnsafePickleError(f"text in the encoding {encoding[:20]!r}, which is not read here")
    spend_bytes(len(text))
    return text.encode("latin1")


_STAND_INS: dict[str, object] = {
    "numpy.ndarray": PickledArray,
    "numpy.dtype": _PickledDtype,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.numeric._frombuffer": _from_buffer,
    "_codecs.encode": _encode,
}


class _Unpickler(pickle.Unpickler):
    def __init__(
        self,
        file: io.BufferedIOBase,
        allowed: Set[str],
        encoding: str,
        stand_ins: Mapping[str, object],
        outside: Callable[[object], object] | None,
    ) -> None:
        super().__init__(file, encoding=encoding)
        self._allowed, self._stand_ins = allowed, _STAND_INS | dict(stand_ins)
        self._outside = outside

    def find_class(self, module: str, name: str) -> object:
        if module.startswith("numpy.core."):
            module = "numpy._core." + module.removeprefix("numpy.core.")
        full = f"{module}.{name}"
        if full in self._stand_ins and (full in self._allowed or full not in _STAND_INS):
            return self._stand_ins[full]
        if full not in self._allowed:
            raise UnsafePickleError(f"{full}, which is not allowed in this kind of file")
        return super().find_class(module, name)

    def persistent_load(self, pid: object) -> object:
        if self._outside is None:
            raise UnsafePickleError("objects outside the file")
        return self._outside(pid)


# What the standard library's unpickler raises on damaged files.
_PICKLE_ERRORS = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


def read_pickle(
    path: Path | str,
    allowed: Set[str],
    *,
    encoding: str = "ASCII",
    stand_ins: Mapping[str, object] | None = None,
) -> object:
    """The object in a pickle file that names nothing but `allowed` ("module.name" each).

    encoding: of Python 2 strings; "latin1" for arrays pickled by Python 2.
    stand_ins: what is used in place of more names; these are allowed too, and never imported.
    Raises: UnsafePickleError if it names anything else, is no pickle, is cut short, or is larger
        than 512 MiB. FileNotFoundError if there is no such file.
    """
    path = Path(path)
    if path.stat().st_size > MAX_PICKLE_BYTES:
        raise UnsafePickleError(
            f"{path} is larger than {MAX_PICKLE_BYTES >> 20} MiB and was not opened."
        )
    with path.open("rb") as file:
        return load_pickle(file, allowed, path, encoding=encoding, stand_ins=stand_ins)


def load_pickle(
    file: io.BufferedIOBase,
    allowed: Set[str],
    what: object,
    *,
    encoding: str = "ASCII",
    stand_ins: Mapping[str, object] | None = None,
    outside: Callable[[object], object] | None = None,
) -> object:
    """The next object of a seekable stream, as `read_pickle`; the stream is left behind it.

    what: the file, for messages. outside: gives the objects that the pickle only refers to.
    """
    try:
        _check_memo(file)
        with _bounded(file):
            return _Unpickler(file, allowed, encoding, stand_ins or {}, outside).load()
    except UnsafePickleError as error:
        raise UnsafePickleError(
            f"{what} was not opened: it wants to load {error}. It may be damaged, or made to "
            "run code on this computer."
        ) from error
    except _PICKLE_ERRORS as error:
        raise UnsafePickleError(
            f"{what} is not a readable pickle ({type(error).__name__}). It may be cut short or "
            "another kind of file; get it again."
        ) from error


@contextmanager
def _bounded(file: io.BufferedIOBase) -> Iterator[None]:
    """Arrays in this load hold no more than a few times the rest of the stream."""
    start = file.tell()
    rest = file.seek(0, io.SEEK_END) - start
    file.seek(start)
    own, outer = COPIES * rest + SLACK_BYTES, _left_bytes.get(None)
    most = own if outer is None else min(own, outer)
    token = _left_bytes.set(most)
    try:
        yield
    finally:
        spent = most - _left_bytes.get()
        _left_bytes.reset(token)
        if outer is not None:  # a pickle inside another
            _left_bytes.set(outer - spent)


def _check_memo(file: io.BufferedIOBase) -> None:
    """A few bytes may name memo place 4,000,000,000, and the standard unpickler makes room."""
    start, puts = file.tell(), 0
    for name, argument in _operations(file):
        if name in ("PUT", "BINPUT", "LONG_BINPUT"):
            puts += 1
            if argument > 4 * puts + 1024:
                raise UnsafePickleError("a list of objects far longer than the file")
    file.seek(start)


def _operations(file: io.BufferedIOBase) -> Iterator[tuple[str, object]]:
    """As pickletools.genops, which does not read Python 2's strings of bytes beyond ASCII."""
    name = ""
    while name != "STOP":
        code = file.read(1).decode("latin1")
        if code not in pickletools.code2op:
            raise pickle.UnpicklingError("no operation" if code else "cut short")
        operation = pickletools.code2op[code]
        name = operation.name
        if name == "STRING":
            yield name, file.readline()
        else:
            yield name, operation.arg.reader(file) if operation.arg else None


def read_npy(data: bytes, allowed: Set[str], what: object, **options: object) -> np.ndarray:
    """The array of a .npy file's bytes; one of objects is a pickle, read as `load_pickle` does.

    what: the file, for messages. options: as `load_pickle`.
    Raises: UnsafePickleError for damaged bytes, sizes that are not those of the bytes, and names
        that are not allowed.
    """
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, is_fortran, dtype = read_header(file)
    except (LookupError, ValueError, SyntaxError, TypeError, EOFError) as error:
        raise UnsafePickleError(f"{what} is not a readable .npy array ({error}).") from error
    if dtype.hasobject:
        array = load_pickle(file, allowed, what, **options)
        if not isinstance(array, np.ndarray) or array.shape != shape:
            raise UnsafePickleError(f"{what} does not hold the array that its header promises.")
        return array
    if not dtype.itemsize:
        raise UnsafePickleError(f"{what} holds an array of nothing ({dtype}).")
    start = file.tell()
    if math.prod(shape) * dtype.itemsize != len(data) - start:
        raise UnsafePickleError(f"{what} holds {len(data) - start} bytes; {shape} {dtype} differs.")
    flat = np.frombuffer(data, dtype, offset=start)
    return flat.reshape(shape, order="F" if is_fortran else "C").copy()
