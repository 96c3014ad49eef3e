"""The verbs on data sets: `index` them, `check` their labels, write the lists they lack."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from demo_app.config import AppConfig
from models.weights import REPOSITORY_ROOT
from viewer.datasets.registry import bundled_root, dataset_info, find_datasets, find_root
from viewer.datasets.registry import open_dataset as open_dataset_in
from viewer.datasets.source import AnnotatedDataset, DatasetError, Problem, Progress

if TYPE_CHECKING:
    from viewer.index.predictions import ModelRotations

Array = np.ndarray
DatasetName = Literal["arkitface", "300w-lp", "aflw2000", "biwi", "mica", "synthetic"]

ModelName = Literal["trg-mini", "trg", "trg-multi"]

PROGRESS_EVERY_S = 2.0
PREDICTIONS_AT_ONCE = 500
SHOWN_PROBLEMS = 20
BOX_FILE = "annot_mtcnn_fan.pkl"


@dataclass(frozen=True)
class Datasets:
    """List the data sets: which are here, which are missing, and where to get those."""

    base: Path = REPOSITORY_ROOT
    """Folder that holds dataset/."""

    def run(self) -> int:
        for found in find_datasets(self.base):
            state = "sample set" if found.is_bundled else "found" if found.root else "missing"
            _say(f"{found.info.name:10} {state:10} {found.root or ''}")
            _say(f"{'':10} {found.info.licence}")
            if found.missing:
                _say(f"{'':10} {found.missing}")
        return 0


@dataclass(frozen=True)
class Index:
    """Read every label of a data set once, so that the Datasets tab finds any sample at once."""

    dataset: DatasetName
    """Which data set."""
    root: Path | None = None
    """Its folder; if not given, it is looked for below dataset/, then among the sample sets."""
    limit: int | None = None
    """Only the first so many samples."""
    workers: int = 2
    """Processes that read; 0: this one alone."""
    fresh: bool = False
    """Read everything again, also what has not changed."""

    def run(self) -> int:
        from viewer.index.build import BuildError, build_index
        from viewer.index.schema import index_folder

        try:
            dataset = _opened(self.dataset, self.root)
            folder = index_folder(AppConfig.from_environment().data_dir, self.dataset, dataset.root)
            report = build_index(
                dataset,
                folder,
                limit=self.limit,
                workers=self.workers,
                progress=_progress("indexed"),
                fresh=self.fresh,
            )
        except (DatasetError, BuildError, OSError) as error:
            return _refuse(str(error))
        _say_problems(report.problems, report.notes)
        _say(
            f"{report.rows} samples in {report.seconds:.1f} s: {report.read} read, "
            f"{report.unchanged} unchanged, {report.unreadable} unreadable. {report.folder}"
        )
        return 0


@dataclass(frozen=True)
class Check:
    """Look for wrong labels; writes report.html and samples.parquet. Needs no index."""

    dataset: DatasetName
    """Which data set."""
    report: Path
    """Folder for the report; never below the data set's own folder."""
    root: Path | None = None
    """The data set's folder; if not given, it is looked for as `index` does."""
    limit: int | None = None
    """Only the first so many samples."""
    workers: int = 2
    """Processes that read; 0: this one alone."""
    strict: bool = False
    """Exit with 1 if anything was found."""
    model: ModelName | None = None
    """Also run this network on every picture and name the labels that it disagrees with; its
    answers are kept beside the index."""
    splits: tuple[Path, ...] = ()
    """Lists of samples, one a line, each a split with the file's name: who is in two of them?"""

    def run(self) -> int:
        from models.trg.checkpoints import CheckpointError
        from viewer.datasets.file_lists import read_splits
        from viewer.index.check_report import ReportPlaceError, make_place, write_report
        from viewer.index.checks_run import run_checks
        from viewer.index.schema import AnnotationIndexError

        try:
            dataset = _opened(self.dataset, self.root)
            make_place(dataset, self.report)
            result = run_checks(
                dataset,
                limit=self.limit,
                workers=self.workers,
                progress=_progress("checked"),
                predicted=None
                if self.model is None
                else _predicted(dataset, self.model, self.limit),
                split_of=read_splits(self.splits) if self.splits else None,
            )
            files = write_report(result, self.report)
        except (
            AnnotationIndexError,
            CheckpointError,
            DatasetError,
            ReportPlaceError,
            OSError,
        ) as error:
            return _refuse(str(error))
        _say_problems(result.problems, result.notes)
        _say(
            f"{len(result.samples)} samples in {result.seconds:.1f} s, "
            f"{result.finding_count} with findings. {files.page}"
        )
        return 1 if self.strict and result.finding_count else 0


@dataclass(frozen=True)
class WriteFilelist:
    """Write 300W-LP's files.txt: all pairs with angles within 99 degrees, sorted."""

    root: Path | None = None
    """The folder of 300W-LP; dataset/300W_LP if not given."""
    out: Path | None = None
    """The file; files.txt in the root if not given."""
    limit: int | None = None
    """Only the first so many pairs."""

    def run(self) -> int:
        from viewer.datasets.file_lists import FILES_TXT, write_files_txt

        try:
            root = self.root or _real_root("300w-lp")
            out = self.out or root / FILES_TXT
            report = write_files_txt(root, out, self.limit, _progress("read"))
        except DatasetError as error:
            return _refuse(str(error))
        _say_problems(report.problems, ())
        _say(f"{report.written} lines in {report.out}")
        return 0


@dataclass(frozen=True)
class WriteBoxes:
    """Make a box file for BIWI where TRG's own is absent, with MTCNN and FaceMesh.

    It has the published file's layout and is labelled as ours. A run that was stopped is taken up
    again by the next one.
    """

    dataset: Literal["biwi"] = "biwi"
    """Which data set."""
    root: Path | None = None
    """The folder of BIWI; looked for below dataset/ if not given."""
    out: Path | None = None
    """The file; where TRG looks for it, beside the sequences, if not given."""
    limit: int | None = None
    """Only the first so many frames."""

    def run(self) -> int:
        from viewer.datasets.biwi import Biwi
        from viewer.datasets.biwi_boxes import write_boxes

        try:
            root = self.root or _real_root("biwi")
            out = self.out or Biwi(root).layout.frames / BOX_FILE
            report = write_boxes(
                root,
                out,
                build_point_detector(),
                _progress("frames"),
                detector="MTCNN and FaceMesh",
                limit=self.limit,
            )
        except (DatasetError, OSError) as error:
            return _refuse(str(error))
        _say_problems(report.problems, ())
        if report.known:
            _say(f"{report.known} frames were taken over from the run before.")
        _say(
            f"{report.found} of {report.frames} frames have boxes, made by {report.made_by}: {out}"
        )
        return 0


def build_point_detector() -> Callable[[Array], Array | None]:
    """Picture -> the 68 points of the face of which the detector is surest, or None."""
    from models.face_detection.mtcnn import MtcnnDetector
    from models.face_landmarks.face_mesh import load_face_landmarks
    from models.face_landmarks.in_picture import locate_landmarks
    from models.flame.open_head import load_open_head

    detector, network = MtcnnDetector("cpu"), load_face_landmarks()
    ids = load_open_head().landmark_68_of_468

    def detect(image_rgb: Array) -> Array | None:
        found = detector.detect(image_rgb)
        if not len(found):
            return None
        best = int(np.argmax(found.scores))
        points = locate_landmarks(
            network, image_rgb, found.boxes_xyxy_px[best], found.landmarks5_px[best]
        )
        return points.points_px[ids, :2]

    return detect


def _opened(name: str, root: Path | None) -> AnnotatedDataset:
    """Raises: DatasetError that says where the data set can be got."""
    if root is None:
        root = find_root(name) or bundled_root(name)
    return open_dataset_in(name, root or _real_root(name))


def _real_root(name: str) -> Path:
    """Where the real data set lies. Raises: DatasetError that says where it can be got."""
    root = find_root(name)
    if root is None:
        info = dataset_info(name)
        raise DatasetError(
            f"{info.title} is not at {info.places[0]}: give --root, or get it from {info.link} ."
        )
    return root


def _predicted(dataset: AnnotatedDataset, model: str, limit: int | None) -> ModelRotations:
    """What a network says on the samples; those that it was asked about before are not run again.

    Raises: CheckpointError, DatasetError, AnnotationIndexError.
    """
    from demo_app.actions.dataset_predictions import predict_sample
    from models.estimator import HeadPoseEstimator
    from viewer.datasets.sample import UnreadablePictureError
    from viewer.index.predictions import (
        Prediction,
        model_rotations,
        predicted_keys,
        write_predictions,
    )
    from viewer.index.schema import index_folder

    config = AppConfig.from_environment()
    folder = index_folder(config.data_dir, dataset.info.name, dataset.root)
    keys = dataset.list_samples(limit).keys
    known, progress = predicted_keys(folder, model), _progress(f"{model} looked at")
    wanted = [key for key in keys if key not in known]
    if not wanted:
        return model_rotations(folder, model)
    estimator = HeadPoseEstimator.load(model, config.device)
    fresh: list[Prediction] = []
    try:
        for done, key in enumerate(wanted, start=1):
            # damaged files are findings of other checks
            with suppress(DatasetError, UnreadablePictureError):
                fresh.append(predict_sample(estimator, dataset.read(key)))
            progress(done, len(wanted))
            if len(fresh) == PREDICTIONS_AT_ONCE:
                write_predictions(folder, model, fresh)
                fresh.clear()
    finally:
        write_predictions(folder, model, fresh)
    return model_rotations(folder, model)


def _progress(what: str) -> Progress:
    """Says how far it is, not more often than every two seconds."""
    said_s = 0.0

    def progress(done: int, total: int | None) -> None:
        nonlocal said_s
        if done and time.monotonic() - said_s >= PROGRESS_EVERY_S:
            said_s = time.monotonic()
            _say(f"listed {done}" if total is None else f"{what} {done} of {total}")

    return progress


def _say_problems(problems: Sequence[Problem], notes: Sequence[str]) -> None:
    for note in notes:
        _say(note)
    for problem in problems[:SHOWN_PROBLEMS]:
        _say(f"{problem.file}: {problem.reason}")
    if len(problems) > SHOWN_PROBLEMS:
        _say(f"... and {len(problems) - SHOWN_PROBLEMS} more problems")


def _say(text: str) -> None:
    sys.stdout.write(text.encode("ascii", "backslashreplace").decode() + "\n")
    sys.stdout.flush()


def _refuse(sentence: str) -> int:
    sys.stderr.write(sentence + "\n")
    return 2
