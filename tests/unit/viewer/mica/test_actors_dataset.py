"""The prepared set as torch's DataLoader reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from viewer.datasets.source import DatasetError
from viewer.mica.actors_dataset import ActorItem, PreparedActors
from viewer.mica.arcface import arcface_input, npy_bytes


@pytest.fixture
def prepared(tmp_path: Path, save_fit: Callable[..., None]) -> Path:
    """LYHM's actors have two pictures, Florence's five; each picture is of one grey of its own."""
    root = tmp_path / "jpg" / "images"
    plan = {"LYHM/00001": 2, "LYHM/00002": 2, "FLORENCE/subject_01": 5}
    for number, (name, count) in enumerate(plan.items()):
        subset, actor = name.split("/")
        save_fit(root / subset / "FLAME_parameters" / actor / "fit.npz", 1.0 + number)
        folder = root / subset / "arcface_input" / actor
        folder.mkdir(parents=True)
        for picture in range(count):
            grey = 10 * (1 + picture) + 100 * (number == 2)
            crop = np.full((224, 224, 3), grey, np.uint8)
            cv2.imwrite(str(folder / f"p.{picture}.png"), crop)
            (folder / f"p.{picture}.npy").write_bytes(npy_bytes(arcface_input(crop[:112, :112])))
    save_fit(root / "LYHM/FLAME_parameters/00003/fit.npz", 9.0)
    (root / "LYHM/arcface_input/00004").mkdir()
    return root


def greys(item: ActorItem) -> list[int]:
    values = (255 * item.images[:, 0, 0, 0]).round().int().tolist()
    assert torch.allclose(item.arcface[:, 0, 0, 0], 2 * item.images[:, 0, 0, 0] - 1, atol=1e-6)
    return values


def test_an_item_is_an_actor(prepared: Path) -> None:
    data = PreparedActors(prepared)
    assert [actor.name for actor in data.actors] == [
        "FLORENCE/subject_01",
        "LYHM/00001",
        "LYHM/00002",
    ]
    assert [(p.file, p.reason) for p in data.skipped] == [
        ("LYHM/00003", "no aligned picture"),
        ("LYHM/00004", "no FLAME parameters"),
    ]
    item = data[1]
    assert item.images.shape == (2, 3, 224, 224) and item.arcface.shape == (2, 3, 112, 112)
    assert item.shape.shape == (300,) and item.shape[0] == 1.0 and item.actor == "LYHM/00001"
    assert {item.images.dtype, item.arcface.dtype, item.shape.dtype} == {torch.float32}
    assert sorted(greys(item)) == [10, 20]
    assert [a.name for a in PreparedActors(prepared, split="train").actors] == [
        "LYHM/00001",
        "LYHM/00002",
    ]
    assert len(PreparedActors(prepared, split="validation")) == 1
    assert len(PreparedActors(prepared, subsets=["LYHM"])) == 2


def test_more_pictures_than_the_actor_has(prepared: Path) -> None:
    """Each one before any comes again: what MICA's own loader cannot do for LYHM."""
    data = PreparedActors(prepared, images_per_actor=5, subsets=["LYHM"])
    drawn = greys(data[0])
    assert sorted(drawn[:2]) == sorted(drawn[2:4]) == [10, 20] and len(drawn) == 5
    first = PreparedActors(prepared, images_per_actor=3, seed=None)
    assert greys(first[0]) == [110, 120, 130] and greys(first[1]) == [10, 20, 10]


def test_the_draw_follows_seed_and_epoch(prepared: Path) -> None:
    data = PreparedActors(prepared, images_per_actor=3, seed=5)
    before = greys(data[0])
    assert len(set(before)) == 3 and greys(data[0]) == before == greys(data[-3])
    drawn = set()
    for epoch in range(8):
        data.set_epoch(epoch)
        drawn.add(tuple(greys(data[0])))
    assert len(drawn) > 4 and tuple(before) in drawn


def test_spawned_workers_give_the_same_batches(prepared: Path) -> None:
    data = PreparedActors(prepared, images_per_actor=4)
    loader = DataLoader(data, batch_size=3, num_workers=1, multiprocessing_context="spawn")
    (batch,) = loader
    assert isinstance(batch, ActorItem)
    assert batch.images.shape == (3, 4, 3, 224, 224) and batch.shape.shape == (3, 300)
    assert list(batch.actor) == [actor.name for actor in data.actors]
    (alone,) = DataLoader(data, batch_size=3)
    assert torch.equal(alone.images, batch.images) and torch.equal(alone.arcface, batch.arcface)


def test_files_that_cannot_be_used(prepared: Path, tmp_path: Path, save_fit) -> None:
    with pytest.raises(DatasetError, match="prepare-mica"):
        PreparedActors(tmp_path / "nothing")
    folder = prepared / "LYHM/arcface_input/00001"
    data = PreparedActors(prepared, subsets=["LYHM"])
    np.save(folder / "p.0.npy", np.zeros((3, 112, 112)))
    with pytest.raises(DatasetError, match=r"p\.0\.npy has float64"):
        data[0]
    np.save(folder / "p.0.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(DatasetError, match="pickle"):
        data[0]
    (prepared / "LYHM/arcface_input/00002/p.1.png").write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"p\.1\.png cannot be used"):
        data[1]
    save_fit(prepared / "FLORENCE/FLAME_parameters/subject_01/fit.npz", 1.0, betas=3)
    with pytest.raises(DatasetError, match="has not the 300 betas"):
        PreparedActors(prepared)[0]
