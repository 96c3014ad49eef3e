"""Backgrounds: no head in them, textures of every coarseness, the same ones for a seed."""

from __future__ import annotations

import numpy as np
import pytest

from viewer.synthesis import backgrounds
from viewer.synthesis.backgrounds import sample_background
from viewer.synthesis.portraits import PortraitAsset

GREEN, MAGENTA = (0, 200, 0), (255, 0, 255)
HEAD_XYXY = np.array([[150.0, 120.0, 370.0, 400.0]])


def portrait() -> PortraitAsset:
    """Of which only the picture is there."""
    image = np.full((512, 512, 3), GREEN, np.uint8)
    image[120:400, 150:370] = MAGENTA
    asset = object.__new__(PortraitAsset)
    object.__setattr__(asset, "image_rgb", image)
    return asset


def test_no_part_of_a_portrait_shows_its_head(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("_gradient", "_patches", "_texture"):
        monkeypatch.setattr(
            backgrounds, kind, lambda size, rng: np.zeros((size, size, 3), np.uint8)
        )
    rng = np.random.default_rng(0)
    drawn = [sample_background([portrait()], HEAD_XYXY, 32, rng) for _ in range(300)]
    assert max(image[..., 0].max() for image in drawn) == 0, "no magenta"
    assert np.mean([image[..., 1].max() > 50 for image in drawn]) > 0.3, "parts of portraits"


def test_photos_are_seen_and_some_backgrounds_show_two() -> None:
    photos = [np.full((80, 60, 3), MAGENTA, np.uint8)]
    rng = np.random.default_rng(1)
    drawn = [sample_background([portrait()], HEAD_XYXY, 16, rng, photos) for _ in range(400)]
    pure = [image.min((0, 1))[1] == 0 == image.max((0, 1))[1] for image in drawn]
    assert 0.2 < np.mean(pure) < 0.5
    again = sample_background([portrait()], HEAD_XYXY, 16, np.random.default_rng(1), photos)
    np.testing.assert_array_equal(again, drawn[0])


def test_textures_run_from_sand_to_clouds() -> None:
    rng = np.random.default_rng(2)
    fine = []
    for _ in range(80):
        image = backgrounds._texture(64, rng)
        assert image.shape == (64, 64, 3) and image.dtype == np.uint8
        gray = image.mean(2) - image.mean()
        assert gray.std() > 1, "something is drawn"
        steps = np.diff(gray, axis=0).std() ** 2 + np.diff(gray, axis=1).std() ** 2
        fine.append(steps / (4 * gray.var()))
    assert np.quantile(fine, 0.1) < 0.1 and np.quantile(fine, 0.9) > 0.6
