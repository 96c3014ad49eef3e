"""TRG's formulas on tensors: ray boxes, 6D rotation, box correction, projection."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def ray_boxes_from_box_info(box_info: Float[Tensor, "b 7"]) -> Float[Tensor, "b 3"]:
    """Centre and side in units of x/z from (left, top, right, bottom, focal, height, width), all
    px.

    The released format assumes one focal length and the principal point in the middle of the image.
    """
    left, top, right, bottom, focal, height, width = box_info.unbind(-1)
    centre_x = ((left + right) / 2 - width / 2) / focal
    centre_y = ((top + bottom) / 2 - height / 2) / focal
    return torch.stack([centre_x, centre_y, (right - left) / focal], -1)


def matrix_from_interleaved_six_d(six_d: Float[Tensor, "b 6"]) -> Float[Tensor, "b 3 3"]:
    """Gram-Schmidt of two columns (Zhou et al. 2019) stored row by row: r00 r01 r10 r11 r20 r21."""
    first, second = six_d.view(-1, 3, 2).unbind(-1)
    x = functional.normalize(first, dim=-1)
    y = functional.normalize(second - (x * second).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y, dim=-1)], -1)


def interleaved_six_d_from_matrix(R: Float[Tensor, "b 3 3"]) -> Float[Tensor, "b 6"]:
    """The first two columns, row by row."""
    return R[..., :2].flatten(-2)


def translation_from_correction(
    correction: Float[Tensor, "b 3"], ray_box: Float[Tensor, "b 3"], box_size_m: float
) -> Float[Tensor, "b 3"]:
    """(s, t_x', t_y') to t in metres: s * box_size_m fills the box, t' is in half boxes."""
    scale, shift = correction[:, :1] * box_size_m, correction[:, 1:]
    z = scale / ray_box[:, 2:]
    return torch.cat([0.5 * scale * shift + z * ray_box[:, :2], z], -1)


def correction_from_translation(
    t_cam_from_head_m: Float[Tensor, "b 3"], ray_box: Float[Tensor, "b 3"], box_size_m: float
) -> Float[Tensor, "b 3"]:
    """Inverse of `translation_from_correction`: the labels of a training sample."""
    z = t_cam_from_head_m[:, 2:]
    scale = z * ray_box[:, 2:]
    shift = (t_cam_from_head_m[:, :2] - z * ray_box[:, :2]) / (0.5 * scale)
    return torch.cat([scale / box_size_m, shift], -1)


def _held(z: Float[Tensor, "b n 1"], min_depth_m: float | None) -> Float[Tensor, "b n 1"]:
    return z if min_depth_m is None else z.clamp(min=min_depth_m)


def project_with_intrinsics(
    points_cam_m: Float[Tensor, "b n 3"],
    K_crop_row: Float[Tensor, "b 4 3"],
    crop_px: int,
    min_depth_m: float | None,
) -> Float[Tensor, "b n 2"]:
    """Crop units -1..1 (pixel / crop_px * 2 - 1) of camera points through row-vector intrinsics."""
    uvw = points_cam_m @ K_crop_row[:, :3] + K_crop_row[:, 3:]
    return uvw[..., :2] / _held(uvw[..., 2:], min_depth_m) / crop_px * 2.0 - 1.0


def project_into_ray_box(
    points_cam_m: Float[Tensor, "b n 3"],
    ray_box: Float[Tensor, "b 3"],
    min_depth_m: float | None,
) -> Float[Tensor, "b n 2"]:
    """Crop units -1..1 of camera points: the same as through intrinsics that belong to the box."""
    rays = points_cam_m[..., :2] / _held(points_cam_m[..., 2:], min_depth_m)
    return (rays - ray_box[:, None, :2]) / (ray_box[:, None, 2:] / 2)
