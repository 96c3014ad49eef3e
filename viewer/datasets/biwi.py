"""BIWI Kinect Head Pose: RGB frames with the pose measured in depth, taken to the RGB camera.

Fanelli et al. 2013. pose.txt holds R and the head centre (mm) in the DEPTH camera, OpenCV axes;
rgb.cal has the RGB camera's K and its place: X_rgb = R_ext X_depth + T_ext. Sequences have
different calibrations, so each one's own file is read. BIWI's head centre is not our origin, see
`BIWI_ORIGIN_HEAD_MM`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from models.geometry.boxes import bounding_box_xyxy
from models.geometry.conventions import BIWI_ORIGIN_HEAD_MM
from viewer.datasets.biwi_box_file import BoxFile, box_of_points, read_boxes
from viewer.datasets.biwi_detail import BiwiFrame, biwi_detail
from viewer.datasets.biwi_files import read_calibration, read_pose, read_scan
from viewer.datasets.biwi_layout import (
    PICTURES,
    POSE,
    BiwiLayout,
    find_layout,
    frame_number,
)
from viewer.datasets.biwi_listing import list_frames
from viewer.datasets.protocols import biwi_person
from viewer.datasets.registry import DATASET_INFOS
from viewer.datasets.sample import Sample
from viewer.datasets.source import DatasetError, Listing, Progress, SampleDetail, silent

_KEY = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,63})/(frame_\d{1,9})")


class Biwi:
    """BIWI in any of its layouts; see `viewer.datasets.source.AnnotatedDataset`.

    The sample's pose is the calibrated one, in the RGB camera. Its box is that of the box file's
    points where there are any, otherwise the extent of the projected scan.
    """

    info = DATASET_INFOS["biwi"]

    def __init__(self, root: Path | str, box_file: Path | None = None) -> None:
        """box_file: instead of the annot_mtcnn_fan.pkl below the root."""
        self.root, self._box_file = Path(root), box_file

    @cached_property
    def layout(self) -> BiwiLayout:
        """Where the parts lie. Raises: DatasetError where there is no BIWI."""
        return find_layout(self.root)

    def list_samples(self, limit: int | None = None, progress: Progress = silent) -> Listing:
        """Raises: DatasetError where there is no BIWI."""
        return list_frames(self.root, self.layout, self._box_path, limit, progress)

    def read(self, key: str) -> Sample:
        """Raises: DatasetError."""
        return self._frame(key).sample

    def detail(self, key: str) -> SampleDetail:
        """Raises: DatasetError."""
        return biwi_detail(self._frame(key), self.layout)

    def scan_paths(self) -> dict[str, Path]:
        """Sequence -> its NN.obj, where there is one."""
        paths = {name: self.layout.scan_path(name) for name in self.layout.sequences}
        return {name: path for name, path in paths.items() if path.is_file()}

    @property
    def _box_path(self) -> Path | None:
        return self._box_file or self.layout.box_file

    def _frame(self, key: str) -> BiwiFrame:
        sequence, stem = self._parts(key)
        folder, scan_path = self.layout.frames / sequence, self.layout.scan_path(sequence)
        rgb = read_calibration(folder / "rgb.cal")
        pose = read_pose(folder / f"{stem}_{POSE}")
        R = rgb.R_cam_from_depth @ pose.R_depth_from_head
        centre_mm = rgb.R_cam_from_depth @ pose.centre_mm + rgb.t_cam_from_depth_mm
        scan, boxes = read_scan(scan_path) if scan_path.is_file() else None, self._boxes()
        box = None if boxes is None else boxes.points_px.get(key)
        if box is not None:
            box = box_of_points(box)
        elif scan is not None:
            box = bounding_box_xyxy(rgb.camera.project(scan.vertices_mm @ R.T + centre_mm))
        sample = Sample(
            dataset=self.info.name,
            key=key,
            group=biwi_person(sequence),
            image=self._picture(folder, stem),
            camera=rgb.camera,
            R_cam_from_head=R,
            t_cam_from_head_mm=centre_mm - R @ BIWI_ORIGIN_HEAD_MM,
            landmarks_68_px=None,
            box_xyxy_px=box,
            subject=biwi_person(sequence),
            sequence=sequence,
            frame=frame_number(stem),
        )
        return BiwiFrame(sample, stem, rgb, pose, centre_mm, scan, boxes)

    def _parts(self, key: str) -> tuple[str, str]:
        """Sequence and stem; nothing outside the sequences can be asked for."""
        match = _KEY.fullmatch(key)
        if match is None or match[1] not in self.layout.sequences:
            raise DatasetError(f"BIWI in {self.root} has no sample {key[:80]!r}.")
        if not (self.layout.frames / f"{key}_{POSE}").is_file():
            raise DatasetError(f"BIWI in {self.root} has no sample {key}: no {POSE}.")
        return match[1], match[2]

    @staticmethod
    def _picture(folder: Path, stem: str) -> Path:
        paths = [folder / f"{stem}_{ending}" for ending in PICTURES]
        return next((path for path in paths if path.is_file()), paths[0])

    def _boxes(self) -> BoxFile | None:
        """None too where the file cannot be used: the listing says so."""
        try:
            return None if self._box_path is None else read_boxes(self._box_path)
        except DatasetError:
            return None


def read_biwi(root: Path | str) -> Iterator[Sample]:
    """Every frame with picture and pose, sequences and frames in order.

    root: any folder that holds sequences (folders with an rgb.cal), at any depth.
    Raises: DatasetError for a folder without a frame, or a damaged file.
    """
    dataset = Biwi(root)
    listing = dataset.list_samples()
    if not listing.keys:
        first = f" {listing.problems[0].file}: {listing.problems[0].reason}."
        raise DatasetError(f"{root} has no frame of BIWI that can be used.{first}")
    for key in listing.keys:
        yield dataset.read(key)
