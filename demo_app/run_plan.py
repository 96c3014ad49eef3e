"""A training run before it starts: what stands against it, what it takes, the command it is.

Nothing is started here but the short probe of `measured_crops_per_s`.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from demo_app.run_config import FACEMESH, IMAGENET, RANDOM, DataPart, Recipe, RunConfig
from models.training.config import TrainConfig
from models.training.initialisation import freeze_all_but_heads, freeze_stem
from models.training.predictions import network_inputs
from models.trg.batch import PoseBatch
from models.trg.config import TrgConfig
from models.trg.network import Trg
from viewer.datasets.synthetic_format import INFO_NAME

WEIGHT_ENDINGS = (".safetensors", ".bin", ".pt")
STATE_COPIES = 5
"""The weights themselves, gradients, Adam's two averages, averaged weights: single precision."""

PROGRAM_MB = 800.0
"""torch, the program and its working memory, without any network; measured."""

WORKER_MB = 250.0
"""Each process that prepares pictures."""


@dataclass(frozen=True)
class Rate:
    """What was measured once: training steps with 2 threads of a 2-core processor.

    activation_mb: of one crop in fp32; half_activations: in bf16 and fp16, relative to that.
    """

    crops_per_s: float
    activation_mb: float
    half_activations: float


_TRG = Rate(crops_per_s=4.3, activation_mb=36.0, half_activations=0.68)
RECORDED: dict[Recipe, Rate] = {
    "trg-mini": Rate(crops_per_s=25.0, activation_mb=15.0, half_activations=0.58),
    "trg": _TRG,
    "trg-multi": _TRG,
}


@dataclass(frozen=True)
class RunEstimate:
    """What a run takes. hours: None where the steps are not known.

    memory_mb: of each process that trains, its helpers included. based_on: a sentence.
    """

    parameters: int
    steps: int | None
    crops_per_s: float
    memory_mb: float
    hours: float | None
    based_on: str


def network_config(recipe: Recipe) -> TrgConfig:
    """Of the network that a recipe trains."""
    if recipe == "trg-mini":
        return replace(TrgConfig.mini(), presence_head=True, uncertainty_head=True)
    return TrgConfig.released()


@lru_cache
def parameter_count(recipe: Recipe) -> int:
    """Of the network that a recipe trains."""
    config = network_config(recipe)
    with torch.device("meta"):
        network = Trg(config, np.arange(config.n_samples))
    return sum(parameter.numel() for parameter in network.parameters())


def steps_of(config: TrainConfig, n_samples: int | None) -> int | None:
    """All steps of a run on so many samples; None if it counts epochs and the samples are not
    known. Epochs follow each other without a gap; only the last batch reaches beyond them."""
    if config.epochs is None:
        return config.steps
    return None if n_samples is None else -(-config.epochs * n_samples // config.batch_size)


def estimate(
    config: RunConfig, n_samples: int | None = None, measured: float | None = None
) -> RunEstimate:
    """Time and memory from the configuration alone; starts nothing.

    n_samples: of the training data together. measured: crops a second, see `measured_crops_per_s`.
    """
    rate, train, parameters = RECORDED[config.recipe], config.train, parameter_count(config.recipe)
    share = -(-train.batch_size // (train.devices * train.gradient_accumulation))
    activations = rate.activation_mb * share
    activations *= 1.0 if train.precision == "fp32" else rate.half_activations
    memory = PROGRAM_MB + config.workers * WORKER_MB + activations
    memory += STATE_COPIES * 4 * parameters / 1e6
    speed = measured or rate.crops_per_s
    steps = steps_of(train, n_samples)
    hours = None if steps is None else steps * train.batch_size / speed / 3600.0
    based_on = (
        f"Based on {speed:.1f} crops a second "
        + ("measured here just now" if measured else "on a 2-core processor; a GPU is far faster")
        + f", and {parameters / 1e6:.1f} million parameters; without validation and waiting for "
        "data."
    )
    return RunEstimate(parameters, steps, speed, memory, hours, based_on)


def measured_crops_per_s(config: RunConfig, seconds: float = 5.0, batch_size: int = 8) -> float:
    """Crops a second of training steps on made-up crops, here, by this process; no file is read.

    The first step is not counted. The devices that would train together are not multiplied.
    """
    train = config.train
    cuda = train.device != "cpu" and torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    network = _probe_network(config, device)
    optimizer = torch.optim.AdamW(p for p in network.parameters() if p.requires_grad)
    inputs = _probe_inputs(network.config, batch_size, device)
    dtype = torch.float16 if train.precision == "fp16" else torch.bfloat16
    started, steps = 0.0, -1
    while steps < 1 or time.perf_counter() - started < seconds:
        with torch.autocast(device.type, dtype, train.precision != "fp32"):
            last = network(*inputs)[-1]
        parts = (last.vertices_cam_m, last.pose9, last.presence_logit, last.t_sigma_m)
        sum(part.float().mean() for part in parts if part is not None).backward()
        optimizer.zero_grad()
        if cuda:
            torch.cuda.synchronize()
        steps += 1
        started = started or time.perf_counter()
    return steps * batch_size / (time.perf_counter() - started)


def _probe_network(config: RunConfig, device: torch.device) -> Trg:
    kind = network_config(config.recipe)
    with torch.random.fork_rng(devices=[]):
        network = Trg(kind, np.arange(kind.n_samples))
    if config.train.freeze_stem:
        freeze_stem(network)
    if config.train.heads_only:
        freeze_all_but_heads(network)
    return network.to(device, memory_format=torch.channels_last).train()


def _probe_inputs(kind: TrgConfig, n: int, device: torch.device) -> tuple[torch.Tensor, ...]:
    batch = PoseBatch(
        crops_rgb=torch.zeros(n, kind.crop_px, kind.crop_px, 3, dtype=torch.uint8),
        ray_boxes=torch.tensor([[0.0, 0.0, 0.3]]).repeat(n, 1),
        is_face=torch.ones(n, dtype=torch.bool),
        R_cam_from_model=torch.eye(3).repeat(n, 1, 1),
        t_cam_from_model_m=torch.zeros(n, 3),
        vertices_model_m=torch.zeros(n, kind.n_vertices, 3),
    )
    return network_inputs(batch, kind, device)


def problems_of(config: RunConfig) -> tuple[str, ...]:
    """Sentences about everything that would stop the run at its start; empty: it can start."""
    return (*_data_problems(config), *_start_problems(config), *_train_problems(config))


def _data_problems(config: RunConfig) -> list[str]:
    if not config.data:
        return ["There is no training data: choose at least one data set."]
    problems = [_part_problem(part) for part in (*config.data, *config.validation)]
    names = {part.dataset for part in config.data}
    if config.recipe != "trg-mini" and "arkitface" not in names:
        problems.append(f"{config.recipe} needs arkitface among its data: it has the mesh.")
    if config.recipe == "trg-mini" and not names & {"synthetic", "mica"}:
        problems.append("trg-mini needs synthetic heads among its data: they have its mesh.")
    trained = {(part.root, part.split) for part in config.data}
    for part in config.validation:
        if (part.root, part.split) in trained:
            problems.append(f"{part.root} ({part.split}) is both trained on and validated with.")
        if part.split == "test":
            problems.append(
                f"{part.root}: the split test may not choose checkpoints; hold out some of train."
            )
    return [problem for problem in problems if problem]


def _part_problem(part: DataPart) -> str:
    if not part.root.is_dir():
        return f"{part.dataset}: there is no folder {part.root}."
    if part.dataset != "synthetic" and not any(part.root.iterdir()):
        return f"{part.dataset}: {part.root} is empty."
    heads = [part.root / INFO_NAME, part.root / part.split / INFO_NAME]
    if part.dataset == "synthetic" and not any(path.is_file() for path in heads):
        return (
            f"synthetic: {part.root} has no heads of the split {part.split}; make them with "
            "`synthesize`."
        )
    return ""


def _start_problems(config: RunConfig) -> list[str]:
    start = config.start
    problems = []
    if start == FACEMESH and config.recipe != "trg-mini":
        problems.append(f"{config.recipe} has no FaceMesh backbone: start from imagenet or random.")
    if start == IMAGENET and config.recipe == "trg-mini":
        problems.append("trg-mini has no ResNet-18: start from facemesh or random.")
    if config.start_share and (config.recipe != "trg-mini" or start in (FACEMESH, RANDOM)):
        problems.append("start_share is for trg-mini that starts from trained weights.")
    if config.backbone_file is not None and not config.backbone_file.is_file():
        problems.append(f"There is no backbone file {config.backbone_file}.")
    if start not in (FACEMESH, IMAGENET, RANDOM):
        path = Path(start)
        if not path.is_file():
            problems.append(f"There are no weights {start} to start from.")
        elif path.suffix not in WEIGHT_ENDINGS:
            problems.append(f"{start} is no weights file: {', '.join(WEIGHT_ENDINGS)}.")
    return problems


def _train_problems(config: RunConfig) -> list[str]:
    train, problems = config.train, []
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    on_gpu = train.device == "cuda" or (train.device == "auto" and n_gpus > 0)
    if train.device == "cuda" and not n_gpus:
        problems.append("There is no CUDA device on this machine: choose cpu or auto.")
    if on_gpu and n_gpus and train.devices > n_gpus:
        problems.append(f"{train.devices} devices are asked for; this machine has {n_gpus} GPU(s).")
    if train.precision == "fp16" and not on_gpu:
        problems.append("fp16 needs a GPU; on the processor choose fp32 or bf16.")
    if train.batch_size < train.devices * train.gradient_accumulation:
        parts = train.devices * train.gradient_accumulation
        problems.append(f"A batch of {train.batch_size} cannot be cut into {parts} parts.")
    if config.recipe != "trg-mini" and train.freeze_stem:
        problems.append("freeze_stem is for the FaceMesh backbone of trg-mini.")
    if config.recipe != "trg-mini" and train.crop_uses > 1:
        problems.append("crop_uses is for trg-mini; other recipes use each crop once.")
    if train.loss.mirror > 0.0 and train.crop_uses < 2:
        problems.append("With loss.mirror every crop is used with its mirror image: set crop_uses.")
    if train.loss.mirror > 0.0 and train.batch_size % (
        2 * train.devices * train.gradient_accumulation
    ):
        problems.append(f"A batch of {train.batch_size} cannot be cut into pairs for loss.mirror.")
    if config.recipe != "trg-mini" and train.heads_only:
        problems.append("heads_only is for trg-mini: the released TRG has no such heads.")
    return problems


def command_of(config_path: Path, run_folder: Path, train: TrainConfig) -> list[str]:
    """The command of a run, as a list of arguments. Several GPUs are started by Accelerate, several
    processes on the processor by torchrun, since Accelerate's launcher starts only one there."""
    module = ["-m", "demo_app.train", "--config", str(config_path), "--out", str(run_folder)]
    if train.devices == 1:
        return [sys.executable, *module]
    count = str(train.devices)
    if train.device != "cpu" and torch.cuda.is_available():
        precision = {"fp32": "no"}.get(train.precision, train.precision)
        launcher = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", count]
        launcher += ["--num_machines", "1", "--mixed_precision", precision]
        launcher += ["--dynamo_backend", "no", "--main_process_port", "0"]
    else:
        launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", count]
    return [sys.executable, "-m", *launcher, *module]
