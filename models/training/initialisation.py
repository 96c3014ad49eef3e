"""A network before its first step: the face it starts from, and weights taken over from others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.trg.bundle import BundleArrays
from models.trg.config import TrgConfig
from models.trg.network import Trg

Array = np.ndarray

STAGES_WITH_EXTRA_BLOCKS = ("stage_24", "stage_12", "stage_6", "stage_3")
FROZEN_PARTS = ("stem", "stem_activation", "stage_96")
CALIBRATION = {
    "logit_scale": 1.0,
    "logit_shift": 0.0,
    "rotation_scale": 1.0,
    "t_scale": 1.0,
    "rotation_power": 1.0,
    "t_power": 1.0,
}
"""Buffers of the presence and the uncertainty head, and what they are before calibration."""


@dataclass(frozen=True)
class FaceBasis:
    """The linear face that a trg-mini starts from and the mesh it is made of; the network's own
    head frame, metres.

    mean_vertices_m, basis_m: vertices = mean + coefficients @ basis.
    The rest as in `models.trg.bundle.BundleArrays`.
    """

    mean_vertices_m: Float[Array, "v 3"]
    basis_m: Float[Array, "k v 3"]
    sample_index: Int[Array, "n"]
    triangles: Int[Array, "f 3"]
    landmark_68_ids: Int[Array, "68"]
    canonical_vertices_m: Float[Array, "v 3"]

    def bundle_arrays(self) -> BundleArrays:
        """What `models.trg.bundle.write_bundle` wants beside the network."""
        return BundleArrays(
            self.sample_index, self.triangles, self.landmark_68_ids, self.canonical_vertices_m
        )


@dataclass(frozen=True)
class MatchReport:
    """What `load_matching_weights` did: names of the network's entries, and of those given.

    absent: the network has it, the given weights do not. other_shape: both have it, not alike.
    unused: given, but the network has no such entry.
    """

    loaded: tuple[str, ...]
    absent: tuple[str, ...]
    other_shape: tuple[str, ...]
    unused: tuple[str, ...]

    def summary(self) -> str:
        """One line for the log."""
        return (
            f"{len(self.loaded)} entries taken over, {len(self.absent)} absent, "
            f"{len(self.other_shape)} of another shape, {len(self.unused)} unused"
        )


def read_face_basis(path: Path | str) -> FaceBasis:
    """From an .npz file with the record's fields.

    Raises: FileNotFoundError, ValueError naming what it lacks.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is missing: make the data with `synthesize` first.")
    names = tuple(FaceBasis.__dataclass_fields__)
    with np.load(path) as file:
        missing = [name for name in names if name not in file]
        if missing:
            raise ValueError(f"{path} is no face basis: it lacks {', '.join(missing)}.")
        arrays = {name: file[name] for name in names}
    dtypes = {name: np.float64 if a.dtype.kind == "f" else np.int64 for name, a in arrays.items()}
    return FaceBasis(**{name: a.astype(dtypes[name]) for name, a in arrays.items()})


def write_face_basis(path: Path | str, basis: FaceBasis) -> None:
    """As .npz, for `read_face_basis`."""
    np.savez_compressed(
        path, **{name: getattr(basis, name) for name in FaceBasis.__dataclass_fields__}
    )


def build_mini_network(basis: FaceBasis, config: TrgConfig) -> Trg:
    """A network that answers with the mean face in its initial pose, near enough, whatever it sees.

    Extra blocks of the backbone pass their input on, so that weights of a backbone without them
    keep their meaning. Random weights come from torch's global generator.
    Raises: ValueError if the basis does not fit the configuration.
    """
    n, k = config.n_vertices, config.n_shape_coefficients
    if basis.mean_vertices_m.shape != (n, 3) or basis.basis_m.shape != (k, n, 3):
        raise ValueError(
            f"The network wants a mean of {(n, 3)} and a basis of {(k, n, 3)}, got "
            f"{basis.mean_vertices_m.shape} and {basis.basis_m.shape}."
        )
    network = Trg(config, basis.sample_index)
    with torch.no_grad():
        network.mesh_basis.copy_(torch.from_numpy(basis.basis_m))
        for regressor in network.regressor:
            regressor.init_face.copy_(torch.from_numpy(basis.mean_vertices_m)[None])
            for layer in (regressor.decshape, regressor.decpose):
                nn.init.xavier_uniform_(layer.weight, gain=0.02)
                nn.init.zeros_(layer.bias)
        if config.backbone == "facemesh" and config.extra_blocks:
            for name in STAGES_WITH_EXTRA_BLOCKS:
                for block in getattr(network.feature_extractor, name)[-config.extra_blocks :]:
                    nn.init.zeros_(block.pointwise.weight)
                    nn.init.zeros_(block.pointwise.bias)
                    nn.init.ones_(block.activation.weight)
    return network


def load_matching_weights(
    network: Trg, state_dict: Mapping[str, Tensor], prefix: str = ""
) -> MatchReport:
    """Copy every entry that the network has too, by name and shape; the rest is left as it is.

    prefix: put before the given names, such as "feature_extractor." for a backbone's own weights.
    """
    own = network.state_dict()
    given = {prefix + name: value for name, value in state_dict.items()}
    shared = [name for name in own if name in given]
    loaded = [name for name in shared if given[name].shape == own[name].shape]
    with torch.no_grad():
        for name in loaded:
            own[name].copy_(given[name])
    return MatchReport(
        loaded=tuple(loaded),
        absent=tuple(name for name in own if name not in given),
        other_shape=tuple(name for name in shared if given[name].shape != own[name].shape),
        unused=tuple(name for name in given if name not in own),
    )


def mix_weights(network: Trg, others: Mapping[str, Tensor], share: float) -> None:
    """Every number of the network becomes the mean of its own and that of others, which counts
    `share`; what is no floating point number stays.

    Of weights before and after a further training the mean is often better than either (Wortsman
    et al. 2022, "Robust fine-tuning of zero-shot models").
    """
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if share and value.is_floating_point():
                value.lerp_(others[name].to(value.device), share)


def reset_calibration(network: Trg) -> None:
    """Calibration belongs to the finished network: a training starts without one."""
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            kind = name.rpartition(".")[2]
            if kind in CALIBRATION:
                buffer.fill_(CALIBRATION[kind])


def freeze_all_but_heads(network: Trg) -> None:
    """Gradients for the presence and the uncertainty head alone.

    Raises: ValueError for a network that has neither.
    """
    if not (network.config.presence_head or network.config.uncertainty_head):
        raise ValueError("heads_only is for networks that have a presence or uncertainty head.")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith(("presence_head.", "uncertainty_head.")))


def freeze_stem(network: Trg) -> None:
    """No gradients for, and none through, the stem and the 96-cell stage.

    Raises: ValueError for a backbone that has no such parts.
    """
    if network.config.backbone != "facemesh":
        raise ValueError(f"freeze_stem is for facemesh backbones, not {network.config.backbone}.")
    for name in FROZEN_PARTS:
        getattr(network.feature_extractor, name).requires_grad_(False)
