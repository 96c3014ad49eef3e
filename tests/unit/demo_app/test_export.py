"""Rows, files that appear whole, the log of a long job, and names that never collide."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from demo_app.inference import export
from demo_app.inference.export import (
    ROW_KEYS,
    ExportError,
    RowLog,
    csv_columns,
    read_row_log,
    rows_from_result,
    write_csv,
    write_json,
    write_parquet,
)
from demo_app.inference.output_names import output_names, safe_stem
from demo_app.inference.records import FacePose, FrameResult
from models.estimator import HeadPose
from models.geometry.cameras import Camera
from models.geometry.rotations import matrix_from_ypr_300wlp

K = np.array([[700.0, 0, 320.5], [0, 710.0, 240.25], [0, 0, 1]])
KEYS_OF_THE_FORMAT = [
    "source",
    "frame_index",
    "time_s",
    "track_id",
    "box_xyxy_px",
    "confidence",
    "yaw_deg",
    "pitch_deg",
    "roll_deg",
    "R_cam_from_head",
    "t_cam_from_head_mm",
    "K_image_from_cam",
    "uncertainty_deg",
    "rotation_covariance_cam_rad2",
    "t_sigma_mm",
    "model",
]


def _face(track_id: int = 1, yaw_deg: float = 20.0, **changes: object) -> FacePose:
    values = {
        "R_cam_from_head": matrix_from_ypr_300wlp(yaw_deg, -10.0, 5.0),
        "t_cam_from_head_mm": np.array([12.5, -30.0, 600.0]),
        "K_image_from_cam": K,
        "box_xyxy_px": np.array([-3.5, 10.0, 200.25, 240.0], np.float32),
        "confidence": 0.75,
        "uncertainty_deg": 2.5,
        "uncertainty_source": "test-time jitter",
        "vertices_head_m": np.zeros((4, 3)),
        "landmarks_68_head_m": np.zeros((68, 3)),
        "model": "trg-mini",
    }
    pose = HeadPose(**(values | changes))
    return FacePose(track_id, pose, pose)


def _result(*faces: FacePose, source: str = "a/x.jpg", frame_index: int = 7) -> FrameResult:
    return FrameResult(source, frame_index, frame_index / 25, Camera(K, (640, 480)), faces, True)


def test_a_row_has_exactly_the_keys_and_plain_values() -> None:
    (row,) = rows_from_result(_result(_face()))
    assert list(row) == KEYS_OF_THE_FORMAT == list(ROW_KEYS)
    assert row["source"] == "a/x.jpg" and row["model"] == "trg-mini"
    assert (row["frame_index"], row["time_s"], row["track_id"]) == (7, 0.28, 1)
    assert row["yaw_deg"] == pytest.approx(20) and row["pitch_deg"] == pytest.approx(-10)
    assert row["roll_deg"] == pytest.approx(5)
    assert row["box_xyxy_px"] == [-3.5, 10.0, 200.25, 240.0]
    assert row["t_cam_from_head_mm"] == [12.5, -30.0, 600.0]
    assert row["K_image_from_cam"] == K.tolist()
    assert row["R_cam_from_head"] == matrix_from_ypr_300wlp(20.0, -10.0, 5.0).tolist()
    assert row["confidence"] == 0.75 and row["uncertainty_deg"] == 2.5
    assert {key for key, value in row.items() if value is None} == {
        "rotation_covariance_cam_rad2",
        "t_sigma_mm",
    }
    assert {type(value) for value in row.values()} == {str, int, float, list, type(None)}
    assert json.loads(export.json_line(row)) == row


def test_the_shown_pose_is_exported_not_the_raw_one() -> None:
    shown, raw = _face(yaw_deg=20.0).pose, _face(yaw_deg=40.0).pose
    (row,) = rows_from_result(_result(FacePose(3, shown, raw)))
    assert row["yaw_deg"] == pytest.approx(20)


def test_faces_keep_their_order_and_none_is_fine() -> None:
    rows = rows_from_result(_result(_face(5), _face(2)))
    assert [row["track_id"] for row in rows] == [5, 2]
    assert rows_from_result(_result()) == []


def test_numbers_that_are_not_finite() -> None:
    (row,) = rows_from_result(_result(_face(uncertainty_deg=float("nan"))))
    assert row["uncertainty_deg"] is None
    for name, value in [
        ("t_cam_from_head_mm", np.array([0.0, np.inf, 1.0])),
        ("confidence", float("nan")),
        ("box_xyxy_px", np.array([0, 0, np.nan, 1.0])),
    ]:
        with pytest.raises(ExportError, match=f"Face 4 of frame 7 of a/x.jpg has a {name}"):
            rows_from_result(_result(_face(4, **{name: value})))


def test_a_file_name_that_is_no_unicode_can_be_written(tmp_path: Path) -> None:
    rows = rows_from_result(_result(_face(), source="caf\udce9 \ud800 日本.jpg"))
    assert rows[0]["source"] == "caf? ? 日本.jpg"
    for name, write in export.WRITERS.items():
        write(rows, tmp_path / f"x.{name}")


@pytest.fixture
def rows() -> list[export.Row]:
    """Three rows, the last without a known uncertainty."""
    unknown = _face(2, -30.0, uncertainty_deg=math.inf)
    first = _result(_face(1), _face(2, 35.0), source='a, "b"\n.jpg')
    return rows_from_result(first) + rows_from_result(_result(unknown, frame_index=8))


def test_json(rows: list[export.Row], tmp_path: Path) -> None:
    write_json(iter(rows), tmp_path / "new" / "x.json")
    text = (tmp_path / "new" / "x.json").read_text("utf-8")
    assert json.loads(text) == rows and "NaN" not in text and "Infinity" not in text
    write_json([], tmp_path / "none.json")
    assert json.loads((tmp_path / "none.json").read_text()) == []


def test_what_the_network_says_of_its_errors_goes_into_every_format(tmp_path: Path) -> None:
    covariance = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]]) * 1e-4
    sure = _face(rotation_covariance_cam=covariance, t_sigma_mm=np.array([1.0, 2.0, 9.0]))
    rows = rows_from_result(_result(sure)) + rows_from_result(_result(_face(2)))
    assert rows[0]["rotation_covariance_cam_rad2"] == covariance.tolist()
    assert rows[1]["rotation_covariance_cam_rad2"] is rows[1]["t_sigma_mm"] is None
    write_csv(rows, tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert float(first["rotation_covariance_cam_12_rad2"]) == pytest.approx(2e-5)
    assert (first["t_sigma_z_mm"], second["t_sigma_z_mm"]) == ("9.0", "")
    assert second["model"] == "trg-mini"
    write_parquet(rows, tmp_path / "x.parquet")
    read = pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert read[0]["t_sigma_mm"] == [1.0, 2.0, 9.0] and read[1]["t_sigma_mm"] is None


def test_csv(rows: list[export.Row], tmp_path: Path) -> None:
    write_csv(rows, tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == csv_columns() and len(read) == 3
    for got, row in zip(read, rows, strict=True):
        assert got["source"] == row["source"]
        R = [float(got[f"R_cam_from_head_{r}{c}"]) for r in range(3) for c in range(3)]
        assert np.ravel(row["R_cam_from_head"]).tolist() == R
        t_mm = [float(got[f"t_cam_from_head_{axis}_mm"]) for axis in "xyz"]
        assert t_mm == row["t_cam_from_head_mm"]
        assert [float(got[k]) for k in ("fx_px", "fy_px", "cx_px", "cy_px")] == [
            700.0,
            710.0,
            320.5,
            240.25,
        ]
        box = [float(got[f"box_{k}_px"]) for k in ("x_min", "y_min", "x_max", "y_max")]
        assert box == row["box_xyxy_px"]
    assert read[0]["uncertainty_deg"] == "2.5" and read[2]["uncertainty_deg"] == ""


def test_parquet(rows: list[export.Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "PARQUET_ROWS_PER_GROUP", 2)
    write_parquet(iter(rows), tmp_path / "x.parquet")
    file = pq.ParquetFile(tmp_path / "x.parquet")
    assert file.num_row_groups == 2 and file.read().to_pylist() == rows
    assert file.schema_arrow.names == list(ROW_KEYS)
    write_parquet([], tmp_path / "none.parquet")
    empty = pq.read_table(tmp_path / "none.parquet")
    assert empty.num_rows == 0 and empty.schema.names == list(ROW_KEYS)


@pytest.mark.parametrize("name", list(export.WRITERS))
def test_a_failure_leaves_the_old_file_and_no_litter(
    name: str, rows: list[export.Row], tmp_path: Path
) -> None:
    path = tmp_path / f"x.{name}"
    export.WRITERS[name](rows, path)
    before = path.read_bytes()

    def failing() -> object:
        yield from rows
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export.WRITERS[name](failing(), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    export.WRITERS[name](rows[:1], path)
    assert path.read_bytes() != before and list(tmp_path.iterdir()) == [path]


def test_json_refuses_nan_rather_than_writing_it(tmp_path: Path, rows: list[export.Row]) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json([rows[0] | {"yaw_deg": math.nan}], tmp_path / "x.json")
    assert not list(tmp_path.iterdir())


# --- the log of a long job


def test_the_log_is_on_disk_after_every_append(rows: list[export.Row], tmp_path: Path) -> None:
    log = RowLog(tmp_path / "job" / "rows.jsonl")
    log.append(rows[:2])
    log.append([])
    assert list(read_row_log(log.path)) == rows[:2]
    log.append(rows[2:])
    assert list(log.rows()) == rows
    log.close()
    with RowLog(log.path, resume=True) as again:
        again.append(rows[:1])
    assert list(read_row_log(log.path)) == [*rows, rows[0]]
    with RowLog(log.path):
        assert list(read_row_log(log.path)) == []


def test_a_killed_process_keeps_its_rows(rows: list[export.Row], tmp_path: Path) -> None:
    """SIGKILL in the middle of a line: whole lines stay, the torn one is dropped and replaced."""
    path = tmp_path / "rows.jsonl"
    code = (
        "import json, sys, time; from pathlib import Path\n"
        "from demo_app.inference.export import RowLog\n"
        "log = RowLog(Path(sys.argv[1])); rows = json.loads(sys.stdin.readline())\n"
        'log.append(rows); log._file.write(b\'{"source": "torn\'); log._file.flush()\n'
        "print('written', flush=True); time.sleep(60)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        text=True,
    )
    child.stdin.write(json.dumps(rows) + "\n")
    child.stdin.flush()
    assert child.stdout.readline() == "written\n"
    child.kill()
    child.communicate()
    assert list(read_row_log(path)) == rows
    with RowLog(path, resume=True) as log:
        log.append(rows[:1])
    assert list(read_row_log(path)) == [*rows, rows[0]]


def test_a_log_of_one_torn_line_only(tmp_path: Path, rows: list[export.Row]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"torn": "' + b"x" * 200_000)
    with RowLog(path, resume=True) as log:
        log.append(rows)
        assert list(log.rows()) == rows


def test_a_damaged_line_is_named(tmp_path: Path, rows: list[export.Row]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(export.json_line(rows[0]) + b"\nnot json\n")
    with pytest.raises(ExportError, match=r"Line 2 of rows\.jsonl"):
        list(read_row_log(path))


def test_the_log_becomes_files(tmp_path: Path, rows: list[export.Row]) -> None:
    with RowLog(tmp_path / "rows.jsonl") as log:
        log.append(rows)
        paths = log.write_all(tmp_path / "out" / "v1.5", ["json", "csv", "parquet"])
        with pytest.raises(ExportError, match="Unknown format xls: use json, csv, parquet"):
            log.write_all(tmp_path / "out" / "x", ["json", "xls"])
    assert [p.name for p in paths] == ["v1.5.json", "v1.5.csv", "v1.5.parquet"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(p.name for p in paths)
    assert json.loads(paths[0].read_bytes()) == rows
    assert pq.read_table(paths[2]).to_pylist() == rows


def test_a_long_log_is_streamed(
    tmp_path: Path, rows: list[export.Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory while writing does not grow with the number of rows."""
    monkeypatch.setattr(export, "PARQUET_ROWS_PER_GROUP", 64)
    peaks_bytes = []
    with RowLog(tmp_path / "rows.jsonl") as log:
        for count in (60, 600):
            for _ in range(count):
                log.append(rows[:2])
            tracemalloc.start()
            log.write_all(tmp_path / "video", list(export.WRITERS))
            peaks_bytes.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert pq.ParquetFile(tmp_path / "video.parquet").metadata.num_rows == 1320
    assert peaks_bytes[1] < 1.5 * peaks_bytes[0]


# --- names


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["a/x.jpg"], ["x"]),
        (["a/x.jpg", "b/y.jpg"], ["x", "y"]),
        (["a/x.jpg", "b/x.jpg", "y.jpg"], ["a_x_jpg", "b_x_jpg", "y"]),
        (["x.jpg", "x.png"], ["x_jpg", "x_png"]),
        (["x.jpg", "X.JPG"], ["x_jpg", "X_JPG_2"]),
        (["x.jpg", "./x.jpg", "x.jpg"], ["x_jpg", "x_jpg_2", "x_jpg_3"]),
        (["x.jpg", "x.png", "x_jpg.webp"], ["x_jpg", "x_png", "x_jpg_webp"]),
        (["x.jpg", "x.jpg", "x_jpg_2.png"], ["x_jpg", "x_jpg_3", "x_jpg_2"]),
        (["1/a/x.jpg", "2/a/x.jpg"], ["1_a_x_jpg", "2_a_x_jpg"]),
        (["é.jpg", "e\u0301.png"], ["é_jpg", "é_png"]),
        (["", "/", ".."], ["input", "input_2", "input_3"]),
    ],
)
def test_output_names(inputs: list[str], expected: list[str]) -> None:
    names = output_names(inputs)
    # What stays alike may differ from the expectation in which of the equals got the number.
    assert names == expected
    assert output_names([Path(p) if p else p for p in inputs][:0]) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot"),
        ("/", "input"),
        ("...", "input"),
        (".bashrc", "bashrc"),
        ("a\0b.jpg", "a_b"),
        ("CON.jpg", "_CON"),
        ("com1", "_com1"),
        ("lpt².tar.gz", "_lpt².tar"),
        ("console.jpg", "console"),
        ("-rf.jpg", "rf"),
        ('a<b>:"|?*.jpg', "a_b______"),
        ("trailing. .jpg", "trailing"),
        ("日本 ünïcode.jpg", "日本 ünïcode"),
        ("right\u202eleft.jpg", "right_left"),
        ("v1.5.mp4", "v1.5"),
        ("\ud800.jpg", "_"),
    ],
)
def test_safe_stem(name: str, expected: str) -> None:
    assert safe_stem(name) == expected


def test_long_names_are_cut_between_characters() -> None:
    for name in ("x" * 500, "日" * 200):
        assert 100 < len(safe_stem(name).encode()) <= 120
    names = output_names([f"{'x' * 300}{i}.jpg" for i in range(12)])
    assert len(set(names)) == 12 and max(len(n.encode()) for n in names) < 130


_NASTY = st.text(st.sampled_from("aAbBéÉſsßxX1_./\\ -:.\u0301\u202e\0"), max_size=9)


@given(st.lists(_NASTY, max_size=8))
@example(["ß.jpg", "ss.jpg", "SS.png"])
@example(["a.jpg", "a_2.jpg", "a.jpg", "A.jpg"])
def test_names_are_always_different_and_never_paths(inputs: list[str]) -> None:
    names = output_names(inputs)
    assert len(names) == len(inputs) == len({n.casefold() for n in names})
    assert names == output_names(inputs)
    for name in names:
        assert name and name not in (".", "..") and not set(name) & set('/\\\0:<>"|?*')
        assert not name.startswith((".", "-")) and Path("out", name).parent == Path("out")
