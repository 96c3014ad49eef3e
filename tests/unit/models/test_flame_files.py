"""FLAME's files: what is read of them, and what is refused without running it."""

from __future__ import annotations

import io
import os
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch

from models.flame.assets import T_HEAD_FROM_FLAME, read_flame_assets, write_flame_npz
from models.flame.flame_files import FlameFileError
from models.flame.flame_landmarks import read_flame_masks, read_landmark_embedding
from models.geometry.rotations import GL_FROM_CV, about_x, geodesic_deg
from models.safe_pickle import NUMPY_ARRAYS, UnsafePickleError, read_npy, read_pickle

V, F, J = 30, 40, 5
PARENTS = np.array([4294967295, 0, 1, 1, 1], np.uint32)


class RunsAProgram:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


def flame_table(shapes: int = 400) -> dict[str, np.ndarray]:
    """A small model under FLAME's names, with FLAME's 5 joints and 36 pose directions."""
    rng = np.random.default_rng(0)
    return {
        "v_template": rng.normal(size=(V, 3)),
        "f": rng.integers(0, V, (F, 3)).astype(np.uint32),
        "shapedirs": rng.normal(size=(V, 3, shapes)),
        "posedirs": 0.1 * rng.normal(size=(V, 3, 36)),
        "J_regressor": np.where(rng.random((J, V)) < 0.2, rng.random((J, V)), 0.0),
        "weights": rng.dirichlet(np.ones(J), V),
        "kintree_table": np.stack([PARENTS, np.arange(J, dtype=np.uint32)]),
    }


@pytest.fixture
def chumpy(monkeypatch: pytest.MonkeyPatch) -> type:
    """A class of chumpy's name with chumpy's state, for writing only."""

    class Ch:
        def __init__(self, x: object) -> None:
            self.x, self._dirty_vars, self._itr = x, {"x"}, None

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    module = types.ModuleType("chumpy.ch")
    module.Ch = Ch
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    return Ch


@pytest.mark.parametrize("protocol", [0, 2])
@pytest.mark.parametrize("scipy_name", [b"scipy.sparse._csc", b"scipy.sparse.csc"])
def test_a_pickle_with_chumpy_and_sparse_matrices(
    tmp_path: Path, chumpy: type, monkeypatch: pytest.MonkeyPatch, protocol: int, scipy_name: bytes
) -> None:
    table = flame_table()
    stored = table | {
        "J_regressor": scipy.sparse.csc_matrix(table["J_regressor"]),
        "J": np.zeros((J, 3)),
        "bs_type": "lrotmin",
    }
    stored |= {key: chumpy(table[key]) for key in ("v_template", "shapedirs", "posedirs")}
    data = pickle.dumps(stored, protocol).replace(b"scipy.sparse._csc", scipy_name)
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(data)
    monkeypatch.delitem(sys.modules, "chumpy.ch")
    model = read_flame_assets(path)
    assert np.array_equal(model.template_vertices_m, table["v_template"])
    assert np.array_equal(model.triangles, table["f"])
    assert len(model.shape_directions_m) == 300 and len(model.expression_directions_m) == 100
    assert np.array_equal(model.expression_directions_m[7], table["shapedirs"][:, :, 307])
    assert np.array_equal(model.pose_directions_m[4], table["posedirs"][:, :, 4])
    assert np.array_equal(model.joint_regressor, table["J_regressor"])
    assert model.joint_parents.tolist() == [-1, 0, 1, 1, 1]
    assert not model.is_flame_topology
    npz = tmp_path / "generic_model.npz"
    write_flame_npz(npz, model)
    same = read_flame_assets(npz)
    for name in ("shape_directions_m", "expression_directions_m", "pose_directions_m"):
        assert np.array_equal(getattr(same, name), getattr(model, name))
    assert same.joint_parents.tolist() == [-1, 0, 1, 1, 1]


def refused(path: Path, content: bytes | dict, match: str) -> None:
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, 2))
    with pytest.raises(FlameFileError, match=match) as caught:
        read_flame_assets(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_model_is_refused(tmp_path: Path, chumpy: type) -> None:
    path, table, marker = tmp_path / "m.pkl", flame_table(5), tmp_path / "marker"
    refused(path, table | {"extra": RunsAProgram(marker)}, "was not opened.*system")
    assert not marker.exists()
    refused(path, pickle.dumps(table, 2)[:-50], "not a readable pickle")
    refused(path, pickle.dumps([1]), "holds a list")
    refused(path, {"v_template": table["v_template"]}, "no array f, shapedirs")
    refused(path, table | {"weights": 2 * table["weights"]}, "do not sum to 1")
    refused(path, table | {"f": table["f"] + V}, "point outside")
    refused(path, table | {"posedirs": table["posedirs"][:, :, :9]}, "pose_directions_m has shape")
    refused(path, table | {"v_template": chumpy([1, 2])}, "without its array")
    wild = scipy.sparse.csc_matrix(table["J_regressor"])
    wild.indices = wild.indices + 7
    refused(path, table | {"J_regressor": wild}, "do not fit together")
    npz = tmp_path / "m.npz"
    np.savez(npz, **table | {"f": np.array([RunsAProgram(marker)], object)})
    with pytest.raises(FlameFileError, match="_reconstruct, which is not allowed"):
        read_flame_assets(npz)
    npz.write_bytes(npz.read_bytes()[:100])
    with pytest.raises(FlameFileError, match="not a readable"):
        read_flame_assets(npz)
    with pytest.raises(FlameFileError, match="missing"):
        read_flame_assets(tmp_path / "none.pkl")
    assert not marker.exists()


def embedding_bytes(extra: dict | None = None) -> tuple[bytes, dict]:
    """As MICA's file, and what is in it: two fields are tensors of PyTorch."""
    rng = np.random.default_rng(1)
    table = {
        "static_lmk_faces_idx": rng.integers(0, F, 51),
        "static_lmk_bary_coords": rng.dirichlet(np.ones(3), 51),
        "dynamic_lmk_faces_idx": torch.tensor(rng.integers(0, F, (79, 17))),
        "dynamic_lmk_bary_coords": torch.tensor(
            rng.dirichlet(np.ones(3), (79, 17)), dtype=torch.float32
        ),
        "full_lmk_faces_idx": rng.integers(0, F, (1, 68)),
        "full_lmk_bary_coords": rng.dirichlet(np.ones(3), (1, 68)).astype(np.float32),
    }
    array = np.array(None, object)
    array[()] = table | (extra or {})
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue(), table


def test_the_embedding_is_read_without_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    triangles = flame_table(1)["f"].astype(np.int64)
    path = tmp_path / "landmark_embedding.npy"
    data, table = embedding_bytes()
    path.write_bytes(data)
    assert b"_rebuild_tensor_v2" in data and b"_load_from_bytes" in data
    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", None)
        found = read_landmark_embedding(path, triangles)
    ids = table["dynamic_lmk_faces_idx"].numpy()
    assert np.array_equal(found.contour_vertex_ids, triangles[ids])
    assert np.array_equal(found.contour_weights, table["dynamic_lmk_bary_coords"].numpy())
    assert np.array_equal(found.static_vertex_ids, triangles[table["full_lmk_faces_idx"][0]])


def test_hostile_embeddings(tmp_path: Path) -> None:
    triangles, path = flame_table(1)["f"].astype(np.int64), tmp_path / "e.npy"
    marker = tmp_path / "marker"
    data, _ = embedding_bytes({"x": RunsAProgram(marker)})
    inner = io.BytesIO()
    torch.save({"x": RunsAProgram(marker)}, inner, _use_new_zipfile_serialization=False)

    class NestedBytes:
        def __reduce__(self):
            return torch.storage._load_from_bytes, (inner.getvalue(),)

    nested, _ = embedding_bytes({"x": NestedBytes()})
    whole, _ = embedding_bytes()
    wide = whole.replace(b"K\x00KOK\x11\x86", b"K\x00KOK\x7f\x86")
    assert wide != whole, "the tensor's size was changed"
    for content, match in (
        (data, "system"),
        (nested, "system"),
        (wide, "beyond its content"),
        (whole[:-3000], "not a readable pickle"),
        (b"not an array", "not a readable .npy"),
    ):
        path.write_bytes(content)
        with pytest.raises(FlameFileError, match=match):
            read_landmark_embedding(path, triangles)
    assert not marker.exists()
    path.write_bytes(whole)
    with pytest.raises(FlameFileError, match="other triangles"):
        read_landmark_embedding(path, triangles[:5])


def test_masks(tmp_path: Path) -> None:
    path = tmp_path / "FLAME_masks.pkl"
    path.write_bytes(pickle.dumps({"nose": np.array([3, 5])}, 2))
    assert read_flame_masks(path)["nose"].tolist() == [3, 5]
    path.write_bytes(pickle.dumps({"nose": "all"}))
    with pytest.raises(FlameFileError, match="vertex masks"):
        read_flame_masks(path)


def test_arrays_of_objects_and_their_sizes() -> None:
    file = io.BytesIO()
    columns_first = np.arange(6.0).reshape(2, 3, order="F")
    np.save(file, columns_first)
    whole = file.getvalue()
    assert np.array_equal(read_npy(whole, frozenset(), "a"), columns_first)
    with pytest.raises(UnsafePickleError, match="differs"):
        read_npy(whole.replace(b"(2, 3)", b"(9, 9)"), frozenset(), "a")
    with pytest.raises(UnsafePickleError, match="not a readable"):
        read_npy(whole[:20], frozenset(), "a")


def test_a_few_bytes_cannot_ask_for_much_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x02Nr\xff\xff\xff\x7f.")
    with pytest.raises(UnsafePickleError, match="far longer than the file"):
        read_pickle(path, NUMPY_ARRAYS)
    path.write_bytes(b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R.")
    with pytest.raises(UnsafePickleError, match="encoding 'hex'"):
        read_pickle(path, NUMPY_ARRAYS)


def real_template(shared_data: Path) -> tuple[np.ndarray, np.ndarray]:
    lines = (shared_data / "samples/mica/FLAME2020/head_template.obj").read_text().splitlines()
    rows = [line.split() for line in lines]
    vertices = np.array([row[1:4] for row in rows if row[:1] == ["v"]], np.float64)
    faces = [[int(w.split("/")[0]) - 1 for w in row[1:]] for row in rows if row[:1] == ["f"]]
    return vertices, np.array(faces)


def test_the_real_embedding_and_masks(shared_data: Path) -> None:
    folder = shared_data / "samples/mica/FLAME2020"
    vertices, triangles = real_template(shared_data)
    found = read_landmark_embedding(folder / "landmark_embedding.npy", triangles)
    assert np.allclose(found.contour_weights.sum(2), 1, atol=1e-5)
    static = (vertices[found.static_vertex_ids] * found.static_weights[..., None]).sum(1)
    assert abs(np.linalg.norm(static[36] - static[45]) - 0.0915) < 5e-4, "outer eye corners"
    contour = (vertices[found.contour_vertex_ids] * found.contour_weights[..., None]).sum(2)
    assert contour[39, 15, 2] > contour[78, 15, 2] + 0.05, (
        "turned to its left, the outline on the subject's left (+x) moves forward on the face"
    )
    masks = read_flame_masks(folder / "FLAME_masks/FLAME_masks.pkl")
    counts = {"face": 1787, "nose": 379, "scalp": 489, "left_eyeball": 546, "boundary": 114}
    assert {name: len(masks[name]) for name in counts} == counts


def test_the_way_to_head_follows_from_templates(shared_data: Path) -> None:
    vertices, triangles = real_template(shared_data)
    folder = shared_data / "samples/mica/FLAME2020"
    found = read_landmark_embedding(folder / "landmark_embedding.npy", triangles)
    inner = (vertices[found.static_vertex_ids] * found.static_weights[..., None]).sum(1)[17:]
    bfm = np.loadtxt(shared_data / "bfm68/u_base.txt").reshape(68, 3)[17:] @ GL_FROM_CV
    arrays = shared_data / "trg_arrays"
    arkit = np.asarray(read_pickle(arrays / "arkit_avg_face.pkl", NUMPY_ARRAYS), np.float64)
    arkit = arkit[np.load(arrays / "kpt_ind.npy", allow_pickle=False)][17:] @ about_x(0.228).T
    flipped = inner @ GL_FROM_CV
    U, _, Vt = np.linalg.svd((bfm - bfm.mean(0)).T @ (flipped - flipped.mean(0)))
    R = U @ Vt
    tilt_deg = np.degrees(np.arctan2(R[2, 1], R[1, 1]))
    assert geodesic_deg(T_HEAD_FROM_FLAME[:3, :3] @ GL_FROM_CV, about_x(tilt_deg)) < 0.01
    assert geodesic_deg(R, about_x(tilt_deg)) < 1.0
    moved = inner @ T_HEAD_FROM_FLAME[:3, :3].T + T_HEAD_FROM_FLAME[:3, 3]
    assert np.abs(arkit.mean(0) - moved.mean(0)).max() < 3e-4
