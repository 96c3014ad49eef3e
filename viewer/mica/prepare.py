"""A subset of MICA's training set, from the original pictures to aligned faces.

`ROOT/SUBSET/{images,arcface_input,FLAME_parameters,registrations}/<actor>/`: the pictures as they
are, per picture with a face an .npy (3, 112, 112) for ArcFace and a crop of 224 px, and MICA's own
files. Beside them `preparation/`: a report, and what an interrupted run goes on from.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_NB, flock
from multiprocessing import get_context
from pathlib import Path

from viewer.datasets.mica_layout import PARAMETERS, REGISTRATIONS
from viewer.mica.adapters import Adapter, adapter_of
from viewer.mica.fits import CopiedFits, copy_fits, find_registrations, inner_folder
from viewer.mica.picture import (
    MTCNN,
    DetectorChoice,
    Job,
    PictureResult,
    PictureTask,
    prepare_in_worker,
    prepare_picture,
    start_worker,
)
from viewer.mica.results_file import ResultsFile, is_done
from viewer.mica.wanted import Wanted, WantedPicture, wanted_pictures

RUN_FOLDER, RESULTS_FILE, LOCK_FILE = "preparation", "pictures.jsonl", "lock"
TASK_PICTURES = 8
REASON_MISSING = "The original data set has no file of this name for this actor."
REASON_CLASH = "Another picture of the actor has the same name without its ending."

Progress = Callable[[int, int], None]


class PreparationError(ValueError):
    """The subset cannot be prepared; the message says why."""


@dataclass(frozen=True)
class Inputs:
    """Where everything comes from and goes to.

    source: folder of the original data set. parameters: MICA's FLAME_parameters of the subset, or
    the folder that holds it. image_list: image_paths/SUBSET.npy; None: MICA's rule draws.
    registrations: None: beside the parameters, if they are there. root: of the prepared set.
    """

    subset: str
    source: Path
    parameters: Path
    root: Path
    image_list: Path | None = None
    registrations: Path | None = None

    @property
    def folder(self) -> Path:
        return self.root / self.subset


@dataclass(frozen=True)
class Preparation:
    """What a run did. results: a picture each, in the order of the list.

    worked: pictures that were looked at by this run; the others were ready from an earlier one.
    is_complete: False if it was stopped.
    """

    inputs: Inputs
    adapter: Adapter
    settings: str
    wanted: Wanted
    results: tuple[PictureResult, ...]
    fits: CopiedFits
    worked: int
    is_complete: bool
    seconds: float


def _silent(_done: int, _total: int) -> None:
    return None


def _never() -> bool:
    return False


def prepare_subset(
    inputs: Inputs,
    *,
    workers: int = 2,
    overwrite: bool = False,
    detector: DetectorChoice = MTCNN,
    progress: Progress = _silent,
    should_stop: Callable[[], bool] = _never,
) -> Preparation:
    """Make or complete a subset. Ctrl-C ends it in order: what is done is kept and reported.

    workers: processes beside this one; 0: none. The files do not depend on their number.
    overwrite: do everything again, and replace files that have another content.
    Raises: DatasetError, PreparationError; OSError where files cannot be written.
    """
    start_s = time.monotonic()
    adapter = adapter_of(inputs.subset)
    parameters = _require_folders(inputs)
    wanted = wanted_pictures(adapter, inputs.source, inputs.image_list)
    run_folder = inputs.folder / RUN_FOLDER
    run_folder.mkdir(parents=True, exist_ok=True)
    job = Job(inputs.folder, adapter.min_score, overwrite, detector)
    with _only_one(run_folder):
        registrations = inputs.registrations or find_registrations(parameters)
        if registrations is not None:
            registrations = inner_folder(registrations, REGISTRATIONS)
        fits = copy_fits(wanted, parameters, registrations, inputs.folder, overwrite)
        run = _Run(job, wanted, ResultsFile(run_folder / RESULTS_FILE, job.settings))
        is_complete = run.work(workers, progress, should_stop)
    return Preparation(
        inputs,
        adapter,
        job.settings,
        wanted,
        tuple(run.result_of(picture) for picture in wanted.pictures),
        fits,
        run.worked,
        is_complete,
        time.monotonic() - start_s,
    )


class _Run:
    def __init__(self, job: Job, wanted: Wanted, file: ResultsFile) -> None:
        self.job, self.file, self.worked = job, file, 0
        if job.overwrite:
            file.clear()
        known = file.read()
        self.results: dict[tuple[str, str], PictureResult] = {}
        self.tasks: list[PictureTask] = []
        for picture in wanted.pictures:
            if picture.source is None or picture.is_clash:
                continue
            key = (picture.actor, picture.name)
            task = PictureTask(*key, picture.source, _signature(picture.source))
            if is_done(known.get(key), task, job):
                self.results[key] = known[key]
            else:
                self.tasks.append(task)

    def work(self, workers: int, progress: Progress, should_stop: Callable[[], bool]) -> bool:
        """Whether everything was done."""
        ready = len(self.results)
        total = ready + len(self.tasks)
        progress(ready, total)
        batches = [
            tuple(self.tasks[start : start + TASK_PICTURES])
            for start in range(0, len(self.tasks), TASK_PICTURES)
        ]
        answers = self._answers(batches, workers)
        try:
            for answer in answers:
                self._take(answer)
                progress(ready + self.worked, total)
                if self.worked < len(self.tasks) and should_stop():
                    return False
        except KeyboardInterrupt:
            return False
        except BrokenProcessPool as error:
            raise PreparationError(
                "A worker process ended: out of memory, or a library crashed. The next run goes on "
                "from here; try it with fewer workers."
            ) from error
        finally:
            answers.close()
        return True

    def result_of(self, picture: WantedPicture) -> PictureResult:
        about = (picture.actor, picture.name, str(picture.source or ""), "")
        if picture.source is None:
            return PictureResult(*about, "missing", REASON_MISSING)
        if picture.is_clash:
            return PictureResult(*about, "clash", REASON_CLASH)
        waiting = PictureResult(*about, "not yet", "The run was stopped before.")
        return self.results.get((picture.actor, picture.name), waiting)

    def _take(self, answer: Sequence[PictureResult]) -> None:
        self.file.add(answer)
        self.results |= {(result.actor, result.name): result for result in answer}
        self.worked += len(answer)

    def _answers(
        self, batches: Sequence[tuple[PictureTask, ...]], workers: int
    ) -> Iterator[list[PictureResult]]:
        """A few batches are under way at a time; closing it waits for these and takes them too."""
        if not batches:
            return
        if workers < 1:
            detector = self.job.detector.build()
            for batch in batches:
                yield [prepare_picture(task, self.job, detector) for task in batch]
            return
        with ProcessPoolExecutor(workers, get_context("spawn"), start_worker, (self.job,)) as pool:
            running: deque[Future[list[PictureResult]]] = deque()
            try:
                for batch in batches:
                    with _workers_hear_no_ctrl_c():
                        running.append(pool.submit(prepare_in_worker, batch))
                    if len(running) > 2 * workers:
                        yield _first(running)
                while running:
                    yield _first(running)
            finally:
                pool.shutdown(cancel_futures=True)
                self._take_rest(running)

    def _take_rest(self, running: Sequence[Future[list[PictureResult]]]) -> None:
        for future in running:
            try:
                if not future.cancelled():
                    self._take(future.result())
            except (CancelledError, BrokenProcessPool, OSError):
                continue


def _require_folders(inputs: Inputs) -> Path:
    """The folder with the actors' parameters. Raises: PreparationError."""
    for folder in (inputs.source, inputs.parameters, inputs.registrations):
        if folder is not None and not folder.is_dir():
            raise PreparationError(f"{folder} is no folder.")
    out, source = inputs.folder.resolve(), inputs.source.resolve()
    if out.is_relative_to(source) or source.is_relative_to(out):
        raise PreparationError(
            f"{inputs.folder} and the original data set {inputs.source} lie in each other; name "
            "another folder for the prepared set."
        )
    return inner_folder(inputs.parameters, PARAMETERS)


def _first(running: deque[Future[list[PictureResult]]]) -> list[PictureResult]:
    """Taken off only when it is there: Ctrl-C may come while it is waited for."""
    answer = running[0].result()
    running.popleft()
    return answer


def _signature(path: Path) -> str:
    try:
        facts = path.stat()
    except OSError:
        return "-"
    return f"{facts.st_size}-{facts.st_mtime_ns}"


@contextmanager
def _workers_hear_no_ctrl_c() -> Iterator[None]:
    """A process that is started within has the signal blocked: it ends its batch in peace."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _only_one(run_folder: Path) -> Iterator[None]:
    """One run of a subset at a time; the system lets go of the lock of a killed one."""
    with (run_folder / LOCK_FILE).open("ab") as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            raise PreparationError(f"Another process is preparing {run_folder.parent}.") from error
        yield
