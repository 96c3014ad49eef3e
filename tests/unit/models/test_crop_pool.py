"""Crops that are trained on more than once: what is drawn, and that mirrored labels stay true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.training.crop_pool import (
    FIRST_BATCHES,
    POOL_BATCHES,
    CropPool,
    MirrorOrder,
    fresh_batches_of,
    reused_batches,
)
from models.trg.batch import PoseBatch
from tests.unit.models.small_trg import random_batch
from viewer.datasets.weak_perspective import MIRROR_68

CPU = torch.device("cpu")


def empty_pool(seed: int = 0, n_vertices: int = 12, paired: bool = False) -> CropPool:
    return CropPool(MirrorOrder(np.arange(n_vertices), MIRROR_68), CPU, (seed,), paired=paired)


def numbered(number: int, b: int = 4) -> PoseBatch:
    """Crops whose translation says which they are: b * number, b * number + 1, ..."""
    batch = random_batch(number, b)
    z = torch.arange(b, dtype=torch.float32) + b * number
    t = torch.stack([torch.zeros(b), torch.zeros(b), z], 1)
    return replace(batch, t_cam_from_model_m=t, is_face=torch.ones(b, dtype=torch.bool))


def numbers_of(batch: PoseBatch) -> list[int]:
    return batch.t_cam_from_model_m[:, 2].int().tolist()


def drawn(uses: int, steps: range, paired: bool = False) -> list[PoseBatch]:
    n_vertices = numbered(0).vertices_model_m.shape[1]
    fresh = map(numbered, range(fresh_batches_of(len(steps), uses)))
    pool = empty_pool(n_vertices=n_vertices, paired=paired)
    return list(reused_batches(fresh, steps, uses, pool))


def test_crops_are_used_about_as_often_as_asked() -> None:
    batches = drawn(3, range(900))
    assert len(batches) == 900
    counts = np.bincount([n for batch in batches for n in numbers_of(batch)])
    # those that were there before the pool ran full of them come as often as all others later
    middle = counts[4 * FIRST_BATCHES + 200 : -4 * POOL_BATCHES]
    assert middle.mean() == pytest.approx(3.0, abs=0.25)
    assert 0 < (middle == 0).mean() < 0.15, "drawn at random, not in turn"


def test_no_crop_is_twice_in_a_batch_and_old_ones_leave() -> None:
    for k, batch in enumerate(drawn(2, range(400))):
        numbers = numbers_of(batch)
        assert len(set(numbers)) == len(numbers)
        newest = FIRST_BATCHES + k // 2
        assert min(numbers) // 4 > newest - POOL_BATCHES and max(numbers) // 4 <= newest


def test_the_fresh_batches_that_are_announced_are_taken_and_no_more() -> None:
    for n, uses in ((1, 3), (6, 3), (7, 3), (5, 1)):
        fresh = iter(map(numbered, range(fresh_batches_of(n, uses) + 1)))
        n_vertices = numbered(0).vertices_model_m.shape[1]
        list(reused_batches(fresh, range(n), uses, empty_pool(n_vertices=n_vertices)))
        assert len(list(fresh)) == 1


def test_a_step_draws_the_same_again_and_another_step_another() -> None:
    first, again = drawn(2, range(20, 40)), drawn(2, range(20, 40))
    assert all(torch.equal(a.crops_rgb, b.crops_rgb) for a, b in zip(first, again, strict=True))
    assert numbers_of(first[0]) != numbers_of(first[1])


def test_pairs_are_a_crop_and_its_mirror_image() -> None:
    flip = torch.tensor([-1.0, 1.0, 1.0])
    batches = drawn(2, range(400), paired=True)
    for batch in batches:
        assert len(batch) == 4 and len(set(numbers_of(batch))) == 2
        assert numbers_of(batch)[::2] == numbers_of(batch)[1::2]
        assert torch.equal(batch.crops_rgb[::2].flip(2), batch.crops_rgb[1::2])
        assert torch.equal(batch.ray_boxes[::2] * flip, batch.ray_boxes[1::2])
        assert torch.equal(batch.is_face[::2], batch.is_face[1::2])
    counts = np.bincount([n for batch in batches for n in numbers_of(batch)])
    middle = counts[4 * FIRST_BATCHES + 200 : -4 * POOL_BATCHES]
    assert middle.mean() == pytest.approx(2.0, abs=0.25), "both of a pair are uses"


def test_a_batch_of_odd_size_has_no_pairs() -> None:
    batch = numbered(0, b=3)
    pool = empty_pool(n_vertices=batch.vertices_model_m.shape[1], paired=True)
    pool.put(batch)
    with pytest.raises(ValueError, match="3 crops"):
        pool.draw(0)


def test_an_empty_pool_says_so() -> None:
    with pytest.raises(ValueError, match="empty"):
        empty_pool().draw(0)
