"""PoseModel: picture, camera and ray boxes in, poses in the `head` frame out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from models.geometry.boxes import ray_box_from_points
from models.geometry.cameras import Camera
from models.geometry.rotations import MIRROR_X, about_z, roll_in_view_deg
from models.threads import one_thread
from models.trg.looks import LooksCalibration
from models.trg.network import Trg, TrgIterate
from models.trg.preprocess import (
    cut_crop,
    mirrored_ray_box,
    normalise_crops,
    turned_ray_boxes,
    virtual_camera_inputs,
)
from models.trg.uncertainty import covariance_from_cholesky

Array = np.ndarray

SMALL_PARAMETERS, ONE_THREAD_CROPS = 10_000_000, 8
"""A smaller network on so few crops runs on one processor thread, see `models.threads`."""

MAX_BATCH = 64
"""Crops in one pass of the network; more take several, so that a crowd does not fill the memory."""


@dataclass(frozen=True)
class PoseMesh:
    """The mesh that a model predicts.

    template_vertices_m: a neutral face in the model's own head frame.
    mirror_vertex_ids: the vertex at the other side of the face, for each; None if it is not known.
    crop_vertex_ids: those whose projected extent defines the crop; None: all.
    crop_scale: the crop's side relative to that extent.
    """

    template_vertices_m: Float[Array, "v 3"]
    triangles: Int[Array, "f 3"]
    landmark_68_ids: Int[Array, "68"]
    mirror_vertex_ids: Int[Array, "v"] | None
    crop_vertex_ids: Int[Array, "m"] | None
    crop_scale: float


@dataclass(frozen=True)
class PosePrediction:
    """Poses of n crops in the project's `head` frame; camera: that of the whole picture.

    iterates_R: R_cam_from_head after each of the network's k rounds; the last is R_cam_from_head
        itself.
    presence: probability that the crop shows a face; None without a presence head.
    rotation_covariance_cam: of log(R_true R^T) in the camera frame, rad^2, which no change of the
        head frame touches; see `models.trg.uncertainty.expected_geodesic_deg`.
    t_sigma_m: standard deviations of t; both are None without an uncertainty head. They are those
        of the origin of the network's own frame, which is millimetres from that of `head`.
    """

    R_cam_from_head: Float[Array, "n 3 3"]
    t_cam_from_head_m: Float[Array, "n 3"]
    vertices_head_m: Float[Array, "n v 3"]
    iterates_R: Float[Array, "k n 3 3"]  # noqa: N815
    presence: Float[Array, "n"] | None = None
    rotation_covariance_cam: Float[Array, "n 3 3"] | None = None
    t_sigma_m: Float[Array, "n 3"] | None = None

    def __len__(self) -> int:
        return len(self.R_cam_from_head)

    def vertices_cam_m(self) -> Float[Array, "n v 3"]:
        """The meshes in the camera frame, metres."""
        turned = self.vertices_head_m @ np.swapaxes(self.R_cam_from_head, -1, -2)
        return turned + self.t_cam_from_head_m[:, None]


@dataclass(frozen=True)
class _Seen:
    """What the network answered for n crops, in its own head frame; fields as in PosePrediction."""

    R: Float[Array, "k n 3 3"]
    t: Float[Array, "n 3"]
    vertices: Float[Array, "n v 3"]
    presence: Float[Array, "n"] | None
    rotation_covariance_cam: Float[Array, "n 3 3"] | None
    t_sigma_m: Float[Array, "n 3"] | None


@dataclass(frozen=True)
class _Look:
    """One crop: a box of the picture as it is, and how the network gets to see it."""

    ray_box: Float[Array, "3"]
    mirror: bool
    turn_deg: float

    def seen_box(self) -> Float[Array, "3"]:
        """Where the box is in the picture that was turned, then mirrored."""
        box = turned_ray_boxes(self.ray_box[None], np.array([self.turn_deg]))[0]
        return mirrored_ray_box(box) if self.mirror else box


class PoseModel:
    """A network on its device, ready to predict. Safe to use from several threads."""

    def __init__(
        self,
        name: str,
        label: str,
        network: Trg,
        mesh: PoseMesh,
        T_head_from_model: Float[Array, "4 4"],
        device: torch.device,
        *,
        bf16: bool = False,
        typical_error_deg: float = float("nan"),
        looks_upright: bool = False,
        looks: LooksCalibration | None = None,
    ) -> None:
        """T_head_from_model: rigid; the network's own head frame in the project's `head`.

        typical_error_deg, looks_upright: see `models.weights.ModelEntry`.
        looks: how several looks at one head count together; None: not known.
        bf16: convolutions in bfloat16; only on CUDA. Raises: ValueError if asked for elsewhere.
        """
        if bf16 and device.type != "cuda":
            raise ValueError("bfloat16 is only for CUDA devices; this model runs on " + device.type)
        self.name, self.label, self.device = name, label, device
        self.mesh = mesh
        self.typical_error_deg, self.looks_upright = typical_error_deg, looks_upright
        self.looks = looks
        self.triangles, self.landmark_68_ids = mesh.triangles, mesh.landmark_68_ids
        self.crop_vertex_ids, self.crop_scale = mesh.crop_vertex_ids, mesh.crop_scale
        self.config = network.config
        self._T_head_from_model = T_head_from_model
        self._bf16 = bf16
        self._is_small = sum(p.numel() for p in network.parameters()) < SMALL_PARAMETERS
        self._network = network.eval().to(device, memory_format=torch.channels_last)

    def predict(
        self,
        image_rgb: UInt8[Array, "h w 3"],
        camera: Camera,
        ray_boxes: Float[Array, "n 3"],
        mirror: bool | Bool[Array, "n"] = False,
        turn_deg: float | Float[Array, "n"] = 0.0,
    ) -> PosePrediction:
        """Poses of the heads in the boxes, all boxes in one batch.

        turn_deg: for all or for each box: look at the crop turned clockwise about the optical axis
            and turn the answer back. Boxes are those of the picture as it is.
        mirror: for all or for each box: look at the mirrored crop and mirror the answer back.
            Vertices then keep their ids if `mesh.mirror_vertex_ids` is known; otherwise they are
            those of the other side of the face, good for pose and extent only. After the turn.
        Raises: ValueError if the camera is of another picture size or a box is not finite.
        """
        if (image_rgb.shape[1], image_rgb.shape[0]) != tuple(camera.size_wh_px):
            raise ValueError(
                f"The camera is for {camera.size_wh_px} px, but the picture has "
                f"{(image_rgb.shape[1], image_rgb.shape[0])}."
            )
        boxes = np.asarray(ray_boxes, np.float64).reshape(-1, 3)
        mirrored = np.broadcast_to(np.asarray(mirror, bool), (len(boxes),))
        turns_deg = np.broadcast_to(np.asarray(turn_deg, np.float64), (len(boxes),))
        looks = [
            _Look(box, bool(is_mirrored), float(turn))
            for box, is_mirrored, turn in zip(boxes, mirrored, turns_deg, strict=True)
        ]
        parts = [
            self._predict_batch(image_rgb, camera, looks[i : i + MAX_BATCH])
            for i in range(0, max(len(looks), 1), MAX_BATCH)
        ]
        seen = _Seen(
            np.concatenate([part.R for part in parts], 1),
            np.concatenate([part.t for part in parts]),
            np.concatenate([part.vertices for part in parts]),
            _joined([part.presence for part in parts]),
            _joined([part.rotation_covariance_cam for part in parts]),
            _joined([part.t_sigma_m for part in parts]),
        )
        seen = _turned_back(self._mirrored_back(seen, mirrored), turns_deg)
        return self._in_head_frame(seen)

    def template_landmarks_68_m(self) -> Float[Array, "68 3"]:
        """Of a neutral face in the network's own frame; T_head_from_model is fitted to them."""
        return self.mesh.template_vertices_m[self.landmark_68_ids]

    def ray_box_of(self, vertices_cam_m: Float[Array, "v 3"]) -> Float[Array, "3"]:
        """The box in which the network wants to see a predicted mesh again: the next crop, or the
        next frame's.

        Vertices nearer than 1 cm to the camera's plane are held there.
        """
        ids = self.crop_vertex_ids
        seen = vertices_cam_m if ids is None else vertices_cam_m[ids]
        return ray_box_from_points(seen[:, :2] / np.maximum(seen[:, 2:], 0.01), self.crop_scale)

    def upright_turn_deg(
        self, R_cam_from_head: Float[Array, "n 3 3"], t_cam_from_head: Float[Array, "n 3"]
    ) -> Float[Array, "n"]:
        """The `turn_deg` with which the network wants to see these heads again; t in any unit."""
        if not self.looks_upright:
            return np.zeros(len(R_cam_from_head))
        return -roll_in_view_deg(R_cam_from_head, t_cam_from_head)

    def _predict_batch(
        self,
        image_rgb: UInt8[Array, "h w 3"],
        camera: Camera,
        looks: Sequence[_Look],
    ) -> _Seen:
        """As the network saw them: turned and mirrored where the crops were."""
        n, size_px = len(looks), self.config.crop_px
        if n == 0:
            return self._nothing_seen()
        crops = np.empty((n, size_px, size_px, 3), np.uint8)
        for i, look in enumerate(looks):
            crops[i] = cut_crop(
                image_rgb,
                camera,
                look.ray_box,
                self.config,
                mirror=look.mirror,
                turn_deg=look.turn_deg,
            )
        seen = np.stack([look.seen_box() for look in looks])
        K, box_info = virtual_camera_inputs(seen, size_px)
        with (
            one_thread(wanted=self._is_small and n <= ONE_THREAD_CROPS),
            torch.inference_mode(),
            torch.autocast(self.device.type, torch.bfloat16, self._bf16),
        ):
            image = normalise_crops(torch.from_numpy(crops).to(self.device), self.config)
            iterates = self._network(
                image,
                torch.from_numpy(K).to(self.device),
                torch.from_numpy(box_info).to(self.device),
            )
            return _seen_from_iterates(iterates)

    def _nothing_seen(self) -> _Seen:
        config = self.config
        return _Seen(
            np.zeros((config.n_iterations, 0, 3, 3)),
            np.zeros((0, 3)),
            np.zeros((0, config.n_vertices, 3)),
            np.zeros(0) if config.presence_head else None,
            np.zeros((0, 3, 3)) if config.uncertainty_head else None,
            np.zeros((0, 3)) if config.uncertainty_head else None,
        )

    def _mirrored_back(self, seen: _Seen, mirrored: Bool[Array, "n"]) -> _Seen:
        """R becomes D R D, t becomes D t, vertices D v in the order of their mirror images.

        A rotation vector becomes -D e, so its covariance D C D; sigmas stay.
        """
        if not mirrored.any():
            return seen
        R, t, vertices = seen.R.copy(), seen.t.copy(), seen.vertices.copy()
        ids, covariance = self.mesh.mirror_vertex_ids, seen.rotation_covariance_cam
        R[:, mirrored] = MIRROR_X @ R[:, mirrored] @ MIRROR_X
        t[mirrored] = t[mirrored] @ MIRROR_X
        turned = vertices[mirrored] @ MIRROR_X
        vertices[mirrored] = turned if ids is None else turned[:, ids]
        if covariance is not None:
            covariance = covariance.copy()
            covariance[mirrored] = MIRROR_X @ covariance[mirrored] @ MIRROR_X
        return replace(seen, R=R, t=t, vertices=vertices, rotation_covariance_cam=covariance)

    def _in_head_frame(self, seen: _Seen) -> PosePrediction:
        R_head_from_model, t_head_from_model_m = (
            self._T_head_from_model[:3, :3],
            self._T_head_from_model[:3, 3],
        )
        R = seen.R @ R_head_from_model.T
        return PosePrediction(
            R_cam_from_head=R[-1],
            t_cam_from_head_m=seen.t - R[-1] @ t_head_from_model_m,
            vertices_head_m=seen.vertices @ R_head_from_model.T + t_head_from_model_m,
            iterates_R=R,
            presence=seen.presence,
            rotation_covariance_cam=seen.rotation_covariance_cam,
            t_sigma_m=seen.t_sigma_m,
        )


def _turned_back(seen: _Seen, turn_deg: Float[Array, "n"]) -> _Seen:
    """From the camera that was turned about its axis to the one that took the picture; sigmas of t
    become those along the axes of the latter."""
    if not turn_deg.any():
        return seen
    back = np.stack([about_z(-angle) for angle in turn_deg])
    covariance, sigma = seen.rotation_covariance_cam, seen.t_sigma_m
    if covariance is not None:
        covariance = back @ covariance @ np.swapaxes(back, 1, 2)
    if sigma is not None:
        sigma = np.sqrt(np.einsum("nij,nj->ni", back**2, sigma**2))
    return replace(
        seen,
        R=back @ seen.R,
        t=np.einsum("nij,nj->ni", back, seen.t),
        rotation_covariance_cam=covariance,
        t_sigma_m=sigma,
    )


def _joined(parts: Sequence[Array | None]) -> Array | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known else None


def _seen_from_iterates(iterates: Sequence[TrgIterate]) -> _Seen:
    last = iterates[-1]
    logit, cholesky = last.presence_logit, last.rotation_cholesky
    return _Seen(
        _array(torch.stack([iterate.R_cam_from_head for iterate in iterates])),
        _array(last.t_cam_from_head_m),
        _array(last.vertices_head_m),
        None if logit is None else _array(logit.sigmoid()),
        None if cholesky is None else _array(covariance_from_cholesky(cholesky)),
        None if last.t_sigma_m is None else _array(last.t_sigma_m),
    )


def _array(values: Tensor) -> Array:
    return values.cpu().numpy().astype(np.float64)
