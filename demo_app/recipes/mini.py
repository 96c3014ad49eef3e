"""The recipe trg-mini: a FaceMesh backbone on synthetic heads, calibrated at the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from demo_app.recipes.data import build_data, validation_parts
from demo_app.recipes.setup import Place, RecipeError, RunSetup, Say
from demo_app.run_config import FACEMESH, RANDOM, DataPart, RunConfig
from demo_app.run_plan import network_config
from models.face_landmarks.face_mesh import load_face_mesh
from models.training.calibration import MIN_FACES, calibrate_presence, calibrate_uncertainty
from models.training.checkpoints import read_weights
from models.training.initialisation import (
    FaceBasis,
    build_mini_network,
    load_matching_weights,
    mix_weights,
    read_face_basis,
    reset_calibration,
    write_face_basis,
)
from models.training.objective import MiniObjective
from models.training.predictions import predict_batches
from models.trg.bundle import BundleArrays, read_bundle, write_bundle
from models.trg.config import TrgConfig
from models.trg.network import Trg
from models.weights import DEFAULT_MODEL, MODELS, REPOSITORY_ROOT
from viewer.datasets.network_input import NetworkInput, mini_input
from viewer.datasets.pose_batches import validation_batches
from viewer.datasets.synthetic_format import INFO_NAME
from viewer.datasets.training_parts import open_part

BUNDLE_NAME, BASIS_NAME = "trg_mini.safetensors", "face_basis.npz"
PORTRAIT_SHARE = 0.16
"""Of the training crops where there are portraits: real ones labelled by their fit."""

CALIBRATION_CROPS = 4000


def build_mini(config: RunConfig, place: Place) -> RunSetup:
    """Raises: DatasetError, FileNotFoundError, RecipeError, CheckpointError."""
    basis = _basis_of_run(config, place)
    network = _start_network(config, basis, place.say)
    target = mini_input(network.config, basis)
    data = build_data(config, target, config.augment, place, _portraits(config))

    def finish(network: Trg, steps: int) -> tuple[Path, ...]:
        mix_weights(network, start, config.start_share)
        _calibrate(network, config, target, place.say)
        return (write_mini(place.folder / BUNDLE_NAME, network, basis, steps),)

    objective = MiniObjective(
        network.config, config.train.loss, basis.landmark_68_ids, target.mirror_vertex_ids
    )
    start = {name: value.clone() for name, value in network.state_dict().items()}
    return RunSetup(network, objective, data, finish)


def write_mini(path: Path, network: Trg, basis: FaceBasis, steps: int) -> Path:
    """The weights as a bundle, for the pose tab and the verbs."""
    write_bundle(
        path,
        network,
        basis.bundle_arrays(),
        {
            "origin": "trained by this project on synthetic heads; see docs/trg-mini.md",
            "licence": "as the project; backbone initialised from MediaPipe FaceMesh, Apache-2.0",
            "steps": str(steps),
        },
    )
    return path


def _basis_of_run(config: RunConfig, place: Place) -> FaceBasis:
    """The run keeps the basis that it started with, whatever data it goes on with."""
    own = place.folder / BASIS_NAME
    place.made_once(own, lambda: write_face_basis(own, _first_basis(config)))
    return read_face_basis(own)


def _first_basis(config: RunConfig) -> FaceBasis:
    """Of the weights to start from; else of the data, or of the shipped weights where the data have
    none.

    A network that was trained before goes on with the mesh it knows: its components have learnt
    too, and those of the data no longer span them.
    """
    start = Path(config.start)
    if start.suffix == ".pt":
        return read_face_basis(start.parent.parent / BASIS_NAME)
    if config.start not in (FACEMESH, RANDOM):
        return _basis_of_bundle(start)
    heads = next((part for part in config.data if part.dataset == "synthetic"), config.data[0])
    of_data = heads.root / BASIS_NAME
    if of_data.is_file():
        return read_face_basis(of_data)
    return _basis_of_bundle(REPOSITORY_ROOT / MODELS[DEFAULT_MODEL].weights_file)


def _read_mini(path: Path) -> tuple[Trg, BundleArrays]:
    network, arrays = read_bundle(path)
    if not network.config.n_shape_coefficients:
        raise RecipeError(f"{path} holds no trg-mini; its mesh has no components.")
    return network, arrays


def _basis_of_bundle(path: Path) -> FaceBasis:
    network, arrays = _read_mini(path)
    return FaceBasis(
        network.regressor[0].init_face[0].double().numpy(),
        network.mesh_basis.detach().double().numpy(),
        arrays.sample_index,
        arrays.triangles,
        arrays.landmark_68_ids,
        arrays.canonical_vertices_m,
    )


def _start_network(config: RunConfig, basis: FaceBasis, say: Say) -> Trg:
    """The network before its first step."""
    torch.manual_seed(config.train.seed)
    fresh = network_config(config.recipe)
    if config.start in (FACEMESH, RANDOM):
        network = build_mini_network(basis, fresh)
        state = {} if config.start == RANDOM else load_face_mesh().features.state_dict()
        report = load_matching_weights(network, state, prefix="feature_extractor.")
    elif config.start.endswith(".pt"):
        _, weights, header = read_weights(Path(config.start))
        network = build_mini_network(basis, TrgConfig.from_json(header["config"]))
        report = load_matching_weights(network, weights)
    else:
        trained, _ = _read_mini(Path(config.start))
        heads = {"presence_head": True, "uncertainty_head": True}
        network = build_mini_network(basis, replace(trained.config, **heads))
        report = load_matching_weights(network, trained.state_dict())
        reset_calibration(network)
    say(f"start from {config.start}: {report.summary()}")
    return network


def _portraits(config: RunConfig) -> list[DataPart]:
    """Real portraits of the training persons, labelled by their fit, if `synthesize` left some;
    as many as make PORTRAIT_SHARE of the crops of synthetic heads."""
    heads = [part for part in config.data if part.dataset == "synthetic" and part.split == "train"]
    portraits = [replace(part, split="train-portraits", limit=None) for part in heads[:1]]
    portraits = [p for p in portraits if (p.root / p.split / INFO_NAME).is_file()]
    if not portraits:
        return []
    rendered = sum(part.weight * len(open_part(part, as_released=False)) for part in heads)
    count = len(open_part(portraits[0], as_released=False))
    weight = PORTRAIT_SHARE / (1.0 - PORTRAIT_SHARE) * rendered / count
    return [replace(portraits[0], weight=weight)]


def _calibrate(network: Trg, config: RunConfig, target: NetworkInput, say: Say) -> None:
    """On the first validation part, if it has enough."""
    parts = validation_parts(config, target)[:1]
    if not parts:
        say("not calibrated: there is no validation part")
        return
    wanted = [replace(part, limit=CALIBRATION_CROPS) for part in parts]
    predictions = predict_batches(network, validation_batches(wanted, target, seed=1))
    negatives = int((~predictions.is_face).sum())
    if len(predictions) - negatives < MIN_FACES or negatives < 1:
        say(f"not calibrated: {len(predictions)} held-out crops, {negatives} of them no faces")
        return
    say(calibrate_uncertainty(network, predictions).summary())
    scale, shift = calibrate_presence(network, predictions)
    say(f"presence: logit times {scale:.3g}, plus {shift:.3g}")
