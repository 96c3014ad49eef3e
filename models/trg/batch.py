"""PoseBatch: what the network eats in training."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor


@dataclass(frozen=True)
class PoseBatch:
    """Crops with what is known about the heads in them. `model` is the network's own head frame.

    crops_rgb: squares as `models.trg.preprocess.cut_crop` makes them, see `TrgConfig.crop_px`.
    ray_boxes: of the crops, (cx, cy, side) in units of x / z.
    is_face: False marks a negative for the presence head; its pose labels mean nothing but must
        be finite.
    vertices_model_m: the network's mesh in its own head frame, before the pose.
    """

    crops_rgb: UInt8[Tensor, "b c c 3"]
    ray_boxes: Float[Tensor, "b 3"]
    is_face: Bool[Tensor, "b"]
    R_cam_from_model: Float[Tensor, "b 3 3"]
    t_cam_from_model_m: Float[Tensor, "b 3"]
    vertices_model_m: Float[Tensor, "b v 3"]

    def __post_init__(self) -> None:
        """Shapes and types only; no value is read. Raises: ValueError saying what does not fit."""
        b = self.crops_rgb.shape[0]
        c = self.crops_rgb.shape[1] if self.crops_rgb.ndim == 4 else 0
        v = self.vertices_model_m.shape[1] if self.vertices_model_m.ndim == 3 else 0
        expected: dict[str, tuple[tuple[int, ...], torch.dtype | None]] = {
            "crops_rgb": ((b, c, c, 3), torch.uint8),
            "ray_boxes": ((b, 3), None),
            "is_face": ((b,), torch.bool),
            "R_cam_from_model": ((b, 3, 3), None),
            "t_cam_from_model_m": ((b, 3), None),
            "vertices_model_m": ((b, v, 3), None),
        }
        for name, (shape, dtype) in expected.items():
            value: Tensor = getattr(self, name)
            if tuple(value.shape) != shape:
                raise ValueError(f"{name} must be {shape}, got {tuple(value.shape)}.")
            wrong = not value.is_floating_point() if dtype is None else value.dtype != dtype
            if wrong:
                raise ValueError(f"{name} must be {dtype or 'floating point'}, got {value.dtype}.")

    def __len__(self) -> int:
        return len(self.crops_rgb)

    def to(self, device: torch.device | str) -> PoseBatch:
        """The same batch on a device."""
        return PoseBatch(
            **{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        )
