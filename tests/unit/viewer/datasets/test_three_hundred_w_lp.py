"""300W-LP and AFLW2000: real samples where they are, imitations elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from models.geometry.rotations import ypr_300wlp_from_matrix
from viewer.datasets.three_hundred_w_lp import DatasetError, photo_of, read_300w_lp


def write_pair(image: Path, pose_rad: list[float], **landmarks: np.ndarray) -> None:
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(b"a picture")
    pose = np.array([[*pose_rad, 230.0, 209, -110, 1.4e-3]], np.float32)
    # a published file has whole numbers of one byte where all expression parameters are zero
    zeros = np.zeros((29, 1), np.uint8)
    savemat(image.with_suffix(".mat"), {"Pose_Para": pose, "Exp_Para": zeros, **landmarks})


def test_an_imitation_is_read(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(100, 300, (2, 68))
    for view, flip in ((0, ""), (1, ""), (1, "_Flip")):
        image = tmp_path / f"AFW{flip}" / f"AFW_134212_1_{view}.jpg"
        write_pair(image, [0.1, -0.7, 0.2], pt2d=points)
    (tmp_path / "landmarks").mkdir()
    savemat(tmp_path / "landmarks" / "AFW_134212_1_0_pts.mat", {"pts_3d": points.T})
    samples = list(read_300w_lp(tmp_path))
    assert [sample.key for sample in samples] == [
        "AFW/AFW_134212_1_0",
        "AFW/AFW_134212_1_1",
        "AFW_Flip/AFW_134212_1_1",
    ]
    assert {sample.group for sample in samples} == {"AFW/AFW_134212_1"}, "one photo, one group"
    sample = samples[0]
    assert sample.dataset == "300W-LP" and sample.camera is sample.t_cam_from_head_mm is None
    # the file's own definition, in the face model's axes (y up, z to the camera), taken to OpenCV's
    R_bfm = Rotation.from_euler("XYZ", [-0.1, 0.7, -0.2]).as_matrix()
    flip_yz = np.diag([1.0, -1, -1])
    assert np.allclose(sample.R_cam_from_head, flip_yz @ R_bfm @ flip_yz, atol=1e-7)
    assert np.allclose(sample.landmarks_68_px, points.T - 0.5)
    assert np.allclose(sample.box_xyxy_px[:2], points.min(1) - 0.5)


def test_aflw2000_has_its_truth_in_pt3d(tmp_path: Path) -> None:
    hidden = np.full((2, 21), -1.0)
    points = np.random.default_rng(1).uniform(100, 300, (3, 68)).astype(np.float32)
    write_pair(tmp_path / "image00002.jpg", [0.0, 0, 0], pt2d=hidden, pt3d_68=points)
    (sample,) = read_300w_lp(tmp_path)
    assert (sample.dataset, sample.group) == ("AFLW2000", "image00002")
    assert sample.box_xyxy_px.min() > 99, "no hidden point at -1"
    assert np.array_equal(sample.R_cam_from_head, np.eye(3))


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no pair"):
        list(read_300w_lp(tmp_path))
    write_pair(tmp_path / "a.jpg", [0.0, 0, 0], pt2d=np.zeros((2, 21)))
    with pytest.raises(DatasetError, match=r"a\.mat is no label file"):
        list(read_300w_lp(tmp_path))
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0 MAT-file, cut short")
    with pytest.raises(DatasetError, match=r"a\.mat is no label file"):
        list(read_300w_lp(tmp_path))
    (tmp_path / "a.mat").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"a\.mat is no label file"):
        list(read_300w_lp(tmp_path))


def test_photo_of_a_view() -> None:
    assert photo_of("HELEN_212515672_1_13") == "HELEN_212515672_1"


@pytest.mark.parametrize(
    ("folder", "key", "pitch", "yaw", "roll"),
    [
        ("AFLW2000", "image00050", -4.66, 0.94, 5.64),
        ("300W_LP", "IBUG/IBUG_image_008_1_0", -7.58, -44.01, 3.21),
    ],
)
def test_real_files(
    shared_data: Path, folder: str, key: str, pitch: float, yaw: float, roll: float
) -> None:
    samples = {sample.key: sample for sample in read_300w_lp(shared_data / "samples" / folder)}
    sample = samples[key]
    found = ypr_300wlp_from_matrix(sample.R_cam_from_head)
    assert np.allclose(found, [yaw, pitch, roll], atol=0.006)
    assert sample.read_image_rgb().shape == (450, 450, 3)
    # a nose that points to image left (yaw > 0) lies left of the middle between the eyes
    eyes = sample.landmarks_68_px[36:48].mean(0)
    aside_px = sample.landmarks_68_px[30, 0] - eyes[0]
    assert abs(yaw) < 2 or np.sign(aside_px) == -np.sign(yaw)
    assert (sample.box_xyxy_px > 50).all() and (sample.box_xyxy_px < 400).all()
