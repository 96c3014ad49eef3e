"""The training loop: one process, batches in, weights and a run folder out.

Run folder: metrics.jsonl (one JSON object a line: {"kind": "train" or "validation", "step": ...,
numbers}), checkpoints/, and a file STOP that a person may put there to end the run in order.
Text lines go to `say`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from models.training.checkpoints import TrainingCheckpoint, newest_checkpoint, write_checkpoint
from models.training.config import TrainConfig
from models.training.initialisation import freeze_stem
from models.training.losses import LossParts, build_targets, pose_loss
from models.training.optimisation import (
    GradientClip,
    averaged_copy,
    build_optimizer,
    lr_factor,
    set_learning_rate,
    update_average,
)
from models.training.predictions import network_inputs
from models.trg.batch import PoseBatch
from models.trg.network import Trg

METRICS_FILE, STOP_FILE, CHECKPOINT_FOLDER = "metrics.jsonl", "STOP", "checkpoints"

Say = Callable[[str], None]
Validate = Callable[[Trg], Mapping[str, float]]


class TrainingError(RuntimeError):
    """The run cannot go on; the message says why. The checkpoints so far are good."""


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    network: the averaged weights, evaluation mode. steps_done: of all, resumed ones included.
    stopped: on request, before its last step. skipped_steps: whose gradients were not finite.
    """

    network: Trg
    steps_done: int
    stopped: bool
    skipped_steps: int


def say_to_file(path: Path, also: Say | None = None) -> Say:
    """A `say` that appends lines with the time of day to a file, and passes them on."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def say(text: str) -> None:
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}"
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        if also is not None:
            also(line)

    return say


def fit(
    network: Trg,
    config: TrainConfig,
    batches: Callable[[int], Iterable[PoseBatch]],
    run_folder: Path,
    say: Say,
    *,
    validate: Validate | None = None,
    should_stop: Callable[[], bool] | None = None,
    resume: bool = True,
) -> TrainResult:
    """Train; the network given is trained in place.

    batches: batches(start_step) yields the batches of steps start_step, start_step + 1, ...; with
        the same ones a resumed run ends with the same weights as one that never stopped.
    validate: called with the averaged network before the first step, now and then, and at the end;
        its numbers go to the log. It may not change the network. torch's random state is kept.
    should_stop: asked after every step, beside the file STOP (which is removed once obeyed).
    resume: go on from the newest readable checkpoint of the run folder, if there is one.
    Raises: TrainingError when gradients are not finite for too long, batches run out or have
        another size; ValueError if the checkpoint is of another network.
    """
    with _threads(config.threads):
        run = _Run(network, config, run_folder, say, validate)
        if resume:
            run.resume()
        return run.train(batches, should_stop)


class _Run:
    """The moving parts of a run."""

    def __init__(
        self,
        network: Trg,
        config: TrainConfig,
        folder: Path,
        say: Say,
        validate: Validate | None,
    ) -> None:
        self.config, self.folder, self.say, self.validate = config, folder, say, validate
        self.device = torch.device(config.device)
        torch.manual_seed(config.seed)
        self.network = network.to(self.device, memory_format=torch.channels_last).train()
        if config.freeze_stem:
            freeze_stem(self.network)
        self.average = averaged_copy(self.network)
        self.optimizer = build_optimizer(self.network, config)
        self.clip = GradientClip(self.network, config.gradient_clip)
        self.step = self.skipped = self.bad_in_a_row = 0
        if config.compile:
            self.network.feature_extractor.compile()
            neck = "pyramid" if network.config.neck == "pyramid" else "deconv_layers"
            getattr(self.network, neck).compile()
        self.meter = _Meter(config.batch_size)
        folder.mkdir(parents=True, exist_ok=True)

    def resume(self) -> None:
        found = newest_checkpoint(self.folder / CHECKPOINT_FOLDER, self.say)
        if found is None:
            return
        if found.network_config != self.network.config.to_json():
            raise ValueError(f"The checkpoints of {self.folder} are of another network.")
        now = asdict(self.config)
        changed = [name for name in now if now[name] != found.train_config.get(name)]
        self.network.load_state_dict(found.network)
        self.average.load_state_dict(found.ema)
        self.optimizer.load_state_dict(found.optimizer)
        for group, fresh in zip(
            self.optimizer.param_groups,
            build_optimizer(self.network, self.config).param_groups,
            strict=True,
        ):
            group.update({k: v for k, v in fresh.items() if k != "params"})
        torch.set_rng_state(found.torch_rng)
        if self.device.type == "cuda":
            torch.cuda.set_rng_state_all(found.cuda_rng)
        self.step, self.skipped = found.step, found.skipped_steps
        _drop_later_lines(self.folder / METRICS_FILE, self.step)
        self.say(
            f"resumed after step {self.step}"
            + (f"; changed settings: {', '.join(changed)}" if changed else "")
        )

    def train(
        self,
        batches: Callable[[int], Iterable[PoseBatch]],
        should_stop: Callable[[], bool] | None,
    ) -> TrainResult:
        stopped = False
        self._validate()
        source = iter(batches(self.step)) if self.step < self.config.steps else iter(())
        while self.step < self.config.steps and not stopped:
            waited_since = time.perf_counter()
            batch = next(source, None)
            if batch is None:
                raise TrainingError(f"There were no batches left at step {self.step}.")
            self.meter.waited_s += time.perf_counter() - waited_since
            self._train_step(batch)
            stopped = self._asked_to_stop(should_stop)
            last = stopped or self.step == self.config.steps
            self._after_step(last)
        return TrainResult(self.average, self.step, stopped, self.skipped)

    def _train_step(self, batch: PoseBatch) -> None:
        config = self.config
        if len(batch) != config.batch_size:
            raise TrainingError(f"A batch has {len(batch)} crops, not {config.batch_size}.")
        set_learning_rate(self.optimizer, lr_factor(self.step, config))
        inputs = network_inputs(batch, self.network.config, self.device)
        targets = build_targets(batch.to(self.device), self.network.config)
        with torch.autocast(self.device.type, torch.bfloat16, config.bf16):
            iterates = self.network(*inputs)
        loss = pose_loss(iterates, targets, config.loss)
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        norm = self.clip()
        if torch.isfinite(norm):
            self.optimizer.step()
            update_average(self.average, self.network, self.step, config.ema_decay)
            self.meter.add(loss)
            self.bad_in_a_row = 0
        else:
            self._count_bad_step()
        self.step += 1

    def _count_bad_step(self) -> None:
        self.skipped += 1
        self.bad_in_a_row += 1
        self.say(f"step {self.step}: a gradient is not finite; the step is skipped")
        if self.bad_in_a_row >= self.config.max_bad_steps:
            raise TrainingError(f"{self.bad_in_a_row} steps in a row had no finite gradient.")

    def _after_step(self, last: bool) -> None:
        config = self.config
        if last or self.step % config.log_every == 0:
            self._log_training()
        if last or self.step % config.checkpoint_every == 0:
            self._write_checkpoint()
        if last or self.step % config.validate_every == 0:
            self._validate()

    def _asked_to_stop(self, should_stop: Callable[[], bool] | None) -> bool:
        stop_file = self.folder / STOP_FILE
        if stop_file.exists():
            stop_file.unlink()
        elif should_stop is None or not should_stop():
            return False
        self.say(f"stopped on request after step {self.step}")
        return True

    def _log_training(self) -> None:
        numbers = {
            "lr": self.optimizer.param_groups[0]["lr"],
            "skipped_steps": self.skipped,
            **self.meter.read(),
        }
        self._record("train", numbers)
        self.meter = _Meter(self.config.batch_size)

    def _validate(self) -> None:
        if self.validate is None:
            return
        started = time.perf_counter()
        with torch.random.fork_rng():
            numbers = dict(self.validate(self.average))
        self._record("validation", numbers)
        self.meter.paused_s += time.perf_counter() - started

    def _record(self, kind: str, numbers: Mapping[str, float]) -> None:
        line = json.dumps({"kind": kind, "step": self.step, **numbers})
        with (self.folder / METRICS_FILE).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        told = ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        self.say(f"{kind} {self.step}/{self.config.steps}: {told}")

    def _write_checkpoint(self) -> None:
        started = time.perf_counter()
        cuda = self.device.type == "cuda"
        checkpoint = TrainingCheckpoint(
            step=self.step,
            skipped_steps=self.skipped,
            network=self.network.state_dict(),
            ema=self.average.state_dict(),
            optimizer=self.optimizer.state_dict(),
            torch_rng=torch.get_rng_state(),
            cuda_rng=torch.cuda.get_rng_state_all() if cuda else [],
            network_config=self.network.config.to_json(),
            train_config=asdict(self.config),
        )
        write_checkpoint(self.folder / CHECKPOINT_FOLDER, checkpoint, self.config.keep_checkpoints)
        self.meter.paused_s += time.perf_counter() - started


class _Meter:
    """Means of the loss and the speed since the last line of the log."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size, self._started = batch_size, time.perf_counter()
        self._sum: torch.Tensor | None = None
        self._steps = 0
        self.waited_s = self.paused_s = 0.0

    def add(self, loss: LossParts) -> None:
        values = torch.stack(loss).detach()
        self._sum = values if self._sum is None else self._sum + values
        self._steps += 1

    def read(self) -> dict[str, float]:
        """Loss parts, images a second without pauses for validation, share of waiting for data."""
        seconds = max(time.perf_counter() - self._started - self.paused_s, 1e-9)
        sums = [math.nan] * len(LossParts._fields) if self._sum is None else self._sum.tolist()
        means = [value / max(self._steps, 1) for value in sums]
        return {
            **{f"loss_{n}": mean for n, mean in zip(LossParts._fields, means, strict=True)},
            "images_per_s": self._steps * self._batch_size / seconds,
            "waiting_share": self.waited_s / seconds,
        }


def _drop_later_lines(path: Path, step: int) -> None:
    """A run that was killed wrote lines after its last checkpoint; those steps come again."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except json.JSONDecodeError:  # cut short by the kill
            continue
    partial = path.with_suffix(".partial")
    partial.write_text("".join(kept), encoding="utf-8")
    partial.replace(path)


@contextmanager
def _threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
