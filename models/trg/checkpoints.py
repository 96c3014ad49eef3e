"""Weights on disk: the released checkpoints of TRG and the arrays that they lack."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.safe_pickle import NUMPY_ARRAYS, UnsafePickleError, read_pickle
from models.trg.config import TrgConfig
from models.trg.network import Trg

Array = np.ndarray

WEIGHTS_FILE = "state_dict.bin"
EPOCH_FOLDER = "checkpoint-30"

PRE_RELEASE_NAMES = {
    "maf_extractor": "laf_extractor",
    "init_vertex": "init_face",
    "init_cam": "init_head_pose",
    "deccam": "decpose",
}
"""Parts of parameter names before the release, and what they became."""

ARRAY_LAYOUTS = {
    "sample_index": ("data/arkit_subsample.pkl", "checkpoint/arrays/arkit_subsample.pkl"),
    "triangles": ("data/triangles.npy", "checkpoint/arrays/triangles.npy"),
    "landmark_68_ids": ("npy/kpt_ind.npy", "checkpoint/arrays/kpt_ind.npy"),
    "uv": ("npy/uv_coords_std_202109.npy", "checkpoint/arrays/uv_coords_std_202109.npy"),
}
"""Where the released repository keeps an array, and ours; from the root that holds checkpoint/."""

INITIAL_FACE_LAYOUT = ("data/init_vtx_cam.pkl", "checkpoint/arrays/init_vtx_cam.pkl")
"""The face that the released network started its training from; its checkpoints carry it."""

_UNREADABLE = (
    *(RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError),
    *(AssertionError, ImportError, MemoryError, struct.error, zipfile.BadZipFile),
)
"""What torch.load raises on files that are damaged or of another kind."""


class CheckpointError(ValueError):
    """The weights or arrays cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class ReleasedArrays:
    """What the released network needs and its checkpoint lacks.

    mirror_vertex_ids: the vertex at the other side of the face, for each; None without the texture
        coordinates.
    """

    sample_index: Int[Array, "305"]
    triangles: Int[Array, "2304 3"]
    landmark_68_ids: Int[Array, "68"]
    mirror_vertex_ids: Int[Array, "1220"] | None


def find_weights_file(path: Path | str) -> Path:
    """The weights file meant by a path: itself, state_dict.bin in it, or that of epoch 30 in it.

    Raises: CheckpointError if there is none.
    """
    path = Path(path)
    for candidate in (path, path / WEIGHTS_FILE, path / EPOCH_FOLDER / WEIGHTS_FILE):
        if candidate.is_file():
            return candidate
    if path.is_dir():
        raise CheckpointError(
            f"{path} holds no {WEIGHTS_FILE} (nor does a folder {EPOCH_FOLDER} in it). "
            "Give the file or the folder that holds it."
        )
    raise CheckpointError(f"There is no weights file {path}.")


def _reject_what_is_no_checkpoint(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512).lstrip()
    if size == 0:
        raise CheckpointError(f"{path} is empty; get it again.")
    if head[:1] == b"<":
        raise CheckpointError(
            f"{path} is a web page, not weights: the download was answered with a page. Open the "
            "address in a browser, download the file there and put it in this place."
        )
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path} is a Git LFS pointer, not the weights; get the file itself.")
    if head.startswith(b"PK\x03\x04") and not _is_whole_zip(path):
        raise CheckpointError(
            f"{path} is cut short ({size:,} bytes): the download did not finish; get it again."
        )


def _is_whole_zip(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return False


def read_state_dict(path: Path | str) -> dict[str, Tensor]:
    """Tensors by released parameter name, from any file a TRG checkpoint comes in; nothing in it
    is executed.

    A raw state dict or one under "state_dict", with or without "module.", with pre-release names
    or not.
    path: as in `find_weights_file`. Raises: CheckpointError.
    """
    path = find_weights_file(path)
    _reject_what_is_no_checkpoint(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is no plain file of tensors and was not opened: it is damaged, another kind "
            "of file, or made to run code on this computer. Get the original file again."
        ) from error
    except _UNREADABLE as error:
        raise CheckpointError(
            f"{path} cannot be read as weights ({type(error).__name__}): it is damaged, cut short "
            "or another kind of file; get it again."
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path} holds no state dict, but {type(content).__name__}.")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path} is no state dict: {key!r} holds {type(value).__name__}, not a tensor."
            )
    return {_released_name(key): value for key, value in content.items()}


def _released_name(key: str) -> str:
    parts = key.removeprefix("module.").split(".")
    return ".".join(PRE_RELEASE_NAMES.get(part, part) for part in parts)


def network_with_weights(
    config: TrgConfig,
    sample_index: Int[Array, "n"],
    state_dict: Mapping[str, Tensor],
    source: str,
) -> Trg:
    """A network on the CPU, in evaluation mode, every parameter and buffer from the checkpoint.

    source: what the weights are called in messages. Raises: CheckpointError naming what does not
        fit.
    """
    with torch.device("meta"):  # no time spent on random weights
        network = Trg(config, sample_index)
    own = network.state_dict()
    missing, unknown = (
        sorted(own.keys() - state_dict.keys()),
        sorted(state_dict.keys() - own.keys()),
    )
    wrong = [
        f"{key} is {tuple(state_dict[key].shape)}, not {tuple(own[key].shape)}"
        for key in own
        if key in state_dict and state_dict[key].shape != own[key].shape
    ]
    problems = [
        f"{len(items)} {what} ({', '.join(items[:3])}{', ...' if len(items) > 3 else ''})"
        for items, what in ((missing, "missing"), (unknown, "unknown"), (wrong, "of wrong shape"))
        if items
    ]
    if problems:
        raise CheckpointError(
            f"{source} does not fit this network: of {len(own)} entries {'; '.join(problems)}. "
            "It is a checkpoint of another model."
        )
    weights = {key: state_dict[key].to(value.dtype).contiguous() for key, value in own.items()}
    network.load_state_dict(weights, strict=True, assign=True)
    return network.eval()


def array_root(weights_path: Path) -> Path | None:
    """The folder that holds the `checkpoint` folder which a weights file lies in, or None."""
    return next((p.parent for p in weights_path.absolute().parents if p.name == "checkpoint"), None)


def find_array(roots: Sequence[Path], name: str) -> Path | None:
    """The first file of an array (a key of ARRAY_LAYOUTS) under the roots."""
    candidates = (root / layout for root in roots for layout in ARRAY_LAYOUTS[name])
    return next((path for path in candidates if path.is_file()), None)


def read_released_arrays(roots: Sequence[Path]) -> ReleasedArrays:
    """The released arrays, each from the first root that has it. Raises: CheckpointError."""
    found = {name: find_array(roots, name) for name in ARRAY_LAYOUTS}
    absent = [ARRAY_LAYOUTS[name] for name, path in found.items() if path is None and name != "uv"]
    if absent:
        names = ", ".join(f"{theirs} (or {ours})" for theirs, ours in absent)
        where = " or ".join(str(root) for root in roots)
        raise CheckpointError(
            f"The released TRG needs arrays that its checkpoint lacks: {names}, under {where}. "
            "They are files of github.com/asw91666/TRG-Release: "
            "`python -m demo_app fetch trg` gets them."
        )
    uv = None if found["uv"] is None else _read_npy(found["uv"], "f", (None, 2))
    return ReleasedArrays(
        sample_index=_read_sample_index(found["sample_index"]),
        triangles=_read_ids(found["triangles"], (2304, 3)),
        landmark_68_ids=_read_ids(found["landmark_68_ids"], (68,)),
        mirror_vertex_ids=None if uv is None else mirror_ids_from_uv(uv[:1220]),
    )


def read_initial_face(roots: Sequence[Path]) -> Float[Array, "1220 3"] | None:
    """The released initial face, metres, TRG's own frame; None where the file is not there.

    Raises: CheckpointError.
    """
    places = (root / layout for root in roots for layout in INITIAL_FACE_LAYOUT)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return None
    try:
        content = read_pickle(path, NUMPY_ARRAYS)
    except UnsafePickleError as error:
        raise CheckpointError(str(error)) from error
    face = np.asarray(content.get("t_vtx_1220")) if isinstance(content, dict) else np.zeros(0)
    if face.shape != (1220, 3) or face.dtype.kind != "f" or not np.isfinite(face).all():
        raise CheckpointError(f"{path} has no initial face of 1220 vertices; get the file again.")
    return face.astype(np.float64)


def _read_sample_index(path: Path) -> Int[Array, "305"]:
    try:
        table = read_pickle(path, NUMPY_ARRAYS)
    except UnsafePickleError as error:
        raise CheckpointError(str(error)) from error
    ids = table.get("1220_to_305") if isinstance(table, dict) else None
    if ids is None:
        raise CheckpointError(f"{path} has no list 1220_to_305; get the file again.")
    return _checked_ids(np.asarray(ids), (305,), path)


def _read_npy(path: Path, kinds: str, shape: tuple[int | None, ...]) -> Array:
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable .npy file; get it again.") from error
    fits = isinstance(values, np.ndarray) and values.ndim == len(shape)
    fits = fits and all(n in (None, m) for n, m in zip(shape, values.shape, strict=True))
    if not fits or values.dtype.kind not in kinds:
        raise CheckpointError(f"{path} does not hold the array it should; get it again.")
    return values


def _read_ids(path: Path, shape: tuple[int, ...]) -> Int[Array, "..."]:
    return _checked_ids(_read_npy(path, "iu", shape), shape, path)


def _checked_ids(ids: Array, shape: tuple[int, ...], path: Path) -> Int[Array, "..."]:
    if ids.shape != shape or ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= 1220:
        raise CheckpointError(f"{path} does not hold {shape} vertex ids of 0 to 1219.")
    return ids.astype(np.int64)


def mirror_ids_from_uv(uv: Array) -> Int[Array, "v"] | None:
    """For each vertex the one at (1 - u, v); None if that is not one to one."""
    mirrored = np.array([1.0, 0.0]) + np.array([-1.0, 1.0]) * uv
    ids = np.linalg.norm(mirrored[:, None] - uv[None], axis=-1).argmin(1)
    return ids if (ids[ids] == np.arange(len(ids))).all() else None
