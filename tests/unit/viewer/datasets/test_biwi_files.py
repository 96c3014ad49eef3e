"""BIWI's own files: what is written is read back; truncated and hostile files are refused."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from viewer.datasets.biwi_files import (
    MAX_DEPTH_PIXELS,
    depth_points_mm,
    read_calibration,
    read_depth,
    read_old_annotation,
    read_scan,
)
from viewer.datasets.source import DatasetError
from viewer.synthesis.biwi_set import DEPTH_CAMERA, write_calibration, write_depth


def test_the_real_depth_uses_up_its_bytes(shared_data: Path) -> None:
    path = shared_data / "samples" / "biwi" / "hpdb" / "01" / "frame_00003_depth.bin"
    assert path.stat().st_size == 116_280
    depth = read_depth(path)
    measured = depth.depth_mm[depth.depth_mm > 0]
    assert (depth.depth_mm.shape, depth.runs) == ((480, 640), 450)
    assert (measured.size, measured.min(), measured.max()) == (56_336, 782, 997)
    assert 8 + 8 * depth.runs + 2 * measured.size == 116_280


@pytest.mark.parametrize("seed", range(3))
def test_depth_is_read_back(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    depth_mm = (rng.integers(1, 3000, (24, 32)) * (rng.random((24, 32)) < 0.5)).astype(np.int16)
    depth_mm[0, 0], depth_mm[-1, -1] = seed, 5 * (seed - 1)
    write_depth(tmp_path / "d.bin", depth_mm)
    assert (read_depth(tmp_path / "d.bin").depth_mm == depth_mm).all()


def test_depth_points_project_to_their_pixels() -> None:
    depth_mm = np.zeros((240, 320), np.int16)
    depth_mm[100, 17], depth_mm[3, 300] = 900, 1200
    points = depth_points_mm(depth_mm, DEPTH_CAMERA)
    assert np.allclose(points[:, 2], [1200, 900])
    assert np.allclose(DEPTH_CAMERA.project(points), [[300.5, 3.5], [17.5, 100.5]])


def header(width: int, height: int, *runs: int) -> bytes:
    return struct.pack(f"<{2 + len(runs)}i", width, height, *runs)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no width and height"),
        (header(4, 2)[:6], "no width and height"),
        (header(4, 2), "cut short at pixel 0 of 8"),
        (header(4, 2, 3, 5) + b"\1\0" * 4, "cut short at pixel 3 of 8"),
        (header(4, 2, 3, 4) + b"\1\0" * 4 + b"\0\0\0", "cut short at pixel 7"),
        (header(4, 2, 3, 5) + b"\1\0" * 6, "2 bytes behind"),
        (header(4, 2, 9, 0), "leaves the image"),
        (header(4, 2, 0, 2**31 - 1), "leaves the image"),
        (header(4, 2, -1, 5) + b"\1\0" * 5, "leaves the image"),
        (header(4, 2, 4, -4), "leaves the image"),
        (header(2**31 - 1, 2**31 - 1, 0, 0), "no depth image"),
        (header(8192, 8192), "no depth image"),
        (header(0, 5), "no depth image"),
        (header(-640, -480), "no depth image"),
        (header(1, 1) + bytes(200), "more bytes than"),
    ],
)
def test_hostile_depth_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "frame_00003_depth.bin"
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=reason):
        read_depth(path)


def test_every_cut_of_a_depth_file_is_refused(tmp_path: Path) -> None:
    depth_mm = np.array([[0, 5, 0], [7, 7, 0]], np.int16)
    write_depth(tmp_path / "d.bin", depth_mm)
    data = (tmp_path / "d.bin").read_bytes()
    for size in range(len(data)):
        (tmp_path / "d.bin").write_bytes(data[:size])
        with pytest.raises(DatasetError):
            read_depth(tmp_path / "d.bin")


def test_memory_follows_the_checked_size(tmp_path: Path) -> None:
    path, wide = tmp_path / "d.bin", 2048
    path.write_bytes(header(wide, MAX_DEPTH_PIXELS // wide, 0, 2**31 - 1))
    huge = tmp_path / "huge.bin"
    with huge.open("wb") as file:
        file.write(header(64, 48))
        file.truncate(1 << 30)
    tracemalloc.start()
    for file in (path, huge):
        with pytest.raises(DatasetError):
            read_depth(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * MAX_DEPTH_PIXELS + 1_000_000


def test_a_calibration_is_read_back(tmp_path: Path) -> None:
    t_mm = np.array([-24.0, 5.9, -13.2])
    write_calibration(tmp_path / "rgb.cal", DEPTH_CAMERA, np.eye(3), t_mm)
    found = read_calibration(tmp_path / "rgb.cal")
    assert np.allclose(found.camera.K_image_from_cam, DEPTH_CAMERA.K_image_from_cam)
    assert found.camera.size_wh_px == (320, 240) and (found.t_cam_from_depth_mm == t_mm).all()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("287.9", "-287.9", "holds no camera"),
        ("320 240", "1e15 240", "1e\\+15 x 240 px"),
        ("1 0 0 \n0 1 0 \n0 0 1 \n\n-24", "1 0 0 \n0 1 0 \n0 0 -1 \n\n-24", "holds no rotation"),
        ("-24", "nan", "27 numbers; 27 finite"),
        ("-24", "x", "cannot be read"),
        ("320 240", "320", "26 numbers"),
        ("320 240", "320 240 " + "0 " * 40_000, "65536 at most"),
    ],
)
def test_a_bad_calibration_is_named(tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = tmp_path / "rgb.cal"
    write_calibration(path, DEPTH_CAMERA, np.eye(3), np.array([-24.0, 5.9, -13.2]))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(DatasetError, match=reason):
        read_calibration(path)


def test_a_scan_keeps_its_order_and_faces_outwards(tmp_path: Path) -> None:
    corners = "v 0 0 0\nv 10 0 0\nv 0 10 0\nv 0 0 10\nvt 0 0\nvn 0 0 1\n"
    inwards = "f 1/1/1 2/1/1 3/1/1\nf 1//1 3//1 4//1\nf 1 4 2\nf -3 -1 -2\n"
    (tmp_path / "a.obj").write_text(corners + inwards)
    scan = read_scan(tmp_path / "a.obj")
    assert (scan.vertices_mm == 10 * np.eye(4, 3, -1)).all() and scan.was_inside_out
    a, b, c = scan.vertices_mm[scan.triangles].transpose(1, 0, 2)
    outwards = ((a + b + c) / 3 - scan.vertices_mm.mean(0)) * np.cross(b - a, c - a)
    assert (outwards.sum(1) > 0).all()


def test_the_real_scan_is_in_the_file_order(shared_data: Path) -> None:
    scan = read_scan(shared_data / "samples" / "biwi" / "hpdb" / "01.obj")
    assert np.allclose(scan.vertices_mm[0], [74.6301498413, -77.0746459961, 44.6968421936])
    assert np.allclose(scan.vertices_mm[1], [71.4901046753, -86.2331237793, 33.5515556335])
    assert scan.triangles[:3].tolist() == [[0, 1, 2], [0, 2, 3], [1, 4, 5]]
    assert scan.vertices_mm.shape == (6918, 3) and not scan.was_inside_out


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "0 vertices"),
        ("v 1 2\n", "damaged"),
        ("v 1 2 nan\n", "finite"),
        ("v 1 2 3\nf 1 1 2\n", "does not have"),
        ("v 1 2 3\nf 0 1 1\n", "does not have"),
        ("v 1 2 3\nf 1 1\n", "less than three corners"),
        (f"v 1 2 3\nf 1 1 {10**30}\n", "damaged"),
    ],
)
def test_a_bad_scan_is_named(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "a.obj").write_text(text)
    with pytest.raises(DatasetError, match=reason):
        read_scan(tmp_path / "a.obj")


def test_the_older_annotation(tmp_path: Path) -> None:
    path = tmp_path / "frame_00004_pose.bin"
    path.write_bytes(struct.pack("<6f", 1, 2, 900, 10, 20, 30))
    assert read_old_annotation(path).tolist() == [[1, 2, 900], [10, 20, 30]]
    for size in (0, 23, 28):
        path.write_bytes(bytes(size))
        with pytest.raises(DatasetError, match="24"):
            read_old_annotation(path)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_old_annotation(tmp_path / "absent")
