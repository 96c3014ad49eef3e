"""MICA: an imitation of its folders made here, a FLAME-shaped model, and the real lists."""

from __future__ import annotations

import os
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from models.flame.assets import (
    FLAME_TRIANGLES,
    FLAME_VERTICES,
    T_HEAD_FROM_FLAME,
    FlameAssets,
    write_flame_npz,
)
from models.flame.open_head import load_open_head
from models.weights import REPOSITORY_ROOT, T_HEAD_FROM_TRG_MINI
from viewer.datasets.mica import Mica, registration_distance
from viewer.datasets.mica_files import (
    SUBSETS,
    guess_unit,
    read_image_list,
    read_obj,
    read_parameters,
    subset_of,
)
from viewer.datasets.mica_heads import flame_head
from viewer.datasets.registry import open_dataset
from viewer.datasets.source import DatasetError

HIGHER_M = np.array([0.0, 0.003, 0.0])
BUNDLED = REPOSITORY_ROOT / "assets" / "samples" / "mica"


class RunsAProgram:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


def flame_shaped() -> FlameAssets:
    """A ball of FLAME's size and counts, with 400 directions of which few do anything."""
    rng = np.random.default_rng(0)
    golden = np.arange(FLAME_VERTICES) * np.pi * (3 - np.sqrt(5))
    height = np.linspace(-1, 1, FLAME_VERTICES)
    ring = np.sqrt(1 - height**2)
    ball = np.column_stack([ring * np.cos(golden), height, ring * np.sin(golden)])
    hull = ConvexHull(ball)
    sides = np.diff(ball[hull.simplices], axis=1)
    facing = (np.cross(sides[:, 0], sides[:, 1]) * hull.equations[:, :3]).sum(1)
    triangles = np.where(facing[:, None] < 0, hull.simplices[:, ::-1], hull.simplices)
    surplus = np.linspace(0, len(triangles) - 1, len(triangles) - FLAME_TRIANGLES).astype(int)
    shapes, expressions = np.zeros((300, FLAME_VERTICES, 3)), np.zeros((100, FLAME_VERTICES, 3))
    shapes[:3] = 0.002 * rng.normal(size=(3, FLAME_VERTICES, 3))
    weights = np.zeros((FLAME_VERTICES, 5))
    weights[:, 1] = 1.0
    regressor = np.zeros((5, FLAME_VERTICES))
    regressor[:, 0] = 1.0
    return FlameAssets(
        name="made by the test",
        is_open_head=False,
        template_vertices_m=ball * [0.1, 0.16, 0.12],
        triangles=np.delete(triangles, surplus, 0).astype(np.int64),
        shape_directions_m=shapes,
        expression_directions_m=expressions,
        pose_directions_m=np.zeros((36, FLAME_VERTICES, 3)),
        joint_parents=np.array([-1, 0, 1, 1, 1]),
        joint_regressor=regressor,
        skinning_weights=weights,
    )


def write_obj(path: Path, vertices: np.ndarray, triangles: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        "# registration",
        "mtllib x.mtl",
        *(f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in vertices),
    ]
    lines += ["vt 0.5 0.5", *(f"f {a}/1 {b}/1  {c}/1" for a, b, c in triangles + 1)]
    path.write_text("\n".join(lines))


def write_fit(path: Path, betas: np.ndarray, pose: np.ndarray | None = None, **more) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, pose=np.zeros(15) if pose is None else pose, betas=betas, **more)


@pytest.fixture(scope="module")
def mica_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three samples of two subsets, a FLAME model beside them, and a list of pictures."""
    base = tmp_path_factory.mktemp("user")
    root, model, rng = base / "MICA", flame_shaped(), np.random.default_rng(1)
    (base / "FLAME2020").mkdir()
    write_flame_npz(base / "FLAME2020" / "generic_model.npz", model)
    for subset, actor, stem in (
        ("STIRLING", "F1001", "F1001_N"),
        ("STIRLING", "M1002", "M1002_N"),
        ("FLORENCE", "subject_01", "110920150452"),
    ):
        betas = np.zeros(400)
        betas[:3] = rng.normal(size=3)
        pose = np.zeros(15)
        pose[6] = 0.1
        write_fit(root / subset / "FLAME_parameters" / actor / f"{stem}.npz", betas, pose)
        mesh = model.template_vertices_m + np.tensordot(betas[:3], model.shape_directions_m[:3], 1)
        scale = 1000 if actor == "M1002" else 1
        name = root / subset / "registrations" / actor / f"{stem}.obj"
        write_obj(name, scale * (mesh + HIGHER_M), model.triangles)
    images = root / "STIRLING" / "images" / "F1001"
    images.mkdir(parents=True)
    for name in ("F1001_004.jpg", "F1001_003.jpg"):
        (images / name).write_bytes(b"a picture")
    (root / "STIRLING" / "arcface_input" / "F1001").mkdir(parents=True)
    (root / "STIRLING" / "arcface_input" / "F1001" / "F1001_003.npy").write_bytes(b"")
    (root / "image_paths").mkdir()
    table = {
        "F1001": (["F1001/F1001_004.jpg", "F1001/F1001_003.jpg"], "F1001/F1001_N.npz"),
        "F1009": (["F1009/F1009_001.jpg"], "F1009/F1009_N.npz"),
    }
    write_list(root / "image_paths" / "STIRLING.npy", table)
    return root


def write_list(path: Path, table: object) -> None:
    array = np.array(None, object)
    array[()] = table
    np.save(path, array, allow_pickle=True)


def test_the_listing(mica_root: Path) -> None:
    listing = open_dataset("mica", mica_root).list_samples()
    assert listing.keys == (
        "FLORENCE/subject_01/110920150452",
        "STIRLING/F1001/F1001_N",
        "STIRLING/M1002/M1002_N",
    )
    assert listing.problems == ()
    assert listing.files_of["STIRLING/F1001/F1001_N"] == (
        "STIRLING/FLAME_parameters/F1001/F1001_N.npz",
        "STIRLING/registrations/F1001/F1001_N.obj",
        "STIRLING/images/F1001/F1001_003.jpg",
    )
    notes = "\n".join(listing.notes)
    assert "STIRLING (Stirling): 2 actors here; 133 are published, MICA's list has 96" in notes
    assert "lists 2 actors and 3 pictures; 1 of these actors are not here, 1 here" in notes
    assert len(Mica(mica_root).list_samples(limit=2).keys) == 2
    one = Mica(mica_root / "STIRLING").list_samples()
    assert one.keys == ("F1001/F1001_N", "M1002/M1002_N"), "one subset as the root"


def test_a_sample(mica_root: Path) -> None:
    data = Mica(mica_root)
    sample = data.read("STIRLING/F1001/F1001_N")
    assert (sample.dataset, sample.subject, sample.sequence) == ("mica", "F1001", "STIRLING")
    assert (sample.group, sample.split) == ("STIRLING/F1001", "train")
    assert sample.image == mica_root / "STIRLING/images/F1001/F1001_003.jpg"
    assert data.read("FLORENCE/subject_01/110920150452").split == "validation"
    same = pickle.loads(pickle.dumps(data))
    assert same.read("FLORENCE/subject_01/110920150452").image is None
    for key in ("STIRLING/F1001/none", "../MICA/STIRLING/F1001/F1001_N", "", "F1001_N",
                "STIRLING/../F1001_N", "/etc/passwd"):  # fmt: skip
        with pytest.raises(DatasetError, match="has no sample"):
            data.read(key)


def test_the_registration_beside_its_flame_mesh(mica_root: Path) -> None:
    """The file's mesh is the model's, 3 mm higher: the rest of the way is found and stated."""
    model = flame_shaped()
    detail = Mica(mica_root).detail("STIRLING/M1002/M1002_N")
    registration, fitted = detail.meshes
    assert (registration.name, registration.frame) == ("registration", "head")
    assert fitted.name == "mesh of the parameters, made by the test"
    assert np.array_equal(fitted.triangles, model.triangles)
    assert np.abs(registration.vertices_m - fitted.vertices_m).max() < 1e-6
    assert registration_distance(detail).distance.max() < 1e-6
    notes = "\n".join(detail.notes)
    assert "5023 vertices and 9976 triangles, as FLAME has." in notes
    assert "so the unit is taken to be millimetres" in notes
    assert "turned by 0.00 deg and moved by 3.0 mm" in notes
    T = T_HEAD_FROM_FLAME
    back = (registration.vertices_m - T[:3, 3]) @ T[:3, :3]
    obj = read_obj(mica_root / "STIRLING/registrations/M1002/M1002_N.obj")
    assert np.allclose(1000 * back, obj.vertices, atol=1e-6)
    numbers = np.array(detail.raw["M1002_N.npz: betas"].split(), np.float64)
    assert len(numbers) == 400 and np.abs(numbers[:3]).max() > 0
    assert np.array(detail.raw["M1002_N.npz: pose"].split(), np.float64)[6] == 0.1
    pictured = Mica(mica_root).detail("STIRLING/F1001/F1001_N")
    assert "2 pictures, 1 of them without an arcface" in "\n".join(pictured.notes)


def test_parameters_on_another_flame(mica_root: Path, tmp_path: Path) -> None:
    path = tmp_path / "flame2023.npz"
    write_flame_npz(path, replace(flame_shaped(), name="FLAME 2023"))
    notes = "\n".join(Mica(mica_root, flame=path).detail("STIRLING/F1001/F1001_N").notes)
    assert "The parameters are of FLAME 2020, the model is FLAME 2023:" in notes
    notes = "\n".join(Mica(mica_root).detail("STIRLING/F1001/F1001_N").notes)
    assert "The parameters are of" not in notes


def test_without_flame_the_registration_stands_alone(mica_root: Path, tmp_path: Path) -> None:
    data = Mica(mica_root, flame=tmp_path / "none.pkl")
    detail = data.detail("STIRLING/F1001/F1001_N")
    assert len(detail.meshes) == 1 and registration_distance(detail) is None
    assert "none.pkl is missing" in "\n".join(detail.notes)
    (tmp_path / "bad.pkl").write_bytes(b"\x80\x02cos\nsystem\nX\x01\x00\x00\x00a\x85R.")
    detail = Mica(mica_root, flame=tmp_path / "bad.pkl").detail("STIRLING/F1001/F1001_N")
    assert len(detail.meshes) == 1 and "os.system" in "\n".join(detail.notes)


def test_what_is_missing_or_odd_is_listed(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no FLAME_parameters/<actor>"):
        Mica(tmp_path).list_samples()
    root = tmp_path / "BU-3DFE"
    write_fit(root / "FLAME_parameters/F0001/a.npz", np.zeros(400))
    write_fit(root / "FLAME_parameters/F0001/b.npz", np.zeros(400))
    box = np.array([[0.0, 0, 0], [0.2, 0, 0], [0, 0.3, 0], [0, 0, 0.2]])
    write_obj(root / "registrations/F0001/b.obj", box, np.array([[0, 2, 1], [0, 1, 3]]))
    write_obj(root / "registrations/F0002/c.obj", 700 * box, np.zeros((0, 3), int))
    (root / "registrations/F0002/readme.txt").write_text("?")
    (root / "registrations/F0003").mkdir()
    listing = Mica(root).list_samples()
    assert listing.keys == ("F0001/a", "F0001/b", "F0002/c")
    found = {problem.file: problem.reason for problem in listing.problems}
    assert found == {
        "FLAME_parameters/F0001/a.npz": "no registration of this name",
        "registrations/F0002/readme.txt": "not an .obj file, and not read",
        "registrations/F0002/c.obj": "no FLAME parameters of this name",
        "F0003": "neither parameters nor a registration",
    }
    assert "BU-3DFE (BU-3DFE): 3 actors here; 100 are published" in listing.notes[0]
    notes = "\n".join(Mica(root).detail("F0001/b").notes)
    assert "Not FLAME topology: 4 vertices and 2 triangles; FLAME has 5023 and 9976." in notes
    assert "Without a FLAME model the parameters give no mesh." in notes
    lone = Mica(root).detail("F0001/a")
    assert lone.meshes == () and lone.raw["a.npz: pose"].split() == ["0"] * 15
    points = Mica(root).detail("F0002/c")
    assert points.meshes[0].triangles is None
    assert "so the unit is taken to be millimetres" in "\n".join(points.notes)


def test_units() -> None:
    box = np.array([[0.0, 0, 0], [0.2, 0.32, 0.25]])
    for scale, unit in ((1, "metres"), (10, "decimetres"), (100, "centimetres")):
        assert guess_unit(scale * box) == unit
    assert guess_unit(1000 * box) == "millimetres" and guess_unit(1e5 * box) is None


def test_hostile_and_broken_files(tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "fit.npz"
    bad = np.array([RunsAProgram(marker)], object)
    write_fit(path, np.zeros(400), extra=bad)
    with pytest.raises(DatasetError, match=r"fit\.npz was not opened.*system"):
        read_parameters(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("betas.npy", bytes(200 << 20))
    assert path.stat().st_size < 1 << 20, "a bomb indeed"
    with pytest.raises(DatasetError, match="that is no fit"):
        read_parameters(path)
    write_fit(path, np.zeros(400))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DatasetError, match="cannot be read"):
        read_parameters(path)
    for betas, pose, match in (
        (np.full(400, np.nan), np.zeros(15), "no finite number"),
        (np.array(["x"]), np.zeros(15), "no finite number"),
        (np.zeros(400), np.zeros(6), "pose has 6 numbers"),
    ):
        write_fit(path, betas, pose)
        with pytest.raises(DatasetError, match=match):
            read_parameters(path)
    obj = tmp_path / "a.obj"
    for text, match in (
        ("v 1 2\n", "line 1"),
        ("v 0 0 0\nf 1 2 9\n", "does not have"),
        ("v 0 0 0\nf 1 2 0\n", "does not have"),
        ("v 0 0 nan\n", "finite"),
        ("", "0 vertices"),
        ("v 0 0 0\nf a b c\n", "line 2"),
    ):
        obj.write_text(text)
        with pytest.raises(DatasetError, match=match):
            read_obj(obj)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_obj(tmp_path / "none.obj")
    assert not marker.exists()


def test_objects_that_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "fit.npz"
    whole = np.array(None, object)
    whole[()] = np.arange(15.0)
    write_fit(path, np.array([1.5, 2, -1], object), whole, name="Adrian", trans=np.zeros(3))
    found = read_parameters(path)
    assert found.betas.tolist() == [1.5, 2, -1] and found.pose_rad.tolist() == list(range(15))
    assert found.printed["name"] == "Adrian" and found.printed["trans"] == "0 0 0"


def test_obj_with_polygons_and_negative_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.obj"
    path.write_text("v 0 0 0 1 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvn 0 0 1\nf 1//1 2//1 3//1 -1//1\n")
    assert read_obj(path).triangles.tolist() == [[0, 1, 2], [0, 2, 3]]


def test_lists_of_pictures(tmp_path: Path) -> None:
    path, marker = tmp_path / "LYHM.npy", tmp_path / "marker"
    write_list(path, {"00001": (["00001/2C.png"], "00001/130925161618.npz")})
    found = read_image_list(path)
    assert found["00001"].images == ("00001/2C.png",)
    for table, match in (
        ({"a": (["../../etc/passwd"], "a/a.npz")}, "no path below"),
        ({"a": (["a/1.png"], "/etc/passwd")}, "no path below"),
        ({"a": (["a/..\\1.png"], "a/a.npz")}, "no path below"),
        ({"a": ["a/1.png"]}, "no list of pictures"),
        ([1], "no table of actors"),
        ({"a": RunsAProgram(marker)}, "was not opened.*system"),
    ):
        write_list(path, table)
        with pytest.raises(DatasetError, match=match):
            read_image_list(path)
    assert not marker.exists()


def test_the_eight_subsets() -> None:
    assert len(SUBSETS) == 8
    assert sum(subset.subjects for subset in SUBSETS) == 2315
    assert sum(subset.listed_actors for subset in SUBSETS) == 2278
    assert sum(subset.listed_images for subset in SUBSETS) == 85_650
    assert subset_of("bp4d+").title == "BP4D+" and subset_of("BU-3DFE").folder == "BU3DFE"
    assert subset_of("Florence 2D/3D").split == "validation" and subset_of("OPENHEAD_A") is None


def test_the_real_lists(shared_data: Path) -> None:
    folder = shared_data / "samples/mica/image_paths"
    for name in ("STIRLING", "FLORENCE", "BU3DFE", "LYHM"):
        found, subset = read_image_list(folder / f"{name}.npy"), subset_of(name)
        assert len(found) == subset.listed_actors
        assert sum(len(row.images) for row in found.values()) == subset.listed_images
        assert all(row.parameters.startswith(f"{actor}/") for actor, row in found.items())


def test_the_real_template(shared_data: Path) -> None:
    mesh = read_obj(shared_data / "samples/mica/FLAME2020/head_template.obj")
    assert (len(mesh.vertices), len(mesh.triangles)) == (FLAME_VERTICES, FLAME_TRIANGLES)
    assert guess_unit(mesh.vertices) == "metres"


def test_the_bundled_set() -> None:
    head, data = load_open_head(), Mica(BUNDLED)
    listing = data.list_samples()
    assert len(listing.keys) == 5 and listing.problems == ()
    assert sum(path.stat().st_size for path in BUNDLED.rglob("*") if path.is_file()) < 2_000_000
    for key in listing.keys:
        detail = data.detail(key)
        registration, fitted = detail.meshes
        gaps_mm = 1000 * np.linalg.norm(registration.vertices_m - fitted.vertices_m, axis=1)
        assert 0.3 < gaps_mm.mean() < 3, "a fit, and not the person"
        parameters = read_parameters(data._fit(key).parameters)
        assert np.abs(parameters.betas).max() < 3 and not parameters.pose_rad.any()
        wanted = head.vertices_m(parameters.betas[:60])
        wanted = wanted @ T_HEAD_FROM_TRG_MINI[:3, :3].T + T_HEAD_FROM_TRG_MINI[:3, 3]
        assert np.linalg.norm(wanted.mean(0) - fitted.vertices_m.mean(0)) < 0.003
        assert detail.landmarks_68_m.shape == (68, 3)
        nose, eyes = detail.landmarks_68_m[30], detail.landmarks_68_m[[36, 45]]
        assert nose[2] < eyes[:, 2].min() and nose[1] > eyes[:, 1].max(), "looks at the camera"
        notes = "\n".join(detail.notes)
        assert "Not FLAME topology: 5297 vertices and 10358 triangles" in notes
        assert "metres" in notes and "open head" in notes
    nearest = registration_distance(detail)
    assert 0.0001 < nearest.distance.mean() < gaps_mm.mean() / 1000


def test_wrong_parameters_for_the_model(mica_root: Path, tmp_path: Path) -> None:
    head = flame_head(mica_root.parent / "FLAME2020" / "generic_model.npz")
    path = tmp_path / "fit.npz"
    write_fit(path, np.ones(500))
    with pytest.raises(DatasetError, match="300 identity and 200 expression"):
        head.vertices_m(read_parameters(path))
