"""The contact sheet of a run: the same validation crops again and again as the network learns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from models.geometry.rotations import geodesic_deg
from models.training.predictions import network_inputs
from models.trg.batch import PoseBatch
from models.trg.network import Trg

Array = np.ndarray

SHOWN_CROPS, COLUMNS, TILE_PX = 8, 4, 288
GREEN, WHITE, BLACK = (90, 220, 90), (255, 255, 255), (0, 0, 0)
AXIS_COLOURS = ((230, 70, 70), (80, 200, 80), (80, 130, 250))
AXIS_LENGTH_M = 0.07
JPEG_QUALITY = 88
_SUB_PX = 3


def first_faces(batches: Sequence[PoseBatch], count: int = SHOWN_CROPS) -> PoseBatch | None:
    """The first crops with a face and a known rotation, of the first batch that has any."""
    for batch in batches:
        rows = torch.nonzero(batch.known("rotation"))[:count, 0]
        if len(rows):
            return batch.apply(lambda value, rows=rows: value[rows])
    return None


def write_preview(path: Path, network: Trg, batch: PoseBatch) -> None:
    """Predicted mesh and axes on every crop, with the rotation error; a JPEG, whole or not at
    all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = draw_sheet(network, batch)
    partial = path.with_name(f"{path.stem}.partial.jpg")
    cv2.imwrite(str(partial), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    partial.replace(path)


@torch.inference_mode()
def draw_sheet(network: Trg, batch: PoseBatch) -> UInt8[Array, "h w 3"]:
    """RGB; network: in evaluation mode."""
    device = network.points_grid.device
    last = network(*network_inputs(batch, network.config, device))[-1]
    R, t = last.R_cam_from_head.cpu().double(), last.t_cam_from_head_m.cpu().double()
    errors = geodesic_deg(R.numpy(), batch.R_cam_from_model.double().numpy())
    axes = t[:, None] + torch.cat([torch.zeros(len(R), 1, 3), R.mT * AXIS_LENGTH_M], 1)
    boxes = batch.ray_boxes.double()[:, None]
    axes_crop = (axes[..., :2] / axes[..., 2:] - boxes[..., :2]) / (boxes[..., 2:] / 2.0)
    tiles = [
        _tile(crop.numpy(), mesh.cpu().numpy(), ends.numpy(), float(error))
        for crop, mesh, ends, error in zip(
            batch.crops_rgb, last.vertices_crop, axes_crop, errors, strict=True
        )
    ]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % min(COLUMNS, len(tiles)))
    columns = min(COLUMNS, len(tiles))
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.vstack(rows)


def _tile(
    crop: UInt8[Array, "c c 3"],
    mesh: Float[Array, "v 2"],
    axes: Float[Array, "4 2"],
    error_deg: float,
) -> UInt8[Array, "h w 3"]:
    tile = cv2.resize(crop, (TILE_PX, TILE_PX), interpolation=cv2.INTER_CUBIC)
    for x, y in _pixels(mesh):
        cv2.circle(tile, (x, y), 1 << _SUB_PX, GREEN, -1, cv2.LINE_AA, _SUB_PX)
    origin, *ends = _pixels(axes)
    for end, colour in zip(ends, AXIS_COLOURS, strict=True):
        cv2.line(tile, origin, end, colour, 3, cv2.LINE_AA, _SUB_PX)
    text = f"{error_deg:.1f} deg"
    for colour, width in ((BLACK, 4), (WHITE, 1)):
        place = (8, TILE_PX - 12)
        cv2.putText(tile, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, width, cv2.LINE_AA)
    return tile


def _pixels(points_crop: Float[Array, "n 2"]) -> list[tuple[int, int]]:
    """Of the tile, with _SUB_PX bits behind the point; far ones are held near the tile."""
    scaled = (np.clip(points_crop, -4.0, 4.0) + 1.0) / 2.0 * TILE_PX * (1 << _SUB_PX)
    return [(int(x), int(y)) for x, y in np.nan_to_num(scaled)]
