"""300W-LP: a real sample where it is, imitations elsewhere."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from models.geometry.rotations import ypr_300wlp_from_matrix
from viewer.datasets.source import DatasetError
from viewer.datasets.three_hundred_w_lp import (
    ThreeHundredWLp,
    mirrored_68_px,
    photo_of,
    twin_of,
)
from viewer.datasets.weak_perspective import MIRROR_68

POINTS = np.random.default_rng(0).uniform(100, 300, (2, 68))


def write_pair(image: Path, pose_rad: list[float], **landmarks: np.ndarray) -> None:
    image.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(image), np.full((450, 450, 3), 90, np.uint8))
    pose = np.array([[*pose_rad, 230.0, 209, -110, 1.4e-3]], np.float32)
    # a published file has whole numbers of one byte where all expression parameters are zero
    zeros = np.zeros((29, 1), np.uint8)
    savemat(image.with_suffix(".mat"), {"Pose_Para": pose, "Exp_Para": zeros, **landmarks})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for view, flip in ((0, ""), (1, ""), (1, "_Flip")):
        image = tmp_path / f"AFW{flip}" / f"AFW_134212_1_{view}.jpg"
        write_pair(image, [0.1, -0.7, 0.2], pt2d=POINTS)
    landmarks = tmp_path / "landmarks" / "AFW"
    landmarks.mkdir(parents=True)
    for view in (0, 1):
        points = {"pts_2d": POINTS.T + 1, "pts_3d": POINTS.T + 2}
        savemat(landmarks / f"AFW_134212_1_{view}_pts.mat", points)
    (tmp_path / "Code").mkdir()
    savemat(tmp_path / "Code" / "Model_Shape.mat", {"w": np.eye(2)})
    return tmp_path


KEYS = ("AFW/AFW_134212_1_0", "AFW/AFW_134212_1_1", "AFW_Flip/AFW_134212_1_1")


def test_an_imitation_is_read(root: Path) -> None:
    dataset = ThreeHundredWLp(root)
    listing = dataset.list_samples()
    assert listing.keys == KEYS and listing.problems == ()
    assert listing.files_of[KEYS[0]] == (f"{KEYS[0]}.jpg", f"{KEYS[0]}.mat")
    assert dataset.list_samples(limit=2).keys == KEYS[:2]
    samples = [dataset.read(key) for key in listing.keys]
    assert {sample.group for sample in samples} == {"AFW/AFW_134212_1"}, "one photo, one group"
    assert [sample.sequence for sample in samples] == ["AFW/AFW_134212_1"] * 2 + [
        "AFW_Flip/AFW_134212_1"
    ]
    assert [sample.frame for sample in samples] == [0, 1, 1]
    sample = samples[0]
    assert sample.dataset == "300w-lp" and sample.camera is sample.t_cam_from_head_mm is None
    # the file's own definition, in the face model's axes (y up, z to the camera), taken to OpenCV's
    R_bfm = Rotation.from_euler("XYZ", [-0.1, 0.7, -0.2]).as_matrix()
    flip_yz = np.diag([1.0, -1, -1])
    assert np.allclose(sample.R_cam_from_head, flip_yz @ R_bfm @ flip_yz, atol=1e-7)
    assert np.allclose(sample.landmarks_68_px, POINTS.T - 0.5)
    assert np.allclose(sample.box_xyxy_px[:2], POINTS.min(1) - 0.5)


def test_landmark_files_and_their_mirror(root: Path) -> None:
    dataset = ThreeHundredWLp(root)
    detail, twin = dataset.detail(KEYS[1]), dataset.detail(KEYS[2])
    assert np.allclose(detail.points_px["pts_2d"], POINTS.T + 0.5)
    assert np.allclose(detail.points_px["pts_3d"], POINTS.T + 1.5)
    # a pixel's number x from 1 becomes 451 - x, and landmark 0 is landmark 16 of the mirror
    assert np.allclose(
        twin.points_px["pts_3d"][16], [451 - (POINTS[0, 0] + 2) - 0.5, POINTS[1, 0] + 1.5]
    )
    assert detail.landmarks_68_m is None and detail.meshes == (), "nothing is in metres"
    assert detail.raw["AFW_134212_1_1.mat: Exp_Para"].startswith("uint8 (29, 1)")
    assert any("View 1" in note for note in detail.notes)
    assert any("mirrored" in note for note in twin.notes)
    (root / "landmarks" / "AFW" / "AFW_134212_1_0_pts.mat").unlink()
    assert any("no file in landmarks/" in note for note in dataset.detail(KEYS[0]).notes)


def test_mirror_order() -> None:
    assert np.array_equal(MIRROR_68[MIRROR_68], np.arange(68))
    assert MIRROR_68[[0, 8, 17, 27, 31, 36, 39, 40, 48, 54, 60, 65]].tolist() == [
        *(16, 8, 26, 27, 35, 45, 42, 47, 54, 48, 64, 67)
    ]
    points = POINTS.T
    assert np.allclose(mirrored_68_px(mirrored_68_px(points, 450), 450), points)


def test_twins() -> None:
    assert twin_of(KEYS[1]) == KEYS[2] and twin_of(KEYS[2]) == KEYS[1]
    assert photo_of("HELEN_212515672_1_13") == "HELEN_212515672_1"


def test_without_a_list_large_angles_are_named(root: Path) -> None:
    write_pair(root / "IBUG" / "IBUG_9_1_5.jpg", [0.0, np.radians(99.5), 0.0], pt2d=POINTS)
    write_pair(root / "IBUG" / "IBUG_9_1_4.jpg", [0.0, np.radians(98.5), 0.0], pt2d=POINTS)
    (root / "IBUG" / "IBUG_8_1_0.mat").write_bytes(b"MATLAB 5.0 MAT-file, cut short")
    (root / "IBUG" / "IBUG_7_1_0.jpg").write_bytes(b"")
    (root / "AFW" / "AFW_134212_1_0.jpg").unlink()
    listing = ThreeHundredWLp(root).list_samples()
    assert listing.keys == (*KEYS, "IBUG/IBUG_9_1_4")
    reasons = {problem.file: problem.reason for problem in listing.problems}
    assert "99.5, 0.0, 0.0 deg: beyond 99" in reasons.pop("IBUG/IBUG_9_1_5.mat")
    assert "no MAT-file" in reasons.pop("IBUG/IBUG_8_1_0.mat")
    assert reasons == {
        "AFW/AFW_134212_1_0.jpg": "The picture is missing.",
        "IBUG/IBUG_7_1_0.mat": "The label file is missing.",
    }
    assert listing.files_of[KEYS[0]] == (f"{KEYS[0]}.mat",)


def test_a_list_is_followed_line_by_line(root: Path) -> None:
    lines = [f"./{KEYS[2]}", f"./{KEYS[0]}", f"./{KEYS[2]}", "../../secret", "/etc/passwd"]
    lines += ["./AFW/" + "x" * 300, "./" + "a/" * 500 + "b"]
    (root / "files.txt").write_text("\n".join([*lines, "./AFW/AFW_absent_1_0", ""]))
    listing = ThreeHundredWLp(root).list_samples()
    assert listing.keys == (KEYS[2], KEYS[0]), "in the list's order"
    where = [(problem.file, problem.reason.split(" ", 1)[1]) for problem in listing.problems]
    assert where == [
        ("files.txt, line 3", "is listed again."),
        ("files.txt, line 4", "is no path below the folder."),
        *((f"files.txt, line {line}", "is no path below the folder.") for line in (5, 6, 7)),
        ("AFW/AFW_absent_1_0.mat", "label file is missing."),
    ]


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    dataset = ThreeHundredWLp(tmp_path)
    with pytest.raises(DatasetError, match="no pair"):
        dataset.list_samples()
    write_pair(tmp_path / "a.jpg", [0.0, 0, 0], pt2d=np.zeros((2, 21)))
    with pytest.raises(DatasetError, match=r"a\.mat: pt2d must be 68 finite points, .*\(2, 21\)"):
        dataset.read("a")
    write_pair(tmp_path / "b.jpg", [np.nan, 0, 0], pt2d=POINTS)
    with pytest.raises(DatasetError, match=r"b\.mat: Pose_Para must be 7 finite"):
        dataset.read("b")
    for key in ("../a", "absent", "", "a/../a", "/a", "a\\b", "x" * 300, "\0"):
        with pytest.raises(DatasetError, match="is no sample of"):
            dataset.read(key)


def test_a_real_file(shared_data: Path) -> None:
    dataset = ThreeHundredWLp(shared_data / "samples" / "300W_LP")
    (key,) = dataset.list_samples().keys
    assert key == "IBUG/IBUG_image_008_1_0"
    sample = dataset.read(key)
    found = ypr_300wlp_from_matrix(sample.R_cam_from_head)
    assert np.allclose(found, [-44.01, -7.58, 3.21], atol=0.006)
    assert sample.read_image_rgb().shape == (450, 450, 3)
    # a nose that points to image right (yaw < 0) lies right of the middle between the eyes
    assert sample.landmarks_68_px[30, 0] > sample.landmarks_68_px[36:48].mean(0)[0] + 20
    assert (sample.box_xyxy_px > 50).all() and (sample.box_xyxy_px < 400).all()
