"""`python -m demo_app evaluate`: a protocol by name, its figures as files and on the screen."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from demo_app.evaluation.faces import (
    Detect,
    EvaluationError,
    PhotoFolder,
    mtcnn,
    stderr_progress,
)
from models.face_landmarks.face_mesh import FaceLandmarksError
from models.trg.checkpoints import CheckpointError, find_weights_file
from models.weights import MODELS, REPOSITORY_ROOT

if TYPE_CHECKING:
    from demo_app.evaluation.columns import Column
    from models.estimator import HeadPoseEstimator

ProtocolName = Literal["held-out", "label-free", "labelled", "face-free", "speed"]


@dataclass(frozen=True)
class Evaluate:
    """Measure a network by a named protocol; the last line printed is one JSON object."""

    protocol: ProtocolName
    """held-out: renders of people that no training has seen. label-free: photos without labels,
    moved. labelled: AFLW2000, 300W-LP, BIWI. face-free: false accepts. speed: ONNX Runtime."""
    out: Path
    """Folder for PROTOCOL.json and PROTOCOL.md; made if it is not there."""
    model: Literal["trg-mini", "trg", "trg-multi"] = "trg-mini"
    """Which network."""
    data: tuple[Path, ...] = ()
    """Folders: one synthetic data set for held-out (face-free takes its negatives), labelled
    samples for labelled."""
    photos: tuple[Path, ...] = ()
    """Pictures or folders of them, for label-free and face-free."""
    count: int | None = None
    """At most so many pictures, samples of a folder, or crops (face-free: 2000 if not given)."""
    boxes: Literal["true", "mtcnn"] = "true"
    """held-out: jittered true boxes, or those of the detector on the whole picture."""
    baselines: bool = False
    """Also FaceMesh with PnP on the same crops."""
    weights: Path | None = None
    """Weights in another place."""
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
            return self._report(self._measured())
        except known as error:
            sys.stderr.write(f"{error}\n")
            return 2

    def _check(self) -> None:
        if self.count is not None and self.count < 1:
            raise EvaluationError(f"--count must be at least 1, not {self.count}.")
        if self.protocol == "held-out" and len(self.data) != 1:
            raise EvaluationError("The protocol held-out needs --data with one synthetic data set.")
        if self.protocol == "labelled" and not self.data:
            raise EvaluationError("The protocol labelled needs --data with labelled samples.")
        if self.protocol == "label-free" and not self.photos:
            raise EvaluationError("The protocol label-free needs --photos.")
        if self.protocol == "speed" and not MODELS[self.model].is_bundled:
            raise EvaluationError("The protocol speed is for the bundled model, trg-mini.")

    def _weights_file(self) -> Path:
        path = self.weights or REPOSITORY_ROOT / MODELS[self.model].weights_file
        return path if MODELS[self.model].is_bundled else find_weights_file(path)

    def _measured(self) -> Any:
        if self.protocol == "speed":
            from demo_app.evaluation.speed import evaluate_speed

            return evaluate_speed(self._weights_file())
        from demo_app.evaluation.columns import model_columns
        from models.estimator import HeadPoseEstimator

        estimator = HeadPoseEstimator.load(self.model, device=self.device, path=self.weights)
        columns = model_columns(estimator.model)
        if self.baselines:
            from demo_app.evaluation.baselines import baseline_columns

            columns |= baseline_columns()
        return self._measured_with(estimator, columns, mtcnn(self.device))

    def _measured_with(
        self, estimator: HeadPoseEstimator, columns: dict[str, Column], detect: Detect
    ) -> Any:
        from demo_app.evaluation.columns import TWO_PASSES
        from demo_app.evaluation.face_free import DEFAULT_COUNT, evaluate_face_free
        from demo_app.evaluation.held_out import evaluate_held_out
        from demo_app.evaluation.label_free import evaluate_label_free
        from demo_app.evaluation.labelled import evaluate_labelled
        from viewer.datasets.synthetic import SyntheticDataset

        model, say = estimator.model, stderr_progress()
        if self.protocol == "held-out":
            chosen = detect if self.boxes == "mtcnn" else None
            dataset = SyntheticDataset(self.data[0])
            return evaluate_held_out(
                dataset, columns, detect=chosen, count=self.count, progress=say
            )
        if self.protocol == "label-free":
            moved = {name: column for name, column in columns.items() if name != TWO_PASSES}
            photos = PhotoFolder(self.photos)
            return evaluate_label_free(photos, model, moved, detect, count=self.count, progress=say)
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

        path = self._weights_file()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        content, text = write_report(record, ModelUsed(self.model, path.name, digest), self.out)
        sys.stdout.write(f"{text}\n{json.dumps(content)}\n")
        sys.stdout.flush()
        return 0
