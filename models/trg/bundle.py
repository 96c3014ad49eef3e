"""A bundle: one safetensors file with a network's configuration, weights and mesh."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.trg.checkpoints import CheckpointError, network_with_weights
from models.trg.config import TrgConfig
from models.trg.looks import LooksCalibration
from models.trg.network import Trg

Array = np.ndarray

BUNDLE_FORMAT = "trg-studio bundle 1"
_WEIGHT, _LOOKS = "network.", "looks"
_ARRAYS = ("sample_index", "triangles", "landmark_68_ids", "canonical_vertices_m")


@dataclass(frozen=True)
class BundleArrays:
    """The mesh of a bundle's network.

    sample_index: vertex ids whose projections the network samples.
    triangles: of the mesh, counter-clockwise seen from outside.
    landmark_68_ids: the vertices nearest to the 68 iBUG landmarks.
    canonical_vertices_m: a symmetric neutral face in the network's head frame.
    """

    sample_index: Int[Array, "n"]
    triangles: Int[Array, "f 3"]
    landmark_68_ids: Int[Array, "68"]
    canonical_vertices_m: Float[Array, "v 3"]

    def mirror_vertex_ids(self) -> Int[Array, "v"]:
        """For each vertex the one at the other side of the canonical face.

        Raises: CheckpointError if the canonical face is not symmetric.
        """
        face = self.canonical_vertices_m
        mirrored = face * [-1.0, 1.0, 1.0]
        ids = np.linalg.norm(mirrored[:, None] - face[None], axis=-1).argmin(1)
        if not (ids[ids] == np.arange(len(ids))).all():
            raise CheckpointError("The bundle's canonical face is not symmetric; get it again.")
        return ids


def write_bundle(
    path: Path | str, network: Trg, arrays: BundleArrays, metadata: dict[str, str]
) -> None:
    """Write weights in half precision (the initial face and integers as they are), arrays and
    configuration.

    metadata: short texts for the file's header, such as origin and licence.
    """
    tensors: dict[str, Tensor] = {}
    for key, value in network.state_dict().items():
        halve = value.is_floating_point() and not key.endswith("init_face")
        tensors[_WEIGHT + key] = (value.half() if halve else value).contiguous().cpu()
    for name in _ARRAYS:
        values = np.asarray(getattr(arrays, name))
        dtype = np.float32 if values.dtype.kind == "f" else np.int32
        tensors[name] = torch.from_numpy(values.astype(dtype))
    header = {**metadata, "format": BUNDLE_FORMAT, "config": network.config.to_json()}
    save_file(tensors, str(path), metadata=header)


def read_bundle(path: Path | str) -> tuple[Trg, BundleArrays]:
    """The network (CPU, float32, evaluation mode) and its mesh. Raises: CheckpointError."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no weights file {path}.")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a readable safetensors file ({error}): it is damaged, cut short or "
            "another kind of file; get it again."
        ) from error
    if metadata.get("format") != BUNDLE_FORMAT or not all(name in tensors for name in _ARRAYS):
        raise CheckpointError(f"{path} is a safetensors file, but not a bundle of this project.")
    arrays = BundleArrays(**{name: _to_numpy(tensors[name]) for name in _ARRAYS})
    try:
        config = TrgConfig.from_json(metadata["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has no usable configuration: {error}") from error
    weights = {k.removeprefix(_WEIGHT): v for k, v in tensors.items() if k.startswith(_WEIGHT)}
    return network_with_weights(config, arrays.sample_index, weights, str(path)), arrays


def read_looks(path: Path | str) -> LooksCalibration | None:
    """How several looks of a bundle's network count; None if it was not calibrated for that.

    Of a file that `read_bundle` takes. Raises: CheckpointError.
    """
    with safe_open(str(path), framework="pt") as file:
        text = (file.metadata() or {}).get(_LOOKS)
    try:
        return None if text is None else LooksCalibration.from_json(text)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error} Get the file again.") from error


def write_looks(path: Path | str, looks: LooksCalibration) -> None:
    """Put it into a bundle's header; the weights stay as they are, byte for byte."""
    path = Path(path)
    with safe_open(str(path), framework="pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    new = path.with_name(path.name + ".new")
    save_file(tensors, str(new), metadata={**metadata, _LOOKS: looks.to_json()})
    new.replace(path)


def _to_numpy(values: Tensor) -> Array:
    return values.numpy().astype(np.float64 if values.is_floating_point() else np.int64)
