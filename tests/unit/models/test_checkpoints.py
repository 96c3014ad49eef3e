"""Checkpoints as users have them, and files that only look like one."""

from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from models.trg.checkpoints import (
    ARRAY_LAYOUTS,
    INITIAL_FACE_LAYOUT,
    PRE_RELEASE_NAMES,
    CheckpointError,
    array_root,
    find_weights_file,
    mirror_ids_from_uv,
    network_with_weights,
    read_initial_face,
    read_released_arrays,
    read_state_dict,
)
from models.trg.config import TrgConfig
from models.trg.network import Trg

StateDict = dict[str, torch.Tensor]


def load(state_dict: StateDict) -> Trg:
    return network_with_weights(TrgConfig.released(), np.arange(305), state_dict, "x.bin")


@pytest.fixture(scope="module")
def weights() -> StateDict:
    """A checkpoint whose values are places in the list; expanded, so a file of it is small."""
    with torch.device("meta"):
        network = Trg(TrgConfig.released(), np.arange(305))
    return OrderedDict(
        (key, torch.tensor(float(i)).to(value.dtype).expand(value.shape))
        for i, (key, value) in enumerate(network.state_dict().items())
    )


@pytest.fixture
def good_file(tmp_path: Path, weights: StateDict) -> Path:
    path = tmp_path / "state_dict.bin"
    torch.save(weights, path)
    return path


class RunsAProgram:
    """Unpickling it makes a file appear."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"echo hacked > '{self.marker}'",)


def pre_release(key: str) -> str:
    old_names = {new: old for old, new in PRE_RELEASE_NAMES.items()}
    return ".".join(old_names.get(part, part) for part in key.split("."))


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_state_dict(path)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400 and path.name in message
    return message


@pytest.mark.parametrize("form", ["raw", "wrapped", "module", "pre-release", "old file format"])
def test_every_form_fills_the_network(tmp_path: Path, weights: StateDict, form: str) -> None:
    content: object = weights
    if form == "wrapped":
        content = {"epoch": 30, "state_dict": weights}
    elif form == "module":
        content = {"module." + key: value for key, value in weights.items()}
    elif form == "pre-release":
        content = {"module." + pre_release(key): value for key, value in weights.items()}
        assert "module.regressor.2.deccam.weight" in content
        assert "module.maf_extractor.0.conv0.weight" in content
    path = tmp_path / "any name"
    torch.save(content, path, _use_new_zipfile_serialization=form != "old file format")
    network = load(read_state_dict(path))
    for i, value in enumerate(network.state_dict().values()):
        assert (value == i).all() and value.device.type == "cpu"
    assert torch.equal(network.sample_index, torch.arange(305))
    assert not network.training and all(p.requires_grad for p in network.parameters())


def test_half_precision_is_loaded_in_single(weights: StateDict) -> None:
    network = load({k: v.half() if v.is_floating_point() else v for k, v in weights.items()})
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_pre_release_names_are_the_four_known() -> None:
    assert PRE_RELEASE_NAMES == {
        "maf_extractor": "laf_extractor",
        "init_vertex": "init_face",
        "init_cam": "init_head_pose",
        "deccam": "decpose",
    }


def test_folders_are_understood(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint" / "trg_240717" / "checkpoint-30"
    folder.mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"holds no state_dict\.bin"):
        find_weights_file(folder)
    with pytest.raises(CheckpointError, match="There is no weights file"):
        find_weights_file(tmp_path / "nowhere")
    file = folder / "state_dict.bin"
    file.write_bytes(b"x")
    assert find_weights_file(file) == find_weights_file(folder) == find_weights_file(folder.parent)
    assert array_root(file) == tmp_path
    assert array_root(tmp_path / "elsewhere.bin") is None


def test_another_model_is_named_as_such(weights: StateDict) -> None:
    few = {key: value for key, value in weights.items() if not key.startswith("laf_extractor")}
    with pytest.raises(CheckpointError, match=r"18 missing \(laf_extractor\.0\.conv0\.bias"):
        load(few)
    with pytest.raises(CheckpointError, match=r"1 unknown \(fc\.weight\)"):
        load(weights | {"fc.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"points_grid is \(1, 2, 9\), not \(1, 2, 324\)"):
        load(weights | {"points_grid": torch.zeros(1, 2, 9)})


@pytest.mark.parametrize("part", [0.0001, 0.3, 0.9, 0.999])
def test_a_truncated_file(good_file: Path, part: float) -> None:
    data = good_file.read_bytes()
    good_file.write_bytes(data[: max(8, int(len(data) * part))])
    assert "cut short" in refused(good_file)


def test_a_truncated_file_of_the_old_format(good_file: Path, weights: StateDict) -> None:
    torch.save(weights, good_file, _use_new_zipfile_serialization=False)
    good_file.write_bytes(good_file.read_bytes()[:-1000])
    assert "get it again" in refused(good_file).lower()


def test_an_empty_file(good_file: Path) -> None:
    good_file.write_bytes(b"")
    assert "empty" in refused(good_file)


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><title>Google Drive - Virus scan", b"\n <html>"])
def test_a_web_page_instead_of_the_file(good_file: Path, page: bytes) -> None:
    good_file.write_bytes(page)
    assert "is a web page" in refused(good_file)


def test_a_git_lfs_pointer(good_file: Path) -> None:
    good_file.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "Git LFS pointer" in refused(good_file)


@pytest.mark.parametrize("noise", [b"\x00" * 5000, b"hello" * 100, bytes(range(256)) * 20])
def test_noise(good_file: Path, noise: bytes) -> None:
    good_file.write_bytes(noise)
    assert "damaged" in refused(good_file)


@pytest.mark.parametrize("form", ["plain pickle", "zip", "old file format", "inside the zip"])
def test_a_hostile_file_runs_nothing(
    tmp_path: Path, good_file: Path, weights: StateDict, form: str
) -> None:
    marker = tmp_path / "marker"
    content = {**weights, "points_grid": RunsAProgram(marker)}
    if form == "plain pickle":
        good_file.write_bytes(pickle.dumps(RunsAProgram(marker)))
    elif form == "inside the zip":
        swap_pickle_in_zip(good_file, pickle.dumps(RunsAProgram(marker), 2))
    else:
        torch.save(content, good_file, _use_new_zipfile_serialization=form == "zip")
    assert "run code" in refused(good_file)
    assert not marker.exists()


def swap_pickle_in_zip(path: Path, evil: bytes) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, evil if name.endswith("data.pkl") else data)


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": 1}, {"state_dict": {"a": "b"}}, {3: 4}])
def test_what_is_no_state_dict(good_file: Path, content: object) -> None:
    torch.save(content, good_file)
    assert "state dict" in refused(good_file)


def write_arrays(root: Path, layout: int) -> dict[str, np.ndarray]:
    """Made-up arrays of the right shapes where the released (0) or our (1) layout has them."""
    random = np.random.default_rng(0)
    uv = random.random((1279, 2)).astype(np.float32)
    uv[610:1220] = uv[:610] * [-1, 1] + [1, 0]
    values = {
        "sample_index": np.arange(305) * 4,
        "triangles": random.integers(0, 1220, (2304, 3)).astype(np.uint16),
        "landmark_68_ids": np.arange(68) * 3,
        "uv": uv,
    }
    for name, value in values.items():
        path = root / ARRAY_LAYOUTS[name][layout]
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == "sample_index":
            table = {"1220_to_305": value.tolist(), "faces_77": np.zeros((118, 3), np.uint32)}
            path.write_bytes(pickle.dumps(table))
        else:
            np.save(path, value)
    return values


@pytest.mark.parametrize("layout", [0, 1])
def test_arrays_are_found_in_both_layouts(tmp_path: Path, layout: int) -> None:
    values = write_arrays(tmp_path / "b", layout)
    arrays = read_released_arrays([tmp_path / "a", tmp_path / "b"])
    for name in ("sample_index", "triangles", "landmark_68_ids"):
        assert np.array_equal(getattr(arrays, name), values[name])
        assert getattr(arrays, name).dtype == np.int64
    expected = np.concatenate([np.arange(610, 1220), np.arange(610)])
    assert np.array_equal(arrays.mirror_vertex_ids, expected)


def test_texture_coordinates_are_optional_and_the_rest_is_not(tmp_path: Path) -> None:
    write_arrays(tmp_path, 1)
    (tmp_path / ARRAY_LAYOUTS["uv"][1]).unlink()
    assert read_released_arrays([tmp_path]).mirror_vertex_ids is None
    (tmp_path / ARRAY_LAYOUTS["triangles"][1]).unlink()
    with pytest.raises(CheckpointError, match=r"data/triangles\.npy \(or checkpoint/arrays/"):
        read_released_arrays([tmp_path])


def test_broken_arrays_are_named(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    for name, content, message in (
        ("sample_index", pickle.dumps(RunsAProgram(marker)), "was not opened"),
        ("sample_index", pickle.dumps({"other": [1]}), "no list 1220_to_305"),
        ("sample_index", pickle.dumps({"1220_to_305": [1, 5000]}), "vertex ids"),
        ("triangles", b"<html>", "not a readable .npy"),
        ("landmark_68_ids", b"", "not a readable .npy"),
    ):
        write_arrays(tmp_path, 0)
        path = tmp_path / ARRAY_LAYOUTS[name][0]
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=message) as caught:
            read_released_arrays([tmp_path])
        assert path.name in str(caught.value)
    write_arrays(tmp_path, 0)
    np.save(tmp_path / ARRAY_LAYOUTS["triangles"][0], np.full((2304, 3), 1220))
    with pytest.raises(CheckpointError, match="0 to 1219"):
        read_released_arrays([tmp_path])
    np.save(tmp_path / ARRAY_LAYOUTS["triangles"][0], np.array([{}], object), allow_pickle=True)
    with pytest.raises(CheckpointError, match="not a readable"):
        read_released_arrays([tmp_path])
    assert not marker.exists()


def test_the_released_texture_gives_the_flip_index(shared_data: Path) -> None:
    uv = np.load(shared_data / "trg_arrays" / "uv_coords_std_202109.npy")[:1220]
    ids = mirror_ids_from_uv(uv)
    assert sorted(ids) == list(range(1220))
    assert (ids == np.arange(1220)).sum() == 46, "points on the middle line"
    uv[3] += 0.3
    assert mirror_ids_from_uv(uv) is None


def test_the_released_initial_face(shared_data: Path, tmp_path: Path) -> None:
    assert read_initial_face([tmp_path]) is None
    for layout in INITIAL_FACE_LAYOUT:
        root = tmp_path / layout.replace("/", "_")
        (root / layout).parent.mkdir(parents=True)
        shutil.copyfile(shared_data / "trg_arrays" / "init_vtx_cam.pkl", root / layout)
        face = read_initial_face([tmp_path, root])
        assert face.shape == (1220, 3) and face.dtype == np.float64
        assert np.allclose(face[8], [0.0, 0.0, -0.069], atol=0.01), "the tip of the nose"


def test_a_hostile_initial_face_runs_nothing(tmp_path: Path) -> None:
    path, marker = tmp_path / INITIAL_FACE_LAYOUT[0], tmp_path / "marker"
    path.parent.mkdir()
    for content in (RunsAProgram(marker), {"t_vtx_1220": [1.0]}, [], {}):
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(CheckpointError, match="init_vtx_cam"):
            read_initial_face([tmp_path])
    assert not marker.exists()
