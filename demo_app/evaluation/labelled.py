"""Protocol `labelled`: real photos with a measured or fitted pose, as the app would see them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from demo_app.evaluation.calibration import CoverageFigures, coverage_figures
from demo_app.evaluation.columns import SINGLE_PASS, Column, Poses, poses_stacked
from demo_app.evaluation.errors import PoseFigures, binned_figures, ypr_deg_from_matrices
from demo_app.evaluation.faces import (
    Detect,
    EvaluationError,
    Progress,
    box_of_face,
    detector_ray_box,
    no_progress,
)
from models.geometry.cameras import camera_from_horizontal_fov
from viewer.datasets.biwi import read_biwi
from viewer.datasets.registry import DATASET_INFOS, open_dataset
from viewer.datasets.sample import Sample
from viewer.datasets.weak_perspective import holds_aflw2000

Array = np.ndarray

MAX_ANGLE_DEG = 99.0
"""Published tables leave out samples with an angle beyond this; here they are a row of their
own."""


@dataclass(frozen=True)
class LabelledSet:
    """One data set. figures: by column, then by bin.

    faces_lost: keys of the samples whose face the detector did not find; they are in no figure.
    beyond_99_deg: samples with an angle beyond 99 degrees; they are in the figures.
    """

    samples: int
    faces_lost: tuple[str, ...]
    beyond_99_deg: int
    camera: str
    figures: dict[str, dict[str, PoseFigures]]
    coverage: CoverageFigures | None


@dataclass(frozen=True)
class Labelled:
    """By data set."""

    data: tuple[str, ...]
    sets: dict[str, LabelledSet]
    protocol: str = "labelled"
    notes: tuple[str, ...] = field(default=())


NOTES = (
    "Angles: Rx(-pitch) Ry(yaw) Rz(roll), 300W-LP's own. Crops from the detector; the camera is "
    "the data set's where it has one, otherwise the default field of view. 300W-LP and AFLW2000 "
    "have no metric translation. Bias: predicted - labelled.",
)


def read_labelled(root: Path) -> Iterator[Sample]:
    """Samples of a folder: BIWI where an rgb.cal lies below it, otherwise AFLW2000 or 300W-LP.

    300W-LP is read as its files.txt says, or to 99 degrees.
    Raises: EvaluationError if the folder is not there; DatasetError.
    """
    if not root.is_dir():
        raise EvaluationError(f"{root} is no folder: give --data a folder of labelled samples.")
    if next(root.rglob("rgb.cal"), None) is not None:
        yield from read_biwi(root)
    else:
        dataset = open_dataset("aflw2000" if holds_aflw2000(root) else "300w-lp", root)
        yield from map(dataset.read, dataset.list_samples().keys)


@dataclass
class _Collected:
    samples: int = 0
    lost: list[str] = field(default_factory=list)
    true: list[Poses] = field(default_factory=list)
    found: dict[str, list[Poses]] = field(default_factory=dict)
    cameras: set[str] = field(default_factory=set)

    def figures(self) -> LabelledSet:
        truth = poses_stacked(self.true)
        stacked = {name: poses_stacked(parts) for name, parts in self.found.items()}
        angles = np.abs(ypr_deg_from_matrices(truth.R_cam_from_head))
        single = stacked.get(SINGLE_PASS)
        return LabelledSet(
            samples=self.samples,
            faces_lost=tuple(self.lost),
            beyond_99_deg=int((angles > MAX_ANGLE_DEG).any(1).sum()),
            camera="; ".join(sorted(self.cameras)),
            figures={name: binned_figures(poses, truth) for name, poses in stacked.items()},
            coverage=None if single is None else coverage_figures(single, truth),
        )


def evaluate_labelled(
    folders: Sequence[Path],
    columns: Mapping[str, Column],
    detect: Detect,
    *,
    count: int | None = None,
    progress: Progress = no_progress,
) -> Labelled:
    """Every sample of every folder, or `count` of each folder, evenly spaced in its order.

    Raises: EvaluationError, DatasetError.
    """
    sets: dict[str, _Collected] = {}
    for folder in folders:
        samples = list(read_labelled(folder))
        if count is not None and count < len(samples):
            chosen = np.linspace(0, len(samples) - 1, count).round().astype(int)
            samples = [samples[i] for i in chosen]
        for i, sample in enumerate(samples, start=1):
            title = DATASET_INFOS[sample.dataset].title
            collected = sets.setdefault(title, _Collected())
            _look_at(sample, columns, detect, collected)
            progress(i, len(samples), f"samples of {folder}")
    return Labelled(
        data=tuple(str(folder) for folder in folders),
        sets={name: collected.figures() for name, collected in sets.items()},
        notes=NOTES,
    )


def _look_at(
    sample: Sample, columns: Mapping[str, Column], detect: Detect, collected: _Collected
) -> None:
    image = sample.read_image_rgb()
    size_wh_px = (image.shape[1], image.shape[0])
    camera = sample.camera or camera_from_horizontal_fov(size_wh_px)
    if tuple(camera.size_wh_px) != size_wh_px:
        raise EvaluationError(
            f"{sample.key}: the picture is {size_wh_px} px, its camera {camera.size_wh_px} px."
        )
    collected.samples += 1
    collected.cameras.add(camera.source)
    box = box_of_face(detect(image), sample.box_xyxy_px)
    if box is None or sample.R_cam_from_head is None:
        collected.lost.append(sample.key)
        return
    t_mm = sample.t_cam_from_head_mm
    collected.true.append(Poses(sample.R_cam_from_head[None], None if t_mm is None else t_mm[None]))
    ray_box = detector_ray_box(camera, box)[None]
    for name, column in columns.items():
        collected.found.setdefault(name, []).append(column(image, camera, ray_box))
