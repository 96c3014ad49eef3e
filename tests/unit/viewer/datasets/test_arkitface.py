"""ARKitFace: imitations of the three layouts; hostile files; the mirror's order."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from models.geometry.rotations import ypr_300wlp_from_matrix
from viewer.datasets.arkitface import ArkitFace, arkit_camera
from viewer.datasets.arkitface_files import Row, row_of_key
from viewer.datasets.arkitface_resources import flip_index_from_uv, read_obj_template
from viewer.datasets.source import DatasetError

RNG = np.random.default_rng(3)
ROWS = (
    Row("train", "000579", "09_LeftToRight_Frown", "1616212233525"),
    Row("train", "000579", "09_LeftToRight_Frown", "1616212233625"),
    Row("test", "225579", "01_UpToDown_Smile", "1616212239999"),
)
SIDE = 35
"""Vertices of the imitation: a bent sheet of SIDE x SIDE, less five at its end: 1220."""


def face() -> tuple[np.ndarray, np.ndarray]:
    """1220 vertices in ARKit's axes (nose to +z), and texture coordinates symmetric in u."""
    across, up = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE))
    uv = np.stack([across, up], -1).reshape(-1, 2)
    uv = np.delete(uv, [0, SIDE - 1, SIDE // 2, len(uv) - 1, len(uv) - SIDE], 0) / 2 + 0.5
    x, y = 0.15 * (uv.T - 0.5)
    return np.stack([x, y, 0.05 - 5 * x**2], -1), uv


VERTS, UV = face()


def matrix(
    ypr_arkit_deg: tuple[float, float, float], t_gl: tuple[float, float, float]
) -> np.ndarray:
    """R_t as the files have it, from ARKit's own angles: Rx(pitch) Ry(yaw) Rz(roll)."""
    yaw, pitch, roll = ypr_arkit_deg
    R_t = np.eye(4)
    R_t[:3, :3] = Rotation.from_euler("XYZ", [pitch, yaw, roll], degrees=True).as_matrix().T
    R_t[3, :3] = t_gl
    return R_t


R_T = matrix((20.0, -8.0, 5.0), (0.02, -0.03, -0.45))


def write_sample(image: Path, info: Path, verts: np.ndarray = VERTS) -> None:
    for path in (image, info):
        path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(image), np.full((800, 800, 3), 90, np.uint8))
    np.savez(info, verts=verts.astype(np.float32), R_t=R_T, extra=np.array(3))


def write_list(path: Path, rows: tuple[Row, ...], before: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["subject_id,x,facial_action,img_id"]
    lines += [f"{row.subject_id},0,{row.facial_action},{row.img_id}" for row in rows]
    path.write_text("\n".join([*lines, before]) + "\n")


def write_layout(root: Path, layout: str) -> Path:
    for row in ROWS:
        inside = f"{row.subject_id}/{row.facial_action}/{row.img_id}"
        image, info = ("image", "info")
        if layout == "TRG":
            image, info = (f"ARKitFace_{kind}_{row.split}/{kind}" for kind in ("image", "info"))
        write_sample(root / image / f"{inside}_ar.jpg", root / info / f"{inside}_info.npz")
    folder = root / ("ARKitFace_list/list" if layout == "TRG" else "list")
    for split in ("train", "test"):
        write_list(folder / f"ARKitFace_{split}.csv", tuple(r for r in ROWS if r.split == split))
    if layout == "WCPA":
        write_resources(root / "resources")
    return root


def write_resources(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"v {x} {y} {z}" for x, y, z in VERTS] + [f"vt {u} {v}" for u, v in UV]
    (folder / "example.obj").write_text("\n".join([*lines, "f 1/1 2/2 3/3", "f 2/2 3/3 4/4"]))
    np.save(folder / "kpt_ind.npy", np.arange(0, 680, 10))


@pytest.fixture(params=["TRG", "6dof_face", "WCPA"])
def layout(request: pytest.FixtureRequest) -> str:
    return request.param


def test_the_three_layouts(tmp_path: Path, layout: str) -> None:
    dataset = ArkitFace(write_layout(tmp_path, layout))
    listing = dataset.list_samples()
    assert listing.notes == (f"The layout is that of {layout}.",) and not listing.problems
    assert listing.keys == (ROWS[2].key, ROWS[0].key, ROWS[1].key), "test, then train"
    assert dataset.list_samples(limit=1).keys == (ROWS[2].key,)
    for key in listing.keys:
        files = listing.files_of[key]
        assert len(files) == 2 and all((tmp_path / file).is_file() for file in files)
    assert listing.files_of.get("test/1/2/3") is None and len(listing.files_of) == 3
    sample = pickle.loads(pickle.dumps(dataset)).read(ROWS[0].key)
    assert (sample.subject, sample.group, sample.split) == ("000579", "000579", "train")
    assert sample.sequence == "000579/09_LeftToRight_Frown" and sample.frame == 1616212233525
    assert sample.read_image_rgb().shape == (800, 800, 3)


def test_pose_and_projection(tmp_path: Path) -> None:
    """Against the owners' own chain: verts @ R_t @ the projection matrix @ the viewport."""
    dataset = ArkitFace(write_layout(tmp_path, "WCPA"))
    detail = dataset.detail(ROWS[0].key)
    sample = detail.sample
    # ARKit's angles with every sign turned are ours
    assert np.allclose(ypr_300wlp_from_matrix(sample.R_cam_from_head), [-20, 8, -5], atol=1e-9)
    assert np.allclose(sample.t_cam_from_head_mm, [20, 30, 450])
    M_proj = np.diag([1.57443701, 1.57443701, -0.99999976, 0.0])
    M_proj[2, 3], M_proj[3, 2] = -1.0, -0.001
    M_view = np.array([[400.0, 0, 0, 0], [0, 400, 0, 0], [0, 0, 1, 0], [400, 400, 0, 1]])
    u, v, _, w = (np.c_[VERTS.astype(np.float32), np.ones(1220)] @ R_T @ M_proj @ M_view).T
    theirs = np.stack([u / w, 800 - v / w], -1)
    (mesh,) = detail.meshes
    assert np.allclose(arkit_camera().project(mesh.vertices_m), theirs, atol=1e-4)
    assert mesh.frame == "cam" and mesh.triangles.tolist() == [[0, 1, 2], [1, 2, 3]]
    assert np.allclose(sample.landmarks_68_px, theirs[0:680:10], atol=1e-4)
    assert np.allclose(sample.box_xyxy_px, [*theirs.min(0), *theirs.max(0)], atol=1e-4)
    assert np.allclose(detail.landmarks_68_m, mesh.vertices_m[0:680:10])
    assert arkit_camera().fx_px == pytest.approx(629.7748, abs=1e-4)
    assert arkit_camera().horizontal_fov_deg == pytest.approx(64.843, abs=1e-3)
    assert detail.raw["1616212233525_info.npz: extra"] == "int64 3" and detail.notes == ()


def test_wcpa_landmarks_are_those_of_the_file(tmp_path: Path) -> None:
    write_layout(tmp_path, "WCPA")
    row = ROWS[0]
    path = tmp_path / "68landmarks" / row.subject_id / row.facial_action
    path.mkdir(parents=True)
    path = path / f"{row.img_id}_68landmarks.txt"
    points = RNG.integers(0, 800, (68, 2))
    np.savetxt(path, points, "%d")
    dataset = ArkitFace(tmp_path)
    assert np.array_equal(dataset.read(row.key).landmarks_68_px, points + 0.5)
    assert len(dataset.list_samples().files_of[row.key]) == 3
    path.write_text("1 2 3")
    with pytest.raises(DatasetError, match=r"68landmarks\.txt does not hold 68 rows"):
        dataset.read(row.key)


def test_without_resources_points_only(tmp_path: Path) -> None:
    dataset = ArkitFace(write_layout(tmp_path, "TRG"))
    detail = dataset.detail(ROWS[0].key)
    assert detail.meshes[0].triangles is None and detail.sample.landmarks_68_px is None
    assert any("example.obj: the mesh is points only" in note for note in detail.notes)
    assert dataset.flip_index() is None
    write_resources(tmp_path / "ARKitFace_resources")
    assert dataset.detail(ROWS[0].key).meshes[0].triangles is not None, "they came later"


def test_another_topology_is_tolerated(tmp_path: Path) -> None:
    write_layout(tmp_path, "WCPA")
    info = tmp_path / "info/000579/09_LeftToRight_Frown/1616212233525_info.npz"
    write_sample(tmp_path / "x.jpg", info, VERTS[:900])
    detail = ArkitFace(tmp_path).detail(ROWS[0].key)
    assert "Not ARKit's topology: 900 vertices, not 1220." in detail.notes
    assert detail.meshes[0].triangles is None and detail.meshes[0].vertices_m.shape == (900, 3)


def test_a_root_without_lists(tmp_path: Path, layout: str) -> None:
    write_layout(tmp_path, layout)
    shutil.rmtree(tmp_path / ("ARKitFace_list" if layout == "TRG" else "list"))
    listing = ArkitFace(tmp_path).list_samples()
    wanted = [row.key if layout == "TRG" else row.key.split("/", 1)[1] for row in ROWS]
    assert list(listing.keys) == wanted and "no list" in listing.notes[1]
    assert ArkitFace(tmp_path).read(listing.keys[0]).subject == "000579"


def test_missing_files_and_broken_rows_are_named(tmp_path: Path) -> None:
    write_layout(tmp_path, "TRG")
    info = tmp_path / "ARKitFace_info_train/info/000579/09_LeftToRight_Frown"
    (info / "1616212233625_info.npz").unlink()
    (tmp_path / "ARKitFace_image_test/image/225579/01_UpToDown_Smile/1616212239999_ar.jpg").unlink()
    lists = tmp_path / "ARKitFace_list/list"
    write_list(lists / "ARKitFace_train.csv", ROWS[:2] + ROWS[:1], "..,0,a,1\n1,2")
    (lists / "other.csv").write_text("a,b\n1,2\n")
    listing = ArkitFace(tmp_path).list_samples()
    assert listing.keys == (ROWS[2].key, ROWS[0].key)
    found = [(Path(problem.file).name, problem.reason) for problem in listing.problems]
    assert found[:5] == [
        ("1616212239999_ar.jpg", "The picture is missing."),
        ("1616212233625_info.npz", "The label file is missing."),
        ("1616212233525_info.npz", "It is listed again."),
        ("ARKitFace_train.csv, line 5", "'.., a, 1' names no picture."),
        ("ARKitFace_train.csv, line 6", "'1, , ' names no picture."),
    ]
    assert found[5][0] == "other.csv" and "neither the list of train" in found[5][1]
    assert listing.files_of[ROWS[2].key] == (
        f"ARKitFace_info_test/info/{ROWS[2].key[5:]}_info.npz",
    )


def test_labels_that_cannot_be_used(tmp_path: Path) -> None:
    write_layout(tmp_path, "6dof_face")
    info = tmp_path / "info/000579/09_LeftToRight_Frown/1616212233525_info.npz"
    dataset, key = ArkitFace(tmp_path), ROWS[0].key
    for arrays, reason in (
        ({"verts": VERTS}, "no numbers called R_t"),
        ({"verts": VERTS, "R_t": np.eye(3)}, r"R_t \(3, 3\)"),
        ({"verts": VERTS[:, :2], "R_t": R_T}, r"verts \(1220, 2\)"),
        ({"verts": np.zeros((0, 3)), "R_t": R_T}, r"verts \(0, 3\)"),
        ({"verts": VERTS, "R_t": R_T * np.nan}, "not finite"),
        ({"verts": VERTS.astype(object), "R_t": R_T}, "no numbers called verts"),
        ({"verts": VERTS, "R_t": np.full((4, 4), "a")}, "no numbers called R_t"),
    ):
        np.savez(info, **arrays)
        with pytest.raises(DatasetError, match=reason):
            dataset.detail(key)
    info.write_bytes(b"PK\3\4 cut short")
    with pytest.raises(DatasetError, match="cannot be used"):
        dataset.read(key)
    info.unlink()
    with pytest.raises(DatasetError, match="is missing"):
        dataset.read(key)


@pytest.mark.parametrize(
    "key",
    [
        *("", "a/b", "../../x/y", "train/../b/c", "train/a/b/c/d", "val/a/b/c", "/a/b/c"),
        *("a\\..\\x/b/c", "a/b\0/c", "train/a//c"),
    ],
)
def test_keys_that_are_none(key: str) -> None:
    with pytest.raises(DatasetError, match="is no key of ARKitFace"):
        row_of_key(key)


def test_a_head_behind_the_camera_has_no_box(tmp_path: Path) -> None:
    write_layout(tmp_path, "WCPA")
    info = tmp_path / "info/000579/09_LeftToRight_Frown/1616212233525_info.npz"
    np.savez(info, verts=VERTS, R_t=matrix((0, 0, 0), (0, 0, 0.45)))
    sample = ArkitFace(tmp_path).read(ROWS[0].key)
    assert sample.t_cam_from_head_mm[2] == pytest.approx(-450)
    assert sample.box_xyxy_px is sample.landmarks_68_px is None


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is no ARKitFace"):
        ArkitFace(tmp_path).list_samples()
    (tmp_path / "info").mkdir()
    with pytest.raises(DatasetError, match="no label file"):
        ArkitFace(tmp_path).list_samples()


def test_flip_index_is_derived_or_read(tmp_path: Path) -> None:
    write_layout(tmp_path, "WCPA")
    derived = ArkitFace(tmp_path).flip_index()
    assert np.array_equal(derived[derived], np.arange(1220))
    assert np.allclose(VERTS[derived] * [-1, 1, 1], VERTS, atol=1e-12)
    own = np.arange(1220)
    own[[3, 7]] = 7, 3
    np.save(tmp_path / "flip_index.npy", own)
    assert np.array_equal(ArkitFace(tmp_path).flip_index(), own)
    np.save(tmp_path / "flip_index.npy", np.roll(own, 1))
    with pytest.raises(DatasetError, match=r"flip_index\.npy is no involution of 1220"):
        ArkitFace(tmp_path).flip_index()


def test_a_template_without_symmetry_gives_no_flip_index() -> None:
    with pytest.raises(DatasetError, match="not symmetric"):
        flip_index_from_uv(RNG.uniform(0, 1, (30, 2)) * [0.4, 1.0])
    twice = np.array([[0.2, 0.5], [0.8, 0.5], [0.8, 0.5]])
    with pytest.raises(DatasetError, match="no involution of 3"):
        flip_index_from_uv(twice)


def test_flip_index_of_the_real_template(shared_data: Path) -> None:
    uv = np.load(shared_data / "trg_arrays" / "uv_coords_std_202109.npy")[:1220].astype(np.float64)
    flip_index = flip_index_from_uv(uv)
    assert (flip_index == np.arange(1220)).sum() == 46
    assert np.abs(uv[flip_index] * [-1, 1] + [1, 0] - uv).max() < 1e-6


def test_the_real_resources(tmp_path: Path, shared_data: Path) -> None:
    """Files of 6dof_face's repository: no example.obj among them, but triangles.npy."""
    write_layout(tmp_path, "TRG")
    folder = tmp_path / "ARKitFace_resources"
    folder.mkdir()
    for name in ("kpt_ind.npy", "triangles.npy", "uv_coords_std_202109.npy"):
        shutil.copy(shared_data / "trg_arrays" / name, folder / name)
    dataset = ArkitFace(tmp_path)
    detail = dataset.detail(ROWS[0].key)
    assert detail.meshes[0].triangles.shape == (2304, 3) and detail.notes == ()
    assert detail.sample.landmarks_68_px.shape == (68, 2)
    assert dataset.flip_index().shape == (1220,)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("v 1 2\n", "no mesh"),
        ("v 1 2 3\nf 1 2 3\n", "not there"),
        ("v 0 0 0\nf 1 1 1 1\n", "no mesh"),
    ],
)
def test_damaged_templates(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "a.obj").write_text(text)
    with pytest.raises(DatasetError, match=reason):
        read_obj_template(tmp_path / "a.obj")
