"""Small data sets without an error, in memory with pictures in files, for errors to be planted in.

`FakeDataset` is made of plain records at module level, so that worker processes can have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from models.geometry.boxes import bounding_box_xyxy
from models.geometry.cameras import Camera, camera_from_intrinsics
from models.geometry.rotations import MIRROR_X, matrix_from_ypr_300wlp
from viewer.datasets.sample import Sample
from viewer.datasets.source import (
    DatasetInfo,
    Listing,
    Problem,
    Progress,
    SampleDetail,
    SampleMesh,
    silent,
)

Array = np.ndarray

SWAP_PAIRS = (
    *((i, 16 - i) for i in range(8)),
    *((17 + i, 26 - i) for i in range(5)),
    *((31, 35), (32, 34), (36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)),
    *((48, 54), (49, 53), (50, 52), (59, 55), (58, 56), (60, 64), (61, 63), (67, 65)),
)


def swapped_68(points: Array) -> Array:
    """iBUG's points renumbered as in a mirror; written out pair by pair."""
    out = points.copy()
    for a, b in SWAP_PAIRS:
        out[[a, b]] = points[[b, a]]
    return out


@dataclass(frozen=True)
class FakeDataset:
    """`AnnotatedDataset` of given details; an error in the place of one is raised."""

    info: DatasetInfo
    root: Path
    details: Mapping[str, SampleDetail | Exception]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ("A made-up set.",)

    def list_samples(self, limit: int | None = None, progress: Progress = silent) -> Listing:
        return Listing(tuple(self.details)[:limit], self.problems, self.notes)

    def read(self, key: str) -> Sample:
        return self.detail(key).sample

    def detail(self, key: str) -> SampleDetail:
        detail = self.details[key]
        if isinstance(detail, Exception):
            raise detail
        return detail

    def with_detail(self, key: str, **changes: object) -> FakeDataset:
        """A copy with one sample changed; `sample__x` changes the field x of its Sample."""
        detail = self.details[key]
        of_sample = {k.removeprefix("sample__"): v for k, v in changes.items() if "__" in k}
        others = {k: v for k, v in changes.items() if "__" not in k}
        changed = replace(detail, sample=replace(detail.sample, **of_sample), **others)
        return replace(self, details={**self.details, key: changed})


def paint(path: Path, seed: int, size_wh: tuple[int, int] = (320, 240)) -> Path:
    """A picture unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.resize(coarse, size_wh, interpolation=cv2.INTER_CUBIC))
    return path


def write_clean_set(root: Path, name: str, head_mesh: object) -> FakeDataset:
    """A set without any error: "biwi", "arkitface", "300w-lp" or "mica"."""
    root.mkdir(parents=True)
    camera = camera_from_intrinsics((320, 240), 300.0, 300.0, 160.0, 120.0)
    if name == "300w-lp":
        details = _photo_details(root, head_mesh)
    elif name == "mica":
        details = _neutral_fits()
    else:
        made = [_metric_detail(name, root, head_mesh, i, camera) for i in range(24)]
        details = {detail.sample.key: detail for detail in made}
    return FakeDataset(
        DatasetInfo(name, f"{name} <imitation>", "Free & open.", "", ()), root, details
    )


def _metric_detail(
    dataset: str, root: Path, head_mesh: object, i: int, camera: Camera
) -> SampleDetail:
    """One frame of a head that turns slowly: mesh, landmarks, depth and box agree."""
    person, frame = f"{i // 8:02d}", 3 + i % 8
    R = matrix_from_ypr_300wlp(-45.0 + 3.0 * frame, 5.0 + 10.0 * (i // 8), 2.0 * frame)
    t_mm = np.array([20.0 + 2 * frame, -10.0, 700.0 + 3 * frame])
    vertices = head_mesh.vertices_head_m @ R.T + t_mm / 1000
    points = vertices[head_mesh.landmark_68_ids]
    sample = Sample(
        dataset=dataset,
        key=f"{person}/frame_{frame:05d}",
        group=person,
        image=paint(root / person / f"{frame}.png", 100 + i),
        camera=camera,
        R_cam_from_head=R,
        t_cam_from_head_mm=t_mm,
        landmarks_68_px=camera.project(points),
        box_xyxy_px=bounding_box_xyxy(camera.project(vertices)),
        split="test" if person == "02" else "train",
        subject=person,
        sequence=person,
        frame=frame,
    )
    middles = vertices[head_mesh.triangles].mean(1)
    depth = np.concatenate([vertices, middles]) + np.array([0.0, 0.0, 0.003])
    mesh = SampleMesh("scan", "cam", vertices, head_mesh.triangles)
    raw = {"pose.txt: R": "\n".join(" ".join(f"{x:.8f}" for x in row) for row in R)}
    return SampleDetail(sample, (mesh,), landmarks_68_m=points, depth_cam_m=depth, raw=raw)


def _photo_details(root: Path, head_mesh: object) -> dict[str, SampleDetail]:
    """300W-LP: two photos with three views each, and their mirrored twins."""
    details = {}
    for photo in range(2):
        for k in range(3):
            R = matrix_from_ypr_300wlp(25.0 + 12.0 * k - 60.0 * photo, 4.0, -6.0)
            points = head_mesh.vertices_head_m[head_mesh.landmark_68_ids] @ R.T
            marks = points[:, :2] * 900.0 + [160.0, 120.0]
            stem = f"AFW_{photo + 1}_1_{k}"
            for folder in ("AFW", "AFW_Flip"):
                image = paint(root / folder / f"{stem}.png", 500 + 10 * photo + k)
                if folder == "AFW_Flip":
                    cv2.imwrite(str(image), cv2.imread(str(image))[:, ::-1])
                    R, marks = MIRROR_X @ R @ MIRROR_X, swapped_68(marks * [-1, 1] + [320.0, 0])
                split = "train" if photo == 0 else "test"
                group, key = f"AFW/AFW_{photo + 1}_1", f"{folder}/{stem}"
                sample = Sample("300w-lp", key, group, image, None, R, None, marks, None, split)
                details[key] = SampleDetail(sample)
    return details


def _neutral_fits() -> dict[str, SampleDetail]:
    """MICA: shapes within two and a half standard deviations, nothing else."""
    details = {}
    for i in range(4):
        rng = np.random.default_rng(i)
        betas = np.concatenate([np.clip(rng.normal(0, 1, 300), -2.5, 2.5), np.zeros(100)])
        raw = {f"{i}.npz: betas": " ".join(f"{b:.6g}" for b in betas)}
        raw[f"{i}.npz: pose"] = " ".join(["0.3", *["0"] * 14])
        key = f"STIRLING/{i}"
        sample = Sample("mica", key, f"actor {i}", None, None, None, None, None, None)
        details[key] = SampleDetail(sample, raw=raw)
    return details
