"""BIWI: a real frame where it is, an imitation of every layout elsewhere."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from models.geometry.conventions import BIWI_ORIGIN_HEAD_MM, CONVENTIONS
from models.geometry.rotations import geodesic_deg, ypr_300wlp_from_matrix
from viewer.datasets.biwi import Biwi, read_biwi
from viewer.datasets.biwi_detail import OWN_CENTRE, UNCALIBRATED
from viewer.datasets.protocols import BIWI_PERSONS, biwi_person
from viewer.datasets.registry import open_dataset
from viewer.datasets.source import DatasetError
from viewer.synthesis.rasterizer import rasterize

R_EXT = Rotation.from_rotvec([0.015, -0.009, 0.004]).as_matrix()
R_EXT_OF_OTHERS = Rotation.from_rotvec([-0.0254, -0.0057, 0.0]).as_matrix()
T_EXT_MM = np.array([-24.0, 5.9, -13.2])
R_HEAD = Rotation.from_euler("XYZ", [-12.0, 30, 5], degrees=True).as_matrix()
CENTRE_MM = np.array([52.0, 38.3, 881.8])
SCAN = "# scan\nv 0 0 0\nv 10 20 -30\nf 1/1/1 2/2/2 1/1/1\n"


def rows(values: np.ndarray) -> str:
    """As in BIWI's files: a space behind every number."""
    return "".join("".join(f"{x:.9g} " for x in row) + "\n" for row in np.atleast_2d(values))


def write_sequence(
    folder: Path,
    R: np.ndarray,
    centre_mm: np.ndarray,
    frames: list[int],
    R_ext: np.ndarray = R_EXT,
    picture: str = "rgb.png",
) -> None:
    folder.mkdir(parents=True)
    K = np.array([[517.0, 0, 320], [0, 519.0, 240.5], [0, 0, 1]])
    parts = (rows(K), rows(np.zeros(4)), rows(R_ext), rows(T_EXT_MM), "640 480\n")
    (folder / "rgb.cal").write_text("\n".join(parts))
    for frame in frames:
        stem = folder / f"frame_{frame:05d}"
        Path(f"{stem}_pose.txt").write_text(rows(R) + "\n" + rows(centre_mm))
        Path(f"{stem}_{picture}").write_bytes(b"a picture")


def test_an_imitation_is_taken_to_the_rgb_camera(tmp_path: Path) -> None:
    write_sequence(tmp_path / "hpdb" / "15", R_HEAD, CENTRE_MM, [3, 12])
    (tmp_path / "hpdb" / "15.obj").write_text(SCAN)
    samples = list(read_biwi(tmp_path))
    assert [sample.key for sample in samples] == ["15/frame_00003", "15/frame_00012"]
    sample = samples[0]
    assert sample.group == sample.subject == "F03", "sequence 15 shows the person of sequence 3"
    assert (sample.dataset, sample.sequence, sample.frame) == ("biwi", "15", 3)
    assert np.allclose(sample.R_cam_from_head, R_EXT @ R_HEAD, atol=1e-6)
    back = CONVENTIONS["biwi"].matrix(sample.R_cam_from_head, sample.t_cam_from_head_mm)
    assert np.allclose(back[:3, 3], R_EXT @ CENTRE_MM + T_EXT_MM, atol=1e-4)
    camera = sample.camera
    assert camera.size_wh_px == (640, 480)
    assert (camera.fx_px, camera.fy_px) == (517.0, 519.0)
    assert np.allclose(camera.principal_point_px, [320.5, 241.0]), "OpenCV's pixels, ours by 0.5"
    corner = camera.project(back[:3, :3] @ [10.0, 20, -30] + back[:3, 3])
    centre = camera.project(back[:3, 3])
    low, high = np.minimum(corner, centre), np.maximum(corner, centre)
    assert np.allclose(sample.box_xyxy_px, [*low, *high], atol=1e-3)


def test_each_sequence_has_its_own_calibration(tmp_path: Path) -> None:
    write_sequence(tmp_path / "05", R_HEAD, CENTRE_MM, [3])
    write_sequence(tmp_path / "06", R_HEAD, CENTRE_MM, [3], R_EXT_OF_OTHERS)
    first, second = read_biwi(tmp_path)
    expected_deg = geodesic_deg(R_EXT @ R_HEAD, R_EXT_OF_OTHERS @ R_HEAD)
    found_deg = geodesic_deg(first.R_cam_from_head, second.R_cam_from_head)
    assert found_deg == pytest.approx(expected_deg, abs=1e-4) and found_deg > 1


TRG = "download_from_official_site"


@pytest.mark.parametrize(
    ("frames", "extras", "picture", "said"),
    [
        ("hpdb", "", "rgb.png", "official layout"),
        (f"{TRG}/kinect_head_pose_db/hpdb", TRG, "rgb.png", "TRG's layout"),
        ("faces_0", "", "rgb.png", "Kaggle's layout"),
        ("", "", "rgb.jpg", "JPEG copies"),
    ],
)
def test_every_layout_is_found(
    tmp_path: Path, frames: str, extras: str, picture: str, said: str
) -> None:
    for sequence in ("01", "02"):
        write_sequence(tmp_path / frames / sequence, R_HEAD, CENTRE_MM, [3, 4], picture=picture)
        (tmp_path / frames / f"{sequence}.obj").write_text(SCAN)
        for name in ("db_annotations", "head_pose_masks"):
            (tmp_path / extras / name / sequence).mkdir(parents=True, exist_ok=True)
    annotation = tmp_path / extras / "db_annotations" / "01" / "frame_00004_pose.bin"
    annotation.write_bytes(struct.pack("<6f", 1, 2, 900, 10, 20, 30))
    mask = tmp_path / extras / "head_pose_masks" / "02" / "frame_00003_depth_mask.png"
    mask.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 640, 480))
    dataset = open_dataset("biwi", tmp_path)
    listing = dataset.list_samples()
    assert listing.keys == tuple(f"{s}/frame_{n:05d}" for s in ("01", "02") for n in (3, 4))
    assert any(said in note for note in listing.notes) and not listing.problems
    assert "3 of 4 frames have no db_annotations entry." in listing.notes
    for key in listing.keys:
        assert all((tmp_path / name).is_file() for name in listing.files_of[key])
    assert annotation.relative_to(tmp_path).as_posix() in listing.files_of["01/frame_00004"]
    annotated, masked = dataset.detail("01/frame_00004"), dataset.detail("02/frame_00003")
    assert annotated.raw["frame_00004_pose.bin: angles, deg"] == "10 20 30"
    assert masked.raw["frame_00003_depth_mask.png: size, px"] == "640 x 480"
    assert "db_annotations lacks this frame." in masked.notes
    assert dataset.list_samples(limit=3).keys == listing.keys[:3]


@pytest.mark.parametrize("start", ["hpdb", "."])
def test_archives_beside_the_sequences_are_found(tmp_path: Path, start: str) -> None:
    """As TRG has them: the root that it names is two folders below what holds the archives."""
    site = tmp_path / TRG
    root = site / "kinect_head_pose_db"
    write_sequence(root / "hpdb" / "01", R_HEAD, CENTRE_MM, [3, 4])
    annotation = site / "db_annotations" / "01" / "frame_00004_pose.bin"
    mask = site / "head_pose_masks" / "01" / "frame_00003_depth_mask.png"
    for path in (annotation, mask):
        path.parent.mkdir(parents=True)
    annotation.write_bytes(struct.pack("<6f", 1, 2, 3, 10, 20, 30))
    mask.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 640, 480))
    dataset = Biwi(root / start)
    listing = dataset.list_samples()
    for key in listing.keys:
        assert all((dataset.root / name).is_file() for name in listing.files_of[key])
    files = listing.files_of["01/frame_00004"]
    assert any((dataset.root / name).resolve() == annotation for name in files)
    first, second = map(dataset.detail, listing.keys)
    assert first.raw["frame_00003_depth_mask.png: size, px"] == "640 x 480"
    assert second.raw["frame_00004_pose.bin: angles, deg"] == "10 20 30"


def test_it_travels_to_another_process(tmp_path: Path) -> None:
    write_sequence(tmp_path / "01", R_HEAD, CENTRE_MM, [3])
    dataset = Biwi(tmp_path)
    key = dataset.list_samples().keys[0]
    sent = pickle.dumps(dataset)
    assert len(sent) < 2000 and pickle.loads(sent).read(key).key == key


def test_what_is_missing_is_listed(tmp_path: Path) -> None:
    hpdb = tmp_path / "hpdb"
    for sequence in ("01", "02", "03", "04"):
        write_sequence(hpdb / sequence, R_HEAD, CENTRE_MM, [3, 4])
    for sequence in ("01", "02", "03"):
        (hpdb / f"{sequence}.obj").write_text(SCAN)
    (hpdb / "01" / "frame_00003_rgb.png").unlink()
    (hpdb / "01" / "frame_00004_pose.txt").unlink()
    (hpdb / "02" / "rgb.cal").unlink()
    (hpdb / "03" / "rgb.cal").write_text("1 2 3")
    write_sequence(tmp_path / "copy" / "01", R_HEAD, CENTRE_MM, [3])
    listing = Biwi(tmp_path).list_samples()
    assert listing.keys == ("04/frame_00003", "04/frame_00004")
    assert {problem.file: problem.reason.split(";")[0][:14] for problem in listing.problems} == {
        "hpdb/02": "no rgb.cal, so",
        "copy": "more sequences",
        "hpdb/01/frame_00003": "no picture",
        "hpdb/01/frame_00004": "no pose.txt",
        "hpdb/03/rgb.cal": str(hpdb / "03")[:14],
        "hpdb/04.obj": "missing: seque",
    }
    assert any("04 (2 of 744)" in note for note in listing.notes)


@pytest.mark.parametrize(
    "key", ["../01/frame_00003", "01/../01/frame_00003", "02/frame_00003", "01/frame_9", "", "01"]
)
def test_keys_outside_the_sequences_are_refused(tmp_path: Path, key: str) -> None:
    write_sequence(tmp_path / "hpdb" / "01", R_HEAD, CENTRE_MM, [3])
    write_sequence(tmp_path / "01", R_HEAD, CENTRE_MM, [3])
    write_sequence(tmp_path / "hpdb" / "02", R_HEAD, CENTRE_MM, [3])
    (tmp_path / "hpdb" / "02" / "rgb.cal").unlink()
    dataset = Biwi(tmp_path / "hpdb")
    assert dataset.read("01/frame_00003")
    with pytest.raises(DatasetError, match="has no sample"):
        dataset.read(key)


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no frame of BIWI"):
        list(read_biwi(tmp_path))
    write_sequence(tmp_path / "01", np.eye(3), np.zeros(3), [3])
    with pytest.raises(DatasetError, match="is one sequence"):
        list(read_biwi(tmp_path / "01"))
    (tmp_path / "01" / "frame_00003_pose.txt").write_text("1 0 0\n0 1 0\n")
    with pytest.raises(DatasetError, match="6 numbers; 12"):
        list(read_biwi(tmp_path))
    (tmp_path / "01" / "rgb.cal").write_text("not numbers")
    with pytest.raises(DatasetError, match=r"rgb\.cal cannot be read"):
        list(read_biwi(tmp_path))
    (tmp_path / "01" / "rgb.cal").unlink()
    with pytest.raises(DatasetError, match=r"none of their folders has an rgb\.cal"):
        list(read_biwi(tmp_path))


def test_a_rotation_that_is_none_stays_for_the_checks(tmp_path: Path) -> None:
    write_sequence(tmp_path / "01", np.diag([1.0, 1.0, -1.0]), CENTRE_MM, [3])
    write_sequence(tmp_path / "02", np.round(R_HEAD, 5), CENTRE_MM, [3])
    mirrored, rounded = (sample.R_cam_from_head for sample in read_biwi(tmp_path))
    assert np.linalg.det(mirrored) == pytest.approx(-1)
    assert np.abs(rounded.T @ rounded - np.eye(3)).max() < 1e-12


def test_no_scan_no_box(tmp_path: Path) -> None:
    write_sequence(tmp_path / "02", np.eye(3), np.array([0, 0, 900.0]), [3])
    (sample,) = read_biwi(tmp_path)
    assert sample.box_xyxy_px is None
    detail = Biwi(tmp_path).detail(sample.key)
    assert detail.meshes == () and detail.depth_cam_m is None
    assert any("No depth" in note for note in detail.notes)


def test_four_sequences_show_somebody_again() -> None:
    persons = [biwi_person(f"{number:02d}") for number in BIWI_PERSONS]
    assert len(persons) == 24 and len(set(persons)) == 20
    assert sum(person.startswith("F") for person in set(persons)) == 6
    for first, again in ((3, 15), (5, 18), (2, 21), (7, 22)):
        assert persons[first - 1] == persons[again - 1]


def test_a_real_frame(shared_data: Path) -> None:
    (sample,) = read_biwi(shared_data / "samples" / "biwi")
    found = ypr_300wlp_from_matrix(sample.R_cam_from_head)
    assert np.allclose(found, [3.8516, 8.4595, -1.7421], atol=2e-3)
    euler = Rotation.from_matrix(sample.R_cam_from_head).as_euler("XYZ", degrees=True)
    assert np.allclose(euler * [-1, 1, 1], [8.4595, 3.8516, -1.7421], atol=2e-3)
    there = CONVENTIONS["biwi"].matrix(sample.R_cam_from_head, sample.t_cam_from_head_mm)[:3, 3]
    assert np.allclose(there, [36.274, 57.182, 867.331], atol=2e-3)
    assert np.allclose(sample.box_xyxy_px - 0.5, [290.2, 197.2, 393.6, 353.5], atol=0.1)
    assert sample.read_image_rgb().shape == (480, 640, 3)


def test_a_real_frame_in_detail(shared_data: Path) -> None:
    root = shared_data / "samples" / "biwi"
    dataset = Biwi(root)
    detail = dataset.detail("01/frame_00003")
    poses = {pose.name: pose for pose in detail.other_poses}
    assert np.allclose(poses[OWN_CENTRE].t_cam_from_head_mm, [36.274, 57.182, 867.331], atol=2e-3)
    written = np.loadtxt(root / "hpdb" / "01" / "frame_00003_pose.txt", max_rows=3)
    uncalibrated = poses[UNCALIBRATED]
    assert np.allclose(uncalibrated.R_cam_from_head, written, atol=1e-6)
    centre_mm = uncalibrated.t_cam_from_head_mm + written @ BIWI_ORIGIN_HEAD_MM
    assert np.allclose(centre_mm, [51.9358, 38.2631, 881.756], atol=1e-3)
    R = detail.sample.R_cam_from_head
    assert geodesic_deg(R, uncalibrated.R_cam_from_head) == pytest.approx(1.04, abs=0.01)
    assert detail.depth_cam_m.shape == (56_336, 3)
    (mesh,) = detail.meshes
    assert mesh.vertices_m.shape == (6918, 3) and mesh.triangles.shape == (13_676, 3)
    assert detail.notes == (
        "The box is the projected scan's: there is no annot_mtcnn_fan.pkl in use.",
    )


def test_real_depth_lies_on_the_real_scan(shared_data: Path) -> None:
    """Known: -2.1 mm in the median, 71 % within 15 mm, where both are seen."""
    detail = Biwi(shared_data / "samples" / "biwi").detail("01/frame_00003")
    camera, (mesh,) = detail.sample.camera, detail.meshes
    raster = rasterize(mesh.vertices_m, mesh.triangles, camera, cull_backfaces=True)
    surface_m = np.zeros(camera.size_wh_px[::-1])
    surface_m[raster.rows, raster.columns] = raster.depth_m
    column, row = np.floor(camera.project(detail.depth_cam_m)).astype(int).T
    on_scan = surface_m[row, column] > 0
    off_mm = 1000 * (detail.depth_cam_m[:, 2] - surface_m[row, column])[on_scan]
    assert on_scan.sum() > 7000
    assert abs(np.median(off_mm)) < 4 and (np.abs(off_mm) < 15).mean() > 0.65
