"""The table of models: what is there, what is missing, and loading by name."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.geometry.cameras import Camera
from models.trg.checkpoints import ARRAY_LAYOUTS, CheckpointError
from models.trg.config import TrgConfig
from models.trg.network import Trg
from models.weights import (
    MODELS,
    REPOSITORY_ROOT,
    UnknownModelError,
    describe_models,
    load_pose_model,
)


def write_arrays(root: Path, layout: int) -> None:
    """Made-up arrays where a TRG-Release checkout (0) or our checkpoint folder (1) has them."""
    random = np.random.default_rng(0)
    uv = random.random((1220, 2))
    uv[610:] = uv[:610] * [-1, 1] + [1, 0]
    contents = {
        "sample_index": {"1220_to_305": list(range(0, 1220, 4))},
        "triangles": random.integers(0, 1220, (2304, 3)).astype(np.uint16),
        "landmark_68_ids": np.arange(68) * 5,
        "uv": uv,
    }
    for name, content in contents.items():
        path = root / ARRAY_LAYOUTS[name][layout]
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, dict):
            path.write_bytes(pickle.dumps(content))
        else:
            np.save(path, content)


def write_weights(path: Path) -> np.ndarray:
    """A released checkpoint whose regressors say nothing; returns its face."""
    with torch.device("meta"):
        like = Trg(TrgConfig.released(), np.arange(305)).state_dict()
    weights = {k: torch.zeros((), dtype=v.dtype).expand(v.shape) for k, v in like.items()}
    face = np.random.default_rng(1).normal(0, 0.05, (1, 1220, 3)).astype(np.float32)
    pose = torch.tensor([[1.0, 0, 0, 1, 0, 0, 1, 0, 0]])
    for i in range(3):
        weights[f"regressor.{i}.init_face"] = torch.from_numpy(face)
        weights[f"regressor.{i}.init_head_pose"] = pose
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(weights, path)
    return face[0]


def test_names_and_files() -> None:
    assert list(MODELS) == ["trg-mini", "trg", "trg-multi"]
    folder = "checkpoint/{}/checkpoint-30/state_dict.bin"
    assert MODELS["trg"].weights_file == folder.format("trg_single_240717")
    assert MODELS["trg-multi"].weights_file == folder.format("trg_240717")


@pytest.mark.parametrize("name", list(MODELS))
def test_every_frame_change_is_rigid_and_keeps_left_and_right(name: str) -> None:
    T = MODELS[name].T_head_from_model
    assert np.allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3)) and np.linalg.det(T[:3, :3]) > 0
    assert np.array_equal(T[3], [0, 0, 0, 1])
    assert np.allclose(T[0], [1, 0, 0, 0]), "a mirrored face has the mirrored pose"


def test_the_bundle_is_the_one_in_the_table() -> None:
    entry = MODELS["trg-mini"]
    data = (REPOSITORY_ROOT / entry.weights_file).read_bytes()
    assert hashlib.sha256(data).hexdigest() == entry.sha256
    model = load_pose_model()
    assert (model.name, model.label) == ("trg-mini", "trg-mini (bundled)")
    assert model.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert model.crop_vertex_ids is None and model.crop_scale == 1.5
    assert model.template_landmarks_68_m().shape == (68, 3)


def test_what_is_missing_is_said_with_where_to_get_it(tmp_path: Path) -> None:
    bundled, trg, multi = describe_models(tmp_path)
    assert not bundled.present and bundled.what_is_missing == ("assets/trg_mini.safetensors",)
    assert trg.what_is_missing == (
        MODELS["trg"].weights_file,
        "checkpoint/arrays/arkit_subsample.pkl",
        "checkpoint/arrays/triangles.npy",
        "checkpoint/arrays/kpt_ind.npy",
    )
    assert "1CQeB4W2KbNVpzx4FZfuyMVgljlOvtpwU" in trg.where_to_get_it
    assert "1eymumNT307y7nyvMsZD0wuSPtmEkYyWv" in multi.where_to_get_it
    assert "fetch trg" in trg.where_to_get_it
    write_arrays(tmp_path, 0)
    _, trg, _ = describe_models(tmp_path)
    assert not trg.present and trg.what_is_missing == (MODELS["trg"].weights_file,)
    path = tmp_path / MODELS["trg"].weights_file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    _, trg, multi = describe_models(tmp_path)
    assert trg.present and trg.what_is_missing == () and trg.where_to_get_it == ""
    assert not multi.present
    assert describe_models()[0].present, "the bundled model is always there"


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("how", ["by name", "by file", "by folder"])
def test_a_released_model_is_loaded_and_places_a_head(
    tmp_path: Path, layout: int, how: str
) -> None:
    """fx != fy, principal point off centre: s = 1 puts 0.2 m across the box, on its ray."""
    path = tmp_path / MODELS["trg-multi"].weights_file
    face = write_weights(path)
    write_arrays(tmp_path, layout)
    if how == "by name":
        model = load_pose_model("trg-multi", "cpu", root=tmp_path)
    else:
        model = load_pose_model("trg-multi", "cpu", path=path if how == "by file" else path.parent)
    assert np.array_equal(model.landmark_68_ids, np.arange(68) * 5)
    assert np.array_equal(model.crop_vertex_ids, model.landmark_68_ids)
    assert model.mesh.mirror_vertex_ids[0] == 610
    camera = Camera(np.array([[500, 0, 90], [0, 800, 300], [0, 0, 1.0]]), (640, 480))
    box = np.array([[0.4, -0.1, 0.25]])
    found = model.predict(np.zeros((480, 640, 3), np.uint8), camera, box)
    T = MODELS["trg-multi"].T_head_from_model
    t_model = found.t_cam_from_head_m[0] + found.R_cam_from_head[0] @ T[:3, 3]
    assert np.allclose(t_model, 0.2 / 0.25 * np.array([0.4, -0.1, 1.0]), atol=1e-6)
    assert np.allclose(found.vertices_cam_m()[0], face + t_model, atol=1e-6)
    centre = camera.project(t_model)
    assert np.allclose(centre, [500 * 0.4 + 90, 800 * -0.1 + 300], atol=1e-3)


def test_what_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="known are trg-mini, trg, trg-multi"):
        load_pose_model("trg-maxi")
    with pytest.raises(CheckpointError, match="no weights file"):
        load_pose_model("trg", root=tmp_path)
    write_weights(tmp_path / MODELS["trg"].weights_file)
    with pytest.raises(CheckpointError, match=r"arkit_subsample\.pkl.*fetch trg"):
        load_pose_model("trg", root=tmp_path)
    not_a_bundle = tmp_path / "x.safetensors"
    for content in (b"", b"<html>", (2**40).to_bytes(8, "little") + b"{}"):
        not_a_bundle.write_bytes(content)
        with pytest.raises(CheckpointError, match="not a readable safetensors"):
            load_pose_model("trg-mini", path=not_a_bundle)


def test_devices_that_are_not_there_are_said() -> None:
    with pytest.raises(ValueError, match="no device"):
        load_pose_model(device="gpu")
    with pytest.raises(ValueError, match="not supported"):
        load_pose_model(device="meta")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA device"):
            load_pose_model(device="cuda")


def test_nothing_is_loaded_at_import() -> None:
    code = (
        "import sys, torch\n"
        "opened = []\n"
        "sys.addaudithook(lambda event, a: opened.append(str(a[0])) if event == 'open' else None)\n"
        "import models.weights\n"
        "kinds = ('.safetensors', '.bin', '.npy', '.npz', '.pkl')\n"
        "bad = [p for p in opened if p.endswith(kinds)]\n"
        "sys.exit(str(bad) if bad else 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY_ROOT, check=True)
