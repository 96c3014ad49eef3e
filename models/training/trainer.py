"""The training loop: batches in, weights and a run folder out; one process or many.

Run folder: metrics.jsonl (one JSON object a line: {"kind": "train", "validation" or "system",
"step", "time_s", numbers}), checkpoints/, and a file STOP that a person may put there to end the
run in order. The main process alone writes it. Text lines go to `say`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from jaxtyping import Bool
from torch import Tensor, nn

from models.training.checkpoints import (
    BestCheckpoint,
    TrainingCheckpoint,
    checkpoint_path,
    delete_checkpoints_after,
    newest_checkpoint,
    read_best,
    read_checkpoint,
    write_best,
    write_checkpoint,
)
from models.training.config import TrainConfig
from models.training.engine import Engine, build_accelerator, parts_of_batch
from models.training.initialisation import freeze_all_but_heads, freeze_stem
from models.training.machine import MachineWatch
from models.training.objective import MiniObjective, Objective
from models.training.optimisation import (
    GradientClip,
    averaged_copy,
    build_optimizer,
    lr_factor,
    set_learning_rate,
    update_average,
)
from models.training.predictions import network_inputs
from models.training.run_log import (
    Meter,
    Say,
    append_record,
    drop_later_records,
    write_bad_batch,
)
from models.trg.batch import PoseBatch
from models.trg.network import Trg, TrgIterate

STOP_FILE, CHECKPOINT_FOLDER = "STOP", "checkpoints"
LEAST_SCALE = 1.0
"""fp16 whose gradients overflow even when the loss is scaled by less than this has diverged."""

Validate = Callable[[Trg], Mapping[str, float]]


class TrainingError(RuntimeError):
    """The run cannot go on; the message says why. The checkpoints so far are good."""


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    network: the averaged weights, evaluation mode. steps_done: of all, resumed ones included.
    stopped: on request, with a checkpoint but no last validation. skipped_steps: whose loss or
        gradients were not finite.
    """

    network: Trg
    steps_done: int
    stopped: bool
    skipped_steps: int


@dataclass(frozen=True)
class Callbacks:
    """What a run asks of others.

    validate: called in every process with the averaged network before the first step, now and
        then, and at the end; the main process's numbers go to the log. It may not change the
        network. torch's random state is kept.
    should_stop: asked after every step, beside the file STOP (which is removed once obeyed); one
        process that says yes stops all.
    progress: told the steps done, in the main process, after every step.
    """

    validate: Validate | None = None
    should_stop: Callable[[], bool] = lambda: False
    progress: Callable[[int], None] = lambda step: None


def fit(
    network: Trg,
    config: TrainConfig,
    batches: Callable[[int], Iterable[PoseBatch]],
    run_folder: Path,
    say: Say,
    *,
    callbacks: Callbacks | None = None,
    objective: Objective | None = None,
    accelerator: Accelerator | None = None,
    resume: bool | Path = True,
) -> TrainResult:
    """Train; the network given is trained in place.

    batches: batches(start_step) yields this process's share of the batches of steps start_step,
        start_step + 1, ...; with the same ones a resumed run ends with the same weights as one
        that never stopped, and many processes with those of one.
    objective: the loss; that of trg-mini if None. accelerator: as `build_accelerator` makes it.
    resume: go on from the newest readable checkpoint of the run folder, if there is one; or from
        the one given, and forget what came later; False: start anew and delete them.
    Raises: TrainingError when numbers are not finite for too long, batches run out or have
        another size; ValueError if the checkpoint is of another network; EngineError.
    """
    with _threads(config.threads):
        engine = Engine(accelerator or build_accelerator(config), config)
        chosen = objective or MiniObjective(network.config, config.loss)
        run = _Run(network, config, run_folder, say, engine, chosen, callbacks or Callbacks())
        try:
            run.resume(resume)
            return run.train(batches)
        finally:
            engine.release()


class _Run:
    """The moving parts of a run."""

    def __init__(
        self,
        network: Trg,
        config: TrainConfig,
        folder: Path,
        say: Say,
        engine: Engine,
        objective: Objective,
        callbacks: Callbacks,
    ) -> None:
        self.config, self.folder, self.engine = config, folder, engine
        self._machine = MachineWatch(engine.device)
        self.objective, self.callbacks = objective, callbacks
        self.say: Say = say if engine.is_main else lambda _: None
        torch.manual_seed(config.seed + engine.rank)
        network = engine.with_shared_batch_norm(network)
        self.network = network.to(engine.device, memory_format=torch.channels_last).train()
        if config.freeze_batch_norm:
            _freeze_batch_norm(self.network)
        if config.freeze_stem:
            freeze_stem(self.network)
        if config.heads_only:
            freeze_all_but_heads(self.network)
        self.average = averaged_copy(self.network)
        if config.compile:
            self.network.feature_extractor.compile()
            neck = "pyramid" if network.config.neck == "pyramid" else "deconv_layers"
            getattr(self.network, neck).compile()
        self.clip = GradientClip(self.network, config.gradient_clip)
        self.optimizer = engine.prepare(self.network, build_optimizer(self.network, config))
        self.step = self.skipped = self.bad_in_a_row = 0
        self.metrics: dict[str, float] = {}
        self.meter = Meter(objective.part_names, config.batch_size)
        folder.mkdir(parents=True, exist_ok=True)

    def resume(self, resume: bool | Path) -> None:
        folder = self.folder / CHECKPOINT_FOLDER
        found = self._checkpoint_to_resume(folder, resume)
        if self.engine.is_main:
            if resume is not True:
                delete_checkpoints_after(folder, found.step if found else -1)
            drop_later_records(self.folder, found.step if found else -1)
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
        if self.engine.scaler is not None and found.scaler:
            self.engine.scaler.load_state_dict(found.scaler)
        self.engine.set_rng(found.rng)
        self.step, self.skipped, self.metrics = found.step, found.skipped_steps, found.metrics
        self.say(
            f"resumed after step {self.step}"
            + (f"; changed settings: {', '.join(changed)}" if changed else "")
        )

    def _checkpoint_to_resume(self, folder: Path, resume: bool | Path) -> TrainingCheckpoint | None:
        """The main process chooses, and all read the same one."""
        if resume is False:
            return None
        if isinstance(resume, Path):
            return read_checkpoint(resume)
        mine = newest_checkpoint(folder, self.say) if self.engine.is_main else None
        step = self.engine.from_main(mine.step if mine else None)
        if self.engine.is_main or step is None:
            return mine
        return read_checkpoint(checkpoint_path(folder, step))

    def train(self, batches: Callable[[int], Iterable[PoseBatch]]) -> TrainResult:
        if self.step == 0:
            self._validate()
        stopped = self.engine.any_of(self.callbacks.should_stop())
        todo = self.step < self.config.steps and not stopped
        source = iter(batches(self.step)) if todo else iter(())
        while self.step < self.config.steps and not stopped:
            waited_since = time.perf_counter()
            batch = next(source, None)
            if batch is None:
                raise TrainingError(f"There were no batches left at step {self.step}.")
            self.meter.waited_s += time.perf_counter() - waited_since
            stopped = self._train_step(batch)
            self._after_step(stopped)
        if stopped:
            (self.folder / STOP_FILE).unlink(missing_ok=True)
            self.say(f"stopped on request after step {self.step}")
        return TrainResult(self.average, self.step, stopped, self.skipped)

    def _train_step(self, batch: PoseBatch) -> bool:
        """Returns whether to stop after it."""
        set_learning_rate(self.optimizer, lr_factor(self.step, self.config))
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._gradients(batch)
        if loss is None or not self._moved():
            self.skipped += 1
            if loss is None or self._diverged():
                self._count_bad_step(batch)
        else:
            update_average(self.average, self.network, self.step, self.config.ema_decay)
            self.meter.add(loss)
            self.bad_in_a_row = 0
        self.step += 1
        return self.engine.any_of(self._wants_to_stop())

    def _gradients(self, batch: PoseBatch) -> Tensor | None:
        """This process's share of the gradients of the step; returns the loss and its parts.

        None, and no gradients, where a number is not finite: from sampling positions that are NaN
        torch's backward pass writes outside its arrays.
        """
        parts = parts_of_batch(batch, self.config.gradient_accumulation)
        sizes = [torch.tensor([float(len(part))]) for part in parts]
        counts = [self.objective.counts(part).cpu() for part in parts]
        total = self.engine.whole_counts(
            [torch.cat(pair) for pair in zip(sizes, counts, strict=True)]
        )
        seen = round(float(total[0]) * self.engine.world)
        if seen != self.config.batch_size:
            raise TrainingError(f"A batch has {seen} crops, not {self.config.batch_size}.")
        losses = []
        for i, part in enumerate(parts, 1):
            with self.engine.no_sync(last=i == len(parts)):
                here = part.to(self.engine.device)
                inputs = network_inputs(here, self.network.config, self.engine.device)
                iterates = self.engine.model(*inputs)
                loss = torch.stack(list(self.objective.loss(iterates, here, total[1:])))
                if self.engine.any_of(~_all_finite(iterates, loss)):
                    return None
                self.engine.accelerator.backward(loss[0])
                losses.append(loss.detach())
        return torch.stack(losses).sum(0)

    def _moved(self) -> bool:
        """One step of the optimiser, unless a gradient is not finite."""
        scaler = self.engine.scaler
        if scaler is not None:
            self.engine.accelerator.unscale_gradients(self.optimizer)
        if torch.isfinite(self.clip()):
            self.optimizer.step()
            return True
        if scaler is not None:
            scaler.update()
        return False

    def _diverged(self) -> bool:
        """In fp16 an overflow now and then only finds the right scale of the loss."""
        scaler = self.engine.scaler
        return scaler is None or scaler.get_scale() < LEAST_SCALE

    def _count_bad_step(self, batch: PoseBatch) -> None:
        self.bad_in_a_row += 1
        path = write_bad_batch(self.folder, batch, self.step, self.engine.rank)
        self.say(f"step {self.step}: a loss or gradient is not finite; the batch is in {path.name}")
        if self.bad_in_a_row >= self.config.max_bad_steps:
            count = "A step" if self.bad_in_a_row == 1 else f"{self.bad_in_a_row} steps in a row"
            raise TrainingError(
                f"{count} had no finite loss or gradient (step {self.step}); the batch is saved as "
                f"{path.name}. Lower the learning rate, or look for broken labels in that batch."
            )

    def _after_step(self, stopped: bool) -> None:
        config, last = self.config, self.step == self.config.steps
        if self.engine.is_main:
            self.callbacks.progress(self.step)
        if stopped or last or self.step % config.log_every == 0:
            self._log_training()
        improved = False
        if not stopped and (last or self.step % config.validate_every == 0):
            improved = self._validate()
        if stopped or last or improved or self.step % config.checkpoint_every == 0:
            self._write_checkpoint(improved)

    def _wants_to_stop(self) -> bool:
        """In this process."""
        on_file = self.engine.is_main and (self.folder / STOP_FILE).exists()
        return on_file or self.callbacks.should_stop()

    def _log_training(self) -> None:
        means = self.meter.read(self.engine.mean)
        numbers = {"lr": self.optimizer.param_groups[0]["lr"], "skipped_steps": self.skipped}
        self._record("train", numbers | means)
        if self.engine.is_main:
            append_record(self.folder, "system", self.step, self._machine.numbers())
        self.meter = Meter(self.objective.part_names, self.config.batch_size)

    def _validate(self) -> bool:
        """Returns whether it was the best so far."""
        if self.callbacks.validate is None:
            return False
        started = time.perf_counter()
        with torch.random.fork_rng(devices=None if self.engine.device.type == "cuda" else []):
            found = dict(self.callbacks.validate(self.average))
        self.metrics = self.engine.from_main(found)
        if self.metrics:
            self._record("validation", self.metrics)
        self.meter.paused_s += time.perf_counter() - started
        value = self.metrics.get(self.config.best_by)
        best = self.engine.from_main(read_best(self.folder / CHECKPOINT_FOLDER))
        return self.step > 0 and value is not None and (best is None or value < best.value)

    def _record(self, kind: str, numbers: Mapping[str, float]) -> None:
        if not self.engine.is_main:
            return
        append_record(self.folder, kind, self.step, numbers)
        told = ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        self.say(f"{kind} {self.step}/{self.config.steps}: {told}")

    def _write_checkpoint(self, is_best: bool) -> None:
        started = time.perf_counter()
        rng, scaler, config = self.engine.rng(), self.engine.scaler, self.config
        if not self.engine.is_main:
            return
        checkpoint = TrainingCheckpoint(
            step=self.step,
            skipped_steps=self.skipped,
            network=self.network.state_dict(),
            ema=self.average.state_dict(),
            optimizer=self.optimizer.state_dict(),
            scaler=scaler.state_dict() if scaler is not None else {},
            rng=rng,
            network_config=self.network.config.to_json(),
            train_config=asdict(config),
            metrics=dict(self.metrics),
        )
        folder = self.folder / CHECKPOINT_FOLDER
        path = write_checkpoint(folder, checkpoint, config.keep_checkpoints)
        if is_best:
            value = self.metrics[config.best_by]
            write_best(folder, BestCheckpoint(path.name, self.step, config.best_by, value))
        self.meter.paused_s += time.perf_counter() - started


def _all_finite(iterates: Sequence[TrgIterate], loss: Tensor) -> Bool[Tensor, ""]:
    """Also of crops whose labels are not known, which the loss passes over."""
    finite = [torch.isfinite(iterate.vertices_crop).all() for iterate in iterates]
    return torch.stack([*finite, torch.isfinite(loss).all()]).all()


def _freeze_batch_norm(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


@contextmanager
def _threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
