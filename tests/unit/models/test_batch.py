"""PoseBatch refuses what does not fit, at birth."""

from __future__ import annotations

import pytest
import torch

from models.trg.batch import PoseBatch


def fields(b: int = 2) -> dict[str, torch.Tensor]:
    return {
        "crops_rgb": torch.zeros(b, 8, 8, 3, dtype=torch.uint8),
        "ray_boxes": torch.ones(b, 3),
        "is_face": torch.ones(b, dtype=torch.bool),
        "R_cam_from_model": torch.eye(3).repeat(b, 1, 1),
        "t_cam_from_model_m": torch.ones(b, 3),
        "vertices_model_m": torch.zeros(b, 5, 3),
    }


def optional_fields(b: int = 2) -> dict[str, torch.Tensor]:
    return {
        "has_3d": torch.tensor([True, False]),
        "has_rotation": torch.tensor([True, True]),
        "has_translation": torch.tensor([False, True]),
        "landmarks_68_crop": torch.zeros(b, 68, 3),
        "K_image_from_cam": torch.eye(3).repeat(b, 1, 1),
    }


def test_a_batch_knows_its_length_and_moves() -> None:
    for batch in (PoseBatch(**fields()), PoseBatch(**fields(), **optional_fields())):
        assert len(batch) == 2
        there = batch.to("meta")
        moved = [value.device.type for value in vars(there).values() if value is not None]
        assert set(moved) == {"meta"} and len(moved) in (6, 11)
        assert batch.ray_boxes.device.type == "cpu"
        assert len(batch[1:]) == 1


def test_what_is_known() -> None:
    """Without the optional fields everything is known of every face."""
    bare = PoseBatch(**fields() | {"is_face": torch.tensor([True, False])})
    assert bare.known("3d").tolist() == bare.known("rotation").tolist() == [True, False]
    partial = PoseBatch(**fields(), **optional_fields())
    assert partial.known("3d").tolist() == [True, False]
    assert partial.known("translation").tolist() == [False, True]
    negative = PoseBatch(**vars(partial) | {"is_face": torch.tensor([False, True])})
    assert negative.known("rotation").tolist() == [False, True]
    assert torch.equal(partial[1:].has_3d, torch.tensor([False])) and bare[1:].has_3d is None


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("crops_rgb", torch.zeros(2, 8, 9, 3, dtype=torch.uint8)),
        ("crops_rgb", torch.zeros(2, 3, 8, 8, dtype=torch.uint8)),
        ("crops_rgb", torch.zeros(2, 8, 8, 3)),
        ("ray_boxes", torch.ones(1, 3)),
        ("ray_boxes", torch.ones(2, 3, dtype=torch.int64)),
        ("is_face", torch.ones(2)),
        ("R_cam_from_model", torch.ones(2, 9)),
        ("t_cam_from_model_m", torch.ones(2, 4)),
        ("vertices_model_m", torch.zeros(2, 15)),
        ("has_3d", torch.ones(2)),
        ("has_rotation", torch.ones(3, dtype=torch.bool)),
        ("landmarks_68_crop", torch.zeros(2, 68, 2)),
        ("K_image_from_cam", torch.eye(3)),
    ],
)
def test_a_field_that_does_not_fit_is_named(name: str, wrong: torch.Tensor) -> None:
    # without the tests' shape checker, which would be there first
    values = fields() | optional_fields() | {name: wrong}
    batch = object.__new__(PoseBatch)
    for key, value in values.items():
        object.__setattr__(batch, key, value)
    with pytest.raises(ValueError, match=name):
        batch.__post_init__()
