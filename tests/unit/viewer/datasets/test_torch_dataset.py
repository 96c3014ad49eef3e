"""Batches: the network's frame exactly, the same for a step, from any number of workers."""

from __future__ import annotations

from dataclasses import fields

import cv2
import numpy as np
import pytest
import torch

from viewer.datasets.augment_config import AugmentConfig
from viewer.datasets.synthetic import SyntheticDataset
from viewer.datasets.torch_dataset import Source, SyntheticBatches, fixed_batches


@pytest.fixture(scope="module")
def faces(tmp_path_factory, write_dataset):
    return SyntheticDataset(write_dataset(tmp_path_factory.mktemp("faces"), 8))


@pytest.fixture(scope="module")
def negatives(tmp_path_factory, write_dataset):
    root = write_dataset(tmp_path_factory.mktemp("negatives"), 3, is_face=False)
    return SyntheticDataset(root)


@pytest.fixture(scope="module")
def batches(faces, negatives, target):
    sources = [Source(faces, 3.0), Source(negatives, 1.0)]
    return SyntheticBatches(sources, target, AugmentConfig(), batch_size=16, seed=5)


def _same(a, b):
    return all(torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


def test_the_batch_of_a_step_depends_on_the_step_alone(batches):
    made = list(batches.batches(0, 4))
    resumed = list(batches.batches(2, 4))
    assert all(_same(a, b) for a, b in zip(made[2:], resumed, strict=True))
    assert not _same(made[0], made[1])


def test_workers_give_the_same_batches_after_opencv_used_threads(batches):
    threads_before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        large = np.zeros((3000, 3000, 3), np.uint8)
        cv2.GaussianBlur(large, (0, 0), 3)
        cv2.resize(large, (500, 500), interpolation=cv2.INTER_AREA)
        state = torch.get_rng_state()
        made = list(batches.batches(3, 7, workers=2))
        assert cv2.getNumThreads() == 2
        assert torch.equal(torch.get_rng_state(), state)
    finally:
        cv2.setNumThreads(threads_before)
    expected = list(batches.batches(3, 7))
    assert len(made) == 4 and all(_same(a, b) for a, b in zip(made, expected, strict=True))


def test_workers_end_with_the_iterator(batches):
    import multiprocessing

    iterator = batches.batches(workers=1)
    next(iterator)
    assert multiprocessing.active_children()
    iterator.close()
    assert not multiprocessing.active_children()


def test_sources_are_mixed_by_weight(batches):
    is_face = torch.cat([batches[k].is_face for k in range(16)])
    assert is_face.float().mean().item() == pytest.approx(0.75, abs=0.09)


def test_a_source_gives_only_its_rows(faces, target):
    rows = faces.rows_of_persons(["female/1"])
    source = Source(faces, 1.0, rows)
    rng = np.random.default_rng(0)
    assert {source.drawn_row(rng) for _ in range(60)} == set(rows.tolist())
    with pytest.raises(ValueError, match="0 rows"):
        Source(faces, 1.0, rows[:0])


def test_fixed_batches_are_in_the_networks_frame(faces, make_head, target):
    (batch,) = fixed_batches(faces, target, count=6)
    T = np.linalg.inv(target.T_head_from_model)
    for k in range(6):
        head = make_head(k)
        vertices = head.landmarks_468_head_m @ T[:3, :3].T + T[:3, 3]
        np.testing.assert_allclose(batch.vertices_model_m[k].numpy(), vertices, atol=1e-6)
        in_camera = batch.vertices_model_m[k] @ batch.R_cam_from_model[k].T
        in_camera = (in_camera + batch.t_cam_from_model_m[k]).double().numpy()
        error_px = head.camera.project(in_camera) - head.landmarks_468_px()
        assert np.abs(error_px).max() < 0.01


def test_fixed_batches_do_not_depend_on_their_size(faces, target):
    whole = torch.cat([batch.crops_rgb for batch in fixed_batches(faces, target)])
    parts = list(fixed_batches(faces, target, batch_size=3, count=7))
    assert [len(batch) for batch in parts] == [3, 3, 1]
    assert torch.equal(whole[:7], torch.cat([batch.crops_rgb for batch in parts]))


def test_jitter_of_fixed_batches(faces, target):
    exact = torch.cat([b.ray_boxes for b in fixed_batches(faces, target, jitter=False)]).double()
    for seed in range(5):
        moved = torch.cat([b.ray_boxes for b in fixed_batches(faces, target, seed=seed)]).double()
        extent = exact[:, 2:] / 1.5
        shift = ((moved - exact)[:, :2] / extent).abs()
        scale = (moved[:, 2] / exact[:, 2]).log().abs()
        assert 0 < shift.max() <= 0.0801 and 0 < scale.max() <= 0.1201


def test_negatives_in_batches_are_finite(negatives, target):
    (batch,) = fixed_batches(negatives, target)
    assert not batch.is_face.any()
    for f in fields(batch):
        assert torch.isfinite(getattr(batch, f.name).float()).all()
    assert (batch.t_cam_from_model_m[:, 2] > 0.5).all()
