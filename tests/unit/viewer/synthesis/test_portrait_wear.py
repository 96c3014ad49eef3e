"""Hats, scarves and glasses of portraits stay theirs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.flame.open_head import HeadAssets
from viewer.datasets.synthetic_format import THINGS
from viewer.synthesis.portrait_wear import UNKNOWN_WEAR, Wear, read_wears
from viewer.synthesis.portraits import PortraitAsset, PortraitError, find_portraits
from viewer.synthesis.scene import SceneConfig, sample_scene

NOTHING = Wear(False, False)


@pytest.fixture
def folder(tmp_path: Path, repo_root: Path) -> Path:
    """A portrait of the bundled list, and two that nobody knows."""
    shutil.copy(repo_root / "assets/examples/astronaut.jpg", tmp_path / "known.jpg")
    for name in ("a", "b"):
        (tmp_path / f"{name}.png").write_bytes(name.encode())
    return tmp_path


def test_a_file_of_the_bundled_list_is_known_under_any_name(folder: Path) -> None:
    assert read_wears(folder, find_portraits(folder)) == {"known": NOTHING}


def test_the_folders_own_list_comes_first(folder: Path) -> None:
    text = "person\twears\na\theadwear\nb\theadwear and glasses\nknown\tglasses\n"
    (folder / "wears.tsv").write_text(text, encoding="utf-8")
    assert read_wears(folder, find_portraits(folder)) == {
        "a": Wear(True, False),
        "b": Wear(True, True),
        "known": Wear(False, True),
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("person\twears\na\tcrown\n", "nothing, headwear, glasses, headwear and glasses"),
        ("person,wears\na,nothing\n", "the first is person, a tab, wears"),
        ("person\twears\nzoe\tnothing\n", "zoe, of whom there is no picture"),
        (b"person\twears\n\xff\tnothing\n", "is no text"),
    ],
)
def test_a_wrong_list_is_refused(folder: Path, text: str | bytes, says: str) -> None:
    (folder / "wears.tsv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(PortraitError, match=says):
        read_wears(folder, find_portraits(folder))


@pytest.mark.parametrize("wear", [NOTHING, Wear(True, False), Wear(False, True), UNKNOWN_WEAR])
def test_nothing_is_put_over_what_a_person_wears(
    head: HeadAssets, plain_portrait: Callable[..., PortraitAsset], wear: Wear
) -> None:
    portraits, config = [plain_portrait()], SceneConfig(occluded=1.0)
    listed = {} if wear == UNKNOWN_WEAR else {"plain/1": wear}
    rng = np.random.default_rng(5)
    scenes = [
        sample_scene(portraits, config, head.expression_names, rng, listed) for _ in range(300)
    ]
    every_kind = {"own", "bald", "short", "long", "bun", "cap", "scarf"}
    assert {scene.hair.kind for scene in scenes} == ({"kept"} if wear.headwear else every_kind)
    left_out = {"strands"} if wear.headwear else set()
    left_out |= {"glasses"} if wear.glasses else set()
    assert {thing for scene in scenes for thing in scene.things} == set(THINGS) - left_out
