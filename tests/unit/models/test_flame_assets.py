"""FLAME's assets: real chumpy's pickle, the .npz form, which file is found, which FLAME it is."""

from __future__ import annotations

import zipfile
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from demo_app.cli import main
from models.flame.assets import (
    T_HEAD_FROM_FLAME,
    FlameAssets,
    find_flame_assets,
    open_head_assets,
    read_flame_assets,
    write_flame_npz,
)
from models.flame.flame_files import FlameFileError
from models.flame.flame_landmarks import HeadLandmarks
from models.flame.open_head import T_HEAD_FROM_OPEN_HEAD, load_open_head
from models.flame.versions import MICA_VERSION, VERSIONS, version_mismatch

CHUMPY_FILE = Path(__file__).resolve().parents[2] / "data" / "flame_by_chumpy_0_70.pkl"
RECIPE = """
Python 2.7.18 with `pip install numpy==1.16.6 scipy==1.2.3 chumpy==0.70` ran this once:

    import cPickle, chumpy, numpy as np, scipy.sparse

    def made(seed, *shape):
        return np.sin(np.arange(np.prod(shape), dtype=np.float64) ** 2 + seed).reshape(shape)

    weights = np.abs(made(4, 6, 5))
    model = {
        "v_template": chumpy.array(made(0, 6, 3)),
        "f": np.array([[0, 1, 2], [2, 1, 3], [3, 4, 5]], np.uint32),
        "shapedirs": chumpy.array(made(1, 6, 3, 302)),
        "posedirs": chumpy.array(made(2, 6, 3, 36)),
        "J_regressor": scipy.sparse.csc_matrix(np.maximum(made(3, 5, 6), 0)),
        "weights": chumpy.array(weights / weights.sum(1)[:, None]),
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        "J": chumpy.array(made(5, 5, 3)),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }
    with open("flame_by_chumpy_0_70.pkl", "wb") as file:
        cPickle.dump(model, file, -1)
"""


def made(seed: int, *shape: int) -> np.ndarray:
    return np.sin(np.arange(np.prod(shape), dtype=np.float64) ** 2 + seed).reshape(shape)


def with_everything() -> FlameAssets:
    """The committed model with landmarks, outlines and masks."""
    ids = np.arange(68 * 3).reshape(68, 3) % 6
    outlines = np.arange(79 * 17 * 3).reshape(79, 17, 3) % 6
    landmarks = HeadLandmarks(ids, made(6, 68, 3), outlines, made(7, 79, 17, 3))
    masks = {"face": np.array([0, 1, 5]), "left_eyeball": np.array([4])}
    return replace(read_flame_assets(CHUMPY_FILE), landmarks=landmarks, masks=masks)


def assert_same(found: FlameAssets, wanted: FlameAssets) -> None:
    for field in fields(FlameAssets):
        one, other = getattr(found, field.name), getattr(wanted, field.name)
        if field.name in ("masks", "landmarks"):
            one, other = (dict(x if field.name == "masks" else vars(x)) for x in (one, other))
            assert one.keys() == other.keys()
            assert all(np.array_equal(one[key], other[key]) for key in one)
        elif isinstance(one, np.ndarray):
            assert one.dtype == other.dtype and np.array_equal(one, other), field.name
        else:
            assert one == other, field.name


def test_a_pickle_of_real_chumpy() -> None:
    assert b"chumpy.ch" in CHUMPY_FILE.read_bytes(), RECIPE
    assets = read_flame_assets(CHUMPY_FILE)
    assert np.allclose(assets.template_vertices_m, made(0, 6, 3), atol=1e-12)
    directions = np.concatenate([assets.shape_directions_m, assets.expression_directions_m])
    assert len(assets.shape_directions_m) == 300 and len(directions) == 302
    assert np.allclose(directions.transpose(1, 2, 0), made(1, 6, 3, 302), atol=1e-12)
    assert np.allclose(assets.pose_directions_m.transpose(1, 2, 0), made(2, 6, 3, 36), atol=1e-12)
    assert np.allclose(assets.joint_regressor, np.maximum(made(3, 5, 6), 0), atol=1e-12)
    weights = np.abs(made(4, 6, 5))
    assert np.allclose(assets.skinning_weights, weights / weights.sum(1)[:, None], atol=1e-12)
    assert assets.triangles.tolist() == [[0, 1, 2], [2, 1, 3], [3, 4, 5]]
    assert assets.joint_parents.tolist() == [-1, 0, 1, 1, 1]
    assert assets.joint_names == ("global", "neck", "jaw", "left_eye", "right_eye")
    assert assets.name == "flame_by_chumpy_0_70.pkl" and assets.has_jaw
    assert assets.landmarks is None and assets.masks == {}
    assert np.array_equal(assets.T_head_from_flame, T_HEAD_FROM_FLAME)


def test_the_npz_gives_everything_back(tmp_path: Path) -> None:
    for assets in (replace(with_everything(), name="FLAME 2023 Open"), open_head_assets()):
        write_flame_npz(tmp_path / "a.npz", assets)
        assert_same(read_flame_assets(tmp_path / "a.npz"), assets)
    with zipfile.ZipFile(tmp_path / "a.npz") as file:
        assert not any(b"numpy.core" in file.read(name)[:400] for name in file.namelist())
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_the_open_head_has_this_form() -> None:
    head, assets = load_open_head(), open_head_assets()
    assert assets is open_head_assets()
    assert assets.is_open_head and not assets.is_flame_topology and assets.has_jaw
    assert assets.joint_names == ("neck", "head", "jaw", "eye_l", "eye_r")
    assert len(assets.expression_names) == 52 and "jawOpen" in assets.expression_names
    assert np.allclose(assets.skinning_weights.sum(1), 1, atol=1e-12)
    assert not assets.pose_directions_m.any() and len(assets.pose_directions_m) == 36
    assert sum(map(len, assets.masks.values())) == len(head.template_vertices_m)
    assert np.array_equal(assets.T_head_from_flame, T_HEAD_FROM_OPEN_HEAD)
    # one sliver that bridges two corners of the neck's end may stay
    assert np.array_equal(assets.head_triangles[:9528], head.head_triangles)
    assert assets.head_triangles.max() < head.head_vertex_count


def test_which_file_is_found(tmp_path: Path) -> None:
    for nowhere in (None, tmp_path, tmp_path / "none"):
        assert find_flame_assets(nowhere) is open_head_assets()
    data = CHUMPY_FILE.read_bytes()
    order = ("flame2023_Open.pkl", "flame2023_no_jaw.pkl", "flame2023.pkl", "generic_model.pkl")
    names = ("FLAME 2023 Open", "FLAME 2023 no jaw", "FLAME 2023", "FLAME 2020")
    for file, name in zip(order, names, strict=True):
        (tmp_path / file).write_bytes(data)
        found = find_flame_assets(tmp_path)
        assert (found.name, found.is_open_head) == (name, False)
        assert found.has_jaw == (name != "FLAME 2023 no jaw")
    write_flame_npz(tmp_path / "generic_model.npz", replace(found, name="the npz"))
    assert find_flame_assets(tmp_path).name == "the npz"
    (tmp_path / "landmark_embedding.npy").write_bytes(b"?")
    with pytest.raises(FlameFileError, match=r"landmark_embedding\.npy is not a readable"):
        find_flame_assets(tmp_path)


def test_landmarks_and_masks_beside_the_real_template(shared_data: Path, tmp_path: Path) -> None:
    """A folder as MICA's: the real tables, and a model of FLAME's size to which they belong."""
    real = shared_data / "samples/mica/FLAME2020"
    for name in ("landmark_embedding.npy", "FLAME_masks/FLAME_masks.pkl"):
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((real / name).read_bytes())
    v = 5023
    triangles = np.arange(9976 * 3).reshape(-1, 3) % v
    small = read_flame_assets(CHUMPY_FILE)
    model = replace(
        small,
        template_vertices_m=np.zeros((v, 3)),
        triangles=triangles,
        shape_directions_m=np.zeros((0, v, 3)),
        expression_directions_m=np.zeros((0, v, 3)),
        pose_directions_m=np.zeros((36, v, 3)),
        joint_regressor=np.zeros((5, v)),
        skinning_weights=np.full((v, 5), 0.2),
    )
    write_flame_npz(tmp_path / "flame2023.npz", model)
    found = find_flame_assets(tmp_path)
    assert found.is_flame_topology and len(found.masks["face"]) == 1787
    assert found.landmarks.contour_weights.shape == (79, 17, 3)
    write_flame_npz(tmp_path / "flame2023.npz", small)
    with pytest.raises(FlameFileError, match="other triangles"):
        find_flame_assets(tmp_path)
    (tmp_path / "landmark_embedding.npy").unlink()
    with pytest.raises(FlameFileError, match=r"mask \w+ point outside 0 to 5"):
        find_flame_assets(tmp_path)


def test_hostile_npz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npz"
    write_flame_npz(path, with_everything())
    with np.load(path, allow_pickle=False) as file:
        whole = dict(file)
    for change, match in (
        ({"kintree_table": np.zeros((0, 5), np.int64)}, "no joints"),
        ({"shape_count": np.array(np.nan)}, r"shape_count is \(\) of float64"),
        ({"joint_names": np.array([b"a", b"b"])}, "expected"),
        ({"T_head_from_flame": 2 * np.eye(4)}, "not rigid"),
        ({"static_vertex_ids": np.full((68, 3), 6)}, "its landmarks point outside 0 to 5"),
        ({"contour_weights": np.zeros((5, 17, 3))}, r"contour_vertex_ids has shape \(79"),
        ({"static_weights": np.zeros((67, 3))}, r"static_weights has shape \(67, 3\)"),
        ({"T_head_from_flame": np.eye(3)}, "not 4 by 4"),
        ({"mask_face": np.array([9])}, "mask face point outside"),
        ({f"x{k}": np.zeros(1) for k in range(300)}, "31[0-9] arrays and was not opened"),
    ):
        np.savez(path, **whole | change)
        with pytest.raises(FlameFileError, match=match) as caught:
            read_flame_assets(path)
        assert "\n" not in str(caught.value)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("v_template.npy", "w") as member,
    ):
        for _ in range(257):
            member.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "read", None)
        with pytest.raises(FlameFileError, match="more than 256 MiB"):
            read_flame_assets(path)


def test_versions_are_told_apart() -> None:
    flame = replace(with_everything(), name="FLAME 2020")
    no_jaw, open_head = replace(flame, name="FLAME 2023 no jaw"), open_head_assets()
    new = replace(flame, name="FLAME 2023")
    still, open_mouth = np.zeros(15), np.zeros(15)
    open_mouth[6] = np.radians(20)
    assert MICA_VERSION in VERSIONS and len(VERSIONS) == 5
    assert version_mismatch(MICA_VERSION, flame, open_mouth) == ""
    assert "of FLAME 2020, the model is FLAME 2023:" in version_mismatch(MICA_VERSION, new)
    assert "the model is the open head:" in version_mismatch(MICA_VERSION, open_head)
    assert "of the open head, the model is FLAME 2020" in version_mismatch("open head", flame)
    assert "by the jaw joint" in version_mismatch("FLAME 2023", no_jaw)
    assert "by the jaw joint" in version_mismatch("FLAME 2023 no jaw", new)
    assert version_mismatch(None, no_jaw, still) == ""
    assert "turn the jaw by 20.0 deg" in version_mismatch(None, no_jaw, open_mouth)
    both = version_mismatch(MICA_VERSION, no_jaw, open_mouth)
    assert "of FLAME 2020, the model is FLAME 2023 no jaw" in both and "turn the jaw by" in both
    assert version_mismatch(None, open_head, open_mouth) == ""
    assert "12 numbers, FLAME 2020 needs 15" in version_mismatch(None, flame, np.zeros(12))
    unnamed = replace(flame, name="mine.pkl")
    assert version_mismatch(MICA_VERSION, unnamed) == ""
    weights = np.zeros((6, 5))
    weights[:, 1] = 1.0
    assert "turn the jaw" in version_mismatch(
        None, replace(unnamed, skinning_weights=weights), open_mouth
    )


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "flame2023.pkl", tmp_path / "flame.npz"
    source.write_bytes(CHUMPY_FILE.read_bytes())
    assert main(["convert-flame", str(source), str(out)]) == 0
    assert "FLAME 2023: 6 vertices, 300 identity and 2 expression" in capsys.readouterr().out
    converted = read_flame_assets(out)
    assert converted.name == "FLAME 2023", "which FLAME it is outlives the new file name"
    assert np.array_equal(
        converted.shape_directions_m, read_flame_assets(source).shape_directions_m
    )
    assert main(["convert-flame", str(source), str(out)]) == 2
    assert "already there" in capsys.readouterr().err
    assert main(["convert-flame", str(source), str(tmp_path / "flame.pkl2")]) == 2
    source.write_bytes(b"\x80\x02cos\nsystem\nX\x01\x00\x00\x00a\x85R.")
    assert main(["convert-flame", str(source), str(out), "--overwrite"]) == 2
    assert "os.system, which is not allowed" in capsys.readouterr().err
    assert read_flame_assets(out).name == "FLAME 2023", "the old file stays"
