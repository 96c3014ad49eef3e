"""A sample of any data set as what the renderers draw: on its picture, and in 3D."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from models.geometry.mesh_distance import nearest_on_surface
from viewer.datasets.sample import Sample
from viewer.datasets.source import OtherPose, SampleDetail, SampleMesh
from viewer.render.annotation import (
    Annotation,
    DrawnPose,
    portrait_view,
    view_of_mesh,
    view_of_points,
)
from viewer.render.annotation_figure import FigureContent, FigureMesh

Array = np.ndarray

DETAIL_LAYERS = {"points", "mesh", "depth"}
"""Layers that need all files of a sample; the others need its label alone."""


@dataclass(frozen=True)
class SecondPose:
    """What a model said. t_cam_from_head_mm: None where the label has no metric camera."""

    R_cam_from_head: Float[Array, "3 3"]
    t_cam_from_head_mm: Float[Array, "3"] | None


def needs_detail(sample_has_picture: bool, layers: Collection[str]) -> bool:
    """Whether the label alone is not enough."""
    return not sample_has_picture or bool(DETAIL_LAYERS & set(layers))


def annotation_of(
    detail: SampleDetail,
    size_wh_px: tuple[int, int],
    other: OtherPose | None = None,
    second: SecondPose | None = None,
) -> Annotation:
    """other: shown in place of the label's own pose, and the mesh moves with it."""
    sample = detail.sample
    R, t_mm = _label_pose(sample, other)
    view = _view(detail, R, t_mm, size_wh_px)
    mesh = detail.meshes[0] if detail.meshes else None
    points = dict(detail.points_px)
    if mesh is None and detail.mesh_px is not None:
        points["mesh"] = detail.mesh_px
    return Annotation(
        size_wh_px=size_wh_px,
        box_xyxy_px=sample.box_xyxy_px,
        landmarks_68_px=sample.landmarks_68_px,
        points_px=points,
        pose=view,
        mesh_cam_m=None if mesh is None or view is None else _mesh_in_view(mesh, sample, view),
        triangles=None if mesh is None else mesh.triangles,
        depth_cam_m=detail.depth_cam_m if _is_metric(sample) else None,
        second=None if second is None or view is None else _second_view(view, second, sample),
    )


def figure_content(detail: SampleDetail, other: OtherPose | None = None) -> FigureContent:
    """In the camera's frame where the pose is metric, otherwise the meshes in the head's frame."""
    sample = detail.sample
    if _is_metric(sample):
        R, t_mm = _label_pose(sample, other)
        moved = [
            FigureMesh(mesh.name, _moved(mesh, sample, R, t_mm), mesh.triangles)
            for mesh in detail.meshes
        ]
        landmarks = detail.landmarks_68_m
        if landmarks is not None and detail.meshes:
            like = SampleMesh("", detail.meshes[0].frame, landmarks, None)
            landmarks = _moved(like, sample, R, t_mm)
        return FigureContent(
            meshes=moved,
            camera=sample.camera,
            R_cam_from_head=R,
            t_cam_from_head_m=t_mm / 1000.0,
            landmarks_68_m=landmarks,
            depth_m=detail.depth_cam_m,
        )
    meshes = [mesh for mesh in detail.meshes if mesh.frame == "head"]
    return FigureContent(
        meshes=_compared(meshes),
        R_cam_from_head=np.eye(3) if meshes else None,
        t_cam_from_head_m=np.zeros(3) if meshes else None,
        landmarks_68_m=detail.landmarks_68_m if meshes else None,
        side_by_side=len(meshes) > 1,
    )


def other_pose(detail: SampleDetail, name: str) -> OtherPose | None:
    """The reading of the label with this name; None for "" and for one that is not there."""
    return next((pose for pose in detail.other_poses if pose.name == name), None)


def _compared(meshes: Collection[SampleMesh]) -> list[FigureMesh]:
    """The first as it is; the others with the distance of their vertices to it."""
    plain = [FigureMesh(mesh.name, mesh.vertices_m, mesh.triangles) for mesh in meshes]
    if len(plain) < 2 or plain[0].triangles is None:
        return plain
    first = plain[0]
    return [
        first,
        *(
            FigureMesh(
                f"{mesh.name}, distance to the {first.name}",
                mesh.vertices_m,
                mesh.triangles,
                _distance_mm(mesh, first),
            )
            for mesh in plain[1:]
        ),
    ]


def _distance_mm(mesh: SampleMesh, to: FigureMesh) -> Float[Array, "v"]:
    return nearest_on_surface(mesh.vertices_m, to.vertices_m, to.triangles).distance * 1000.0


def _is_metric(sample: Sample) -> bool:
    return (
        sample.camera is not None
        and sample.R_cam_from_head is not None
        and sample.t_cam_from_head_mm is not None
    )


def _label_pose(
    sample: Sample, other: OtherPose | None
) -> tuple[Float[Array, "3 3"] | None, Float[Array, "3"] | None]:
    R, t_mm = sample.R_cam_from_head, sample.t_cam_from_head_mm
    if other is not None:
        R = other.R_cam_from_head
        t_mm = t_mm if other.t_cam_from_head_mm is None else other.t_cam_from_head_mm
    return R, t_mm


def _view(
    detail: SampleDetail,
    R: Float[Array, "3 3"] | None,
    t_mm: Float[Array, "3"] | None,
    size_wh_px: tuple[int, int],
) -> DrawnPose | None:
    sample = detail.sample
    if R is not None and t_mm is not None and sample.camera is not None:
        return DrawnPose(R, t_mm, sample.camera.K_image_from_cam)
    mesh = next((mesh for mesh in detail.meshes if mesh.frame == "head"), None)
    if mesh is not None and sample.image is None:
        return portrait_view(np.eye(3) if R is None else R, mesh.vertices_m, size_wh_px)
    if R is None:
        return None
    if mesh is not None and detail.mesh_px is not None:
        return view_of_mesh(R, mesh.vertices_m, detail.mesh_px)
    for points in (sample.landmarks_68_px, sample.box_xyxy_px):
        seen = None if points is None else points.reshape(-1, 2)
        if seen is not None and np.isfinite(seen).all(1).sum() > 1:
            return view_of_points(R, seen)
    return None


def _mesh_in_view(mesh: SampleMesh, sample: Sample, view: DrawnPose) -> Float[Array, "v 3"] | None:
    if mesh.frame == "head":
        return view.in_cam_m(mesh.vertices_m)
    if not _is_metric(sample):
        return None
    return _moved(mesh, sample, view.R_cam_from_head, view.t_cam_from_head_mm)


def _moved(
    mesh: SampleMesh, sample: Sample, R: Float[Array, "3 3"], t_mm: Float[Array, "3"]
) -> Float[Array, "v 3"]:
    """The mesh in the camera's frame under a pose that may be another than the label's own.

    A reading with the label's rotation is the same pose with another origin: nothing moves.
    """
    own_R, own_t_m = sample.R_cam_from_head, sample.t_cam_from_head_mm / 1000.0
    stays = bool(np.allclose(R, own_R, atol=1e-9))
    if mesh.frame == "cam" and stays:
        return mesh.vertices_m
    in_head = mesh.vertices_m if mesh.frame == "head" else (mesh.vertices_m - own_t_m) @ own_R
    return in_head @ R.T + (own_t_m if stays else t_mm / 1000.0)


def _second_view(view: DrawnPose, second: SecondPose, sample: Sample) -> DrawnPose:
    """A model's pose in the label's camera; where that is not metric, on the label's origin."""
    if _is_metric(sample) and second.t_cam_from_head_mm is not None:
        return DrawnPose(second.R_cam_from_head, second.t_cam_from_head_mm, view.K_image_from_cam)
    return DrawnPose(second.R_cam_from_head, view.t_cam_from_head_mm, view.K_image_from_cam)
