"""The pose models by name: where the weights are, what they are, what `head` is to them; and how
to load them.

Nothing is loaded at import. T_head_from_<model> is rigid: p_head = T @ p_model, metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from models.flame.open_head import T_HEAD_FROM_OPEN_HEAD
from models.geometry.rotations import about_x
from models.trg.bundle import read_bundle, read_looks
from models.trg.checkpoints import (
    ARRAY_LAYOUTS,
    array_root,
    find_array,
    find_weights_file,
    network_with_weights,
    read_released_arrays,
    read_state_dict,
)
from models.trg.config import TrgConfig
from models.trg.looks import LooksCalibration
from models.trg.network import Trg
from models.trg.pose_model import PoseMesh, PoseModel

Array = np.ndarray

REPOSITORY_ROOT = Path(__file__).resolve().parent.parent
DEFAULT_MODEL = "trg-mini"
CROP_SCALE = 1.5
"""Side of a crop relative to the extent of the mesh (mini) or landmarks (released), as trained."""

T_HEAD_FROM_TRG = np.eye(4)
T_HEAD_FROM_TRG[:3, :3] = about_x(0.228)
"""TRG's own axes are ours already and its origin is ARKit's face anchor; the tilt takes ARKit's
mean face to the mean face of 300W-LP's model (51 inner landmarks, rigid;
tests/unit/models/test_head_frame.py)."""

T_HEAD_FROM_TRG_MINI = T_HEAD_FROM_OPEN_HEAD
"""trg-mini was trained on renders of the open head, in its frame."""

_RELEASED_LICENCE = (
    "Code MIT (Sungho Chun). No licence is stated for the weights; ARKitFace is for research only."
)
_RELEASED_PAGE = "https://github.com/asw91666/TRG-Release"


@dataclass(frozen=True)
class ModelEntry:
    """One pose model that the program knows.

    weights_file: relative to the root folder. sha256: of the weights, None where it is not known.
    config: None where the weights file carries its own. address: of a page to get the weights from
        by hand.
    typical_error_deg: mean geodesic error where it was measured: trg-mini on 2,000 renders of
        held-out identities, the released models on ARKitFace's test set (TRG, ECCV 2024, table 2).
    looks_upright: once a head's roll is known, its crop is turned upright and looked at again.
    """

    name: str
    label: str
    weights_file: str
    sha256: str | None
    config: TrgConfig | None
    licence: str
    origin: str
    address: str | None
    T_head_from_model: Float[Array, "4 4"]
    typical_error_deg: float
    looks_upright: bool = False

    @property
    def is_bundled(self) -> bool:
        return self.config is None


@dataclass(frozen=True)
class ModelStatus:
    """Whether a model can be used here; for the model switch.

    what_is_missing: files relative to the root, empty if present. where_to_get_it: a sentence,
        empty if present.
    """

    name: str
    label: str
    present: bool
    what_is_missing: tuple[str, ...]
    where_to_get_it: str


class UnknownModelError(ValueError):
    """There is no model of that name; the message lists those there are."""


def _released(
    name: str, label: str, folder: str, origin: str, drive_id: str, typical_error_deg: float
) -> ModelEntry:
    return ModelEntry(
        name=name,
        label=label,
        weights_file=f"checkpoint/{folder}/checkpoint-30/state_dict.bin",
        sha256=None,
        config=TrgConfig.released(),
        licence=_RELEASED_LICENCE,
        origin=origin,
        address=f"https://drive.google.com/drive/folders/{drive_id}",
        T_head_from_model=T_HEAD_FROM_TRG,
        typical_error_deg=typical_error_deg,
    )


_ENTRIES = (
    ModelEntry(
        name="trg-mini",
        label="trg-mini (bundled)",
        weights_file="assets/trg_mini.safetensors",
        sha256="ee80b2dc6c0a26c81dcf7bfb480813e255fccd205e0f9306250f2aa9248939bb",
        config=None,
        licence="the project's; parts initialised from FaceMesh: Apache-2.0 (assets/ASSETS.md)",
        origin="the project's own: trained on renders of MakeHuman heads with CC0 portraits",
        address=None,
        T_head_from_model=T_HEAD_FROM_TRG_MINI,
        typical_error_deg=3.13,
        looks_upright=True,
    ),
    _released(
        "trg",
        "TRG (ARKitFace)",
        "trg_single_240717",
        "Released checkpoint of TRG (ECCV 2024), trained on ARKitFace.",
        "1CQeB4W2KbNVpzx4FZfuyMVgljlOvtpwU",
        typical_error_deg=1.80,
    ),
    _released(
        "trg-multi",
        "TRG★ (ARKitFace + 300W-LP)",
        "trg_240717",
        "Released checkpoint of TRG★ (ECCV 2024), trained on ARKitFace and 300W-LP.",
        "1eymumNT307y7nyvMsZD0wuSPtmEkYyWv",
        typical_error_deg=1.84,
    ),
)
MODELS: dict[str, ModelEntry] = {entry.name: entry for entry in _ENTRIES}


def model_entry(name: str) -> ModelEntry:
    """The entry of a name. Raises: UnknownModelError."""
    if name not in MODELS:
        raise UnknownModelError(f"There is no model {name!r}; known are {', '.join(MODELS)}.")
    return MODELS[name]


def load_pose_model(
    name: str = DEFAULT_MODEL,
    device: str | torch.device | None = None,
    path: Path | str | None = None,
    root: Path | str | None = None,
    *,
    bf16: bool = False,
) -> PoseModel:
    """A model ready to predict.

    device: "cpu", "cuda", "cuda:1"; None: CUDA where there is one, else the CPU.
    path: weights in another place (for the released models also the folder that holds them).
    root: the folder that holds checkpoint/ and assets/; the repository itself if None.
    bf16: convolutions in bfloat16, on CUDA only.
    Raises: UnknownModelError; CheckpointError for weights or arrays that are absent or unusable;
        ValueError for a device that is not there.
    """
    entry, target = model_entry(name), _checked_device(device)
    weights_path = Path(path) if path is not None else _root(root) / entry.weights_file
    if entry.is_bundled:
        network, mesh, looks = _load_bundle(weights_path)
    else:
        (network, mesh), looks = _load_released(entry, weights_path, root), None
    return _pose_model(entry, network, mesh, looks, target, bf16)


def load_own_bundle(
    path: Path | str,
    kind: str,
    name: str,
    label: str,
    device: str | torch.device | None = None,
) -> PoseModel:
    """A bundle that somebody trained, under a name of its own: never that of a known model.

    kind: the known model whose head frame it was trained in. Its typical error is not known.
    Raises: as `load_pose_model`; ValueError for the name of a known model.
    """
    if name in MODELS:
        raise ValueError(f"{name} is a model of the program: own weights need another name.")
    unknown = float("nan")
    entry = replace(model_entry(kind), name=name, label=label, typical_error_deg=unknown)
    network, mesh, looks = _load_bundle(Path(path))
    return _pose_model(entry, network, mesh, looks, _checked_device(device), bf16=False)


def _pose_model(
    entry: ModelEntry,
    network: Trg,
    mesh: PoseMesh,
    looks: LooksCalibration | None,
    target: torch.device,
    bf16: bool,
) -> PoseModel:
    return PoseModel(
        entry.name,
        entry.label,
        network,
        mesh,
        entry.T_head_from_model,
        target,
        bf16=bf16,
        typical_error_deg=entry.typical_error_deg,
        looks_upright=entry.looks_upright,
        looks=looks,
    )


def _load_bundle(path: Path) -> tuple[Trg, PoseMesh, LooksCalibration | None]:
    network, arrays = read_bundle(path)
    mesh = PoseMesh(
        template_vertices_m=arrays.canonical_vertices_m,
        triangles=arrays.triangles,
        landmark_68_ids=arrays.landmark_68_ids,
        mirror_vertex_ids=arrays.mirror_vertex_ids(),
        crop_vertex_ids=None,
        crop_scale=CROP_SCALE,
    )
    return network, mesh, read_looks(path)


def _load_released(entry: ModelEntry, path: Path, root: Path | str | None) -> tuple[Trg, PoseMesh]:
    weights_path = find_weights_file(path)
    arrays = read_released_arrays(_array_roots(weights_path, root))
    network = network_with_weights(
        entry.config, arrays.sample_index, read_state_dict(weights_path), str(weights_path)
    )
    mesh = PoseMesh(
        template_vertices_m=network.regressor[0].init_face[0].double().numpy(),
        triangles=arrays.triangles,
        landmark_68_ids=arrays.landmark_68_ids,
        mirror_vertex_ids=arrays.mirror_vertex_ids,
        crop_vertex_ids=arrays.landmark_68_ids,
        crop_scale=CROP_SCALE,
    )
    return network, mesh


def describe_models(root: Path | str | None = None) -> list[ModelStatus]:
    """Every model and whether its files are there, for the model switch; opens none of them."""
    return [_status(entry, _root(root)) for entry in MODELS.values()]


def _status(entry: ModelEntry, root: Path) -> ModelStatus:
    missing = [] if (root / entry.weights_file).is_file() else [entry.weights_file]
    arrays: list[str] = []
    if not entry.is_bundled:
        arrays = [
            ARRAY_LAYOUTS[name][1]
            for name in ("sample_index", "triangles", "landmark_68_ids")
            if find_array([root], name) is None
        ]
    where = _where_to_get(entry, missing, arrays) if missing or arrays else ""
    present = not (missing or arrays)
    return ModelStatus(entry.name, entry.label, present, (*missing, *arrays), where)


def _where_to_get(entry: ModelEntry, weights: Sequence[str], arrays: Sequence[str]) -> str:
    if entry.is_bundled:
        return f"{entry.weights_file} is part of this repository: clone or download it again."
    steps = []
    if weights:
        steps.append(f"download state_dict.bin from {entry.address} to {weights[0]}")
    if arrays:
        names = ", ".join(Path(array).name for array in arrays)
        steps.append(f"put {names} of {_RELEASED_PAGE} (folders data and npy) in checkpoint/arrays")
    return f"Run `python -m demo_app fetch trg`, or by hand: {'; '.join(steps)}."


def _root(root: Path | str | None) -> Path:
    return REPOSITORY_ROOT if root is None else Path(root)


def _array_roots(weights_path: Path, root: Path | str | None) -> list[Path]:
    """Where arrays may be: the given root, that of the weights, the repository."""
    candidates = [root, array_root(weights_path), REPOSITORY_ROOT]
    roots = [Path(candidate) for candidate in candidates if candidate is not None]
    return list(dict.fromkeys(roots))


def _checked_device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"{device!r} is no device; use cpu or cuda.") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("There is no CUDA device on this machine; use --device cpu.")
    if chosen.type not in ("cpu", "cuda"):
        raise ValueError(f"{device} is not supported; use cpu or cuda.")
    return chosen
