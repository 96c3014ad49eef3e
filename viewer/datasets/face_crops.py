"""Any data set's face as a crop: turned, mirrored, moved, with labels that stay exact.

A turn of the camera about its optical axis and a mirror are linear maps of (x/z, y/z): pose,
landmarks and pixels change together without any approximation, and one affine warp makes the crop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8

from models.geometry.boxes import ray_box_from_points
from models.geometry.cameras import Camera
from models.trg.preprocess import mirrored_camera
from models.weights import CROP_SCALE
from viewer.datasets.augment import Recrop, negative_ray_box, plane_map, warped_crop
from viewer.datasets.network_input import NetworkInput
from viewer.datasets.scaled_picture import decode_shrunk
from viewer.datasets.source import DatasetError
from viewer.datasets.training_faces import TrainingFace
from viewer.datasets.weak_perspective import MIRROR_68

Array = np.ndarray

_FLIP = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class FaceCrop:
    """A crop and what is known of the head in the camera that sees it; None: not known.

    vertices_head_m: of the network's mesh, never of another one.
    landmarks_68_crop: x, y from -1 to 1 over the crop, and 1 where visible, else 0; NaN nowhere.
    """

    crop_rgb: UInt8[Array, "c c 3"]
    ray_box: Float[Array, "3"]
    camera: Camera
    is_face: bool
    R_cam_from_head: Float[Array, "3 3"] | None
    t_cam_from_head_m: Float[Array, "3"] | None
    vertices_head_m: Float[Array, "v 3"] | None
    landmarks_68_crop: Float[Array, "68 3"] | None


@dataclass(frozen=True)
class _Labels:
    """In the new camera; rays are (x/z, y/z)."""

    R: Float[Array, "3 3"] | None
    t_m: Float[Array, "3"] | None
    vertices_head_m: Float[Array, "v 3"] | None
    landmark_rays: Float[Array, "68 2"] | None

    @property
    def vertex_rays(self) -> Float[Array, "v 2"] | None:
        if self.vertices_head_m is None or self.R is None or self.t_m is None:
            return None
        return _rays(self.vertices_head_m @ self.R.T + self.t_m)


def crop_face(
    face: TrainingFace, choice: Recrop, target: NetworkInput, *, inside: bool = False
) -> FaceCrop:
    """The crop of a choice. inside: the box is moved into the picture where it can be.

    Raises: UnreadablePictureError; DatasetError for a face without a place.
    """
    new_from_old = plane_map(choice)
    labels = _new_labels(face, new_from_old, choice.mirror, target)
    if face.is_face:
        ray_box = _box(face, labels, new_from_old, choice, target)
        if inside:
            ray_box = _moved_inside(face.camera, new_from_old, ray_box)
    else:
        ray_box = negative_ray_box(face.camera, new_from_old, choice)
    return FaceCrop(
        _cut(face, new_from_old, ray_box, choice, target),
        ray_box,
        mirrored_camera(face.camera) if choice.mirror else face.camera,
        face.is_face,
        labels.R,
        labels.t_m,
        labels.vertices_head_m,
        _landmarks_crop(labels, ray_box, face.is_flat),
    )


def _new_labels(
    face: TrainingFace, new_from_old: Float[Array, "2 2"], mirror: bool, target: NetworkInput
) -> _Labels:
    """A mirrored head is a head again: its own left and right are exchanged too."""
    to_new = np.eye(3)
    to_new[:2, :2] = new_from_old
    R = None if face.R_cam_from_head is None else to_new @ face.R_cam_from_head
    t_m = None if face.t_cam_from_head_m is None else to_new @ face.t_cam_from_head_m
    vertices, points = face.vertices_head_m, face.landmarks_68_px
    if vertices is not None and len(vertices) != target.config.n_vertices:
        vertices = None
    rays = None if points is None else face.camera.normalise(points) @ new_from_old.T
    if mirror:
        R = None if R is None else R * _FLIP
        vertices = None if vertices is None else vertices[target.mirror_vertex_ids] * _FLIP
        rays = None if rays is None else rays[MIRROR_68]
    labels = _Labels(R, t_m, vertices, rays)
    if vertices is not None and target.landmark_68_ids is not None:
        labels = replace(labels, landmark_rays=labels.vertex_rays[target.landmark_68_ids])
    return labels


def _box(
    face: TrainingFace,
    labels: _Labels,
    new_from_old: Float[Array, "2 2"],
    choice: Recrop,
    target: NetworkInput,
) -> Float[Array, "3"]:
    rays = _box_rays(labels, target)
    if rays is None:
        if face.box_points_px is None:
            raise DatasetError(f"{face.name} says nowhere where the face is.")
        rays = face.camera.normalise(face.box_points_px) @ new_from_old.T
        if choice.roll_deg:  # corners of an upright box: its size, at the turned place
            upright = face.camera.normalise(face.box_points_px)
            rays = rays.mean(0) + upright - upright.mean(0)
    nominal = ray_box_from_points(rays, CROP_SCALE)
    extent = nominal[2] / CROP_SCALE
    centre = nominal[:2] + np.array(choice.box_shift) * extent
    return np.array([*centre, nominal[2] * choice.box_scale])


def _box_rays(labels: _Labels, target: NetworkInput) -> Float[Array, "n 2"] | None:
    """The points that the network's crops go around, as well as they are known."""
    by_landmarks = target.boxes_of_landmarks
    known = labels.landmark_rays if by_landmarks else labels.vertex_rays
    canonical = target.canonical_head_m()
    if known is not None or canonical is None:
        return known
    if labels.R is not None and labels.t_m is not None:
        shown = canonical[target.landmark_68_ids] if by_landmarks else canonical
        return _rays(shown @ labels.R.T + labels.t_m)
    if labels.landmark_rays is None:
        return None
    return _stretched_onto(canonical, canonical[target.landmark_68_ids], labels.landmark_rays)


def _stretched_onto(
    points: Float[Array, "n 3"], sources: Float[Array, "68 3"], targets: Float[Array, "68 2"]
) -> Float[Array, "n 2"]:
    """Points seen by the affine camera that takes sources nearest to targets, least squares."""
    ones = np.ones((len(sources), 1))
    camera = np.linalg.lstsq(np.hstack([sources, ones]), targets, rcond=None)[0]
    return points @ camera[:3] + camera[3]


def _moved_inside(
    camera: Camera, new_from_old: Float[Array, "2 2"], ray_box: Float[Array, "3"]
) -> Float[Array, "3"]:
    """The box moved into the upright picture; one that is larger ends at its right and bottom."""
    low = camera.normalise(np.zeros(2)) + ray_box[2] / 2
    high = camera.normalise(np.array(camera.size_wh_px, np.float64)) - ray_box[2] / 2
    centre = np.linalg.solve(new_from_old, ray_box[:2])
    centre = np.minimum(np.maximum(centre, low), high)
    return np.array([*(new_from_old @ centre), ray_box[2]])


def _cut(
    face: TrainingFace,
    new_from_old: Float[Array, "2 2"],
    ray_box: Float[Array, "3"],
    choice: Recrop,
    target: NetworkInput,
) -> UInt8[Array, "c c 3"]:
    """Decodes the picture at no more than the crop's resolution, if that is a JPEG's."""
    camera = face.camera
    picture_px_per_px = ray_box[2] * min(camera.fx_px, camera.fy_px) / target.config.crop_px
    image_rgb, shrink = decode_shrunk(face.picture, picture_px_per_px, face.name)
    if shrink > 1:
        K = camera.K_image_from_cam.copy()
        K[:2] /= shrink
        camera = Camera(K, (image_rgb.shape[1], image_rgb.shape[0]), camera.source)
    return warped_crop(image_rgb, camera, new_from_old, ray_box, target.config, choice, face.camera)


def _landmarks_crop(
    labels: _Labels, ray_box: Float[Array, "3"], is_flat: bool
) -> Float[Array, "68 3"] | None:
    """Of a set of landmarks those outside the crop are not visible, as released."""
    if labels.landmark_rays is None:
        return None
    points = (labels.landmark_rays - ray_box[:2]) / (ray_box[2] / 2)
    visible = (np.abs(points) <= 1.0).all(1) if is_flat else np.ones(68, bool)
    return np.column_stack([points, visible])


def _rays(points_cam: Float[Array, "n 3"]) -> Float[Array, "n 2"]:
    return points_cam[:, :2] / points_cam[:, 2:]
