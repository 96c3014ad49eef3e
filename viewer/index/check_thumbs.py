"""Small pictures for the report: the part around the head, with the label drawn on it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from viewer.datasets.sample import Sample, UnreadablePictureError
from viewer.datasets.source import AnnotatedDataset, DatasetError, SampleDetail
from viewer.index.checks_picture import picture_facts
from viewer.render.annotation import (
    Annotation,
    DrawnPose,
    blank_picture,
    build_annotation,
    portrait_view,
    view_of_points,
)
from viewer.render.painting import draw_overlay

Array = np.ndarray

SIDE_PX = 320
JPEG_QUALITY = 82
HEAD_TO_CROP = 1.9

_PLAIN = ("box", "landmarks", "axes")
LAYERS_OF = {
    "box_iou": ("mesh", "box"),
    "depth_mm": ("depth", "mesh"),
    "reprojection": ("points", "landmarks"),
    "betas_sd": ("mesh",),
    "jaw_deg": ("mesh",),
    "expression_sd": ("mesh",),
    "flip_landmarks": ("landmarks",),
    "shared_landmarks": ("landmarks",),
    "near_duplicate": (),
    "duplicate": (),
}
"""What is drawn for a check; _PLAIN for the others."""


def thumbnail_jpeg(dataset: AnnotatedDataset, key: str, check: str) -> bytes | None:
    """A square picture of the sample for a finding; None where there is nothing to show."""
    try:
        detail = dataset.detail(key)
    except DatasetError:
        return None
    if detail.sample.image is None:
        return _mesh_alone(detail)
    picture = _picture(detail.sample)
    if picture is None:
        return None
    annotation = _annotation(detail, (picture.shape[1], picture.shape[0]))
    layers = LAYERS_OF.get(check, _PLAIN)
    left, top, side = _crop(annotation, whole=not layers or check == "box_iou")
    scale = SIDE_PX / side
    A = np.array([[scale, 0.0, -scale * left], [0.0, scale, -scale * top], [0.0, 0.0, 1.0]])
    shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    part = _cut(picture, left, top, side)
    small = cv2.resize(part, (SIDE_PX, SIDE_PX), interpolation=shrink)
    return _jpeg(draw_overlay(small, build_annotation(_moved(annotation, A), layers)))


def _picture(sample: Sample) -> UInt8[Array, "h w 3"] | None:
    """Looked at before it is decoded: a header may claim any size."""
    if picture_facts(sample).problem:
        return None
    try:
        return sample.read_image_rgb()
    except UnreadablePictureError:
        return None


def _annotation(detail: SampleDetail, size_wh_px: tuple[int, int]) -> Annotation:
    """The label as the renderer wants it; points: what the 3D landmarks project to."""
    sample = detail.sample
    pose, mesh = _pose(sample), detail.meshes[0] if detail.meshes else None
    if pose is None or sample.camera is None:
        mesh = None
    projected = {}
    if mesh is not None and detail.landmarks_68_m is not None:
        points = detail.landmarks_68_m
        points = points if mesh.frame == "cam" else pose.in_cam_m(points)
        projected = {"projected": sample.camera.project(points)}
    return Annotation(
        size_wh_px,
        box_xyxy_px=sample.box_xyxy_px,
        landmarks_68_px=sample.landmarks_68_px,
        points_px=projected,
        pose=pose,
        mesh_cam_m=_mesh_cam_m(detail, pose) if mesh is not None else None,
        triangles=mesh.triangles if mesh is not None else None,
        depth_cam_m=detail.depth_cam_m,
    )


def _mesh_cam_m(detail: SampleDetail, pose: DrawnPose) -> Float[Array, "v 3"]:
    mesh = detail.meshes[0]
    return mesh.vertices_m if mesh.frame == "cam" else pose.in_cam_m(mesh.vertices_m)


def _pose(sample: Sample) -> DrawnPose | None:
    """With the data set's camera, or else scaled to the landmarks or the box."""
    R, t_mm = sample.R_cam_from_head, sample.t_cam_from_head_mm
    if R is None or not np.isfinite(R).all():
        return None
    if t_mm is not None and sample.camera is not None:
        return DrawnPose(R, t_mm, sample.camera.K_image_from_cam)
    if sample.landmarks_68_px is not None and np.isfinite(sample.landmarks_68_px).all(1).any():
        return view_of_points(R, sample.landmarks_68_px)
    if sample.box_xyxy_px is not None and np.isfinite(sample.box_xyxy_px).all():
        return view_of_points(R, np.asarray(sample.box_xyxy_px, np.float64).reshape(2, 2))
    return None


def _crop(annotation: Annotation, *, whole: bool) -> tuple[int, int, int]:
    """Left, top and side of the square to show: around the head where it is in the picture."""
    width, height = annotation.size_wh_px
    box = None if whole else annotation.face_box_px()
    if box is not None:
        middle, side = (box[:2] + box[2:]) / 2, HEAD_TO_CROP * float(np.max(box[2:] - box[:2]))
        inside = bool((middle >= 0).all() and middle[0] <= width and middle[1] <= height)
        if inside and 8.0 <= side <= 2.0 * max(width, height):
            corner = np.rint(middle - side / 2).astype(int)
            return int(corner[0]), int(corner[1]), round(side)
    side = max(width, height)
    return (width - side) // 2, (height - side) // 2, side


def _cut(picture: UInt8[Array, "h w 3"], left: int, top: int, side: int) -> UInt8[Array, "s s 3"]:
    """A square of the picture, dark where it reaches beyond the edge."""
    height, width = picture.shape[:2]
    part = np.full((side, side, 3), 28, np.uint8)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + side, width), min(top + side, height)
    if x1 > x0 and y1 > y0:
        part[y0 - top : y1 - top, x0 - left : x1 - left] = picture[y0:y1, x0:x1]
    return part


def _moved(annotation: Annotation, A: Float[Array, "3 3"]) -> Annotation:
    """The annotation in the pixels of the thumbnail."""

    def points(values: Float[Array, "n 2"]) -> Float[Array, "n 2"]:
        return np.asarray(values, np.float64) * A[0, 0] + A[:2, 2]

    box, marks, pose = annotation.box_xyxy_px, annotation.landmarks_68_px, annotation.pose
    return replace(
        annotation,
        size_wh_px=(SIDE_PX, SIDE_PX),
        box_xyxy_px=None if box is None else points(box.reshape(2, 2)).reshape(4),
        landmarks_68_px=None if marks is None else points(marks),
        points_px={name: points(values) for name, values in annotation.points_px.items()},
        pose=None if pose is None else replace(pose, K_image_from_cam=A @ pose.K_image_from_cam),
    )


def _mesh_alone(detail: SampleDetail) -> bytes | None:
    """Of data sets without pictures."""
    if not detail.meshes:
        return None
    mesh, R = detail.meshes[0], detail.sample.R_cam_from_head
    size = (SIDE_PX, SIDE_PX)
    pose = portrait_view(np.eye(3) if R is None else R, mesh.vertices_m, size)
    annotation = Annotation(
        size, pose=pose, mesh_cam_m=pose.in_cam_m(mesh.vertices_m), triangles=mesh.triangles
    )
    return _jpeg(draw_overlay(blank_picture(size), build_annotation(annotation, ("mesh",))))


def _jpeg(image_rgb: UInt8[Array, "h w 3"]) -> bytes:
    picture_bgr = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", picture_bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
