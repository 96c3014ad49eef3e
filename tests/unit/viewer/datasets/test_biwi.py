"""BIWI: a real frame where it is, an imitation elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from models.geometry.conventions import CONVENTIONS
from models.geometry.rotations import ypr_300wlp_from_matrix
from viewer.datasets.biwi import person_of, read_biwi
from viewer.datasets.three_hundred_w_lp import DatasetError

R_EXT = Rotation.from_rotvec([0.015, -0.009, 0.004]).as_matrix()
T_EXT_MM = np.array([-24.0, 5.9, -13.2])


def rows(values: np.ndarray) -> str:
    """As in BIWI's files: a space behind every number."""
    return "".join("".join(f"{x:.9g} " for x in row) + "\n" for row in np.atleast_2d(values))


def write_sequence(folder: Path, R: np.ndarray, centre_mm: np.ndarray, frames: list[int]) -> None:
    folder.mkdir(parents=True)
    K = np.array([[517.0, 0, 320], [0, 519.0, 240.5], [0, 0, 1]])
    parts = (rows(K), rows(np.zeros(4)), rows(R_EXT), rows(T_EXT_MM), "640 480\n")
    (folder / "rgb.cal").write_text("\n".join(parts))
    for frame in frames:
        stem = folder / f"frame_{frame:05d}"
        Path(f"{stem}_pose.txt").write_text(rows(R) + "\n" + rows(centre_mm))
        Path(f"{stem}_rgb.png").write_bytes(b"a picture")


def test_an_imitation_is_taken_to_the_rgb_camera(tmp_path: Path) -> None:
    R = Rotation.from_euler("XYZ", [-12.0, 30, 5], degrees=True).as_matrix()
    centre_mm = np.array([52.0, 38.3, 881.8])
    write_sequence(tmp_path / "hpdb" / "15", R, centre_mm, [3, 12])
    (tmp_path / "hpdb" / "15" / "frame_00020_pose.txt").write_text("no picture beside it")
    (tmp_path / "hpdb" / "15.obj").write_text("# scan\nv 0 0 0\nv 10 20 -30\nf 1/1/1 2/2/2 1/1/1\n")
    samples = list(read_biwi(tmp_path))
    assert [sample.key for sample in samples] == ["15/frame_00003", "15/frame_00012"]
    sample = samples[0]
    assert sample.group == person_of("03"), "sequence 15 shows the person of sequence 3"
    assert np.allclose(sample.R_cam_from_head, R_EXT @ R, atol=1e-6)
    back = CONVENTIONS["biwi"].matrix(sample.R_cam_from_head, sample.t_cam_from_head_mm)
    assert np.allclose(back[:3, 3], R_EXT @ centre_mm + T_EXT_MM, atol=1e-4)
    camera = sample.camera
    assert camera.size_wh_px == (640, 480)
    assert (camera.fx_px, camera.fy_px) == (517.0, 519.0)
    assert np.allclose(camera.principal_point_px, [320.5, 241.0]), "OpenCV's pixels, ours by 0.5"
    corner = camera.project(back[:3, :3] @ [10.0, 20, -30] + back[:3, 3])
    centre = camera.project(back[:3, 3])
    low, high = np.minimum(corner, centre), np.maximum(corner, centre)
    assert np.allclose(sample.box_xyxy_px, [*low, *high], atol=1e-3)


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no frame of BIWI"):
        list(read_biwi(tmp_path))
    write_sequence(tmp_path / "01", np.eye(3), np.zeros(3), [3])
    (tmp_path / "01" / "frame_00003_pose.txt").write_text("1 0 0\n0 1 0\n")
    with pytest.raises(DatasetError, match="6 numbers; 12"):
        list(read_biwi(tmp_path))
    (tmp_path / "01" / "rgb.cal").write_text("not numbers")
    with pytest.raises(DatasetError, match=r"rgb\.cal cannot be read"):
        list(read_biwi(tmp_path))


def test_no_scan_no_box(tmp_path: Path) -> None:
    write_sequence(tmp_path / "02", np.eye(3), np.array([0, 0, 900.0]), [3])
    (sample,) = read_biwi(tmp_path)
    assert sample.box_xyxy_px is None


def test_four_sequences_show_somebody_again() -> None:
    persons = [person_of(f"{i:02d}") for i in range(1, 25)]
    assert len(set(persons)) == 20
    for first, again in ((3, 15), (5, 18), (2, 21), (7, 22)):
        assert persons[first - 1] == persons[again - 1]


def test_a_real_frame(shared_data: Path) -> None:
    (sample,) = read_biwi(shared_data / "samples" / "biwi")
    found = ypr_300wlp_from_matrix(sample.R_cam_from_head)
    assert np.allclose(found, [3.8516, 8.4595, -1.7421], atol=2e-3)
    there = CONVENTIONS["biwi"].matrix(sample.R_cam_from_head, sample.t_cam_from_head_mm)[:3, 3]
    assert np.allclose(there, [36.274, 57.182, 867.331], atol=2e-3)
    assert np.allclose(sample.box_xyxy_px - 0.5, [290.2, 197.2, 393.6, 353.5], atol=0.1)
    assert sample.read_image_rgb().shape == (480, 640, 3)
