"""Each data set's truth, frame and crop: a network that knows the truth makes no error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demo_app.evaluation.columns import Poses
from demo_app.evaluation.model_file import ModelFile
from demo_app.evaluation.protocol_faces import trg_box_xyxy_px
from demo_app.evaluation.sample_rows import ProtocolWork, _Read, _row
from models.geometry.conventions import BIWI_ORIGIN_HEAD_MM
from models.geometry.rotations import geodesic_deg
from models.trg.config import TrgConfig
from models.trg.preprocess import virtual_camera_inputs
from viewer.datasets.biwi_files import read_pose
from viewer.datasets.registry import SAMPLES_ROOT
from viewer.datasets.synthetic import SyntheticDataset
from viewer.datasets.training_faces import ArkitFaces, BiwiFaces, SyntheticFaces

Array = np.ndarray

TILT_DEG = 0.228
"""Of TRG's axes against `head`."""


def work(protocol: str, folder: str, name: str = "trg", root: Path | None = None) -> ProtocolWork:
    model = ModelFile(name, Path("weights"), name, "0" * 64)
    return ProtocolWork(protocol, root or SAMPLES_ROOT / folder, None, model, "cpu", 1)


def answered(
    of: ProtocolWork, key: str, R: Array, t_m: Array | None, vertices_m: Array | None = None
) -> dict[str, object]:
    """The row if the network says this in the frame `head`."""
    face = of.source().face(key)
    t_mm = np.zeros(3) if t_m is None else 1000.0 * t_m
    vertices = np.zeros((1, 3)) if vertices_m is None else 1000.0 * vertices_m
    poses = Poses(R[None], t_mm[None], vertices[None])
    return _row(_Read(face, np.zeros((8, 8, 3), np.uint8)), lambda *_: poses)


def test_arkitface_is_compared_in_arkits_axes() -> None:
    of = work("arkitface-test", "arkitface")
    dataset = of.dataset()
    key = next(k for k in dataset.list_samples().keys if k.startswith("test/"))
    face = ArkitFaces(dataset, [key]).face(0)
    row = answered(of, key, face.R_cam_from_head, face.t_cam_from_head_m, face.vertices_head_m)
    assert row["ge_deg"] < 1e-6 and row["add_mm"] < 1e-9 and row["dense_mm"] < 1e-9
    assert row["R_true"] == pytest.approx(dataset.read(key).R_cam_from_head.ravel().tolist())
    moved = face.vertices_head_m + np.array([0.003, 0.0, 0.004])
    row = answered(of, key, face.R_cam_from_head, face.t_cam_from_head_m, moved)
    assert row["dense_mm"] == pytest.approx(5.0)
    other = answered(of, key, face.R_cam_from_head, face.t_cam_from_head_m, moved[:9])
    assert other["dense_mm"] is None, "another topology"


def test_arkitfaces_crop_is_trgs() -> None:
    of = work("arkitface-test", "arkitface")
    key = next(k for k in of.dataset().list_samples().keys if k.startswith("test/"))
    detail, face = of.dataset().detail(key), of.source().face(key)
    uv = 629.774804 * detail.landmarks_68_m[:, :2] / detail.landmarks_68_m[:, 2:] + 400.0
    middle = (uv.min(0) + uv.max(0)) / 2
    half = 0.75 * np.ptp(uv, axis=0).max()
    left, top = (int(v) for v in middle - half)
    right = int(middle[0] + half)
    K_crop, _ = virtual_camera_inputs(face.ray_box[None], TrgConfig.released().crop_px)
    scale = 192 / (right - left)
    assert K_crop[0, 0, 0] == pytest.approx(629.774804 * scale, rel=0.01)
    wanted = np.array([400 - left, 400 - top]) * scale
    assert K_crop[0, 2, :2] == pytest.approx(wanted, abs=1.0), "a crop's pixel"


def test_biwi_keeps_the_difference_of_the_origins_and_says_it_without() -> None:
    of = work("biwi-15678", "biwi")
    dataset = of.dataset()
    key = dataset.list_samples().keys[3]
    face = BiwiFaces(dataset, [key]).face(0)
    row = answered(of, key, face.R_cam_from_head, face.t_cam_from_head_m)
    assert row["ge_deg"] == pytest.approx(TILT_DEG, abs=1e-6), "BIWI's axes are taken for TRG's"
    apart = np.linalg.norm(np.subtract(row["t_found_mm"], row["t_true_mm"]))
    assert apart == pytest.approx(np.linalg.norm(BIWI_ORIGIN_HEAD_MM))
    assert row["t_found_other_origin_mm"] == pytest.approx(row["t_true_mm"])
    assert row["add_mm"] == pytest.approx(18.1, abs=0.5) and row["add_other_origin_mm"] < 1.0


def test_biwi_uncalibrated_is_pose_txt_without_translation() -> None:
    of = work("biwi-13219", "biwi")
    key = of.dataset().list_samples().keys[0]
    face = of.source().face(key)
    stored = read_pose(of.dataset().layout.frames / f"{key}_pose.txt").R_depth_from_head
    assert face.t_true_mm is None and face.R_true == pytest.approx(stored)
    calibrated = work("biwi-15678", "biwi").source().face(key)
    assert 0.05 < float(geodesic_deg(calibrated.R_true, stored)) < 3.0
    assert calibrated.ray_box == pytest.approx(face.ray_box), "the picture is the RGB camera's"


def test_biwi_without_boxes_takes_the_scan_and_says_so(tmp_path: Path) -> None:
    hpdb = tmp_path / "hpdb"
    hpdb.mkdir()
    for path in (SAMPLES_ROOT / "biwi" / "hpdb").iterdir():
        if path.suffix != ".pkl":
            (hpdb / path.name).symlink_to(path)
    bare, boxed = work("biwi-15678", "", root=tmp_path), work("biwi-15678", "biwi")
    key = boxed.dataset().list_samples().keys[0]
    assert "no box file" in bare.source().choices["crop"]
    assert "68 detected points" in boxed.source().choices["crop"]
    a, b = bare.source().face(key).ray_box, boxed.source().face(key).ray_box
    assert abs(a[2] / b[2] - 1) < 0.4 and np.abs(a[:2] - b[:2]).max() < 0.25 * b[2]


@pytest.mark.parametrize("name", ["trg-mini", "trg"])
def test_aflw2000_is_seen_along_its_ray(name: str) -> None:
    of = work("aflw2000-99", "aflw2000", name)
    dataset = of.dataset()
    key = dataset.list_samples().keys[0]
    as_released = name == "trg"
    assert ("5000 px" in of.source().choices["camera"]) == as_released
    face = of.source().face(key)
    R_cam = face.R_seen_from_cam.T @ dataset.read(key).R_cam_from_head
    row = answered(of, key, R_cam, None)
    assert row["ge_deg"] < 1e-6 and "t_true_mm" not in row
    landmarks = dataset.read(key).landmarks_68_px
    middle = face.camera.normalise((landmarks.min(0) + landmarks.max(0)) / 2)
    ray = np.array([*middle, 1.0]) / np.linalg.norm([*middle, 1.0])
    assert face.R_seen_from_cam @ ray == pytest.approx([0.0, 0.0, 1.0], abs=1e-12)


def test_synthetic_heads_are_exact() -> None:
    of = work("synthetic-held-out", "synthetic", "trg-mini")
    faces = SyntheticFaces(SyntheticDataset(SAMPLES_ROOT / "synthetic" / "validation"), range(4))
    number = next(i for i in range(4) if faces.face(i).is_face)
    true = faces.face(number)
    key = f"validation/{number}"
    row = answered(of, key, true.R_cam_from_head, true.t_cam_from_head_m, true.vertices_head_m)
    assert row["ge_deg"] < 1e-5 and row["add_mm"] < 1e-3 and row["dense_mm"] < 1e-3


def test_trgs_box_is_cut_and_moved_inside() -> None:
    points = np.array([[10.2, 30.7], [90.9, 70.1]])
    # middle (50.55, 50.4), half side 0.75 * 80.7 = 60.525: edges towards 0
    assert trg_box_xyxy_px(points).tolist() == [-9.0, -10.0, 111.0, 110.0]
    assert trg_box_xyxy_px(points, 0.5).tolist() == [-9.5, -9.5, 110.5, 110.5]
    inside = trg_box_xyxy_px(points, 0.0, (640, 480))
    assert inside.tolist() == [0.0, 0.0, 120.0, 120.0]
    right = trg_box_xyxy_px(points + np.array([560.0, 0.0]), 0.0, (640, 480))
    assert right[2] == 640.0 and right[2] - right[0] == pytest.approx(121.0, abs=1.0)
