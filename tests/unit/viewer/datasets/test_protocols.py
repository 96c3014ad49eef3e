"""Protocols by name: counts, subsets, and no list that was made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.unit.viewer.datasets.test_aflw2000 import AFLW, POINTS
from tests.unit.viewer.datasets.test_three_hundred_w_lp import write_pair
from viewer.datasets.biwi import Biwi
from viewer.datasets.protocols import (
    BIWI_FRAMES,
    PROTOCOLS,
    biwi_person,
    protocol_subset,
)
from viewer.datasets.registry import DATASET_INFOS, SAMPLES_ROOT, open_dataset
from viewer.datasets.source import DatasetError

BIWI = Biwi("nowhere")
KEYS = tuple(f"{s:02d}/frame_{n:05d}" for s in (1, 2) for n in range(3, 8))


def test_the_published_counts() -> None:
    assert PROTOCOLS["biwi-15678"].samples == sum(BIWI_FRAMES.values()) == 15_678
    assert PROTOCOLS["biwi-13219"].samples == 13_219
    assert (BIWI_FRAMES[5], BIWI_FRAMES[17], BIWI_FRAMES[24]) == (946, 395, 492)


def test_every_frame_is_a_protocol() -> None:
    subset = protocol_subset("biwi-15678", BIWI, KEYS)
    assert subset.keys == KEYS and not subset.dropped and not subset.absent
    assert subset.notes == ("10 samples are here; the protocol has 15,678.",)
    full = [f"{s:02d}/frame_{n:05d}" for s, count in BIWI_FRAMES.items() for n in range(count)]
    assert not protocol_subset("biwi-15678", BIWI, full).notes


def test_a_list_is_asked_for_and_then_used(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"13,219 frames, one a line, such as 01/frame_00003"):
        protocol_subset("biwi-13219", BIWI, KEYS)
    path = tmp_path / "frames.txt"
    path.write_text("./02/frame_00004_rgb.png\n\n01/frame_00003\n01/frame_00900_rgb.jpg\n")
    subset = protocol_subset("biwi-13219", BIWI, KEYS, path)
    assert subset.keys == ("01/frame_00003", "02/frame_00004")
    assert subset.absent == ("01/frame_00900",) and len(subset.dropped) == 8
    assert "3 samples are in the list; the protocol has 13,219." in subset.notes


@pytest.mark.parametrize(
    ("data", "reason"), [(b"\n \n", "names no"), (b"\xff\xfe\0", "no readable")]
)
def test_a_bad_list_is_named(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "frames.txt"
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=reason):
        protocol_subset("biwi-13219", BIWI, KEYS, path)
    with pytest.raises(DatasetError, match="no readable list"):
        protocol_subset("biwi-13219", BIWI, KEYS, tmp_path / "absent.txt")
    with pytest.raises(DatasetError, match="There is no protocol"):
        protocol_subset("biwi-1", BIWI, KEYS)


def test_seventy_thirty_cuts_no_person() -> None:
    full = [f"{s:02d}/frame_{n:05d}" for s, count in BIWI_FRAMES.items() for n in range(count)]
    subset = protocol_subset("biwi-70-30", BIWI, full)
    test, train = ({biwi_person(k[:2]) for k in keys} for keys in (subset.keys, subset.dropped))
    assert (len(test), len(train)) == (6, 14) and not test & train
    assert len(subset.keys) / len(full) == pytest.approx(0.3, abs=0.01) and not subset.notes
    assert len({key[:2] for key in subset.keys}) == 8


def test_stored_angles_decide_for_aflw2000(tmp_path: Path) -> None:
    for number, yaw_deg in ((2, 98.0), (4, 100.0), (6, -351.0)):
        pose = [0.0, np.radians(yaw_deg), 0.0]
        write_pair(tmp_path / f"image{number:05d}.jpg", pose, pt2d=AFLW, pt3d_68=POINTS)
    dataset = open_dataset("aflw2000", tmp_path)
    subset = protocol_subset("aflw2000-99", dataset, dataset.list_samples().keys)
    assert subset.keys == ("image00002",) and subset.dropped == ("image00004", "image00006")
    assert subset.notes == ("1 samples are here; the protocol has 1,969.",)
    with pytest.raises(DatasetError, match="is of biwi, not of AFLW2000"):
        protocol_subset("biwi-15678", dataset, ())


@pytest.mark.parametrize(("data", "name"), [("arkitface", "arkitface-test")])
def test_a_split_is_a_protocol(data: str, name: str) -> None:
    dataset = open_dataset(data, SAMPLES_ROOT / data)
    subset = protocol_subset(name, dataset, dataset.list_samples().keys)
    assert subset.keys and all(dataset.read(key).split == "test" for key in subset.keys)
    assert all(dataset.read(key).split == "train" for key in subset.dropped[:3])


def test_people_of_synthetic_heads_that_no_training_saw() -> None:
    dataset = open_dataset("synthetic", SAMPLES_ROOT / "synthetic")
    subset = protocol_subset("synthetic-held-out", dataset, dataset.list_samples().keys)
    assert {key.split("/")[0] for key in subset.keys} == {"validation"} and not subset.notes


def test_every_protocol_says_what_it_is() -> None:
    for name, protocol in PROTOCOLS.items():
        assert protocol.name == name and protocol.dataset in DATASET_INFOS
        assert protocol.meaning.endswith(".") and len(protocol.meaning) > 60
