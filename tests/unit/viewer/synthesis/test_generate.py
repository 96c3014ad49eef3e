"""Synthesis takes up what it left, never what other pictures or other settings left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

from viewer.datasets.synthetic import SyntheticDataset
from viewer.datasets.synthetic_format import SyntheticDataError
from viewer.synthesis import generate as module
from viewer.synthesis import portraits as portraits_module
from viewer.synthesis.generate import GenerateConfig, fit_people, one_thread_each, render_split
from viewer.synthesis.portrait_wear import Wear
from viewer.synthesis.portraits import (
    PortraitAsset,
    find_portraits,
    made_from_sha256,
    write_portrait,
)

NOTHING, CONFIG = Wear(False, False), GenerateConfig(count=2, size_px=64, workers=0)


def test_a_process_that_starts_later_computes_on_one_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "to be restored")
        monkeypatch.delenv(name)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    one_thread_each()
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert pool.submit(torch.get_num_threads).result() == 1
        assert pool.submit(os.getenv, "OPENBLAS_NUM_THREADS").result() == "3", "was told otherwise"


def test_a_portrait_is_fitted_again_where_its_picture_has_changed(
    tmp_path: Path,
    plain_portrait: Callable[..., PortraitAsset],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    portraits, cache, fitted = tmp_path / "portraits", tmp_path / "people", []
    portraits.mkdir()
    for name in ("a", "b"):
        (portraits / f"{name}.png").write_bytes(name.encode())

    def fit(picture: Path, person: str, path: Path) -> str | None:
        fitted.append(person)
        if picture.read_bytes() == b"no face":
            return "no face"
        sources = made_from_sha256(picture)
        write_portrait(path, replace(plain_portrait(person), made_from_sha256=sources))
        return None

    monkeypatch.setattr(module, "_fit", fit)

    def people() -> tuple[list[str], list[str]]:
        fitted.clear()
        return fit_people(find_portraits(portraits), cache, 0, str), list(fitted)

    assert people() == (["a", "b"], ["a", "b"])
    assert people() == (["a", "b"], [])
    (portraits / "b.png").write_bytes(b"another")
    assert people() == (["a", "b"], ["b"])
    (portraits / "a.png").write_bytes(b"no face")
    assert people() == (["b"], ["a"]), "the old fit is no stand-in"
    another_head = tmp_path / "head.npz"
    another_head.write_bytes(b"another head")
    monkeypatch.setattr(portraits_module, "OPEN_HEAD_PATH", another_head)
    assert people() == (["b"], ["a", "b"]), "vertices of another head do not fit"


@pytest.fixture
def rendered(tmp_path: Path, plain_portrait: Callable[..., PortraitAsset]) -> Path:
    """A folder with two pictures of one person, in both splits."""
    path = tmp_path / "people" / "plain" / "1.npz"
    write_portrait(path, replace(plain_portrait(), made_from_sha256="1"))
    for split in ("train", "validation"):
        render_split(tmp_path, split, {"plain/1": NOTHING}, 2, CONFIG, str)
    return tmp_path


def test_the_same_settings_go_on(rendered: Path) -> None:
    shard = rendered / "train" / "shard-00000.parquet"
    before = shard.read_bytes()
    shard.unlink()
    render_split(rendered, "train", {"plain/1": NOTHING}, 2, replace(CONFIG, workers=1), str)
    assert shard.read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"negatives": 0.4}, r"negatives: 0\.1, not 0\.4"),
        ({"depth": False}, "depth: True, not False"),
        ({"seed": 2}, "seed: 1, not 2"),
        ({"size_px": 128}, "image_px: 64, not 128"),
    ],
)
def test_other_settings_do_not_mix_with_what_is_there(
    rendered: Path, changed: dict[str, object], says: str
) -> None:
    for split in ("train", "validation"):
        with pytest.raises(SyntheticDataError, match=says):
            render_split(rendered, split, {"plain/1": NOTHING}, 2, replace(CONFIG, **changed), str)


def test_other_inputs_do_not_mix_with_what_is_there(
    rendered: Path, plain_portrait: Callable[..., PortraitAsset]
) -> None:
    with pytest.raises(SyntheticDataError, match="wears: "):
        render_split(rendered, "train", {"plain/1": Wear(True, False)}, 2, CONFIG, str)
    photos = rendered / "photos"
    photos.mkdir()
    (photos / "one.png").write_bytes(b"1")
    with_photos = replace(CONFIG, face_free=photos)
    with pytest.raises(SyntheticDataError, match="face_free_photos: none, not "):
        render_split(rendered, "train", {"plain/1": NOTHING}, 2, with_photos, str)
    render_split(rendered, "validation", {"plain/1": NOTHING}, 2, with_photos, str)  # has none
    person = rendered / "people" / "plain" / "1.npz"
    write_portrait(person, replace(plain_portrait(), made_from_sha256="2"))
    with pytest.raises(SyntheticDataError, match="portraits: "):
        render_split(rendered, "train", {"plain/1": NOTHING}, 2, CONFIG, str)


def test_a_worse_camera_changes_pixels_and_nothing_else(
    tmp_path: Path, rendered: Path, plain_portrait: Callable[..., PortraitAsset]
) -> None:
    """Clean and spoilt pictures of the same seed, each with the labels of the other."""
    other = tmp_path / "other"
    person = rendered / "people" / "plain" / "1.npz"
    (other / "people" / "plain").mkdir(parents=True)
    shutil.copy(person, other / "people" / "plain")
    spoilt_config = replace(CONFIG, worse_camera=1.0)
    render_split(other, "train", {"plain/1": NOTHING}, 2, spoilt_config, str)
    for clean, spoilt in zip(
        SyntheticDataset(rendered / "train"), SyntheticDataset(other / "train"), strict=True
    ):
        assert spoilt.tags == (*clean.tags, "worse camera")
        assert not np.array_equal(spoilt.image_rgb, clean.image_rgb)
        np.testing.assert_array_equal(spoilt.R_cam_from_head, clean.R_cam_from_head)
        np.testing.assert_array_equal(spoilt.landmarks_468_px(), clean.landmarks_468_px())
        np.testing.assert_array_equal(spoilt.depth_m, clean.depth_m)
    with pytest.raises(SyntheticDataError, match=r"worse_camera: 1\.0, not 0\.5"):
        config = replace(CONFIG, worse_camera=0.5)
        render_split(other, "train", {"plain/1": NOTHING}, 2, config, str)
