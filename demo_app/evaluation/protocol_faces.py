"""The heads of a data-set protocol: where each is, in which crop it is looked at, what is true.

What is true stays in the label's own head frame, as published tables have it; R_head_from_label
takes the network's answer there. What is chosen is said in `FaceSource.choices`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol as Shape

import numpy as np
from jaxtyping import Float

from models.geometry.boxes import bounding_box_xyxy, ray_box_from_points, ray_box_from_xyxy
from models.geometry.cameras import (
    DEFAULT_HORIZONTAL_FOV_DEG,
    Camera,
    camera_from_horizontal_fov,
    camera_from_intrinsics,
)
from models.geometry.conventions import BIWI_ORIGIN_HEAD_MM
from models.weights import CROP_SCALE, T_HEAD_FROM_TRG
from viewer.datasets.aflw2000 import Aflw2000
from viewer.datasets.arkitface import ArkitFace
from viewer.datasets.biwi import Biwi
from viewer.datasets.biwi_box_file import BoxFile, read_boxes
from viewer.datasets.biwi_files import OPENCV_PIXEL, read_pose, read_scan
from viewer.datasets.protocols import Protocol
from viewer.datasets.scaled_picture import picture_bytes, size_wh_px_of
from viewer.datasets.source import DatasetError
from viewer.datasets.synthetic_heads import SyntheticHeads
from viewer.datasets.training_faces import RELEASED_FOCAL_PX, SCAN_BOX_SCALE, rotation_to_ray

Array = np.ndarray

R_HEAD_FROM_TRG = T_HEAD_FROM_TRG[:3, :3]


class FaceLostError(Exception):
    """A sample of the protocol that cannot be judged; the message is the reason, for counting."""


@dataclass(frozen=True)
class LabelledFace:
    """A head to be looked at. None: the data set does not say.

    R_true, t_true_mm, vertices_mm: in the label's own head frame.
    R_head_from_label: the origin is the same, or taken for the same.
    other_origin_head_mm: the label's origin in `head`, where published figures leave the
        difference of the origins in.
    R_seen_from_cam: I, or from the camera to the head's ray where labels are weak perspective.
    """

    key: str
    sequence: str
    group: str
    picture: bytes
    camera: Camera
    ray_box: Float[Array, "3"]
    R_true: Float[Array, "3 3"]
    t_true_mm: Float[Array, "3"] | None = None
    vertices_mm: Float[Array, "v 3"] | None = None
    R_head_from_label: Float[Array, "3 3"] = field(default_factory=lambda: np.eye(3))
    other_origin_head_mm: Float[Array, "3"] | None = None
    R_seen_from_cam: Float[Array, "3 3"] = field(default_factory=lambda: np.eye(3))


class FaceSource(Shape):
    """choices: what was decided, by name, for the report and its hash."""

    @property
    def choices(self) -> Mapping[str, str]: ...

    def face(self, key: str) -> LabelledFace:
        """Raises: FaceLostError, DatasetError, UnreadablePictureError."""
        ...


def trg_box_xyxy_px(
    points_px: Float[Array, "n 2"],
    first_pixel_px: float = 0.0,
    inside_wh_px: tuple[int, int] | None = None,
    scale: float = CROP_SCALE,
) -> Float[Array, "4"]:
    """The square around points as the released code takes it: edges cut to whole pixels.

    first_pixel_px: where our pixels have the first one's number 0. inside_wh_px: the box is then
    moved inside the picture, by its left edge, right, top, bottom in turn.
    """
    low, high = points_px.min(0) - first_pixel_px, points_px.max(0) - first_pixel_px
    middle, half = (low + high) / 2, scale * float((high - low).max()) / 2
    left, top, right, bottom = (float(int(v)) for v in [*(middle - half), *(middle + half)])
    if inside_wh_px is not None:
        width, height = inside_wh_px
        left, right = _moved_inside(left, right, float(width))
        top, bottom = _moved_inside(top, bottom, float(height))
    return np.array([left, top, right, bottom]) + first_pixel_px


def _moved_inside(low: float, high: float, size: float) -> tuple[float, float]:
    shift = max(-low, 0.0)
    low, high = low + shift, high + shift
    shift = min(size - high, 0.0)
    return low + shift, high + shift


@dataclass(frozen=True)
class ArkitSource:
    """ARKitFace: mesh, pose and camera are known."""

    dataset: ArkitFace

    @property
    def choices(self) -> dict[str, str]:
        return {
            "crop": "TRG's: square of 1.5 x the extent of the mesh's 68 landmarks, edges cut to "
            "whole pixels, also outside the picture",
            "camera": "the data set's, fx = fy = 629.775 px at 800 x 800",
            "origin": "ARKit's face anchor, for label and prediction",
            "head axes": "ARKit's; predictions are taken there",
        }

    def face(self, key: str) -> LabelledFace:
        detail = self.dataset.detail(key)
        sample = detail.sample
        R, t_mm = sample.R_cam_from_head, sample.t_cam_from_head_mm
        if detail.landmarks_68_m is None:
            raise FaceLostError("The mesh's 68 landmarks are not known: no usable kpt_ind.npy.")
        if not (detail.landmarks_68_m[:, 2] > 0).all():
            raise FaceLostError("The labelled head is behind the camera.")
        box = trg_box_xyxy_px(sample.camera.project(detail.landmarks_68_m))
        return LabelledFace(
            key,
            sample.sequence,
            sample.group,
            picture_bytes(sample.image),
            sample.camera,
            ray_box_from_xyxy(sample.camera, box),
            R,
            t_mm,
            (1000.0 * detail.meshes[0].vertices_m - t_mm) @ R,
            R_HEAD_FROM_TRG,
        )


@dataclass(frozen=True)
class BiwiSource:
    """BIWI, in the RGB camera or, uncalibrated, with the depth camera's rotations alone."""

    dataset: Biwi
    protocol: Protocol
    box_path: Path | None

    @cached_property
    def boxes(self) -> BoxFile | None:
        """Raises: DatasetError."""
        return None if self.box_path is None else read_boxes(self.box_path)

    @cached_property
    def _scans(self) -> dict[str, Path]:
        return self.dataset.scan_paths()

    @property
    def choices(self) -> dict[str, str]:
        crop = (
            "there is no box file: 0.9 x the extent of the true scan, a crop that no detector gives"
        )
        if self.boxes is not None:
            crop = (
                "TRG's: square of 1.5 x the extent of 68 detected points, edges cut to whole "
                f"pixels, moved inside the picture; points by {self.boxes.made_by}"
            )
        return {"crop": crop, "camera": "each sequence's rgb.cal"} | self._frames

    @property
    def _frames(self) -> dict[str, str]:
        if not self.protocol.uses_calibration:
            return {
                "labels": "rotations of the depth camera as stored (uncalibrated); no translation",
                "head axes": "BIWI's, taken for the network's own",
            }
        if self.protocol.aligns_sequences:
            origin = f"BIWI's head centre, {BIWI_ORIGIN_HEAD_MM.tolist()} mm from ours (TRGv2)"
        else:
            origin = (
                "as TRG: BIWI's head centre for labels, ARKit's face anchor for predictions, so "
                "their distance of about 18 mm is in t and ADD; a second row takes it out"
            )
        return {
            "labels": "taken to the RGB camera by each sequence's rgb.cal",
            "origin": origin,
            "head axes": "BIWI's, taken for the network's own",
        }

    def face(self, key: str) -> LabelledFace:
        sample = self.dataset.read(key)
        R, scan = sample.R_cam_from_head, self._scans.get(sample.sequence)
        centre_mm = sample.t_cam_from_head_mm + R @ BIWI_ORIGIN_HEAD_MM
        vertices_mm = None if scan is None else read_scan(scan).vertices_mm
        box = self._box(key, sample.camera, R, centre_mm, vertices_mm)
        if self.protocol.uses_calibration:
            R_true, t_true_mm, mesh_mm = R, centre_mm, vertices_mm
        else:
            pose = read_pose(self.dataset.layout.frames / f"{key}_pose.txt")
            R_true, t_true_mm, mesh_mm = pose.R_depth_from_head, None, None
        return LabelledFace(
            key,
            sample.sequence,
            sample.group,
            picture_bytes(sample.image),
            sample.camera,
            ray_box_from_xyxy(sample.camera, box),
            R_true,
            t_true_mm,
            mesh_mm,
            R_HEAD_FROM_TRG,
            BIWI_ORIGIN_HEAD_MM,
        )

    def _box(
        self,
        key: str,
        camera: Camera,
        R: Float[Array, "3 3"],
        centre_mm: Float[Array, "3"],
        vertices_mm: Float[Array, "v 3"] | None,
    ) -> Float[Array, "4"]:
        if self.boxes is not None:
            points = self.boxes.points_px.get(key)
            if points is None:
                raise FaceLostError("The box file has no points: the detector found no face.")
            return trg_box_xyxy_px(points, OPENCV_PIXEL, camera.size_wh_px)
        if vertices_mm is None:
            raise FaceLostError("There is neither a box file nor a scan of this sequence.")
        seen_px = camera.project(vertices_mm @ R.T + centre_mm)
        return trg_box_xyxy_px(
            seen_px, OPENCV_PIXEL, camera.size_wh_px, CROP_SCALE * SCAN_BOX_SCALE
        )


@dataclass(frozen=True)
class AflwSource:
    """AFLW2000: rotations of a weak-perspective fit, without camera and metres."""

    dataset: Aflw2000
    is_released_kind: bool

    @property
    def choices(self) -> dict[str, str]:
        camera = f"{DEFAULT_HORIZONTAL_FOV_DEG:g} degrees of horizontal field of view, assumed"
        if self.is_released_kind:
            camera = f"focal length {RELEASED_FOCAL_PX:g} px, assumed as TRG does"
        return {
            "crop": "square of 1.5 x the extent of the 68 labelled landmarks (pt3d_68)",
            "camera": camera,
            "labels": "weak perspective: the prediction is turned to the ray through the middle of "
            "the landmarks; the labels have no metres, so there is no translation",
            "head axes": "300W-LP's, our own",
        }

    def face(self, key: str) -> LabelledFace:
        sample = self.dataset.read(key)
        picture = picture_bytes(sample.image)
        size = size_wh_px_of(picture, key)
        camera = camera_from_horizontal_fov(size)
        if self.is_released_kind:
            f_px, middle = RELEASED_FOCAL_PX, (size[0] / 2, size[1] / 2)
            camera = camera_from_intrinsics(size, f_px, f_px, *middle, "assumed by TRG")
        box = bounding_box_xyxy(sample.landmarks_68_px)
        ray_box = ray_box_from_points(camera.normalise(box.reshape(2, 2)), CROP_SCALE)
        return LabelledFace(
            key,
            "",
            sample.group,
            picture,
            camera,
            ray_box,
            sample.R_cam_from_head,
            R_seen_from_cam=rotation_to_ray(ray_box[:2]).T,
        )


@dataclass(frozen=True)
class SyntheticSource:
    """Rendered heads: everything is exact."""

    dataset: SyntheticHeads

    @property
    def choices(self) -> dict[str, str]:
        return {
            "crop": "square of 1.5 x the extent of FaceMesh's 468 true landmarks, not moved",
            "camera": "the rendering's",
            "origin": "our own, ARKit's face anchor",
            "head axes": "our own",
        }

    def face(self, key: str) -> LabelledFace:
        sample, head = self.dataset.read_with_labels(key)
        if not head.is_face:
            raise FaceLostError("The picture shows no face, on purpose.")
        R, t_mm = np.float64(head.R_cam_from_head), np.float64(head.t_cam_from_head_mm)
        vertices_mm = 1000.0 * np.float64(head.landmarks_468_head_m)
        cam = vertices_mm @ R.T + t_mm
        return LabelledFace(
            key,
            "",
            sample.group,
            picture_bytes(sample.image),
            sample.camera,
            ray_box_from_points(cam[:, :2] / np.maximum(cam[:, 2:], 10.0), CROP_SCALE),
            R,
            t_mm,
            vertices_mm,
        )


def box_path_of(dataset: Biwi, box_file: Path | None) -> Path | None:
    """The box file that is asked for, otherwise the data set's own if it can be used."""
    if box_file is not None:
        return box_file
    own = dataset.layout.box_file
    if own is None:
        return None
    try:
        read_boxes(own)
    except DatasetError:
        return None
    return own
