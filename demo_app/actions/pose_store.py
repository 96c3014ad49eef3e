"""PoseStore: the poses of a long video on disk, so that any frame can be drawn again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from demo_app.inference.records import FacePose, FrameResult
from models.estimator import HeadPose
from models.geometry.boxes import bounding_box_xyxy
from models.geometry.cameras import Camera

Array = np.ndarray


@dataclass(frozen=True)
class Moment:
    """A head at one time; R and t first as shown, then as the network said."""

    track_id: int
    time_s: float
    R_cam_from_head: Float[Array, "2 3 3"]
    t_cam_from_head_mm: Float[Array, "2 3"]


class PoseStore:
    """Appends results frame by frame and reads any of them back; memory holds 40 bytes a frame.

    Vertices are kept as 16-bit floats: within 0.06 mm on a face. `frame_index` counts from 0
    without gaps, as `process_video` numbers frames.
    """

    def __init__(
        self, path: Path, n_vertices: int, landmark_68_ids: Int[Array, "68"], model: str
    ) -> None:
        self._path, self._model, self._ids = path, model, landmark_68_ids
        self._dtype = np.dtype(
            [
                ("track_id", "i4"),
                ("source", "u1"),
                ("confidence", "f4"),
                ("uncertainty_deg", "f4"),
                ("rotation_covariance_cam", "f4", (3, 3)),
                ("t_sigma_mm", "f4", (3,)),
                ("R", "f8", (2, 3, 3)),
                ("t_mm", "f8", (2, 3)),
                ("box_xyxy_px", "f8", (4,)),
                ("vertices_head_m", "f2", (n_vertices, 3)),
            ]
        )
        self._file = path.open("wb")
        self._frames: list[tuple[int, int, float, int, bool]] = []
        self._faces = 0
        self._cameras: list[Camera] = []
        self._sources: list[str] = []
        self.source = ""

    def __len__(self) -> int:
        return len(self._frames)

    def append(self, result: FrameResult) -> None:
        """Add the next frame."""
        if not self._cameras or self._cameras[-1] is not result.camera:
            self._cameras.append(result.camera)
        self.source = result.source
        faces = np.zeros(len(result.faces), self._dtype)
        for record, face in zip(faces, result.faces, strict=True):
            self._fill(record, face)
        self._file.write(faces.tobytes())
        camera_index = len(self._cameras) - 1
        self._frames.append(
            (self._faces, len(faces), result.time_s, camera_index, result.detector_ran)
        )
        self._faces += len(faces)

    def _fill(self, record: np.void, face: FacePose) -> None:
        pose, raw = face.pose, face.raw
        if pose.uncertainty_source not in self._sources:
            self._sources.append(pose.uncertainty_source)
        record["track_id"] = face.track_id
        record["source"] = self._sources.index(pose.uncertainty_source)
        record["confidence"], record["uncertainty_deg"] = pose.confidence, pose.uncertainty_deg
        record["rotation_covariance_cam"] = _or_nan(pose.rotation_covariance_cam)
        record["t_sigma_mm"] = _or_nan(pose.t_sigma_mm)
        record["R"] = pose.R_cam_from_head, raw.R_cam_from_head
        record["t_mm"] = pose.t_cam_from_head_mm, raw.t_cam_from_head_mm
        record["box_xyxy_px"] = pose.box_xyxy_px
        record["vertices_head_m"] = pose.vertices_head_m

    def result(self, index: int) -> FrameResult:
        """A frame as it was appended. Raises: IndexError."""
        first, count, time_s, camera_index, detector_ran = self._frames[index]
        if not self._file.closed:
            self._file.flush()
        records = np.fromfile(
            self._path, self._dtype, count=count, offset=first * self._dtype.itemsize
        )
        camera = self._cameras[camera_index]
        faces = tuple(self._face(record, camera) for record in records)
        return FrameResult(self.source, index, time_s, camera, faces, detector_ran)

    def _face(self, record: np.void, camera: Camera) -> FacePose:
        vertices = record["vertices_head_m"].astype(np.float64)
        pose = HeadPose(
            R_cam_from_head=record["R"][0].copy(),
            t_cam_from_head_mm=record["t_mm"][0].copy(),
            K_image_from_cam=camera.K_image_from_cam,
            box_xyxy_px=record["box_xyxy_px"].copy(),
            confidence=float(record["confidence"]),
            uncertainty_deg=float(record["uncertainty_deg"]),
            uncertainty_source=self._sources[record["source"]],
            vertices_head_m=vertices,
            landmarks_68_head_m=vertices[self._ids],
            model=self._model,
            rotation_covariance_cam=_or_none(record["rotation_covariance_cam"]),
            t_sigma_mm=_or_none(record["t_sigma_mm"]),
        )
        raw = replace(
            pose, R_cam_from_head=record["R"][1].copy(), t_cam_from_head_mm=record["t_mm"][1].copy()
        )
        box_xyxy_px = bounding_box_xyxy(camera.project(raw.vertices_cam_m()))
        return FacePose(int(record["track_id"]), pose, replace(raw, box_xyxy_px=box_xyxy_px))

    def first_with_a_face(self) -> int:
        """Index of the first frame that has a face; 0 if none has."""
        return next((i for i, frame in enumerate(self._frames) if frame[1]), 0)

    def motions(self) -> Iterator[Moment]:
        """Poses of all frames in order, without their meshes."""
        if not self._faces:
            return
        if not self._file.closed:
            self._file.flush()
        records = np.memmap(self._path, self._dtype, "r", shape=(self._faces,))
        for first, count, time_s, _, _ in self._frames:
            for record in records[first : first + count]:
                yield Moment(int(record["track_id"]), time_s, record["R"], record["t_mm"])

    def close(self) -> None:
        """No more frames; they stay readable."""
        self._file.close()


def _or_nan(values: Array | None) -> Array | float:
    return np.nan if values is None else values


def _or_none(values: Array) -> Array | None:
    return None if np.isnan(values).any() else values.astype(np.float64)
