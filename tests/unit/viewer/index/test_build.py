"""Building an index: what is in it, what is read again, what a killed build leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from models.geometry.rotations import about_y, matrix_from_ypr_300wlp
from tests.unit.viewer.index.fake_heads import FakeHeads, write_head, write_heads
from viewer.datasets.registry import SAMPLES_ROOT, open_dataset
from viewer.index.build import BuildError, build_index, index_folder
from viewer.index.build_rows import SAMPLE_CHECKS, SET_CHECKS
from viewer.index.check_table import CHECKS
from viewer.index.predictions import Prediction, write_predictions
from viewer.index.query import Filters, Index, IndexMissingError, Sort

REPOSITORY = Path(__file__).resolve().parents[4]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "heads"
    write_heads(folder, 40)
    return folder


def rows_of(folder: Path) -> list[dict[str, object]]:
    return Index(folder).page(Filters(), Sort(), offset=0, limit=1000)


def test_a_row_says_what_the_sample_says(root: Path, tmp_path: Path) -> None:
    report = build_index(FakeHeads(root), tmp_path / "index", workers=0)
    assert (report.rows, report.read, report.unchanged, report.is_complete) == (40, 40, 0, True)
    row = Index(tmp_path / "index").row("S0/walk1/Frame_00002")
    assert row is not None
    angles = [row[name] for name in ("yaw_deg", "pitch_deg", "roll_deg")]
    np.testing.assert_allclose(angles, [-6, -5, 0], atol=1e-9)
    R = np.array([row[f"r{i}{j}"] for i in range(3) for j in range(3)]).reshape(3, 3)
    np.testing.assert_allclose(R, matrix_from_ypr_300wlp(-6.0, -5.0, 0.0), atol=1e-12)
    assert row["image"] == "S0/walk1/Frame_00002.png"
    assert [row[n] for n in ("width_px", "height_px", "frame")] == [64, 48, 2]
    assert [row[n] for n in ("fx_px", "fy_px", "cx_px", "cy_px")] == [60.0, 61.0, 32.0, 24.0]
    assert [row[n] for n in ("box_left_px", "box_bottom_px", "box_side_px")] == [10.0, 36.0, 30.0]
    t_mm = [row[n] for n in ("tx_mm", "ty_mm", "tz_mm")]
    assert row["distance_mm"] == pytest.approx(np.linalg.norm(t_mm))
    assert [row[n] for n in ("split", "subject", "sequence", "grp")] == [
        "train",
        "S0",
        "walk1",
        "S0",
    ]
    assert row["check_picture_missing"] == 0.0 and row["check_depth_mm"] is None
    assert row["has_mesh"] is False and row["reason"] == ""


def test_worker_processes_give_the_same_rows(root: Path, tmp_path: Path) -> None:
    build_index(FakeHeads(root), tmp_path / "alone", workers=0)
    seen: list[tuple[int, int]] = []
    build_index(
        FakeHeads(root), tmp_path / "two", workers=2, progress=lambda *now: seen.append(now)
    )
    assert rows_of(tmp_path / "two") == rows_of(tmp_path / "alone")
    assert seen[0] == (0, 40) and seen[-1] == (40, 40)


def test_only_what_has_changed_is_read_again(root: Path, tmp_path: Path) -> None:
    folder, log = tmp_path / "index", tmp_path / "log"
    build_index(FakeHeads(root), folder, workers=0)
    changed, gone = "S0/walk0/Frame_00003", "S0/walk2/Frame_00001"
    write_head(root, changed, (50.0, 0.0, 0.0), 77)
    write_head(root, "S0/walk9/Frame_00001", (1.0, 2.0, 3.0), 78)
    (root / f"{gone}.json").unlink()
    report = build_index(FakeHeads(root, log), folder, workers=0)
    assert sorted(log.read_text().split()) == [changed, "S0/walk9/Frame_00001"]
    assert (report.rows, report.read, report.unchanged) == (40, 2, 38)
    build_index(FakeHeads(root), tmp_path / "anew", workers=0)
    assert rows_of(folder) == rows_of(tmp_path / "anew")
    assert Index(folder).row(gone) is None
    assert build_index(FakeHeads(root), folder, workers=0, fresh=True).read == 40


def test_comparisons_are_made_anew(root: Path, tmp_path: Path) -> None:
    """The frame behind a new jump has not changed itself, and its score has."""
    folder = tmp_path / "index"
    build_index(FakeHeads(root), folder, workers=0)
    jumping, key = Filters(findings=("jump_deg",)), "S0/walk1/Frame_00004"
    assert Index(folder).count(jumping) == 0
    write_head(root, key, (80.0, -5.0, 0.0), 5)
    build_index(FakeHeads(root), folder, workers=0)
    assert key in Index(folder).keys(jumping, Sort())
    write_head(root, key, (0.0, -5.0, 0.0), 5)
    build_index(FakeHeads(root), folder, workers=0)
    assert Index(folder).count(jumping) == 0


def test_what_a_model_said_is_compared_with_the_labels(root: Path, tmp_path: Path) -> None:
    """The model that was run last; also where no file of the data set has changed."""
    folder, key = tmp_path / "index", "S0/walk1/Frame_00004"
    build_index(FakeHeads(root), folder, workers=0)
    before = Index(folder).row(key)
    R = np.array([before[f"r{i}{j}"] for i in range(3) for j in range(3)]).reshape(3, 3)
    write_predictions(folder, "older", [Prediction(key, about_y(80.0) @ R)])
    time.sleep(0.01)
    said = [Prediction(key, about_y(30.0) @ R), Prediction("S0/walk1/Frame_00001", None)]
    write_predictions(folder, "a-model", said)
    report = build_index(FakeHeads(root), folder, workers=0)
    assert (report.read, report.unchanged) == (0, 40)
    assert Index(folder).keys(Filters(findings=("model_deg",)), Sort()) == [key]
    assert Index(folder).row(key)["check_model_deg"] == pytest.approx(30.0)
    assert "The labels are compared with what a-model says on 1 samples." in report.notes
    (folder / "predictions" / "a-model.parquet").write_bytes(b"damaged")
    report = build_index(FakeHeads(root), folder, workers=0)
    assert [problem.file for problem in report.problems] == ["predictions"]
    assert Index(folder).count(Filters(findings=("model_deg",))) == 0


def test_the_listing_is_reported_before_the_reading(root: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    dataset = open_dataset("aflw2000", SAMPLES_ROOT / "aflw2000")
    build_index(dataset, tmp_path / "i", workers=0, limit=3, progress=lambda *n: seen.append(n))
    assert seen[0] == (0, None) and seen[-1] == (3, 3)


def test_what_cannot_be_read_is_listed_and_found(root: Path, tmp_path: Path) -> None:
    key = "S0/walk0/Frame_00002"
    (root / f"{key}.json").write_text("{")
    (root / "S0/walk0/Frame_00003.png").unlink()
    (root / "x.odd").touch()
    report = build_index(FakeHeads(root), tmp_path / "index", workers=0)
    index = Index(tmp_path / "index")
    assert index.keys(Filters(findings=("label_unreadable",)), Sort()) == [key]
    assert index.keys(Filters(findings=("picture_missing",)), Sort()) == ["S0/walk0/Frame_00003"]
    assert [p.file for p in report.problems] == ["x.odd", key, "S0/walk0/Frame_00003"]
    summary = index.summary()
    assert summary.problem_count == 3 and summary.problems[0] == ("x.odd", "It is odd.")
    assert "damaged" in summary.problems[1][1]
    assert summary.notes[0] == "A made-up layout."
    assert summary.findings["label_unreadable"] == summary.findings["picture_missing"] == 1


def test_a_stopped_build_leaves_the_old_index_and_goes_on(root: Path, tmp_path: Path) -> None:
    folder, log = tmp_path / "index", tmp_path / "log"
    build_index(FakeHeads(root), folder, workers=0, limit=3)
    assert Index(folder).summary().is_limited
    write_heads(root, 200)
    done: list[int] = []
    stopped = build_index(
        FakeHeads(root),
        folder,
        workers=0,
        progress=lambda n, _: done.append(n),
        should_stop=lambda: done[-1] >= 128,
    )
    assert not stopped.is_complete and len(rows_of(folder)) == 3
    report = build_index(FakeHeads(root, log), folder, workers=0)
    assert report.is_complete and report.rows == 200
    assert len(log.read_text().split()) == 200 - 128
    assert not (folder / "parts").exists()


def test_a_listing_can_be_stopped(tmp_path: Path) -> None:
    dataset = open_dataset("300w-lp", SAMPLES_ROOT / "300w-lp")
    asked: list[int] = []
    stopped = build_index(
        dataset,
        tmp_path / "index",
        workers=0,
        progress=lambda n, _: asked.append(n),
        should_stop=lambda: True,
    )
    assert not stopped.is_complete and stopped.rows == 0
    assert asked == [0]
    assert build_index(dataset, tmp_path / "index", workers=0).is_complete


BUILD = """
import sys
from pathlib import Path
from tests.unit.viewer.index.fake_heads import FakeHeads
import viewer.index.build as build
build.PART_ROWS, build.PART_S, build.TASK_KEYS = 8, 0.1, 4
if __name__ == "__main__":
    root, folder, log = map(Path, sys.argv[1:])
    build.build_index(FakeHeads(root, log, 0.02), folder, workers=2)
"""


def is_alive(process_id: int) -> bool:
    try:
        status = Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return status != "Z"


def children_of(process_id: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == process_id:
            found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_killed_build_goes_on_and_is_never_half_read(root: Path, tmp_path: Path) -> None:
    folder, log, script = tmp_path / "index", tmp_path / "log", tmp_path / "build_it.py"
    build_index(FakeHeads(root), folder, workers=0)
    before = rows_of(folder)
    keys = write_heads(root, 400)
    log.touch()
    script.write_text(BUILD)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, str(script), str(root), str(folder), str(log)]
    process = subprocess.Popen(command, env=environment, cwd=REPOSITORY)
    deadline_s = time.monotonic() + 120
    while len(list(folder.glob("parts/*.parquet"))) < 3 and time.monotonic() < deadline_s:
        assert process.poll() is None and len(rows_of(folder)) == 40
        time.sleep(0.02)
    workers = children_of(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    stored = sum(pq.read_metadata(path).num_rows for path in folder.glob("parts/*.parquet"))
    assert 12 <= stored < 400 and workers
    assert rows_of(folder) == before
    while any(map(is_alive, workers)) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not any(map(is_alive, workers)), "workers outlived the build"
    (folder / "index.parquet.0.partial").write_bytes(b"half")
    log.write_text("")
    report = build_index(FakeHeads(root, log), folder, workers=0)
    assert report.rows == 400 and report.is_complete
    assert len(log.read_text().split()) == report.read == 400 - stored
    build_index(FakeHeads(root), tmp_path / "anew", workers=0)
    assert rows_of(folder) == rows_of(tmp_path / "anew")
    assert [row["key"] for row in rows_of(folder)] == sorted(keys)
    assert not list(folder.glob("*.partial")) and len(list(folder.glob("rows-*.arrow"))) == 1


def test_two_builds_of_one_folder_do_not_mix(root: Path, tmp_path: Path) -> None:
    inside = threading.Event()
    go_on = threading.Event()

    def wait(_done: int, _total: int) -> None:
        inside.set()
        go_on.wait(60)

    first = threading.Thread(
        target=build_index,
        args=(FakeHeads(root), tmp_path / "index"),
        kwargs={"workers": 0, "progress": wait},
    )
    first.start()
    assert inside.wait(60)
    with pytest.raises(BuildError, match="Another process"):
        build_index(FakeHeads(root), tmp_path / "index", workers=0)
    go_on.set()
    first.join(60)
    assert len(rows_of(tmp_path / "index")) == 40


def test_nothing_is_written_below_the_root(root: Path, tmp_path: Path) -> None:
    before = sorted(root.rglob("*"))
    with pytest.raises(BuildError, match="own folder"):
        build_index(FakeHeads(root), root / "index", workers=0)
    build_index(FakeHeads(root), index_folder(tmp_path, "biwi", root), workers=0)
    assert sorted(root.rglob("*")) == before


def test_an_empty_data_set_gives_an_empty_index(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    build_index(FakeHeads(tmp_path / "none"), tmp_path / "index", workers=0)
    index = Index(tmp_path / "index")
    assert index.count(Filters()) == 0 and rows_of(tmp_path / "index") == []
    assert index.summary().rows == 0 and index.distinct("split") == []


def test_a_damaged_index_is_missing_and_is_built_again(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    with pytest.raises(IndexMissingError, match="build it"):
        Index(folder)
    build_index(FakeHeads(root), folder, workers=0)
    path = folder / "index.parquet"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(IndexMissingError):
        Index(folder)
    assert build_index(FakeHeads(root), folder, workers=0).read == 40
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + bytes(len(whole) // 2) + whole[len(whole) // 2 + 4 :])
    with pytest.raises(IndexMissingError, match="build it again"):
        Index(folder)
    path.write_bytes(whole)
    next(folder.glob("rows-*.arrow")).unlink()
    with pytest.raises(IndexMissingError):
        Index(folder)
    (folder / "problems.json").write_text(json.dumps([1]))
    build_index(FakeHeads(root), folder, workers=0)
    assert len(rows_of(folder)) == 40


def test_every_check_is_of_one_kind() -> None:
    assert {*SAMPLE_CHECKS} | SET_CHECKS == {check.name for check in CHECKS}
