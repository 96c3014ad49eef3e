"""The report's page and table: complete, escaped, and never in the data set's own folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from models.geometry.rotations import MIRROR_X, ypr_300wlp_from_matrix
from tests.unit.viewer.index.check_sets import FakeDataset, write_clean_set
from viewer.datasets.source import DatasetError, Problem
from viewer.index.check_report import ReportPlaceError, write_report
from viewer.index.check_table import CHECKS
from viewer.index.check_thumbs import thumbnail_jpeg
from viewer.index.checks_run import run_checks

FRAME, OTHER = "01/frame_00006", "02/frame_00005"
EVIL = "<script>alert(1)</script>"

MakeSet = Callable[[str], FakeDataset]


@pytest.fixture
def clean_set(tmp_path: Path, head_mesh: object) -> MakeSet:
    """clean_set(name) -> a set without any error."""
    return lambda name: write_clean_set(tmp_path / "data" / name, name, head_mesh)


class _Page(HTMLParser):
    """Tags that were opened, ids and links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.ids |= {values["id"]} if values.get("id") else set()
        self.links += [values[name] for name in ("href", "src") if values.get(name)]


def test_a_clean_set_has_a_short_page_that_says_so(clean_set: MakeSet, tmp_path: Path) -> None:
    files = write_report(run_checks(clean_set("biwi")), tmp_path / "out")
    page = files.page.read_text(encoding="utf-8")
    assert "Nothing found in 24 samples." in page
    assert "<section id=" not in page and "biwi &lt;imitation&gt;" in page
    assert "Nothing to check here for: " in page and "shape is improbable" in page
    assert len(page) < 60_000


def test_findings_have_pictures_numbers_and_advice(clean_set: MakeSet, tmp_path: Path) -> None:
    dataset = clean_set("biwi")
    R = dataset.details[FRAME].sample.R_cam_from_head
    dataset = dataset.with_detail(FRAME, sample__R_cam_from_head=MIRROR_X @ R @ MIRROR_X)
    source = dataset.details["00/frame_00003"].sample.image
    dataset.details[OTHER].sample.image.write_bytes(source.read_bytes())
    text = write_report(run_checks(dataset), tmp_path / "out").page.read_text(encoding="utf-8")
    page = _Page(text)
    assert {"nose_sign", "duplicate", "jump_deg"} <= page.ids
    assert all(link[1:] in page.ids for link in page.links if link.startswith("#"))
    assert "the yaw has the wrong sign" in text and "compared with" in text
    assert page.tags.count("img") >= 5
    assert all(link.startswith(("#", "data:image/jpeg;base64,")) for link in page.links)
    assert "http" not in re.sub(r'http-equiv="[^"]+"', "", text)


def test_names_from_files_are_escaped(clean_set: MakeSet, tmp_path: Path) -> None:
    dataset = clean_set("biwi")
    detail = dataset.details[FRAME]
    key = f"{EVIL}\udcff"
    evil = replace(detail, sample=replace(detail.sample, key=key, frame=None), notes=(EVIL,))
    broken = DatasetError(f"{EVIL} is damaged.")
    details = {**dataset.details, key: evil, EVIL + "2": broken}
    details.pop(FRAME)
    dataset = replace(
        dataset,
        info=replace(dataset.info, title=EVIL, licence=EVIL),
        details=details,
        problems=(Problem(EVIL, EVIL),) * 400,
        notes=(EVIL,),
    ).with_detail(key, sample__box_xyxy_px=np.array([0.0, 0.0, 9.0, 9.0]))
    files = write_report(run_checks(dataset), tmp_path / "out")
    text = files.page.read_text(encoding="utf-8")
    assert "script" not in _Page(text).tags and "&lt;script&gt;alert(1)" in text
    assert "100 more are not shown" in text and "(400)" in text
    keys = pq.read_table(files.table).column("key").to_pylist()
    assert f"{EVIL}\\udcff" in keys and len(keys) == 25


def test_the_table_has_a_row_per_sample(clean_set: MakeSet, tmp_path: Path) -> None:
    dataset = clean_set("biwi")
    broken = DatasetError("pose.txt is empty.")
    dataset = replace(dataset, details={**dataset.details, OTHER: broken})
    dataset = dataset.with_detail(FRAME, sample__box_xyxy_px=np.array([0.0, 0.0, 9.0, 9.0]))
    table = pq.read_table(write_report(run_checks(dataset), tmp_path / "out").table)
    assert {f"check_{check.name}" for check in CHECKS} <= set(table.column_names)
    rows = {row["key"]: row for row in table.to_pylist()}
    assert list(rows) == list(dataset.details)
    row, sample = rows[FRAME], dataset.details[FRAME].sample
    assert row["findings"] == ["box_iou"] and row["check_box_iou"] == 0.0
    assert row["image"] == "01/6.png" and (row["width_px"], row["height_px"]) == (320, 240)
    R = np.array([[row[f"r{i}{j}"] for j in range(3)] for i in range(3)])
    assert np.array_equal(R, sample.R_cam_from_head)
    ypr = ypr_300wlp_from_matrix(sample.R_cam_from_head)
    assert np.allclose([row["yaw_deg"], row["pitch_deg"], row["roll_deg"]], ypr)
    assert np.isclose(row["distance_mm"], np.linalg.norm(sample.t_cam_from_head_mm))
    assert row["check_betas_sd"] is None
    bad = rows[OTHER]
    assert bad["reason"] == "pose.txt is empty." and bad["findings"] == ["label_unreadable"]
    assert bad["yaw_deg"] is None and bad["check_box_iou"] is None


def test_nothing_is_written_below_the_root(clean_set: MakeSet, tmp_path: Path) -> None:
    dataset = clean_set("mica")
    result = run_checks(dataset)
    link = tmp_path / "link"
    link.symlink_to(dataset.root, target_is_directory=True)
    before = sorted(dataset.root.rglob("*"))
    for place in (dataset.root, dataset.root / "report", link / "a" / "b"):
        with pytest.raises(ReportPlaceError, match="own folder, where nothing is written"):
            write_report(result, place)
    assert sorted(dataset.root.rglob("*")) == before
    blocked = tmp_path / "a file"
    blocked.write_text("x")
    with pytest.raises(ReportPlaceError, match="cannot be made"):
        write_report(result, blocked / "report")


def test_a_report_replaces_the_last_one_whole(clean_set: MakeSet, tmp_path: Path) -> None:
    result = run_checks(clean_set("mica"))
    for _ in range(2):
        files = write_report(result, tmp_path / "out")
    assert sorted(p.name for p in files.page.parent.iterdir()) == ["report.html", "samples.parquet"]


def test_an_empty_or_stopped_run_is_not_called_clean(clean_set: MakeSet, tmp_path: Path) -> None:
    dataset = clean_set("mica")
    empty = run_checks(replace(dataset, details={}))
    page = write_report(empty, tmp_path / "empty").page.read_text(encoding="utf-8")
    assert "No sample was checked." in page and "Nothing found" not in page
    stopped = replace(run_checks(dataset), is_complete=False, listed=90)
    page = write_report(stopped, tmp_path / "stopped").page.read_text(encoding="utf-8")
    assert "Stopped after 4 of 90." in page


def test_a_thumbnail_shows_the_head_and_follows_the_label(clean_set: MakeSet) -> None:
    dataset = clean_set("biwi")
    plain = thumbnail_jpeg(dataset, FRAME, "duplicate")
    assert plain is not None and plain[:2] == b"\xff\xd8"
    assert thumbnail_jpeg(dataset, FRAME, "nose_sign") != plain
    dataset.details[FRAME].sample.image.unlink()
    assert thumbnail_jpeg(dataset, FRAME, "nose_sign") is None
    mesh_only = dataset.with_detail(FRAME, sample__image=None)
    assert thumbnail_jpeg(mesh_only, FRAME, "jaw_deg") is not None
    assert thumbnail_jpeg(clean_set("mica"), "STIRLING/0", "jaw_deg") is None
    far = dataset.with_detail(OTHER, sample__box_xyxy_px=np.array([1e9, 1e9, 2e9, 2e9]))
    assert thumbnail_jpeg(far, OTHER, "box_iou") is not None
    odd = dataset.with_detail(OTHER, sample__R_cam_from_head=np.full((3, 3), np.nan))
    assert thumbnail_jpeg(odd, OTHER, "rotation") is not None
