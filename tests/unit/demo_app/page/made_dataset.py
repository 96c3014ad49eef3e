"""A data set of a few made-up heads in memory: two people, one of them in a sequence of frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from models.geometry.cameras import camera_from_horizontal_fov
from models.geometry.rotations import matrix_from_ypr_300wlp
from viewer.datasets.registry import DATASET_INFOS
from viewer.datasets.sample import Sample
from viewer.datasets.source import (
    DatasetError,
    DatasetInfo,
    Listing,
    OtherPose,
    Problem,
    Progress,
    SampleDetail,
    SampleMesh,
    silent,
)

Array = np.ndarray

SIZE = (640, 480)
CAMERA = camera_from_horizontal_fov(SIZE, 60.0)
T_MM = np.array([-100.0, 0.0, 700.0])
FRAMES = 8
YAWS_DEG = np.linspace(-35.0, 35.0, FRAMES)
FACE_M = np.array([[x, y, 0.0] for x in (-0.07, 0.07) for y in (-0.09, 0.09)])
TRIANGLES = np.array([[0, 1, 2], [1, 3, 2]])
BROKEN_KEY = "02/frame_00099"


@dataclass(frozen=True)
class MadeDataset:
    """Frames 01/frame_00000 to 7, each turned further; one sample whose label is damaged."""

    root: Path
    info: DatasetInfo = DATASET_INFOS["biwi"]

    def write(self) -> None:
        self.root.mkdir(parents=True)
        ground = np.repeat(np.linspace(40, 200, 640).astype(np.uint8)[None], 480, 0)
        for key in self.keys():
            path = self._image(key)
            path.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(path), ground)

    def keys(self) -> tuple[str, ...]:
        return tuple(f"01/frame_{i:05d}" for i in range(FRAMES))

    def _image(self, key: str) -> Path:
        return self.root / f"{key}_rgb.png"

    def list_samples(self, limit: int | None = None, progress: Progress = silent) -> Listing:
        keys = (*self.keys(), BROKEN_KEY)[:limit]
        files = {key: (f"{key}_rgb.png",) for key in keys}
        return Listing(keys, (Problem("02/rgb.cal", "The file is missing."),), ("made up",), files)

    def read(self, key: str) -> Sample:
        if key not in self.keys():
            raise DatasetError(f"{self.root}/{key}_pose.txt is damaged.")
        frame = int(key[-5:])
        R = matrix_from_ypr_300wlp(float(YAWS_DEG[frame]), 5.0, 0.0)
        corners = CAMERA.project(FACE_M @ R.T + T_MM / 1000)
        return Sample(
            dataset="biwi",
            key=key,
            group="01",
            image=self._image(key),
            camera=CAMERA,
            R_cam_from_head=R,
            t_cam_from_head_mm=T_MM.copy(),
            landmarks_68_px=None,
            box_xyxy_px=np.concatenate([corners.min(0), corners.max(0)]),
            subject="F01",
            sequence="01",
            frame=frame,
        )

    def detail(self, key: str) -> SampleDetail:
        sample = self.read(key)
        R = sample.R_cam_from_head
        cam = FACE_M @ R.T + T_MM / 1000
        turned = matrix_from_ypr_300wlp(float(YAWS_DEG[sample.frame]) + 10.0, 5.0, 0.0)
        return SampleDetail(
            sample,
            meshes=(SampleMesh("scan", "cam", cam, TRIANGLES),),
            depth_cam_m=cam + np.array([0.0, 0.0, 0.005]),
            other_poses=(
                OtherPose("turned", turned, None, "Ten degrees further."),
                OtherPose("other origin", R, T_MM + 20.0, "The same, from its own centre."),
            ),
            raw={"pose.txt: <R>": "1 2 & 3"},
        )
