"""Where FLAME's 68 landmarks lie (landmark_embedding.npy), and its vertex masks (FLAME_masks.pkl).

landmark_embedding.npy pickles tensors of PyTorch, each with a whole torch file inside; the usual
way to read it runs whatever that file says. Here it is read with NumPy alone.
"""

from __future__ import annotations

import io
import math
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from models.flame.flame_files import FlameFileError
from models.flame.open_head import HeadAssets
from models.safe_pickle import (
    NUMPY_ARRAYS,
    PLAIN,
    UnsafePickleError,
    load_pickle,
    read_npy,
    read_pickle,
    spend_bytes,
)

Array = np.ndarray

CONTOUR_COUNT = 17
CONTOUR_MAX_DEG = 39
MAX_EMBEDDING_BYTES = 64 << 20

_TORCH_MAGIC, _TORCH_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_TORCH_STORAGES = {
    "torch.LongStorage": np.dtype("<i8"),
    "torch.IntStorage": np.dtype("<i4"),
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.DoubleStorage": np.dtype("<f8"),
}


@dataclass(frozen=True)
class HeadLandmarks:
    """iBUG's 68 landmarks as points on triangles: three vertices and their weights each.

    static_*: all 68 on the skin; the first 17 are the jaw line of a head seen from in front.
    contour_*: those 17 where a turned head's outline is, r rows; r = 0 where it is not known, else
        79: row y for a head turned y degrees to its own left, row 39 + y to its own right.
    """

    static_vertex_ids: Int[Array, "68 3"]
    static_weights: Float[Array, "68 3"]
    contour_vertex_ids: Int[Array, "r 17 3"]
    contour_weights: Float[Array, "r 17 3"]


def landmarks_of_open_head(head: HeadAssets) -> HeadLandmarks:
    """The open head's landmarks; it has no table of outlines."""
    ids = head.landmark_68_of_468
    return HeadLandmarks(
        static_vertex_ids=head.landmark_468_vertex_ids[ids],
        static_weights=head.landmark_468_weights[ids],
        contour_vertex_ids=np.zeros((0, CONTOUR_COUNT, 3), np.int64),
        contour_weights=np.zeros((0, CONTOUR_COUNT, 3)),
    )


def read_landmark_embedding(path: Path | str, triangles: Int[Array, "f 3"]) -> HeadLandmarks:
    """MICA's and DECA's landmark_embedding.npy, for a mesh with these triangles.

    Raises: FlameFileError if the file is missing, damaged, hostile or of another kind.
    """
    path = Path(path)
    table = _read_table(path)
    parts = {}
    for name in ("static", "dynamic", "full"):
        ids = np.asarray(table.get(f"{name}_lmk_faces_idx", ()))
        weights = np.asarray(table.get(f"{name}_lmk_bary_coords", ()))
        if ids.dtype.kind not in "iu" or weights.shape != (*ids.shape, 3):
            raise FlameFileError(f"{path} has no landmarks under {name}_lmk_faces_idx.")
        if not ids.size or not 0 <= ids.min() <= ids.max() < len(triangles):
            raise FlameFileError(f"{path} is for a mesh with other triangles ({name}).")
        parts[name] = triangles[ids].astype(np.int64), weights.astype(np.float64)
    full_ids, full_weights = parts["full"]
    contour_ids, contour_weights = parts["dynamic"]
    if full_ids.size != 68 * 3 or contour_ids.shape != (2 * CONTOUR_MAX_DEG + 1, 17, 3):
        raise FlameFileError(f"{path} has {full_ids.shape} and {contour_ids.shape} landmarks.")
    return HeadLandmarks(
        full_ids.reshape(68, 3), full_weights.reshape(68, 3), contour_ids, contour_weights
    )


def read_flame_masks(path: Path | str) -> dict[str, Int[Array, "_n"]]:
    """Vertex numbers by region ("face", "scalp", "nose", ...) of FLAME_masks.pkl.

    Raises: FlameFileError if the file is missing, damaged, hostile or of another kind.
    """
    path = Path(path)
    try:
        table = read_pickle(path, NUMPY_ARRAYS, encoding="latin1")
    except (OSError, UnsafePickleError) as error:
        raise FlameFileError(str(error)) from error
    is_mask = isinstance(table, dict) and all(
        isinstance(ids, np.ndarray)
        and ids.ndim == 1
        and ids.dtype.kind in "iu"
        and (ids >= 0).all()
        for ids in table.values()
    )
    if not is_mask:
        raise FlameFileError(f"{path} is not FLAME's table of vertex masks.")
    return {str(name): np.asarray(ids, np.int64) for name, ids in table.items()}


def _read_table(path: Path) -> dict:
    try:
        if path.stat().st_size > MAX_EMBEDDING_BYTES:
            raise FlameFileError(f"{path} is larger than 64 MiB and was not opened.")
        array = read_npy(path.read_bytes(), NUMPY_ARRAYS, path, stand_ins=_EMBEDDING_NAMES)
    except (OSError, UnsafePickleError) as error:
        raise FlameFileError(str(error)) from error
    table = array.item() if array.size == 1 else None
    if not isinstance(table, dict):
        raise FlameFileError(f"{path} is not FLAME's table of landmarks.")
    return table


def _storage(data: bytes) -> Array:
    """The numbers of a storage that torch.save wrote in its old format."""
    spend_bytes(len(data))
    file = io.BytesIO(data)
    magic, protocol, system = (load_pickle(file, PLAIN, "a tensor") for _ in range(3))
    if (magic, protocol) != (_TORCH_MAGIC, _TORCH_PROTOCOL) or not system.get("little_endian"):
        raise UnsafePickleError("a tensor in a format that is not read here")
    kind, dtype, _, _, count, *_ = load_pickle(
        file, PLAIN, "a tensor", stand_ins=_TORCH_STORAGES, outside=tuple
    )
    load_pickle(file, PLAIN, "a tensor")
    stated = int.from_bytes(file.read(8), "little")
    raw = file.read()
    if kind != "storage" or not isinstance(dtype, np.dtype) or stated != count:
        raise UnsafePickleError("a tensor in a format that is not read here")
    if len(raw) != count * dtype.itemsize:
        raise UnsafePickleError("a tensor whose content does not fit its size")
    return np.frombuffer(raw, dtype)


def _tensor(
    storage: Array,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: object = False,
    hooks: object = None,
    metadata: object = None,
) -> Array:
    """A tensor as a view of its storage; strides count elements, as PyTorch's do."""
    numbers = (offset, *size, *stride)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    is_inside = all(type(n) is int and n >= 0 for n in numbers) and last < len(storage)
    if not is_inside or not 0 < math.prod(size) <= len(storage):
        raise UnsafePickleError("a tensor that reaches beyond its content")
    spend_bytes(math.prod(size) * storage.itemsize)
    strides = [storage.itemsize * step for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides).copy()


_EMBEDDING_NAMES = {
    "collections.OrderedDict": OrderedDict,
    "torch.storage._load_from_bytes": _storage,
    "torch._utils._rebuild_tensor_v2": _tensor,
}
