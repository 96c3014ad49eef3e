"""The bundled sample sets are clean; errors planted into copies of their files are found there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models.geometry.rotations import about_y
from tests.unit.viewer.index.sample_plants import PLANTERS
from viewer.datasets.file_lists import read_splits
from viewer.datasets.registry import SAMPLES_ROOT, open_dataset
from viewer.datasets.source import DatasetError
from viewer.index.check_table import CHECKS
from viewer.index.checks_run import CheckResult, run_checks
from viewer.index.predictions import ModelRotations

ELSEWHERE = {"model_deg", "split_photo"}


def copy_of(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(SAMPLES_ROOT / name, folder / name))


def found(result: CheckResult) -> dict[str, set[str]]:
    keys: dict[str, set[str]] = {}
    for sample in result.samples:
        for name in sample.findings:
            keys.setdefault(name, set()).add(sample.key)
    return keys


@pytest.mark.parametrize("name", PLANTERS)
def test_every_planted_error_is_found_where_it_is(name: str, tmp_path: Path) -> None:
    root = copy_of(name, tmp_path)
    planted = PLANTERS[name](root)
    result = run_checks(open_dataset(name, root))
    got = found(result)
    for check, keys in planted.items():
        assert keys <= got.get(check, set()), check
    meant = set().union(*planted.values())
    beside = {(check, key) for check, keys in got.items() for key in keys - meant}
    # the step back from a frame that is out of place; the frames around a picture shown twice
    assert {check for check, _ in beside} <= {"jump_deg", "jump_mm", "near_duplicate"}
    assert len(beside) <= 4


def test_every_check_of_the_table_is_planted_into_a_sample_set(tmp_path: Path) -> None:
    planted = {
        check for name, plant in PLANTERS.items() for check in plant(copy_of(name, tmp_path))
    }
    assert planted | ELSEWHERE == {check.name for check in CHECKS}


def test_synthetic_heads_are_clean() -> None:
    result = run_checks(open_dataset("synthetic", SAMPLES_ROOT / "synthetic"), limit=12)
    assert found(result) == {} and result.problems == () and len(result.samples) == 12


def test_a_model_that_disagrees_is_named() -> None:
    dataset = open_dataset("biwi", SAMPLES_ROOT / "biwi")
    keys = dataset.list_samples(4).keys
    said = {key: dataset.read(key).R_cam_from_head for key in keys}
    said[keys[2]] = about_y(30.0) @ said[keys[2]]
    note = "Compared with a model."
    result = run_checks(dataset, limit=4, predicted=ModelRotations("a-model", said, note))
    assert found(result) == {"model_deg": {keys[2]}} and note in result.notes
    assert [round(sample.scores["model_deg"], 3) for sample in result.samples] == [0, 0, 30, 0]


def test_people_and_photos_in_two_lists_are_named(tmp_path: Path) -> None:
    """BIWI's sequences 5 and 18 show one person; views of one photo, and twins, belong together."""
    root = copy_of("biwi", tmp_path) / "hpdb"
    for old, new in (("91", "05"), ("92", "18")):
        (root / old).rename(root / new)
        (root / f"{old}.obj").rename(root / f"{new}.obj")
    lists = tmp_path / "train.txt", tmp_path / "test.txt"
    keys = open_dataset("biwi", root).list_samples().keys
    for path, start in zip(lists, ("05/", "18/"), strict=True):
        path.write_text("\n".join(f"{key}_rgb.png" for key in keys if key.startswith(start)))
    result = run_checks(open_dataset("biwi", root), split_of=read_splits(lists))
    assert found(result) == {"split_person": set(keys)}
    assert any("05 and 18 show the same person" in note for note in result.notes)

    root = SAMPLES_ROOT / "300w-lp"
    lines = (root / "files.txt").read_text().splitlines()
    photo = [line for line in lines if "AFW_100101_1" in line]
    lists[0].write_text("\n".join(line for line in lines if line != photo[0]))
    lists[1].write_text(photo[0])
    result = run_checks(open_dataset("300w-lp", root), split_of=read_splits(lists))
    assert found(result) == {"split_photo": {line.removeprefix("./") for line in photo}}
    lists[1].write_text(photo[1])
    with pytest.raises(DatasetError, match=r"is in train and in test\.txt"):
        read_splits(lists)
