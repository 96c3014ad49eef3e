"""Lists of pictures, real and hostile, and the rules by which pictures are drawn without one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from viewer.datasets.mica_files import SUBSETS
from viewer.datasets.source import DatasetError
from viewer.mica.adapters import ADAPTERS, adapter_of, draw_sample, find_pictures
from viewer.mica.wanted import read_list, wanted_pictures

REAL = {"BU3DFE": (100, 5000), "LYHM": (1211, 2422), "STIRLING": (96, 649), "FLORENCE": (53, 14207)}
PER_ACTOR = {"BU3DFE": (50, 50), "LYHM": (2, 2), "STIRLING": (4, 13), "FLORENCE": (84, 497)}


def test_every_subset_has_an_adapter_with_micas_rules() -> None:
    assert [a.folder for a in ADAPTERS] == [subset.folder for subset in SUBSETS]
    scores = {a.folder: a.min_score for a in ADAPTERS if a.min_score}
    assert scores == {"STIRLING": 0.75, "FLORENCE": 0.85}
    counts = {a.folder: a.sample_count for a in ADAPTERS if a.sample_count}
    assert counts == {"FLORENCE": 1000, "BP4D": 100}
    with pytest.raises(DatasetError, match="no subset 'FLAME'; it has STIRLING"):
        adapter_of("FLAME")


@pytest.mark.parametrize("folder", REAL)
def test_real_lists(folder: str, shared_data: Path) -> None:
    """The counts of MICA's own lists, and our adapter knows every actor's name."""
    listed = read_list(shared_data / "samples" / "mica" / "image_paths" / f"{folder}.npy")
    counts = [len(row.images) for row in listed.values()]
    assert (len(listed), sum(counts)) == REAL[folder]
    assert (min(counts), max(counts)) == PER_ACTOR[folder]
    adapter = adapter_of(folder)
    for actor, row in listed.items():
        assert row.parameters.split("/")[0] == actor
        assert all(adapter.actor_of(PurePosixPath(image)) == actor for image in row.images)


@pytest.mark.parametrize(
    "image",
    [
        "../../evil.jpg",
        "/etc/evil.jpg",
        "F1001/../evil.jpg",
        "F1001/a/b.jpg",
        "F1002/a.jpg",
        "F1001/a.txt",
        "F1001/.hidden.jpg",
        "F1001/..\\evil.jpg",
        "F1001/a\0.jpg",
        "F1001/\udcff.jpg",
        "F1001/" + "a" * 300 + ".jpg",
    ],
)
def test_names_that_leave_their_folder_are_refused(
    image: str, tmp_path: Path, save_list: Callable[..., Path]
) -> None:
    path = save_list(tmp_path / "STIRLING.npy", {"F1001": ([image], "F1001/F1001_N.npz")})
    with pytest.raises(DatasetError, match=r"STIRLING\.npy"):
        read_list(path)


def test_hostile_lists(tmp_path: Path, save_list: Callable[..., Path]) -> None:
    class Runs:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'marker'}",)

    for table in (Runs(), {"A": ([Runs()], "A/a.npz")}, {}, {"A": (["A/a.jpg"], "../a.npz")}):
        with pytest.raises(DatasetError):
            read_list(save_list(tmp_path / "LYHM.npy", table))
    assert not (tmp_path / "marker").exists()
    whole = save_list(tmp_path / "LYHM.npy", {"A": (["A/a.jpg"], "A/a.npz")})
    whole.write_bytes(whole.read_bytes()[:-7])
    with pytest.raises(DatasetError):
        read_list(whole)


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_folders_called_jpg_or_images_and_the_ending_jpeg(
    tmp_path: Path, save_list: Callable[..., Path]
) -> None:
    source = tmp_path / "jpg" / "images" / "BU-3DFE.jpg"
    touch(source, "images/F0001/a.jpeg", "images/F0001/b.JPG", "images/F0001/a.png")
    row = (["F0001/a.jpeg", "F0001/b.jpg", "F0001/a.png", "F0001/c.jpg"], "F0001/x.npz")
    path = save_list(tmp_path / "BU3DFE.npy", {"F0001": row})
    wanted = wanted_pictures(adapter_of("BU3DFE"), source, path).pictures
    names = [picture.source and picture.source.name for picture in wanted]
    assert names == ["a.jpeg", "b.JPG", "a.png", None]
    assert [picture.is_clash for picture in wanted] == [False, False, True, False]


def test_a_name_in_several_folders_is_said(tmp_path: Path, save_list: Callable[..., Path]) -> None:
    touch(tmp_path / "s", "subject_01/B/frame_1.jpg", "subject_01/A/frame_1.jpg")
    touch(tmp_path / "s", "subject_01/PTZ-Outdoor/frame_1.jpg", ".cache/subject_01/x.jpg")
    table = {"subject_01": (["subject_01/frame_1.jpg"], "subject_01/1.npz")}
    path = save_list(tmp_path / "FLORENCE.npy", table)
    (picture,) = wanted_pictures(adapter_of("FLORENCE"), tmp_path / "s", path).pictures
    assert picture.same_name == 2 and picture.source == tmp_path / "s/subject_01/A/frame_1.jpg"


def test_the_draw_without_a_list(tmp_path: Path) -> None:
    """BP4D+: 100 of each actor, as NumPy's generator with seed 42 draws them one after another."""
    adapter, source = adapter_of("BP4D"), tmp_path / "BP4D"
    touch(
        source, *(f"images/{actor}/{k:04d}.jpg" for actor in ("F001", "M002") for k in range(150))
    )
    touch(source, *(f"images/M003/{k:04d}.jpg" for k in range(7)), "images/M003/0009.png")
    drawn = draw_sample(adapter, find_pictures(adapter, source))
    assert [len(paths) for paths in drawn.values()] == [100, 100, 7]
    np.random.seed(42)  # noqa: NPY002 - as MICA's programs do
    for actor in ("F001", "M002"):
        order = np.random.choice(150, 100, replace=False)  # noqa: NPY002
        assert [path.stem for path in drawn[actor]] == [f"{k:04d}" for k in order]
    assert [p.name for p in draw_sample(adapter, find_pictures(adapter, source))["F001"]] == [
        p.name for p in drawn["F001"]
    ]
    wanted = wanted_pictures(adapter, source, None)
    assert wanted.actors == ("F001", "M002", "M003") and wanted.parameters == {}
    with pytest.raises(DatasetError, match="no picture of an actor of LYHM"):
        find_pictures(adapter_of("LYHM"), source)
