"""PoseModel: picture, camera and ray boxes in, poses in the `head` frame out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from models.geometry.boxes import ray_box_from_points
from models.geometry.cameras import Camera
from models.geometry.rotations import MIRROR_X
from models.threads import one_thread
from models.trg.network import Trg
from models.trg.preprocess import (
    cut_crop,
    mirrored_ray_box,
    normalise_crops,
    virtual_camera_inputs,
)

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
    """

    R_cam_from_head: Float[Array, "n 3 3"]
    t_cam_from_head_m: Float[Array, "n 3"]
    vertices_head_m: Float[Array, "n v 3"]
    iterates_R: Float[Array, "k n 3 3"]  # noqa: N815

    def __len__(self) -> int:
        return len(self.R_cam_from_head)

    def vertices_cam_m(self) -> Float[Array, "n v 3"]:
        """The meshes in the camera frame, metres."""
        turned = self.vertices_head_m @ np.swapaxes(self.R_cam_from_head, -1, -2)
        return turned + self.t_cam_from_head_m[:, None]


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
    ) -> None:
        """T_head_from_model: rigid; the network's own head frame in the project's `head`.

        typical_error_deg: see `models.weights.ModelEntry`.
        bf16: convolutions in bfloat16; only on CUDA. Raises: ValueError if asked for elsewhere.
        """
        if bf16 and device.type != "cuda":
            raise ValueError("bfloat16 is only for CUDA devices; this model runs on " + device.type)
        self.name, self.label, self.device = name, label, device
        self.mesh = mesh
        self.typical_error_deg = typical_error_deg
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
    ) -> PosePrediction:
        """Poses of the heads in the boxes, all boxes in one batch.

        mirror: for all or for each box: look at the mirrored crop and mirror the answer back.
            Vertices then keep their ids if `mesh.mirror_vertex_ids` is known; otherwise they are
            those of the other side of the face, good for pose and extent only.
        Raises: ValueError if the camera is of another picture size or a box is not finite.
        """
        if (image_rgb.shape[1], image_rgb.shape[0]) != tuple(camera.size_wh_px):
            raise ValueError(
                f"The camera is for {camera.size_wh_px} px, but the picture has "
                f"{(image_rgb.shape[1], image_rgb.shape[0])}."
            )
        boxes = np.asarray(ray_boxes, np.float64).reshape(-1, 3)
        mirrored = np.broadcast_to(np.asarray(mirror, bool), (len(boxes),))
        parts = [
            self._predict_batch(
                image_rgb, camera, boxes[i : i + MAX_BATCH], mirrored[i:][:MAX_BATCH]
            )
            for i in range(0, max(len(boxes), 1), MAX_BATCH)
        ]
        R = np.concatenate([part[0] for part in parts], 1)
        t = np.concatenate([part[1] for part in parts])
        vertices = np.concatenate([part[2] for part in parts])
        return self._in_head_frame(*self._mirrored_back(R, t, vertices, mirrored))

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

    def _predict_batch(
        self,
        image_rgb: UInt8[Array, "h w 3"],
        camera: Camera,
        boxes: Float[Array, "n 3"],
        mirrored: Bool[Array, "n"],
    ) -> tuple[Float[Array, "k n 3 3"], Float[Array, "n 3"], Float[Array, "n v 3"]]:
        """R of every iterate, t and vertices of the last, as the network saw them."""
        n, size_px = len(boxes), self.config.crop_px
        if n == 0:
            rounds, v = self.config.n_iterations, self.config.n_vertices
            return np.zeros((rounds, 0, 3, 3)), np.zeros((0, 3)), np.zeros((0, v, 3))
        crops = np.empty((n, size_px, size_px, 3), np.uint8)
        for i, box in enumerate(boxes):
            crops[i] = cut_crop(image_rgb, camera, box, self.config, mirror=bool(mirrored[i]))
        seen = np.where(mirrored[:, None], mirrored_ray_box(boxes), boxes)
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
            R = torch.stack([iterate.R_cam_from_head for iterate in iterates])
            t, vertices = iterates[-1].t_cam_from_head_m, iterates[-1].vertices_head_m
        return tuple(x.cpu().numpy().astype(np.float64) for x in (R, t, vertices))

    def _mirrored_back(
        self,
        R: Float[Array, "k n 3 3"],
        t: Float[Array, "n 3"],
        vertices: Float[Array, "n v 3"],
        mirrored: Bool[Array, "n"],
    ) -> tuple[Float[Array, "k n 3 3"], Float[Array, "n 3"], Float[Array, "n v 3"]]:
        """R becomes D R D, t becomes D t, vertices D v in the order of their mirror images."""
        if mirrored.any():
            ids = self.mesh.mirror_vertex_ids
            R[:, mirrored] = MIRROR_X @ R[:, mirrored] @ MIRROR_X
            t[mirrored] = t[mirrored] @ MIRROR_X
            turned = vertices[mirrored] @ MIRROR_X
            vertices[mirrored] = turned if ids is None else turned[:, ids]
        return R, t, vertices

    def _in_head_frame(
        self,
        R_cam_from_model: Float[Array, "k n 3 3"],
        t_cam_from_model_m: Float[Array, "n 3"],
        vertices_model_m: Float[Array, "n v 3"],
    ) -> PosePrediction:
        R_head_from_model, t_head_from_model_m = (
            self._T_head_from_model[:3, :3],
            self._T_head_from_model[:3, 3],
        )
        R = R_cam_from_model @ R_head_from_model.T
        return PosePrediction(
            R_cam_from_head=R[-1],
            t_cam_from_head_m=t_cam_from_model_m - R[-1] @ t_head_from_model_m,
            vertices_head_m=vertices_model_m @ R_head_from_model.T + t_head_from_model_m,
            iterates_R=R,
        )
