"""From a sample to its row. Runs in the worker processes of a build, which read the files."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from models.geometry.rotations import geodesic_deg, ypr_300wlp_from_matrix
from viewer.datasets.source import AnnotatedDataset, SampleDetail
from viewer.index.check_table import CHECKS
from viewer.index.checks_picture import PictureFacts, picture_facts
from viewer.index.checks_sample import rotation_error, sample_scores
from viewer.index.checks_set import CheckRow, check_row
from viewer.index.schema import (
    BOX_COLUMNS,
    CAMERA_COLUMNS,
    CHECK_PREFIX,
    FILE_SCHEMA,
    KEPT_FIELDS,
    ROTATION_COLUMNS,
    TRANSLATION_COLUMNS,
)

Array = np.ndarray
Row = dict[str, object]

LARGEST_FRAME = 1 << 62
LARGEST_ROTATION_ERROR = 0.1
"""Of a matrix whose angles are still worth giving."""


@dataclass(frozen=True)
class Task:
    """Samples to look at. files: of each, relative to the root; known: signatures in the old index,
    "" for a new sample. default: the signature of samples without files of their own."""

    keys: tuple[str, ...]
    files: tuple[tuple[str, ...], ...]
    known: tuple[str, ...]
    default: str


@dataclass(frozen=True)
class Answer:
    """rows: of the samples that are new or have changed. unchanged: keys of the others."""

    rows: pa.Table
    unchanged: tuple[str, ...]


class _Worker:
    dataset: AnnotatedDataset


def start_worker(dataset: AnnotatedDataset) -> None:
    """In a new process: ends with the process that started it, even if that one is killed."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
        cv2.setNumThreads(0)
    _Worker.dataset = dataset


def _end_with(parent: object) -> None:
    parent.join()
    os._exit(1)


def answer_task(task: Task) -> Answer:
    """In a worker."""
    return read_rows(_Worker.dataset, task)


def read_rows(dataset: AnnotatedDataset, task: Task) -> Answer:
    """Read what is new or has changed."""
    rows, unchanged = [], []
    for key, files, known in zip(task.keys, task.files, task.known, strict=True):
        signature = signature_of(dataset.root, files) if files else task.default
        if signature and signature == known:
            unchanged.append(key)
        else:
            rows.append(read_row(dataset, key) | {"signature": signature})
    return Answer(pa.Table.from_pylist(rows, FILE_SCHEMA), tuple(unchanged))


def signature_of(root: Path, files: Sequence[str]) -> str:
    """Another one as soon as a file's size or time is another."""
    digest = hashlib.blake2b(digest_size=12)
    for name in files:
        try:
            facts = (root / name).stat()
            said = f"{name}\0{facts.st_size}\0{facts.st_mtime_ns}\0"
        except OSError:
            said = f"{name}\0-\0"
        digest.update(said.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def read_row(dataset: AnnotatedDataset, key: str) -> Row:
    """One sample's row; a sample that cannot be read has a row that says why."""
    empty: Row = dict.fromkeys(("grp", "split", "subject", "sequence", "image", "reason"), "")
    empty |= {"key": key, "has_landmarks": False, "has_mesh": False, "findings": []}
    try:
        detail = dataset.detail(key)
        facts = picture_facts(detail.sample)
        scores = sample_scores(
            dataset.info.name, detail, None, facts.problem, size_wh_px=facts.size_wh_px
        )
        compared = check_row(detail, facts)
    except (OSError, ValueError) as error:
        unreadable = {CHECK_PREFIX + "label_unreadable": 1.0}
        return empty | unreadable | {"reason": clean(str(error) or type(error).__name__)}
    return (
        empty
        | _identity(detail, facts, dataset.root)
        | _geometry(detail)
        | {CHECK_PREFIX + name: float(score) for name, score in scores.items()}
        | _compared(compared)
        | {"key": key, "reason": clean(facts.reason)}
    )


def clean(text: str) -> str:
    """File names may hold bytes that are no text."""
    return text.encode("utf-8", "backslashreplace").decode()


def _identity(detail: SampleDetail, facts: PictureFacts, root: Path) -> Row:
    sample = detail.sample
    width, height = facts.size_wh_px or (None, None)
    frame = sample.frame if abs(sample.frame or 0) < LARGEST_FRAME else None
    image = ""
    if isinstance(sample.image, Path):
        image = Path(os.path.relpath(sample.image, root)).as_posix()
    return {
        "grp": clean(sample.group),
        "split": clean(sample.split),
        "subject": clean(sample.subject),
        "sequence": clean(sample.sequence),
        "frame": frame,
        "image": clean(image),
        "width_px": width,
        "height_px": height,
        "has_landmarks": sample.landmarks_68_px is not None or bool(detail.points_px),
        "has_mesh": bool(detail.meshes) or detail.mesh_px is not None,
    }


def _geometry(detail: SampleDetail) -> Row:
    """Only what the data set says, and only numbers; no angles of what is far from a rotation."""
    sample = detail.sample
    row: Row = _finite(BOX_COLUMNS, sample.box_xyxy_px)
    if len(row) == len(BOX_COLUMNS):
        left, top, right, bottom = (float(row[name]) for name in BOX_COLUMNS)
        row["box_side_px"] = max(right - left, bottom - top)
    R, t_mm = sample.R_cam_from_head, sample.t_cam_from_head_mm
    if sample.camera is not None:
        K = sample.camera.K_image_from_cam
        row |= _finite(CAMERA_COLUMNS, np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2]]))
    if R is not None and np.isfinite(R).all():
        row |= _finite(ROTATION_COLUMNS, R)
        if rotation_error(R) < LARGEST_ROTATION_ERROR:
            row |= ypr_300wlp_from_matrix(R)._asdict()
            row["angle_deg"] = float(geodesic_deg(np.eye(3), R))
    if t_mm is not None and np.isfinite(t_mm).all():
        row |= _finite(TRANSLATION_COLUMNS, t_mm)
        row["distance_mm"] = float(np.linalg.norm(t_mm))
    return row


def _finite(names: Sequence[str], values: Array | None) -> Row:
    flat = [] if values is None else np.ravel(values).tolist()
    return {n: float(v) for n, v in zip(names, flat, strict=False) if np.isfinite(v)}


def _compared(row: CheckRow) -> Row:
    landmarks = row.landmarks_68_px
    return {
        "picture_digest": row.picture_digest,
        "picture_hash": row.picture_hash,
        "landmarks_68_px": None if landmarks is None else landmarks.astype("<f4").tobytes(),
    }


def check_row_of(row: Row, dataset_name: str) -> CheckRow:
    """What the comparisons need, from a stored row."""
    R, t_mm = [row[name] for name in ROTATION_COLUMNS], [row[name] for name in TRANSLATION_COLUMNS]
    width, height, landmarks = row["width_px"], row["height_px"], row["landmarks_68_px"]
    return CheckRow(
        key=row["key"],
        dataset=dataset_name,
        group=row["grp"],
        split=row["split"],
        subject=row["subject"],
        sequence=row["sequence"],
        frame=row["frame"],
        image=row["image"] or row["key"],
        R_cam_from_head=None if None in R else np.array(R, np.float64).reshape(3, 3),
        t_cam_from_head_mm=None if None in t_mm else np.array(t_mm, np.float64),
        landmarks_68_px=(
            None if landmarks is None else np.frombuffer(landmarks, "<f4").reshape(68, 2)
        ),
        size_wh_px=None if width is None else (int(width), int(height)),
        picture_digest=row["picture_digest"],
        picture_hash=row["picture_hash"],
    )


COMPARED_COLUMNS = (
    *("key", "grp", "split", "subject", "sequence", "frame", "image", "width_px", "height_px"),
    *ROTATION_COLUMNS,
    *TRANSLATION_COLUMNS,
    *(field.name for field in KEPT_FIELDS),
    CHECK_PREFIX + "label_unreadable",
)
"""What `check_row_of` and its caller look at."""

SET_CHECKS = frozenset(
    {
        "unusual_size",
        "jump_deg",
        "jump_mm",
        "model_deg",
        "duplicate",
        "near_duplicate",
        "split_person",
        "split_photo",
        "flip_pose",
        "flip_landmarks",
        "shared_landmarks",
    }
)
"""Checks that compare samples: made anew in every build."""

SAMPLE_CHECKS = tuple(check.name for check in CHECKS if check.name not in SET_CHECKS)
