"""The data sets' own lists: sorted, bounded, and read back."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tests.unit.viewer.datasets.test_three_hundred_w_lp import POINTS, write_pair
from viewer.datasets.file_lists import arkitface_csv, write_files_txt
from viewer.datasets.source import DatasetError
from viewer.datasets.three_hundred_w_lp import ThreeHundredWLp


def test_files_txt_is_sorted_and_bounded(tmp_path: Path) -> None:
    for name, angle_deg in (("b/x_1", 98.9), ("a/x_2", -12.0), ("a/x_1", 5.0), ("a/x_0", -99.2)):
        write_pair(tmp_path / f"{name}.jpg", [0.0, 0, np.radians(angle_deg)], pt2d=POINTS)
    write_pair(tmp_path / "a" / "x_3.jpg", [0.0, 0, 0], pt2d=POINTS)
    (tmp_path / "a" / "x_3.jpg").unlink()
    out = tmp_path / "files.txt"
    report = write_files_txt(tmp_path, out)
    assert out.read_bytes() == b"./a/x_1\n./a/x_2\n./b/x_1", "no line end after the last line"
    assert report.written == 3
    assert [problem.file for problem in report.problems] == ["a/x_0.mat", "a/x_3.jpg"]
    assert ThreeHundredWLp(tmp_path).list_samples().keys == ("a/x_1", "a/x_2", "b/x_1")
    assert not list(tmp_path.glob("*.partial"))
    seen: list[int] = []
    assert write_files_txt(tmp_path, out, 2, lambda done, _: seen.append(done)).written == 2
    assert out.read_bytes() == b"./a/x_1\n./a/x_2" and seen


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no pair"):
        write_files_txt(tmp_path, tmp_path / "files.txt")
    write_pair(tmp_path / "x_1.jpg", [0.0, 0, 0], pt2d=POINTS)
    with pytest.raises(DatasetError, match="cannot be written"):
        write_files_txt(tmp_path, tmp_path / "absent" / "files.txt")


def test_arkitface_rows_come_back() -> None:
    text = arkitface_csv(["train/000123/09_A/161", "000124/01_B/162"])
    assert list(csv.DictReader(text.splitlines())) == [
        {"subject_id": "000123", "facial_action": "09_A", "img_id": "161"},
        {"subject_id": "000124", "facial_action": "01_B", "img_id": "162"},
    ]
