"""Trg: the network. Tensors in, three iterates out. Column-vector convention, metres, the model's
own head frame.

Sungho Chun and Ju Yong Chang, "6DoF Head Pose Estimation through Explicit Bidirectional
Interaction with Face Geometry", ECCV 2024. Parameter names are those of the released checkpoints
wherever both configurations share a part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.trg.backbones import FaceMeshFeatures, ResNet18Features
from models.trg.config import TrgConfig
from models.trg.heads import (
    N_LANDMARKS,
    PointFeatures,
    Regressor,
    build_points_grid,
    soft_argmax_68,
)
from models.trg.necks import DeconvNeck, FeaturePyramid
from models.trg.pose_algebra import (
    matrix_from_interleaved_six_d,
    project_into_ray_box,
    project_with_intrinsics,
    ray_boxes_from_box_info,
    translation_from_correction,
)
from models.trg.uncertainty import MIN_T_Z_M, PresenceHead, UncertaintyHead, pooled

LAST_STEP_SCALE = 10.0
"""Brings the last change of the pose to the size of the uncertainty head's other inputs."""


class TrgIterate(NamedTuple):
    """The state after one round. `head` is the model's own frame, see `models.weights`."""

    vertices_head_m: Float[Tensor, "b v 3"]
    pose9: Float[Tensor, "b 9"]
    """Un-normalised 6D rotation (rows interleaved), then the box correction s, t_x', t_y'."""
    R_cam_from_head: Float[Tensor, "b 3 3"]
    t_cam_from_head_m: Float[Tensor, "b 3"]
    vertices_cam_m: Float[Tensor, "b v 3"]
    vertices_crop: Float[Tensor, "b v 2"]
    """The mesh projected into the crop, -1..1."""
    landmarks_68: Float[Tensor, "b 68 2"] | None
    """From the heat map, -1..1 of the crop; on the last iterate of a network that has one."""
    presence_logit: Float[Tensor, "b"] | None = None
    """Of "this is a face"; on the last iterate of a network with a presence head."""
    rotation_cholesky: Float[Tensor, "b 3 3"] | None = None
    """Lower factor of the covariance of log(R_true R^T) in the camera frame, rad; on the last
    iterate of a network with an uncertainty head."""
    t_sigma_m: Float[Tensor, "b 3"] | None = None
    """Standard deviations of t; with rotation_cholesky."""


class Trg(nn.Module):
    """TRG, released or mini, by configuration."""

    points_grid: Tensor
    sample_index: Tensor

    def __init__(
        self, config: TrgConfig, sample_index: np.ndarray | Tensor | Sequence[int]
    ) -> None:
        """sample_index: vertex ids, any integer type. Raises: ValueError if it does not fit."""
        super().__init__()
        self.config = config
        self.register_buffer("points_grid", build_points_grid(config.grid_side, config.sampling))
        self.register_buffer("sample_index", _checked_index(config, sample_index), persistent=False)
        if config.backbone == "resnet18":
            self.feature_extractor: nn.Module = ResNet18Features()
        else:
            self.feature_extractor = FaceMeshFeatures(config.extra_blocks)
        channels = self.feature_extractor.channels
        if config.neck == "deconv":
            self.deconv_layers = DeconvNeck(channels[-1], config.neck_channels)
        else:
            self.pyramid = FeaturePyramid(channels, config.neck_channels)
        rounds = range(config.n_iterations)
        self.laf_extractor = nn.ModuleList(PointFeatures(config) for _ in rounds)
        n_shape = config.n_shape_coefficients or config.n_vertices * 3
        self.regressor = nn.ModuleList(
            Regressor(config, _n_regressor_inputs(config, i, channels[-1]), n_shape) for i in rounds
        )
        if config.n_shape_coefficients:
            self.mesh_basis = nn.Parameter(torch.zeros(n_shape, config.n_vertices, 3))
        if config.landmark_head:
            self.predict_68_lmk = nn.Sequential(nn.Conv2d(config.neck_channels, N_LANDMARKS, 1))
        if config.presence_head:
            self.presence_head = PresenceHead((channels[-2], channels[-1]), config.hidden)
        if config.uncertainty_head:
            self.uncertainty_head = UncertaintyHead(config.hidden + 2 * channels[-1] + 9 + 9 + 3)

    def forward(
        self,
        image: Float[Tensor, "b 3 h w"],
        K_crop_row: Float[Tensor, "b 4 3"],
        box_info: Float[Tensor, "b 7"],
    ) -> list[TrgIterate]:
        """The iterates, first to last; the last is the answer.

        image: normalised crops, see `models.trg.preprocess`.
        K_crop_row: row-vector intrinsics of the crop, [[fx,0,0],[0,fy,0],[cx,cy,1],[0,0,0]] px.
        box_info: left, top, right, bottom, focal, image height, image width; px of the whole image.
        """
        maps = self.feature_extractor(image)
        neck = self.deconv_layers if self.config.neck == "deconv" else self.pyramid
        features = neck(maps)
        heat = self.predict_68_lmk(features[-1]) if self.config.landmark_head else None
        # geometry stays in full precision whatever autocast does to the convolutions
        with torch.autocast(image.device.type, enabled=False):
            ray_box = ray_boxes_from_box_info(box_info.float())
            iterates, hidden = self._refine(
                [f.float() for f in features], maps[-1].float(), K_crop_row.float(), ray_box
            )
            if heat is not None:
                iterates[-1] = iterates[-1]._replace(landmarks_68=soft_argmax_68(heat.float()))
            if self.config.presence_head:
                logit = self.presence_head(maps[-2].float(), maps[-1].float(), hidden)
                iterates[-1] = iterates[-1]._replace(presence_logit=logit)
        return iterates

    def _refine(
        self,
        features: list[Float[Tensor, "b c _h _w"]],
        top: Float[Tensor, "b d _i _j"],
        K_crop_row: Float[Tensor, "b 4 3"],
        ray_box: Float[Tensor, "b 3"],
    ) -> tuple[list[TrgIterate], Float[Tensor, "b m"]]:
        """The iterates, and the hidden state of the last regressor."""
        config, batch = self.config, len(ray_box)
        pose9 = self.regressor[0].init_head_pose.expand(batch, -1)
        shape = pose9.new_zeros(batch, self.regressor[0].decshape.out_features)
        points = self.points_grid.transpose(1, 2).expand(batch, -1, -1)
        box_features = self._box_features(ray_box)
        iterates: list[TrgIterate] = []
        for i in range(config.n_iterations):
            inputs = [self.laf_extractor[i](features[i], points)]
            if i == 0 and config.top_feature_scale:
                inputs.append(top.flatten(1) * config.top_feature_scale)
            inputs += [self._shape_features(shape), pose9, box_features]
            shape_step, pose_step, hidden = self.regressor[i](torch.cat(inputs, 1))
            shape, pose9 = shape + shape_step, pose9 + pose_step
            iterates.append(self._iterate(shape, pose9, K_crop_row, ray_box))
            points = iterates[-1].vertices_crop[:, self.sample_index]
            points = points.detach() if config.detach_samples else points
        if config.uncertainty_head:
            # the last step tells how far the rounds still moved
            step = LAST_STEP_SCALE * pose_step
            state = torch.cat([hidden, pooled(top), pose9, step, box_features], 1)
            iterates[-1] = self._with_uncertainty(iterates[-1], state)
        return iterates, hidden

    def _with_uncertainty(self, last: TrgIterate, state: Float[Tensor, "b m"]) -> TrgIterate:
        cholesky, t_sigma = self.uncertainty_head(state)
        depth = last.t_cam_from_head_m[:, 2:].detach().clamp(min=MIN_T_Z_M)
        return last._replace(rotation_cholesky=cholesky, t_sigma_m=t_sigma * depth)

    def _vertices(self, shape: Float[Tensor, "b s"]) -> Float[Tensor, "b v 3"]:
        offsets = shape @ self.mesh_basis.flatten(1) if self.config.n_shape_coefficients else shape
        return self.regressor[0].init_face + offsets.view(len(shape), -1, 3)

    def _shape_features(self, shape: Float[Tensor, "b s"]) -> Float[Tensor, "b m"]:
        """What a regressor sees of the mesh: its coefficients, or the sampled vertices."""
        if self.config.n_shape_coefficients:
            return shape
        return self._vertices(shape)[:, self.sample_index].flatten(1)

    def _box_features(self, ray_box: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3"]:
        reference, side = self.config.box_side_log_reference, ray_box[:, 2:]
        size = side if reference is None else torch.log(side / reference)
        return torch.cat([4.0 * ray_box[:, :2], size], 1)

    def _iterate(
        self,
        shape: Float[Tensor, "b s"],
        pose9: Float[Tensor, "b 9"],
        K_crop_row: Float[Tensor, "b 4 3"],
        ray_box: Float[Tensor, "b 3"],
    ) -> TrgIterate:
        config = self.config
        vertices = self._vertices(shape)
        R = matrix_from_interleaved_six_d(pose9[:, :6])
        t = translation_from_correction(pose9[:, 6:], ray_box, config.box_size_m)
        cam = vertices @ R.transpose(1, 2) + t[:, None]
        if config.project_with_intrinsics:
            crop = project_with_intrinsics(cam, K_crop_row, config.crop_px, config.min_depth_m)
        else:
            crop = project_into_ray_box(cam, ray_box, config.min_depth_m)
        return TrgIterate(vertices, pose9, R, t, cam, crop, None)


def _n_regressor_inputs(config: TrgConfig, iteration: int, top_channels: int) -> int:
    n_points = config.grid_side**2 if iteration == 0 else config.n_samples
    n_shape = config.n_shape_coefficients or config.n_samples * 3
    n_top = 0
    if iteration == 0 and config.top_feature_scale:
        cells = config.crop_px // 64 if config.backbone == "facemesh" else config.crop_px // 32
        n_top = top_channels * cells * cells
    return n_points * config.point_channels[-1] + n_top + n_shape + 9 + 3


def _checked_index(
    config: TrgConfig, sample_index: np.ndarray | Tensor | Sequence[int]
) -> Int[Tensor, "n"]:
    index = sample_index.cpu().numpy() if isinstance(sample_index, Tensor) else sample_index
    index = np.asarray(index)
    if not np.issubdtype(index.dtype, np.integer):
        raise ValueError(f"sample_index must hold integers, got {index.dtype}.")
    if index.shape != (config.n_samples,):
        raise ValueError(f"sample_index must be ({config.n_samples},), got {index.shape}.")
    if index.min() < 0 or index.max() >= config.n_vertices:
        raise ValueError(f"sample_index must be 0 to {config.n_vertices - 1}.")
    return torch.from_numpy(index.astype(np.int64))
