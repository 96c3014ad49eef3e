"""One run in its folder: what is written there beside the trainer's own files."""

from __future__ import annotations

import json
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from accelerate import Accelerator

from demo_app.recipes.mini import build_mini
from demo_app.recipes.setup import Place, RecipeError, RunSetup
from demo_app.recipes.trg import build_trg
from demo_app.run_config import CONFIG_FILE, RunConfig, RunConfigError, write_run_config
from demo_app.run_plan import command_of, problems_of, steps_of
from demo_app.run_previews import first_faces, write_preview
from demo_app.run_state import (
    COMMAND_FILE,
    LOG_FILE,
    PREVIEW_FOLDER,
    Status,
    is_alive,
    own_state,
    read_state,
    write_state,
)
from models.training.engine import Engine, EngineError
from models.training.metrics import all_metrics
from models.training.run_log import say_to_file
from models.training.trainer import Callbacks, TrainingError, TrainResult, fit
from models.training.validation import ValidationStoppedError, predict_shares
from models.trg.batch import PoseBatch
from models.trg.checkpoints import CheckpointError
from models.trg.network import Trg
from viewer.datasets.source import DatasetError
from viewer.datasets.synthetic_format import SyntheticDataError

STATE_EVERY_S = 1.0
SHOWN_METRICS = (
    "geodesic_mean_deg",
    "geodesic_median_deg",
    "t_mean_mm",
    "vertices_mean_mm",
    "depth_relative_percent",
    "crop_mean_px",
    "presence_false_accept",
    "presence_false_reject",
    "mahalanobis2_q68",
)
REFUSALS = (
    *(CheckpointError, DatasetError, EngineError, FileNotFoundError, RecipeError),
    *(RunConfigError, SyntheticDataError, TrainingError, ValueError),
)
"""What a run can end with; each says in a sentence what is wrong."""


def refuse(sentence: str, status: int = 2) -> int:
    """Say it on stderr; returns the exit status."""
    sys.stderr.write(sentence + "\n")
    return status


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """SIGTERM and the first Ctrl-C are remembered, so that the step under way can be finished."""
    asked: list[int] = []

    def remember(number: int, _frame: object) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, remember) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class TrainingRun:
    """A run of one process among `accelerator`'s; the main one writes the folder."""

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        accelerator: Accelerator,
        should_stop: Callable[[], bool],
    ) -> None:
        self.config, self.folder, self.accelerator = config, folder, accelerator
        self.engine = Engine(accelerator, config.train)
        self.should_stop = should_stop
        self.say: Callable[[str], None] = lambda _: None
        self.state = own_state("starting")
        self._written_s = 0.0

    def go(self, from_checkpoint: Path | None) -> int:
        """Exit status: 0 finished or stopped, 1 failed in training, 2 could not start."""
        problems = self.engine.from_main(self._problems())
        if problems:
            return self._refused("\n".join(problems))
        self._open()
        with self._noting_what_is_unexpected():
            try:
                stopped = self._train(from_checkpoint)
            except REFUSALS as error:
                status = 1 if self.state.status == "running" else 2
                self.say(f"ERROR: {error}")
                self._write_state("failed", str(error))
                return self._refused(str(error), status)
        self._write_state("stopped" if stopped else "finished")
        return 0

    def _refused(self, sentence: str, status: int = 2) -> int:
        return refuse(sentence, status) if self.engine.is_main else status

    def _problems(self) -> tuple[str, ...]:
        state = read_state(self.folder)
        if state is not None and not state.is_over and is_alive(state):
            return (f"A run is going on in {self.folder} (process {state.pid}); stop it first.",)
        return problems_of(self.config)

    def _open(self) -> None:
        if not self.engine.is_main:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        config_path = self.folder / CONFIG_FILE
        write_run_config(config_path, self.config)
        command = command_of(config_path, self.folder, self.config.train)
        (self.folder / COMMAND_FILE).write_text(json.dumps(command) + "\n", encoding="utf-8")
        self.say = say_to_file(self.folder / LOG_FILE, _say)
        self._write_state("starting")

    @contextmanager
    def _noting_what_is_unexpected(self) -> Iterator[None]:
        ended = False
        try:
            yield
            ended = True
        finally:
            error = sys.exc_info()[1]
            if not ended and isinstance(error, Exception | KeyboardInterrupt):
                self.say("".join(traceback.format_exception(error)))
                self._write_state("failed", f"{type(error).__name__}: {error}")

    def _write_state(self, status: Status, message: str = "", step: int | None = None) -> None:
        step = self.state.step if step is None else step
        self.state = replace(self.state, status=status, message=message, step=step)
        self._written_s = time.monotonic()
        if self.engine.is_main:
            write_state(self.folder, self.state)

    def _progress(self, step: int) -> None:
        if step == self.state.steps or time.monotonic() - self._written_s > STATE_EVERY_S:
            self._write_state("running", step=step)
        else:
            self.state = replace(self.state, step=step)

    def _train(self, from_checkpoint: Path | None) -> bool:
        """Returns whether it was stopped before its end."""
        setup = self._setup()
        steps = steps_of(self.config.train, setup.data.n_samples)
        train = replace(self.config.train, steps=steps)
        self.say(self._described(setup, steps))
        self.state = replace(self.state, steps=steps)
        self._write_state("running")
        result = fit(
            setup.network,
            train,
            lambda start: setup.data.batches(start, steps),
            self.folder,
            self.say,
            callbacks=Callbacks(
                self._validation(setup) if setup.data.validation else None,
                self.should_stop,
                self._progress,
            ),
            objective=setup.objective,
            accelerator=self.accelerator,
            resume=from_checkpoint or True,
        )
        self.state = replace(self.state, step=result.steps_done)
        self._finish(setup, result)
        return result.stopped

    def _setup(self) -> RunSetup:
        place = Place(
            self.folder,
            self.say,
            self.engine.rank,
            self.engine.world,
            self.engine.device,
            self.accelerator.wait_for_everyone,
        )
        return (build_mini if self.config.recipe == "trg-mini" else build_trg)(self.config, place)

    def _described(self, setup: RunSetup, steps: int) -> str:
        n_crops = sum(len(b) for batches in setup.data.validation.values() for b in batches)
        return (
            f"{self.config.recipe}: {setup.data.n_samples} samples, {steps} steps of "
            f"{self.config.train.batch_size}, {self.engine.world} process(es) on "
            f"{self.engine.device}, {self.config.train.precision}; {n_crops} validation crops in "
            "the first process"
        )

    def _finish(self, setup: RunSetup, result: TrainResult) -> None:
        if result.stopped or not self.engine.is_main:
            return
        for path in setup.finish(result.network, result.steps_done):
            self.say(f"wrote {path}")

    def _validation(self, setup: RunSetup) -> Callable[[Trg], dict[str, float]]:
        sets = setup.data.validation
        shown = first_faces([batch for batches in sets.values() for batch in batches])
        may_stop = self.should_stop if self.engine.world == 1 else _never

        def validate(network: Trg) -> dict[str, float]:
            if shown is not None and self.engine.is_main:
                name = f"step-{self.state.step:08d}.jpg"
                write_preview(self.folder / PREVIEW_FOLDER / name, network, shown)
            try:
                return self._metrics(network, sets, may_stop)
            except ValidationStoppedError:
                return {}

        return validate

    def _metrics(
        self, network: Trg, sets: dict[str, list[PoseBatch]], may_stop: Callable[[], bool]
    ) -> dict[str, float]:
        """Of every set, and their mean rotation error, which chooses the best checkpoint."""
        numbers: dict[str, float] = {}
        means = []
        for name, own in sets.items():
            found = all_metrics(predict_shares(network, own, self.engine.gathered, may_stop))
            means.append(found["geodesic_mean_deg"])
            numbers |= {f"{name}_{key}": found[key] for key in SHOWN_METRICS if key in found}
        return {"geodesic_mean_deg": sum(means) / len(means), **numbers}


def _never() -> bool:
    """Processes that validate together stop together: after the next step."""
    return False


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
