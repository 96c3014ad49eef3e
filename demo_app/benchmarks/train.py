"""`benchmark train`: whether pictures are ready as fast as the released TRG learns from them.

The recipe trg on files of ARKitFace's layout (800 px, as much detail as a camera's), its own
augmentation, network, loss and optimiser. Three speeds: batches alone; steps alone, with one batch
again and again; and training, where each step waits for its batch and the processes that make
batches take their share of the processor: one batch is made for each that is used. Steps and
training take turns, in the same process.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from demo_app.benchmarks.made_sets import write_arkitface_1220
from demo_app.benchmarks.timing import machine
from demo_app.recipes.setup import Place, RunSetup
from demo_app.recipes.trg import build_trg
from demo_app.run_config import RANDOM, DataPart, RunConfig, default_config
from models.training.optimisation import build_optimizer
from models.training.predictions import network_inputs
from models.trg.batch import PoseBatch
from viewer.datasets.training_parts import BOTH

BATCH, ROUNDS, STEPS = 16, 6, 5
LOADER_BATCHES, FILLING_STEPS = 12, 3


@dataclass
class _Clock:
    """Samples, and the seconds that they took; processors' time too, of this process with all its
    threads and of its children that have ended."""

    samples: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def add(self, samples: int, run: Callable[[], object]) -> None:
        started, cpu_started = time.perf_counter(), _cpu_s()
        run()
        self.seconds += time.perf_counter() - started
        self.cpu_seconds += _cpu_s() - cpu_started
        self.samples += samples

    @property
    def rate(self) -> float:
        return self.samples / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Each sample."""
        return 1000.0 * self.cpu_seconds / self.samples


def _cpu_s() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, kinds))


def run_train_benchmark(
    threads: int = 2, rounds: int = ROUNDS, steps: int = STEPS, batch_size: int = BATCH
) -> dict[str, object]:
    """What the last line says. `threads` are torch's; the processes that make batches come on
    top."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with tempfile.TemporaryDirectory(prefix="train-benchmark-") as name:
            root = Path(name) / "ARKitFace"
            config = _config(write_arkitface_1220(root, detailed=True), threads, batch_size)
            setup = build_trg(config, Place(Path(name) / "run", lambda _text: None))
            found = _measured(config, setup, rounds, steps)
    finally:
        torch.set_num_threads(before)
    return {
        "benchmark": "train",
        "machine": machine(),
        "recipe": config.recipe,
        "threads": threads,
        "workers": config.workers,
        "batch": batch_size,
        **found,
    }


def _config(root: Path, threads: int, batch_size: int) -> RunConfig:
    """The recipe's own, but for the size of a batch."""
    config = default_config("trg")
    train = replace(config.train, batch_size=batch_size, threads=threads, device="cpu")
    data = (DataPart("arkitface", root, split=BOTH),)
    test = (DataPart("arkitface", root, split="validation", limit=1),)
    return replace(config, train=train, data=data, validation=test, start=RANDOM)


def _measured(config: RunConfig, setup: RunSetup, rounds: int, steps: int) -> dict[str, object]:
    size, network = config.train.batch_size, setup.network.train()
    optimizer = build_optimizer(network, config.train)

    def step(batch: PoseBatch) -> None:
        iterates = network(*network_inputs(batch, network.config, torch.device("cpu")))
        loss = setup.objective.loss(iterates, batch, setup.objective.counts(batch))
        optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        optimizer.step()

    loader, alone, trained = _Clock(), _Clock(), _Clock()
    source = setup.data.batches(0, LOADER_BATCHES + 1)
    same = next(source)
    loader.add(LOADER_BATCHES * size, lambda: list(source))
    step(same)
    source = setup.data.batches(0, (rounds + 1) * (steps + FILLING_STEPS))
    _train(step, source, FILLING_STEPS)
    for _ in range(rounds):
        trained.add(steps * size, lambda: _train(step, source, steps))
        step(same)  # the last batch is made up for meanwhile, then nothing is made
        alone.add(steps * size, lambda: [step(same) for _ in range(steps)])
    source.close()
    return {
        "loader_samples_per_s": round(loader.rate, 1),
        "step_samples_per_s": round(alone.rate, 2),
        "trained_samples_per_s": round(trained.rate, 2),
        "trained_over_step": round(trained.rate / alone.rate, 3),
        "loader_cpu_ms": round(loader.cpu_ms, 1),
        "step_cpu_ms": round(alone.cpu_ms, 1),
    }


def _train(step: Callable[[PoseBatch], None], batches: Iterator[PoseBatch], steps: int) -> None:
    """Each step with the wait for its batch."""
    for _ in range(steps):
        step(next(batches))
