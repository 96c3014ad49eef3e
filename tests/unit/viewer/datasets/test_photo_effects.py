"""Photo effects change pixels only as they say, and the same for the same generator."""

from __future__ import annotations

from dataclasses import fields

import cv2
import numpy as np
import pytest

from viewer.datasets.augment_config import AugmentConfig
from viewer.datasets.photo_effects import (
    cut_off,
    infrared,
    low_light,
    noisy,
    photo_effects,
    side_lit,
    with_occluder,
)

CROP_PX = 192
OFF = {f.name: 0.0 for f in fields(AugmentConfig) if f.name.startswith("p_")} | {
    "gamma_log": 0.0,
    "contrast_log": 0.0,
    "brightness": 0.0,
    "channel_log": 0.0,
}

PHOTO_CHANCES = sorted(
    name
    for name in OFF
    if name.startswith("p_") and not name.startswith(("p_roll", "p_box", "p_border", "p_mirror"))
)


@pytest.fixture
def crop_rgb():
    coarse = np.random.default_rng(1).integers(40, 216, (9, 9, 3), dtype=np.uint8)
    return cv2.resize(coarse, (CROP_PX, CROP_PX), interpolation=cv2.INTER_LINEAR)


@pytest.fixture
def patch_rgb():
    return np.full((80, 120, 3), (255, 0, 255), np.uint8)


def _changed(before, after, above=3):
    return (np.abs(before.astype(int) - after).max(-1) > above).mean()


def _sharpness(image_rgb):
    return cv2.Laplacian(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY), cv2.CV_32F).std()


def test_the_same_generator_gives_the_same_picture(crop_rgb, patch_rgb):
    def effects(seed):
        rng = np.random.default_rng(seed)
        return [photo_effects(crop_rgb.copy(), rng, AugmentConfig(), patch_rgb) for _ in range(60)]

    first, second = effects(3), effects(3)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(a.shape == (CROP_PX, CROP_PX, 3) and a.dtype == np.uint8 for a in first)
    assert len({a.tobytes() for a in first}) == 60


def test_with_every_chance_at_zero_nothing_happens(crop_rgb, patch_rgb):
    rng = np.random.default_rng(0)
    after = photo_effects(crop_rgb.copy(), rng, AugmentConfig(**OFF), patch_rgb)
    assert np.abs(after.astype(int) - crop_rgb).max() <= 1


@pytest.mark.parametrize("name", PHOTO_CHANCES)
def test_each_chance_switches_its_effect_on(crop_rgb, patch_rgb, name):
    rng = np.random.default_rng(0)
    textured = noisy(crop_rgb, rng, AugmentConfig(noise_level=(14.0, 14.1)))
    config = AugmentConfig(**{**OFF, name: 1.0})
    after = [photo_effects(textured.copy(), rng, config, patch_rgb) for _ in range(10)]
    assert np.mean([_changed(textured, picture) for picture in after]) > 0.01


def test_an_occluder_hides_a_part_only(crop_rgb, patch_rgb):
    rng = np.random.default_rng(0)
    shares = [
        _changed(crop_rgb, with_occluder(crop_rgb.copy(), rng, AugmentConfig(), patch_rgb))
        for _ in range(40)
    ]
    assert 0.01 < np.mean(shares) < 0.3 and max(shares) < 0.5


def test_a_cut_off_leaves_one_side_of_a_line(crop_rgb, patch_rgb):
    rng = np.random.default_rng(0)
    for _ in range(40):
        after = cut_off(crop_rgb.copy(), rng, AugmentConfig(), patch_rgb)
        share = _changed(crop_rgb, after, 0)
        assert 0.0 < share < 0.55
        assert _changed(crop_rgb[90:102, 90:102], after[90:102, 90:102], 0) < 0.9


def test_side_light_darkens_one_side_more(crop_rgb):
    rng = np.random.default_rng(0)
    gray = np.full_like(crop_rgb, 128)
    for _ in range(20):
        after = side_lit(gray, rng, AugmentConfig()).astype(float)[..., 0]
        assert after.max() > 1.15 * after.min()


def test_infrared_has_no_colour_and_dark_corners():
    rng = np.random.default_rng(0)
    after = infrared(np.full((CROP_PX, CROP_PX, 3), (180, 120, 90), np.uint8), rng)
    assert (after[..., 0] == after[..., 2]).all()
    assert after[0, 0, 0] < 0.95 * after[96, 96, 0]


def test_low_light_is_darker_and_noisier(crop_rgb):
    rng = np.random.default_rng(0)
    after = [low_light(crop_rgb, rng) for _ in range(20)]
    assert np.mean([picture.mean() for picture in after]) < 0.85 * crop_rgb.mean()
    assert np.mean([_sharpness(picture) for picture in after]) > 2 * _sharpness(crop_rgb)


def test_noise_has_the_level_that_is_asked_for():
    rng = np.random.default_rng(0)
    gray = np.full((CROP_PX, CROP_PX, 3), 128, np.uint8)
    levels = [noisy(gray, rng, AugmentConfig(noise_level=(8.0, 8.001))).std() for _ in range(10)]
    assert np.mean(levels) == pytest.approx(8.0, rel=0.05)


def test_a_small_face_keeps_its_place_and_loses_its_detail(crop_rgb, patch_rgb):
    rng = np.random.default_rng(0)
    textured = noisy(crop_rgb, rng, AugmentConfig(noise_level=(14.0, 14.1)))
    config = AugmentConfig(**{**OFF, "p_small": 1.0}, small_face_px=(16.0, 16.01))
    after = photo_effects(textured.copy(), rng, config, patch_rgb)
    assert _sharpness(after) < 0.2 * _sharpness(textured)
    assert np.abs(cv2.blur(after, (33, 33)).astype(int) - cv2.blur(textured, (33, 33))).max() < 12
