"""The data sets by name: all known, found where they lie, samples where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from viewer.datasets.registry import (
    DATASET_INFOS,
    bundled_root,
    find_datasets,
    find_root,
    open_dataset,
)
from viewer.datasets.source import DatasetError


def test_all_six_are_described() -> None:
    assert list(DATASET_INFOS) == ["arkitface", "300w-lp", "aflw2000", "biwi", "mica", "synthetic"]
    for name, info in DATASET_INFOS.items():
        assert info.name == name and info.licence.endswith(".") and info.link.startswith("http")
        assert all(place.startswith("dataset/") for place in info.places)


def test_found_ones_come_first_and_missing_ones_say_what_to_do(tmp_path: Path) -> None:
    place = tmp_path / "dataset" / "AFLW2000"
    place.mkdir(parents=True)
    assert find_root("aflw2000", tmp_path) is None, "an empty folder is nothing"
    (place / "image00002.mat").touch()
    assert find_root("aflw2000", tmp_path) == place
    first, *others = find_datasets(tmp_path)
    assert (first.info.name, first.root, first.is_bundled) == ("aflw2000", place, False)
    assert not first.missing
    for other in others:
        where = "synthesize" if other.info.name == "synthetic" else other.info.link
        assert where in other.missing and str(tmp_path) in other.missing
        assert other.is_bundled == (other.root is not None)
    assert {one.info.name for one in (first, *others)} == set(DATASET_INFOS)


def test_the_second_place_counts_too(tmp_path: Path) -> None:
    (tmp_path / "dataset" / "BIWI" / "faces_0").mkdir(parents=True)
    assert find_root("biwi", tmp_path) == tmp_path / "dataset" / "BIWI"


@pytest.mark.parametrize("name", ["arkitface", "300w-lp", "aflw2000", "synthetic"])
def test_bundled_sets_open(name: str) -> None:
    dataset = open_dataset(name, bundled_root(name))
    assert dataset.info is DATASET_INFOS[name]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no data set 'celeba'; known are arkitface"):
        open_dataset("celeba", tmp_path)
    with pytest.raises(DatasetError, match=r"is no folder; 300W-LP is at http"):
        open_dataset("300w-lp", tmp_path / "absent")
