"""Synthetic heads as samples: rows by key, negatives, shards that are missing."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from viewer.datasets.source import DatasetError
from viewer.datasets.synthetic import SyntheticDataset
from viewer.datasets.synthetic_heads import SyntheticHeads

SAMPLES = Path(__file__).resolve().parents[4] / "assets" / "samples" / "synthetic"


def test_splits_and_rows(tmp_path: Path, write_dataset: Callable[..., Path]) -> None:
    write_dataset(tmp_path / "train", 7, shard_rows=5)
    write_dataset(tmp_path / "validation", 2, shard_rows=5, is_face=False)
    dataset = pickle.loads(pickle.dumps(SyntheticHeads(tmp_path)))
    listing = dataset.list_samples()
    assert listing.keys == (*(f"train/{n}" for n in range(7)), "validation/0", "validation/1")
    assert not listing.problems and dataset.list_samples(limit=6).keys == listing.keys[:6]
    assert listing.files_of["train/6"] == ("train/shard-00001.parquet",)
    sample, head = dataset.read("train/6"), SyntheticDataset(tmp_path / "train")[6]
    assert np.array_equal(sample.read_image_rgb(), head.image_rgb)
    assert np.array_equal(sample.R_cam_from_head, head.R_cam_from_head)
    assert (sample.dataset, sample.split, sample.group) == ("synthetic", "train", head.person)
    one = SyntheticHeads(tmp_path / "train").list_samples()
    assert one.keys[0] == "test/0", "a single data set says its own split"
    negative = dataset.detail("validation/0")
    assert negative.sample.R_cam_from_head is negative.sample.box_xyxy_px is None
    assert negative.notes == ("A picture without a face.",) and negative.meshes == ()


def test_missing_and_damaged_shards_are_named(
    tmp_path: Path, write_dataset: Callable[..., Path]
) -> None:
    root = write_dataset(tmp_path, 12, shard_rows=5)
    (root / "shard-00000.parquet").unlink()
    truth = SyntheticDataset(root, allow_partial=True)[0]
    (root / "shard-00002.parquet").write_bytes(b"PAR1 no more")
    dataset = SyntheticHeads(root)
    listing = dataset.list_samples()
    assert listing.keys == tuple(f"test/{n}" for n in range(5, 10))
    assert [problem.file for problem in listing.problems] == [
        "shard-00000.parquet",
        "shard-00002.parquet",
    ]
    (root / "shard-00002.parquet").unlink()
    assert np.array_equal(dataset.read("test/5").R_cam_from_head, truth.R_cam_from_head)
    with pytest.raises(DatasetError, match=r"shard-00000\.parquet is missing"):
        dataset.read("test/4")


def test_a_bundled_head_lies_where_its_depth_was_measured() -> None:
    detail = SyntheticHeads(SAMPLES).detail("painted/0")
    (mesh,) = detail.meshes
    assert mesh.vertices_m.shape == (4834, 3) and detail.depth_cam_m.shape[1] == 3
    px = detail.sample.camera.project(detail.landmarks_68_m)
    assert np.allclose(px, detail.sample.landmarks_68_px, atol=0.01)
    low, high = mesh.vertices_m.min(0) - 0.02, mesh.vertices_m.max(0) + 0.02
    assert ((detail.depth_cam_m > low) & (detail.depth_cam_m < high)).all(1).mean() > 0.99


@pytest.mark.parametrize("key", ["", "painted", "painted/60", "painted/-1", "x/0", "painted/²"])
def test_unknown_keys(key: str) -> None:
    with pytest.raises(DatasetError):
        SyntheticHeads(SAMPLES).read(key)


def test_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no synthetic data set: it has no dataset\.json"):
        SyntheticHeads(tmp_path).list_samples()
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(DatasetError, match="is of format None"):
        SyntheticHeads(tmp_path).list_samples()
