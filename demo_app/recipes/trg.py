"""The recipes trg and trg-multi: the released network, on ARKitFace's mesh."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from demo_app.recipes.data import build_data
from demo_app.recipes.mini import BASIS_NAME
from demo_app.recipes.setup import Place, RecipeError, RunSetup
from demo_app.run_config import IMAGENET, RANDOM, RunConfig
from models.training.checkpoints import read_weights
from models.training.initialisation import (
    FaceBasis,
    load_matching_weights,
    read_face_basis,
    write_face_basis,
)
from models.training.losses_trg import TrgObjective
from models.trg.bundle import write_bundle
from models.trg.checkpoints import (
    ARRAY_LAYOUTS,
    EPOCH_FOLDER,
    WEIGHTS_FILE,
    find_array,
    read_initial_face,
    read_released_arrays,
    read_state_dict,
)
from models.trg.config import TrgConfig
from models.trg.network import Trg
from models.weights import REPOSITORY_ROOT, T_HEAD_FROM_TRG
from viewer.datasets.arkitface import ArkitFace
from viewer.datasets.arkitface_resources import read_topology
from viewer.datasets.network_input import trg_input
from viewer.datasets.training_parts import open_part

Array = np.ndarray

MIRROR_NAME, BUNDLE_NAME = "mirror_vertex_ids.npy", "trg.safetensors"
RELEASED_FOLDERS = {"trg": "trg_single_240717", "trg-multi": "trg_240717"}
MEAN_OF_FACES = 500


def build_trg(config: RunConfig, place: Place) -> RunSetup:
    """Raises: DatasetError, RecipeError, CheckpointError, ValueError."""
    basis_path, mirror_path = place.folder / BASIS_NAME, place.folder / MIRROR_NAME

    def make() -> None:
        basis, mirror = _first_basis(config)
        np.save(mirror_path, mirror)
        write_face_basis(basis_path, basis)

    place.made_once(basis_path, make)
    basis, mirror = read_face_basis(basis_path), np.load(mirror_path, allow_pickle=False)
    network = _start_network(config, basis, place)
    data = build_data(config, trg_input(network.config, basis, mirror), config.trg_augment, place)

    def finish(network: Trg, steps: int) -> tuple[Path, ...]:
        return write_trg(place.folder, network, basis, mirror, config.recipe, steps)

    return RunSetup(
        network=network,
        objective=TrgObjective(config.train.trg_loss, basis.triangles, basis.landmark_68_ids),
        data=data,
        finish=finish,
    )


def _first_basis(config: RunConfig) -> tuple[FaceBasis, Int[Array, "v"]]:
    """The mesh's fixed parts, and each vertex's mirror image: of the released arrays where they
    are, else of the ARKitFace folder. The initial face is the released one where its file is, else
    the mean of the training faces."""
    part = next((part for part in config.data if part.dataset == "arkitface"), None)
    if part is None:
        raise RecipeError(f"{config.recipe} needs arkitface among its data: it has the mesh.")
    mirror = ArkitFace(part.root).flip_index()
    if mirror is None:
        raise RecipeError(f"{part.root} has neither flip_index.npy nor a symmetric template.")
    faces = open_part(part, as_released=True)
    numbers = np.unique(np.linspace(0, len(faces) - 1, MEAN_OF_FACES).astype(int))
    meshes = [faces.face(int(number)).vertices_head_m for number in numbers]
    R, t = T_HEAD_FROM_TRG[:3, :3], T_HEAD_FROM_TRG[:3, 3]
    mean = (np.mean([mesh for mesh in meshes if mesh is not None], axis=0) - t) @ R
    triangles, landmark_68_ids, sample_index = _mesh_parts(part.root, mean)
    symmetric = (mean + mean[mirror] * [-1.0, 1.0, 1.0]) / 2.0
    n_samples = TrgConfig.released().n_samples
    released = read_initial_face([REPOSITORY_ROOT]) if len(mean) == 1220 else None
    basis = FaceBasis(
        mean if released is None else released,
        np.zeros((0, len(mean), 3)),
        sample_index[:n_samples],
        triangles,
        landmark_68_ids,
        symmetric,
    )
    return basis, mirror


def _mesh_parts(
    root: Path, mean: Float[Array, "v 3"]
) -> tuple[Int[Array, "f 3"], Int[Array, "68"], Int[Array, "n"]]:
    """Triangles, landmarks, and the vertices whose projections are sampled."""
    names = ("sample_index", "triangles", "landmark_68_ids")
    if len(mean) == 1220 and all(find_array([REPOSITORY_ROOT], name) for name in names):
        arrays = read_released_arrays([REPOSITORY_ROOT])
        return arrays.triangles, arrays.landmark_68_ids, arrays.sample_index
    topology = read_topology(ArkitFace(root).files)
    if topology.triangles is None or topology.landmark_68_ids is None:
        raise RecipeError(
            f"{root} has no usable ARKitFace_resources (example.obj, kpt_ind.npy): "
            f"{' '.join(topology.notes)} `python -m demo_app fetch trg` gets the released arrays."
        )
    chosen = farthest_points(mean, TrgConfig.released().n_samples)
    return topology.triangles, topology.landmark_68_ids, chosen


def farthest_points(points: Float[Array, "v 3"], count: int) -> Int[Array, "n"]:
    """Vertices that are spread evenly: each the one farthest from those before."""
    chosen = [0]
    distance = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.sort(chosen)


def _start_network(config: RunConfig, basis: FaceBasis, place: Place) -> Trg:
    """The network before its first step: weights by what the configuration starts from."""
    torch.manual_seed(config.train.seed)
    kind = replace(TrgConfig.released(), n_vertices=len(basis.mean_vertices_m))
    network = Trg(kind, basis.sample_index)
    with torch.no_grad():
        for regressor in network.regressor:
            regressor.init_face.copy_(torch.from_numpy(basis.mean_vertices_m)[None])
    if config.start in (IMAGENET, RANDOM):
        _load_backbone(network, config, place)
        return network
    path = Path(config.start)
    weights = read_weights(path)[1] if path.suffix == ".pt" else read_state_dict(path)
    report = load_matching_weights(network, weights)
    if report.absent or report.other_shape:
        raise RecipeError(f"{path} are weights of another network: {report.summary()}.")
    place.say(f"start from {path}: {report.summary()}")
    return network


def _load_backbone(network: Trg, config: RunConfig, place: Place) -> None:
    if config.start == RANDOM or config.backbone_file is None:
        if config.start == IMAGENET:
            place.say(
                "WARNING: no ImageNet backbone file is given (backbone_file): the ResNet-18 starts "
                "from random weights, and the results will be worse than published"
            )
        return
    state = read_state_dict(config.backbone_file)
    features = {name: value for name, value in state.items() if not name.startswith("fc.")}
    report = load_matching_weights(network, features, prefix="feature_extractor.")
    wanted = [name for name in network.state_dict() if name.startswith("feature_extractor.")]
    counted = {name for name in wanted if not name.endswith("num_batches_tracked")}
    if counted - set(report.loaded):
        raise RecipeError(
            f"{config.backbone_file} is no ResNet-18 in torchvision's layout: "
            f"{len(counted - set(report.loaded))} of {len(counted)} entries are missing."
        )
    place.say(f"backbone from {config.backbone_file}: {len(report.loaded)} entries taken over")


def write_trg(
    folder: Path,
    network: Trg,
    basis: FaceBasis,
    mirror: Int[Array, "v"],
    recipe: str,
    steps: int,
) -> tuple[Path, ...]:
    """trg.safetensors, and state_dict.bin with its arrays in the layout of the released code."""
    bundle = folder / BUNDLE_NAME
    write_bundle(bundle, network, basis.bundle_arrays(), {"steps": str(steps)})
    weights = folder / "checkpoint" / RELEASED_FOLDERS[recipe] / EPOCH_FOLDER / WEIGHTS_FILE
    weights.parent.mkdir(parents=True, exist_ok=True)
    partial = weights.with_suffix(".partial")
    state: dict[str, Tensor] = {k: v.cpu().clone() for k, v in network.state_dict().items()}
    torch.save(state, partial)
    partial.replace(weights)
    places = {name: folder / ours for name, (_, ours) in ARRAY_LAYOUTS.items()}
    places["sample_index"].parent.mkdir(parents=True, exist_ok=True)
    with places["sample_index"].open("wb") as file:
        pickle.dump({"1220_to_305": basis.sample_index.tolist()}, file)
    np.save(places["triangles"], basis.triangles)
    np.save(places["landmark_68_ids"], basis.landmark_68_ids)
    np.save(places["sample_index"].with_name("flip_index.npy"), mirror)
    return bundle, weights
