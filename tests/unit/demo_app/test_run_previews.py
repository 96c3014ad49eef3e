"""The contact sheet of a run: one tile a face, written whole, the first faces with a rotation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from demo_app.run_plan import network_config
from demo_app.run_previews import SHOWN_CROPS, TILE_PX, draw_sheet, first_faces, write_preview
from models.trg.batch import PoseBatch
from models.trg.network import Trg


@pytest.fixture(scope="module")
def network() -> Trg:
    config = network_config("trg-mini")
    torch.manual_seed(0)
    return Trg(config, np.arange(config.n_samples)).eval()


def _batch(network: Trg, n: int, is_face: bool = True) -> PoseBatch:
    config = network.config
    return PoseBatch(
        crops_rgb=torch.full((n, config.crop_px, config.crop_px, 3), 120, dtype=torch.uint8),
        ray_boxes=torch.tensor([[0.0, 0.0, 0.3]]).repeat(n, 1),
        is_face=torch.full((n,), is_face),
        R_cam_from_model=torch.eye(3).repeat(n, 1, 1),
        t_cam_from_model_m=torch.tensor([[0.0, 0.0, 0.6]]).repeat(n, 1),
        vertices_model_m=torch.zeros(n, config.n_vertices, 3),
    )


def test_the_first_batch_with_faces_is_shown(network: Trg) -> None:
    none, many = _batch(network, 3, is_face=False), _batch(network, 12)
    assert first_faces([none]) is None and first_faces([]) is None
    assert len(first_faces([none, many])) == SHOWN_CROPS
    mixed = replace(many, is_face=torch.arange(12) >= 9)
    assert len(first_faces([mixed])) == 3


@pytest.mark.parametrize(("n", "tiles_wh"), [(1, (1, 1)), (3, (3, 1)), (5, (4, 2))])
def test_a_sheet_has_a_tile_for_each_face(network: Trg, n: int, tiles_wh: tuple[int, int]) -> None:
    sheet = draw_sheet(network, _batch(network, n))
    assert sheet.shape == (tiles_wh[1] * TILE_PX, tiles_wh[0] * TILE_PX, 3)
    tile = sheet[:TILE_PX, :TILE_PX].astype(int)
    assert (np.abs(tile - 120).max(-1) > 40).mean() > 0.001, "nothing was drawn"
    if n == 5:
        assert not sheet[TILE_PX:, TILE_PX:].any(), "an empty place shows something"


def test_it_is_written_whole_and_the_network_stays(network: Trg, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    path = tmp_path / "previews" / "step-00000010.jpg"
    write_preview(path, network, _batch(network, 2))
    assert cv2.imread(str(path)).shape == (TILE_PX, 2 * TILE_PX, 3)
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
