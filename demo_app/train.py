"""Training by recipe: synthetic heads, the network and the training loop joined; one process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from models.face_landmarks.face_mesh import load_face_mesh
from models.training.calibration import MIN_FACES, calibrate_presence, calibrate_uncertainty
from models.training.config import TrainConfig
from models.training.initialisation import (
    FaceBasis,
    build_mini_network,
    change_face_basis,
    load_matching_weights,
    read_face_basis,
    write_face_basis,
)
from models.training.metrics import all_metrics
from models.training.predictions import predict_batches
from models.training.trainer import TrainResult, fit
from models.trg.batch import PoseBatch
from models.trg.bundle import read_bundle, write_bundle
from models.trg.config import TrgConfig
from models.trg.network import Trg
from models.weights import T_HEAD_FROM_TRG_MINI
from viewer.datasets.augment_config import AugmentConfig
from viewer.datasets.synthetic import SyntheticDataset
from viewer.datasets.torch_dataset import NetworkInput, Source, SyntheticBatches, fixed_batches

Say = Callable[[str], None]

FACEMESH = "facemesh"
BUNDLE_NAME, BASIS_NAME = "trg_mini.safetensors", "face_basis.npz"
PORTRAIT_SHARE = 0.16
"""Of the training crops: real portraits labelled by their fit; the rest are renders."""

VALIDATION_CROPS, CALIBRATION_CROPS = 800, 4000


@dataclass(frozen=True)
class TrainJob:
    """One run of the recipe trg-mini.

    data: folders that `synthesize` made; the first gives the face basis and the validation.
    start: "facemesh", or a bundle to go on from, whose configuration is then kept.
    """

    data: tuple[Path, ...]
    run_folder: Path
    train: TrainConfig
    network: TrgConfig
    start: str = FACEMESH
    workers: int = 1


def train_mini(job: TrainJob, say: Say, should_stop: Callable[[], bool] | None = None) -> Path:
    """Train, calibrate, write the bundle into the run folder; a killed run goes on where it was.

    Returns the bundle's path. Raises: SyntheticDataError, FileNotFoundError, TrainingError.
    """
    basis = face_basis_of_run(job)
    network = start_network(job, basis, say)
    target = NetworkInput(
        network.config, T_HEAD_FROM_TRG_MINI, basis.bundle_arrays().mirror_vertex_ids()
    )
    source = training_batches(job, target)
    validation = _validation_sets(job.data[0], target)
    result = fit(
        network,
        job.train,
        lambda start: source.batches(start, job.train.steps, workers=job.workers),
        job.run_folder,
        say,
        validate=lambda averaged: _metrics(averaged, validation),
        should_stop=should_stop,
    )
    return finish(job, basis, target, result, say)


def face_basis_of_run(job: TrainJob) -> FaceBasis:
    """The run keeps the basis that it started with, whatever data it goes on with.

    A network that was trained before goes on looking at the vertices it knows.
    """
    own = job.run_folder / BASIS_NAME
    if own.is_file():
        return read_face_basis(own)
    basis = read_face_basis(job.data[0] / BASIS_NAME)
    if job.start != FACEMESH:
        basis = replace(basis, sample_index=read_bundle(job.start)[1].sample_index)
    job.run_folder.mkdir(parents=True, exist_ok=True)
    write_face_basis(own, basis)
    return basis


def start_network(job: TrainJob, basis: FaceBasis, say: Say) -> Trg:
    """The network before its first step."""
    torch.manual_seed(job.train.seed)
    if job.start == FACEMESH:
        network = build_mini_network(basis, job.network)
        backbone = load_face_mesh().features.state_dict()
        report = load_matching_weights(network, backbone, prefix="feature_extractor.")
    else:
        trained, _ = read_bundle(job.start)
        heads = {"presence_head": True, "uncertainty_head": True}
        network = build_mini_network(basis, replace(trained.config, **heads))
        change_face_basis(trained, basis)
        state = trained.state_dict()
        report = load_matching_weights(network, state)
    say(f"start from {job.start}: {report.summary()}")
    return network


def training_batches(job: TrainJob, target: NetworkInput) -> SyntheticBatches:
    """Renders of all folders and the portraits of the first, mixed."""
    renders = [SyntheticDataset(folder / "train") for folder in job.data]
    total = sum(len(dataset) for dataset in renders)
    sources = [Source(dataset, (1 - PORTRAIT_SHARE) * len(dataset) / total) for dataset in renders]
    sources.append(Source(SyntheticDataset(job.data[0] / "train-portraits"), PORTRAIT_SHARE))
    return SyntheticBatches(
        sources, target, AugmentConfig(), batch_size=job.train.batch_size, seed=job.train.seed
    )


def _validation_sets(folder: Path, target: NetworkInput) -> dict[str, list[PoseBatch]]:
    """Crops of held-out persons: renders, and the portraits themselves."""
    return {
        name: list(fixed_batches(SyntheticDataset(folder / part), target, count=VALIDATION_CROPS))
        for name, part in (("render", "validation"), ("portrait", "validation-portraits"))
    }


def _metrics(network: Trg, sets: Mapping[str, Iterable[PoseBatch]]) -> dict[str, float]:
    shown = (
        "geodesic_mean_deg",
        "geodesic_median_deg",
        "vertices_mean_mm",
        "depth_relative_percent",
        "crop_mean_px",
        "presence_false_accept",
        "presence_false_reject",
        "mahalanobis2_q68",
    )
    numbers = {}
    for name, batches in sets.items():
        found = all_metrics(predict_batches(network, batches))
        numbers |= {f"{name}_{key}": found[key] for key in shown if key in found}
    return numbers


def finish(
    job: TrainJob, basis: FaceBasis, target: NetworkInput, result: TrainResult, say: Say
) -> Path:
    """Calibrate the averaged network on held-out persons and write it as a bundle."""
    network = result.network
    held_out = SyntheticDataset(job.data[0] / "validation")
    predictions = predict_batches(
        network, fixed_batches(held_out, target, count=CALIBRATION_CROPS, seed=1)
    )
    negatives = int((~predictions.is_face).sum())
    if len(predictions) - negatives < MIN_FACES or negatives < 1:
        say(f"not calibrated: {len(predictions)} held-out crops, {negatives} of them no faces")
    else:
        say(calibrate_uncertainty(network, predictions).summary())
        scale, shift = calibrate_presence(network, predictions)
        say(f"presence: logit times {scale:.3g}, plus {shift:.3g}")
    path = job.run_folder / BUNDLE_NAME
    write_bundle(
        path,
        network,
        basis.bundle_arrays(),
        {
            "origin": "trained by this project on synthetic heads; see docs/trg-mini.md",
            "licence": "as the project; backbone initialised from MediaPipe FaceMesh, Apache-2.0",
            "steps": str(result.steps_done),
        },
    )
    say(f"wrote {path}")
    return path
