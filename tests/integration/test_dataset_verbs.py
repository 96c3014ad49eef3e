"""The verbs on data sets, from the command line, on the sample sets that the program ships."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from demo_app.cli import main

SAMPLES = Path(__file__).resolve().parents[2] / "assets" / "samples"


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRG_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def content(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_index_says_what_it_read_and_a_second_run_reads_nothing(
    capsys: pytest.CaptureFixture[str], data_dir: Path
) -> None:
    before = content(SAMPLES / "biwi")
    for expected in ("30 read, 0 unchanged", "0 read, 30 unchanged"):
        assert main(["index", "--dataset", "biwi", "--workers", "0"]) == 0
        said = capsys.readouterr().out
        assert "30 samples in" in said and expected in said
    assert content(SAMPLES / "biwi") == before
    assert [path for path in data_dir.rglob("*.parquet")]


def test_check_finds_a_planted_error_and_is_silent_without(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    clean = ["check", "--dataset", "biwi", "--workers", "0", "--strict"]
    assert main([*clean, "--report", str(tmp_path / "clean")]) == 0
    assert "30 samples" in capsys.readouterr().out
    root = tmp_path / "copy"
    shutil.copytree(SAMPLES / "biwi", root)
    pose = sorted(root.rglob("frame_*_pose.txt"))[3]
    lines = pose.read_text().splitlines()
    first = [-float(number) for number in lines[0].split()]
    pose.write_text("\n".join([" ".join(map(str, first)), *lines[1:]]))  # a reflection
    planted = [*clean, "--root", str(root), "--report", str(tmp_path / "planted")]
    assert main(planted) == 1
    assert (tmp_path / "planted" / "report.html").is_file()
    rows = pq.read_table(tmp_path / "planted" / "samples.parquet").to_pylist()
    stem = pose.name.removesuffix("_pose.txt")
    found = {row["key"]: row["findings"] for row in rows if row["findings"]}
    assert any(key.endswith(f"{pose.parent.name}/{stem}") for key in found)
    assert (
        main(["check", "--dataset", "biwi", "--root", str(root), "--report", str(root / "r")]) == 2
    )
    assert "where nothing is written" in capsys.readouterr().err


def test_a_model_and_lists_of_splits_add_checks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data_dir: Path
) -> None:
    lists = tmp_path / "train.txt", tmp_path / "test.txt"
    lines = (SAMPLES / "300w-lp" / "files.txt").read_text().splitlines()
    for start, path in enumerate(lists):
        path.write_text("\n".join(lines[start::2]))
    check = ["check", "--dataset", "300w-lp", "--workers", "0", "--limit", "4", "--strict"]
    check += ["--report", str(tmp_path / "report"), "--model", "trg-mini"]
    assert main(check) == 0
    said = capsys.readouterr().out
    assert "with what trg-mini says on 4 samples" in said and "0 with findings" in said
    kept = list(data_dir.rglob("trg-mini.parquet"))
    stamp = [path.stat().st_mtime_ns for path in kept]
    assert main([*check, "--splits", *map(str, lists)]) == 1
    assert "trg-mini looked at" not in capsys.readouterr().out, "its answers were kept"
    assert len(kept) == 1 and stamp <= [path.stat().st_mtime_ns for path in kept]
    rows = pq.read_table(tmp_path / "report" / "samples.parquet").to_pylist()
    assert all(row["findings"] == ["split_photo"] for row in rows) and len(rows) == 4
    assert all(row["check_model_deg"] is not None for row in rows)


def test_filelist_is_that_of_the_set(tmp_path: Path) -> None:
    out = tmp_path / "files.txt"
    root = SAMPLES / "300w-lp"
    assert main(["write-filelist", "--root", str(root), "--out", str(out)]) == 0
    lines = out.read_text().splitlines()
    pictures = sorted(path.relative_to(root).with_suffix("") for path in root.rglob("*.jpg"))
    assert sorted(lines) == sorted(f"./{path.as_posix()}" for path in pictures)


def test_boxes_of_painted_heads_lie_on_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from viewer.datasets.biwi import Biwi

    out = tmp_path / "boxes.pkl"
    arguments = ["write-boxes", "--root", str(SAMPLES / "biwi"), "--out", str(out), "--limit", "2"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "MTCNN and FaceMesh" in said and "2 of 2 frames" in said
    theirs, ours = Biwi(SAMPLES / "biwi"), Biwi(SAMPLES / "biwi", box_file=out)
    for key in ours.list_samples(2).keys:
        apart = abs(ours.read(key).box_xyxy_px - theirs.read(key).box_xyxy_px).max()
        side = theirs.read(key).box_xyxy_px[2] - theirs.read(key).box_xyxy_px[0]
        assert 0 < apart < 0.15 * side


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["index", "--dataset", "biwi", "--root", "nowhere"], "nowhere"),
        (["write-filelist"], "300W-LP is not at dataset/300W_LP"),
    ],
)
def test_what_is_not_there_is_said(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert sentence in said and "http" in said


def test_the_list_of_data_sets_names_their_places(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets"]) == 0
    said = capsys.readouterr().out
    for name in ("arkitface", "300w-lp", "aflw2000", "biwi", "mica", "synthetic"):
        assert name in said
    assert "kinect_head_pose_db/hpdb" in said
