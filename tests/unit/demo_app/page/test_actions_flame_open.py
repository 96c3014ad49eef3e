"""What can be opened in the FLAME tab, what is refused, and two heads compared."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import trimesh

from demo_app.actions.flame_compare import compare, comparison_html, comparison_message
from demo_app.actions.flame_desk import FlameDesk, desk_of
from demo_app.actions.flame_files import head_file
from demo_app.actions.flame_mesh_files import read_mesh, read_ply
from demo_app.actions.flame_open import open_files, open_own_head, open_path
from demo_app.actions.flame_parameters import FlameTabError, HeadParameters
from demo_app.config import AppConfig
from demo_app.services import Services, Visitor
from demo_app.tabs.problems import EXPLAINED
from models.flame.assets import FLAME_JOINTS, FlameAssets, open_head_assets, write_flame_npz
from models.geometry.rotations import about_x, about_y
from viewer.render.mesh_files import NamedMesh

MICA = Path(__file__).resolve().parents[4] / "assets" / "samples" / "mica" / "OPENHEAD_A"


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return Services(AppConfig(cache_dir=tmp_path / "cache", flame_dir=tmp_path / "flame"))


@pytest.fixture
def visitor(services: Services) -> Visitor:
    return services.visitors.get("a")


@pytest.fixture
def desk(services: Services, visitor: Visitor) -> FlameDesk:
    return desk_of(services, visitor)


def as_flame(name: str) -> FlameAssets:
    """The open head as a FLAME file may have it."""
    return replace(
        open_head_assets(),
        name=name,
        is_open_head=False,
        joint_names=FLAME_JOINTS,
        expression_names=(),
        masks={},
        landmarks=None,
    )


def test_a_flame_file_is_named_and_says_what_is_missing(
    services: Services, visitor: Visitor, tmp_path: Path
) -> None:
    write_flame_npz(tmp_path / "flame2023.npz", as_flame("FLAME 2023"))
    opened = open_files(services, visitor, [tmp_path / "flame2023.npz"])
    assert opened.is_new and opened.desk.assets.name == "FLAME 2023"
    assert "landmark_embedding.npy" in opened.news[1] and "FLAME_masks.pkl" in opened.news[1]
    mica = MICA / "FLAME_parameters" / "A001" / "A001_neutral.npz"
    mismatch = open_files(services, visitor, [mica]).warnings[0]
    assert mismatch.startswith("The parameters are of FLAME 2020, the model is FLAME 2023")
    assert "stands in for FLAME" in open_own_head(services, visitor).news[0]


def test_the_snippet_of_mica_s_page_gives_the_values_that_are_shown(
    services: Services, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_path(services, visitor, str(MICA))
    assert opened.fit == "A001/A001_neutral" and opened.warnings == ()
    code = unescape(re.search(r'<pre data-field="code">(.*?)</pre>', opened.snippet, re.S)[1])
    monkeypatch.chdir(MICA / "FLAME_parameters" / "A001")
    found: dict[str, object] = {}
    exec(code, found)
    cells = dict(re.findall(r'row">(\w+)<small>.*?<td>(.*?)</td>', opened.snippet, re.S))
    assert list(cells) == list(found["flame"])
    for name, tensor in found["flame"].items():
        shown = np.array([float(word) for word in cells[name].split(",")])
        assert np.allclose(shown, tensor.numpy(), rtol=1e-5)
    assert np.allclose(opened.parameters.shape, found["betas"][:60].numpy())
    head = opened.desk.head(opened.parameters).vertices_flame_m.astype(float)
    triangles = opened.desk.assets.triangles
    compared = compare("a", NamedMesh("a", head, triangles), opened.desk.other)
    assert compared.by_vertices and compared.figures["mean"] < 3, "those of its own actor"


def test_one_sentence_for_every_bad_input(
    services: Services, visitor: Visitor, desk: FlameDesk, tmp_path: Path
) -> None:
    def file(name: str, content: bytes = b"") -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    class Evil:
        def __reduce__(self) -> tuple:
            return os.system, (f"touch {tmp_path}/ran",)

    evil = pickle.dumps({"v_template": Evil()})
    np.savez(tmp_path / "none.npz", x=np.zeros(3))
    np.savez(tmp_path / "evil.npz", betas=np.array(Evil(), object), pose=np.zeros(15))
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("betas.npy", b"\0" * (64 << 20))
    header = b"ply\nformat binary_little_endian 1.0\nelement vertex 4000000000\nproperty float x\n"
    bad = [
        [file("a.txt", b"x")],
        [file("a.pkl", evil)],
        [file("short.pkl", b"\x80\x02")],
        [file("broken.npz", b"PK")],
        [tmp_path / "none.npz"],
        [tmp_path / "evil.npz"],
        [tmp_path / "bomb.npz"],
        [file("flat.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\n")],
        [file("far.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n")],
        [file("small.obj", b"v 0 0 0\nv 1e-9 0 0\nv 0 1e-9 0\nf 1 2 3\n")],
        [file("huge.ply", header + b"end_header\n")],
        [file("cut.ply", b"ply\nformat ascii 1.0\nelement face 9\n")],
        [file("photo.jpg", b"\xff\xd8 no picture")],
        [file("landmark_embedding.npy")],
        [file("b.obj"), file("c.obj")],
    ]
    for files in bad:
        with pytest.raises(EXPLAINED) as caught:
            open_files(services, visitor, files)
        assert str(caught.value).endswith(".") and "\n" not in str(caught.value), files
    assert not (tmp_path / "ran").exists()
    for text in ("", str(tmp_path / "nowhere"), str(tmp_path)):
        with pytest.raises(FlameTabError):
            open_path(services, visitor, text)
    assert desk_of(services, visitor) is desk, "the head stays as it was"


def test_paths_are_closed_where_others_reach_the_page(tmp_path: Path) -> None:
    public = Services(AppConfig(server_name="0.0.0.0", cache_dir=tmp_path / "cache"))
    with pytest.raises(FlameTabError, match="not opened where others"):
        open_path(public, public.visitors.get("a"), str(MICA))


def test_ply_and_obj_of_other_programs(tmp_path: Path, desk: FlameDesk) -> None:
    box = trimesh.creation.box((0.2, 0.3, 0.25))
    for name, options in (("a.ply", {"encoding": "ascii"}), ("b.ply", {}), ("c.obj", {})):
        box.export(tmp_path / name, **options)
        mesh = read_mesh(tmp_path / name)
        assert mesh.unit == "metres" and mesh.mesh.triangles.shape == (12, 3)
        found = trimesh.Trimesh(mesh.mesh.vertices_m, mesh.mesh.triangles)
        assert found.volume == pytest.approx(box.volume, rel=1e-5)
    quads = b"4 0 1 2 3\n3 0 1 2\n"
    text = (
        b"ply\nformat ascii 1.0\nelement vertex 4\nproperty double y\nproperty double x\n"
        b"property double z\nelement face 2\nproperty list uchar int vertex_indices\nend_header\n"
        b"0 0 0\n0 1 0\n1 1 0\n1 0 0\n" + quads
    )
    (tmp_path / "quad.ply").write_bytes(text)
    vertices, triangles = read_ply(tmp_path / "quad.ply")
    assert vertices[1].tolist() == [1.0, 0.0, 0.0]
    assert triangles.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    (tmp_path / "quad.ply").write_bytes(text[:-6])
    with pytest.raises(FlameTabError, match="no PLY file"):
        read_ply(tmp_path / "quad.ply")


def test_a_registration_of_the_model_is_fitted(
    services: Services, visitor: Visitor, desk: FlameDesk, tmp_path: Path
) -> None:
    neutral = HeadParameters.neutral(desk.assets)
    shape = np.zeros(60)
    shape[:3] = 1.2, -0.7, 0.4
    parameters = replace(neutral, shape=shape)
    path = tmp_path / "scan.ply"
    path.write_bytes(head_file(desk, parameters, "ply").content)
    opened = open_files(services, visitor, [path])
    fitted, wanted = (desk.head(p).vertices_flame_m for p in (opened.parameters, parameters))
    assert 1000 * np.abs(fitted - wanted).max() < 0.1
    assert "was fitted to it" in opened.news[1] and opened.has_other


def test_a_moved_head_is_moved_back_whatever_its_triangles(desk: FlameDesk) -> None:
    assets = desk.assets
    here = NamedMesh("here", assets.template_vertices_m, assets.triangles)
    R = about_y(8.0) @ about_x(-5.0)
    there_m = assets.template_vertices_m @ R.T + [0.1, -0.02, 0.3]
    same = compare("here", here, NamedMesh("there", there_m, assets.triangles))
    assert same.by_vertices and same.figures["max"] < 1e-6
    other = NamedMesh("there", there_m, assets.triangles[::-1].copy())
    near = compare("here", here, other)
    assert not near.by_vertices and near.figures["mean"] < 0.1
    shifted = NamedMesh("there", there_m * 1.05, assets.triangles)
    scaled = compare("here", here, shifted)
    assert 0.5 < scaled.figures["median"] < scaled.figures["max"] < 15, "not scaled"
    message = comparison_message(scaled)
    assert [head["name"] for head in message["heads"]] == ["here", "there"]
    assert f"{scaled.figures['mean']:.2f}" in comparison_html(scaled)
