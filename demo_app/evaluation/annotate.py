"""Poses of a large set of pictures without labels: every face that is found, one row each."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from demo_app.evaluation.chunks import Look, Parts, Run, run_in_parts, write_table
from demo_app.evaluation.faces import EvaluationError, Progress
from demo_app.evaluation.model_file import ModelFile
from demo_app.inference.camera_choice import camera_for_image
from demo_app.inference.images import ImageError, read_image
from demo_app.inference.input_files import list_images
from models.estimator import HeadPose, HeadPoseEstimator
from models.threads import one_thread

ANNOTATIONS_FILE = "annotations.parquet"

_FIELDS = ("picture", "face", "problem", "picture_sha256", "camera")
ANNOTATION_SCHEMA = pa.schema(
    [
        ("picture", pa.string()),
        ("face", pa.int32()),
        ("problem", pa.string()),
        ("picture_sha256", pa.string()),
        ("camera", pa.string()),
        ("K_image_from_cam", pa.list_(pa.float64(), 9)),
        ("box_xyxy_px", pa.list_(pa.float64(), 4)),
        ("R_cam_from_head", pa.list_(pa.float64(), 9)),
        ("t_cam_from_head_mm", pa.list_(pa.float64(), 3)),
        ("yaw_deg", pa.float64()),
        ("pitch_deg", pa.float64()),
        ("roll_deg", pa.float64()),
        ("confidence", pa.float64()),
        ("uncertainty_deg", pa.float64()),
    ]
)
"""face: -1 in the one row of a picture without a face; problem: why a picture gave nothing."""


@dataclass(frozen=True)
class AnnotationWork:
    """All that a worker needs. Keys are paths below the root."""

    root: Path
    model: ModelFile
    device: str

    @property
    def schema(self) -> pa.Schema:
        return ANNOTATION_SCHEMA

    def open(self) -> Look:
        """Loads detector and network. Raises: CheckpointError, ValueError."""
        estimator = HeadPoseEstimator.load(self.model.name, self.device, self.model.path)

        def look(keys: Sequence[str]) -> pa.Table:
            with one_thread():
                rows = [row for key in keys for row in _rows(estimator, self.root, key)]
            return pa.Table.from_pylist(rows, ANNOTATION_SCHEMA)

        return look


def annotate(
    root: Path,
    out: Path,
    model: ModelFile,
    device: str | None,
    count: int | None,
    run: Run,
    progress: Progress,
) -> dict[str, Any]:
    """Writes annotations.parquet and returns what to print. A stopped one goes on.

    Raises: EvaluationError without a picture, CheckpointError.
    """
    started_s, root = time.monotonic(), root.resolve()
    listing = list_images([str(root)], recursive=True)
    keys = [Path(path).resolve().relative_to(root).as_posix() for path in listing.paths][:count]
    if not keys:
        raise EvaluationError(f"There is no picture below {root}.")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    work = AnnotationWork(root, model, device)
    mark = {"root": str(root), "model": model.sha256, "keys": keys}
    table = run_in_parts(work, keys, Parts(out, mark), run, progress, "pictures")
    write_table(table, out / ANNOTATIONS_FILE)
    problems = np.array(table["problem"].to_pylist(), object)
    return {
        "protocol": "pre-annotation",
        "pictures": len(keys),
        "faces": int((np.array(table["face"].to_pylist()) >= 0).sum()),
        "pictures_without_face": int((problems == _NO_FACE).sum()),
        "pictures_unreadable": int(((problems != "") & (problems != _NO_FACE)).sum()),
        "other_files": len(listing.skipped),
        "model": model.shown,
        "weights_sha256": model.sha256,
        "annotations": str(out / ANNOTATIONS_FILE),
        "wall_time_s": round(time.monotonic() - started_s, 2),
    }


_NO_FACE = "No face was found."


def _rows(estimator: HeadPoseEstimator, root: Path, key: str) -> list[dict[str, object]]:
    path = root / key
    try:
        loaded = read_image(str(path))
    except ImageError as error:
        return [_nothing(key, str(error).replace(str(root), ""), "", "")]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    camera = camera_for_image(loaded)
    poses = estimator.predict(loaded.image_rgb, camera)
    if not poses:
        return [_nothing(key, _NO_FACE, digest, camera.source)]
    return [_face(key, i, pose, digest, camera.source) for i, pose in enumerate(poses)]


def _nothing(key: str, problem: str, digest: str, camera: str) -> dict[str, object]:
    return dict(zip(_FIELDS, (key, -1, problem, digest, camera), strict=True))


def _face(key: str, number: int, pose: HeadPose, digest: str, camera: str) -> dict[str, object]:
    yaw, pitch, roll = pose.ypr_deg
    return dict(zip(_FIELDS, (key, number, "", digest, camera), strict=True)) | {
        "K_image_from_cam": pose.K_image_from_cam.ravel().tolist(),
        "box_xyxy_px": pose.box_xyxy_px.tolist(),
        "R_cam_from_head": pose.R_cam_from_head.ravel().tolist(),
        "t_cam_from_head_mm": pose.t_cam_from_head_mm.tolist(),
        "yaw_deg": yaw,
        "pitch_deg": pitch,
        "roll_deg": roll,
        "confidence": pose.confidence,
        "uncertainty_deg": pose.uncertainty_deg,
    }
