"""PoseBatch: what the network eats in training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor


@dataclass(frozen=True)
class PoseBatch:
    """Crops with what is known about the heads in them. `model` is the network's own head frame.

    What is not known must be finite and means nothing. Of a batch of nothing but faces with every
    label, such as rendered ones, the optional fields may be None.

    crops_rgb: squares as `models.trg.preprocess.cut_crop` makes them, see `TrgConfig.crop_px`.
    ray_boxes: of the crops, (cx, cy, side) in units of x / z.
    is_face: False marks a negative for the presence head; none of its labels mean anything.
    vertices_model_m: the network's mesh in its own head frame, before the pose.
    has_3d: the vertices, R and t are known. has_rotation, has_translation: R is known, t is.
    landmarks_68_crop: iBUG's points: x, y from -1 to 1 over the crop, and 1 where they are known
        and visible, else 0.
    K_image_from_cam: the camera of the whole picture, turned and mirrored as the crop was, pixels.
    """

    crops_rgb: UInt8[Tensor, "b c c 3"]
    ray_boxes: Float[Tensor, "b 3"]
    is_face: Bool[Tensor, "b"]
    R_cam_from_model: Float[Tensor, "b 3 3"]
    t_cam_from_model_m: Float[Tensor, "b 3"]
    vertices_model_m: Float[Tensor, "b v 3"]
    has_3d: Bool[Tensor, "b"] | None = None
    has_rotation: Bool[Tensor, "b"] | None = None
    has_translation: Bool[Tensor, "b"] | None = None
    landmarks_68_crop: Float[Tensor, "b 68 3"] | None = None
    K_image_from_cam: Float[Tensor, "b 3 3"] | None = None

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
            "has_3d": ((b,), torch.bool),
            "has_rotation": ((b,), torch.bool),
            "has_translation": ((b,), torch.bool),
            "landmarks_68_crop": ((b, 68, 3), None),
            "K_image_from_cam": ((b, 3, 3), None),
        }
        for name, (shape, dtype) in expected.items():
            value: Tensor | None = getattr(self, name)
            if value is None and name in OPTIONAL_FIELDS:
                continue
            if tuple(value.shape) != shape:
                raise ValueError(f"{name} must be {shape}, got {tuple(value.shape)}.")
            wrong = not value.is_floating_point() if dtype is None else value.dtype != dtype
            if wrong:
                raise ValueError(f"{name} must be {dtype or 'floating point'}, got {value.dtype}.")

    def __len__(self) -> int:
        return len(self.crops_rgb)

    def known(self, label: str) -> Bool[Tensor, "b"]:
        """Faces whose label is known: "3d", "rotation" or "translation"."""
        given: Tensor | None = getattr(self, f"has_{label}")
        return self.is_face if given is None else self.is_face & given

    def to(self, device: torch.device | str) -> PoseBatch:
        """The same batch on a device."""
        return self.apply(lambda value: value.to(device, non_blocking=True))

    def pin_memory(self) -> PoseBatch:
        """The same batch in memory that a GPU reads from while the processor goes on."""
        return self.apply(torch.Tensor.pin_memory)

    def __getitem__(self, rows: slice) -> PoseBatch:
        """The crops of a slice."""
        return self.apply(lambda value: value[rows])

    def apply(self, change: Callable[[Tensor], Tensor]) -> PoseBatch:
        """The batch with every field that is there changed."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return PoseBatch(**{k: v if v is None else change(v) for k, v in values.items()})


OPTIONAL_FIELDS = tuple(f.name for f in fields(PoseBatch) if f.default is None)
