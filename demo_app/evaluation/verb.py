"""`python -m demo_app evaluate`: a protocol by name, its figures as files and on the screen."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from demo_app.evaluation.faces import (
    Detect,
    EvaluationError,
    PhotoFolder,
    mtcnn,
    stderr_progress,
)
from demo_app.evaluation.model_file import ModelFile, find_model
from models.face_landmarks.face_mesh import FaceLandmarksError
from models.trg.checkpoints import CheckpointError
from models.weights import MODELS
from viewer.datasets.protocols import PROTOCOLS

if TYPE_CHECKING:
    from demo_app.evaluation.chunks import Run
    from demo_app.evaluation.columns import Column
    from models.estimator import HeadPoseEstimator

ProtocolName = Literal[
    "arkitface-test",
    "biwi-15678",
    "biwi-15678-aligned",
    "biwi-13219",
    "biwi-15667",
    "biwi-15636",
    "biwi-70-30",
    "aflw2000-99",
    "synthetic-held-out",
    "pre-annotation",
    "held-out",
    "label-free",
    "labelled",
    "face-free",
    "speed",
]
"""Those of `viewer.datasets.protocols`, then our own."""

WEIGHTS_FOLDER = "weights"


@dataclass(frozen=True)
class Evaluate:
    """Measure a network by a named protocol; the last line printed is one JSON object."""

    protocol: ProtocolName
    """arkitface-test, biwi-15678 (as TRG), biwi-15678-aligned, biwi-13219 (FSA-Net's frames),
    biwi-70-30, aflw2000-99, synthetic-held-out: a data set in --root, with a report of every choice
    beside published figures. pre-annotation: poses of all pictures below --root.
    held-out: renders of people that no training has seen, in --data. label-free: photos without
    labels, moved. labelled: AFLW2000, 300W-LP, BIWI through the detector. face-free: false accepts.
    speed: ONNX Runtime."""
    out: Path
    """Folder for the report; made if it is not there."""
    model: str = "trg-mini"
    """trg-mini, trg, trg-multi, or a path: weights, a training run's checkpoint or its folder."""
    root: Path | None = None
    """The data set's folder; looked for below dataset/ if not given."""
    frames: Path | None = None
    """Text file with the protocol's samples, one a line; biwi-13219, -15667 and -15636 need it."""
    box_file: Path | None = None
    """BIWI: annot_mtcnn_fan.pkl or one of write-boxes; the one below --root if not given."""
    passes: Literal[1, 2] | None = None
    """Looks at a face: 1 for the released models, 2 for trg-mini if not given."""
    scale_out: Literal["ray"] | None = None
    """ray: on a Ray cluster instead of in this process; for the protocols with --root."""
    workers: int = 2
    """Ray: how many processes hold the network."""
    ray_address: str | None = None
    """Ray: of a running cluster, such as auto; without it Ray is started on this machine."""
    data: tuple[Path, ...] = ()
    """Folders: one synthetic data set for held-out (face-free takes its negatives), labelled
    samples for labelled."""
    photos: tuple[Path, ...] = ()
    """Pictures or folders of them, for label-free and face-free."""
    count: int | None = None
    """At most so many pictures, samples of a folder, or crops (face-free: 2000 if not given)."""
    boxes: Literal["true", "mtcnn"] = "true"
    """held-out: jittered true boxes, or those of the detector on the whole picture."""
    degrade: bool = False
    """held-out: put side light, blur, low light, noise and JPEG on the pictures first."""
    baselines: bool = False
    """Also FaceMesh with PnP on the same crops."""
    weights: Path | None = None
    """Weights in another place, of a model that is given by name."""
    device: str | None = None
    """cpu or cuda; the GPU where there is one."""

    def run(self) -> int:
        from viewer.datasets.sample import UnreadablePictureError
        from viewer.datasets.source import DatasetError
        from viewer.datasets.synthetic_format import SyntheticDataError

        known = (
            CheckpointError,
            DatasetError,
            EvaluationError,
            FaceLandmarksError,
            SyntheticDataError,
            UnreadablePictureError,
        )
        try:
            self._check()
            if self.protocol in PROTOCOLS:
                return self._data_set()
            if self.protocol == "pre-annotation":
                return self._annotated()
            return self._report(self._measured())
        except known as error:
            sys.stderr.write(f"{error}\n")
            return 2

    def _check(self) -> None:
        if self.count is not None and self.count < 1:
            raise EvaluationError(f"--count must be at least 1, not {self.count}.")
        if self.workers < 1:
            raise EvaluationError(f"--workers must be at least 1, not {self.workers}.")
        if self.scale_out and self.protocol not in (*PROTOCOLS, "pre-annotation"):
            raise EvaluationError(f"The protocol {self.protocol} runs in one process only.")
        if self.protocol == "held-out" and len(self.data) != 1:
            raise EvaluationError("The protocol held-out needs --data with one synthetic data set.")
        if self.degrade and self.protocol != "held-out":
            raise EvaluationError("--degrade is for the protocol held-out.")
        if self.protocol == "labelled" and not self.data:
            raise EvaluationError("The protocol labelled needs --data with labelled samples.")
        if self.protocol == "label-free" and not self.photos:
            raise EvaluationError("The protocol label-free needs --photos.")
        if self.protocol == "speed" and self.model in MODELS and not MODELS[self.model].is_bundled:
            raise EvaluationError("The protocol speed is for the bundled model, trg-mini.")

    @cached_property
    def _model(self) -> ModelFile:
        return find_model(self.model, self.weights, self.out / WEIGHTS_FOLDER)

    def _data_set(self) -> int:
        """A protocol of `viewer.datasets.protocols`."""
        from demo_app.evaluation.data_protocol import Request, evaluate_protocol
        from demo_app.evaluation.protocol_page import markdown
        from demo_app.evaluation.protocol_report import report_content
        from viewer.datasets.registry import dataset_info, find_root

        name = PROTOCOLS[self.protocol].dataset
        root = self.root or find_root(name)
        if root is None:
            info = dataset_info(name)
            raise EvaluationError(f"Give --root with {info.title}; it is at {info.link} .")
        request = Request(
            self.protocol,
            root,
            self.out,
            self._model,
            self.frames,
            self.box_file,
            self.passes,
            self.device,
            self.count,
        )
        result = evaluate_protocol(request, self._run(), stderr_progress())
        _print(markdown(result, ()), report_content(result))
        return 0

    def _annotated(self) -> int:
        from demo_app.evaluation.annotate import annotate

        if self.root is None:
            raise EvaluationError("The protocol pre-annotation needs --root with pictures.")
        content = annotate(
            self.root,
            self.out,
            self._model,
            self.device,
            self.count,
            self._run(),
            stderr_progress(),
        )
        _print("", content)
        return 0

    def _run(self) -> Run:
        from demo_app.evaluation.chunks import in_this_process

        if self.scale_out is None:
            return in_this_process
        import torch

        from demo_app.evaluation.ray_run import RayRun

        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        return RayRun(self.workers, self.ray_address, float(device.startswith("cuda")))

    def _measured(self) -> Any:
        if self.protocol == "speed":
            from demo_app.evaluation.speed import evaluate_speed

            return evaluate_speed(self._model.path)
        from demo_app.evaluation.columns import APP_ANSWER, app_answer, model_columns
        from models.estimator import HeadPoseEstimator

        model = self._model
        estimator = HeadPoseEstimator.load(model.name, device=self.device, path=model.path)
        columns = model_columns(estimator.model) | {APP_ANSWER: app_answer(estimator)}
        if self.baselines:
            from demo_app.evaluation.baselines import baseline_columns

            columns |= baseline_columns()
        return self._measured_with(estimator, columns, mtcnn(self.device))

    def _measured_with(
        self, estimator: HeadPoseEstimator, columns: dict[str, Column], detect: Detect
    ) -> Any:
        from demo_app.evaluation.columns import APP_ANSWER, TWO_PASSES
        from demo_app.evaluation.face_free import DEFAULT_COUNT, evaluate_face_free
        from demo_app.evaluation.held_out import evaluate_held_out
        from demo_app.evaluation.label_free import evaluate_label_free
        from demo_app.evaluation.labelled import evaluate_labelled
        from viewer.datasets.synthetic import SyntheticDataset

        say = stderr_progress()
        if self.protocol == "held-out":
            chosen = detect if self.boxes == "mtcnn" else None
            dataset = SyntheticDataset(self.data[0])
            return evaluate_held_out(
                dataset,
                columns,
                detect=chosen,
                degrade=self.degrade,
                count=self.count,
                progress=say,
            )
        if self.protocol == "label-free":
            moved = {k: v for k, v in columns.items() if k not in (TWO_PASSES, APP_ANSWER)}
            photos = PhotoFolder(self.photos)
            return evaluate_label_free(
                photos, estimator, moved, detect, count=self.count, progress=say
            )
        if self.protocol == "labelled":
            return evaluate_labelled(self.data, columns, detect, count=self.count, progress=say)
        return evaluate_face_free(
            estimator,
            PhotoFolder(self.photos) if self.photos else None,
            [SyntheticDataset(root) for root in self.data],
            count=self.count or DEFAULT_COUNT,
            progress=say,
        )

    def _report(self, record: Any) -> int:
        from demo_app.evaluation.report import ModelUsed, write_report

        model = self._model
        used = ModelUsed(model.shown, model.path.name, model.sha256)
        content, text = write_report(record, used, self.out)
        _print(text, content)
        return 0


def _print(text: str, content: dict[str, Any]) -> None:
    """The last line is one JSON object."""
    sys.stdout.write(f"{text}\n{json.dumps(content)}\n")
    sys.stdout.flush()
