"""A network's answers to batches with known poses: what metrics and calibration are made from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from models.training.losses import build_targets
from models.trg.batch import PoseBatch
from models.trg.config import TrgConfig
from models.trg.network import Trg, TrgIterate
from models.trg.preprocess import normalise_crops, virtual_camera_inputs

Array = np.ndarray


@dataclass(frozen=True)
class HeldOutPredictions:
    """Of n crops, in the network's own head frame, float64. Pose fields of crops that show no face
    mean nothing.

    vertex_error_mm: mean distance of the mesh in its own frame. crop_error_px: mean distance of the
        projected mesh, pixels of the crop. Both NaN of a face whose mesh is not known.
    presence_logit, rotation_cholesky (rad), t_sigma_m: None if the network has no such head; with
        the calibration that the network had.
    """

    is_face: Bool[Array, "n"]
    R_true: Float[Array, "n 3 3"]
    R_predicted: Float[Array, "n 3 3"]
    t_true_m: Float[Array, "n 3"]
    t_predicted_m: Float[Array, "n 3"]
    vertex_error_mm: Float[Array, "n"]
    crop_error_px: Float[Array, "n"]
    presence_logit: Float[Array, "n"] | None
    rotation_cholesky: Float[Array, "n 3 3"] | None
    t_sigma_m: Float[Array, "n 3"] | None

    def __len__(self) -> int:
        return len(self.is_face)


def network_inputs(
    batch: PoseBatch, config: TrgConfig, device: torch.device
) -> tuple[Float[Tensor, "b 3 c c"], Float[Tensor, "b 4 3"], Float[Tensor, "b 7"]]:
    """The arguments of `Trg.forward`."""
    K, box_info = virtual_camera_inputs(
        batch.ray_boxes.detach().cpu().double().numpy(), config.crop_px
    )
    image = normalise_crops(batch.crops_rgb.to(device, non_blocking=True), config)
    return image, torch.from_numpy(K).to(device), torch.from_numpy(box_info).to(device)


@torch.inference_mode()
def predict_batches(network: Trg, batches: Iterable[PoseBatch]) -> HeldOutPredictions:
    """Run a network, in evaluation mode, on batches of any size, on its own device.

    Raises: ValueError if there are no batches.
    """
    device = network.points_grid.device
    was_training = network.training
    network.eval()
    parts: dict[str, list[Array]] = {}
    for batch in batches:
        iterates = network(*network_inputs(batch, network.config, device))
        for name, values in _compared(iterates[-1], batch.to(device), network.config).items():
            if values is not None:
                cpu = values.cpu()
                parts.setdefault(name, []).append(
                    (cpu.double() if cpu.is_floating_point() else cpu).numpy()
                )
    network.train(was_training)
    if not parts:
        raise ValueError("There were no batches to predict.")
    joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    optional = ("presence_logit", "rotation_cholesky", "t_sigma_m")
    return HeldOutPredictions(**{name: None for name in optional} | joined)


def _compared(last: TrgIterate, batch: PoseBatch, config: TrgConfig) -> dict[str, Tensor | None]:
    targets = build_targets(batch, config)
    vertices = (last.vertices_head_m - targets.vertices_model_m).norm(dim=-1).mean(1)
    crop = (last.vertices_crop - targets.vertices_crop).norm(dim=-1).mean(1)
    known = targets.has_3d | ~targets.is_face
    vertices, crop = (torch.where(known, error, torch.nan) for error in (vertices, crop))
    return {
        "is_face": batch.is_face,
        "R_true": targets.R_cam_from_model,
        "R_predicted": last.R_cam_from_head,
        "t_true_m": targets.t_cam_from_model_m,
        "t_predicted_m": last.t_cam_from_head_m,
        "vertex_error_mm": vertices * 1000.0,
        "crop_error_px": crop * config.crop_px / 2.0,
        "presence_logit": last.presence_logit,
        "rotation_cholesky": last.rotation_cholesky,
        "t_sigma_m": last.t_sigma_m,
    }
