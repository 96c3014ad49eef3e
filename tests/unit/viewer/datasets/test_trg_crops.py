"""The released TRG's variations have the stated distribution; colours change as torchvision's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional

from viewer.datasets import trg_crops
from viewer.datasets.augment_config import TrgAugmentConfig
from viewer.datasets.trg_crops import draw_trg_recrop, trg_photo_effects

N = 4000
NO_COLOURS = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}


@pytest.mark.parametrize(("is_flat", "p_turn", "shift"), [(False, 0.3, 0.15), (True, 0.5, 0.3)])
def test_the_draws_are_those_of_the_release(is_flat: bool, p_turn: float, shift: float) -> None:
    rng, config = np.random.default_rng(0), TrgAugmentConfig()
    drawn = [draw_trg_recrop(rng, config, is_flat=is_flat) for _ in range(N)]
    rolls = np.array([choice.roll_deg for choice in drawn])
    turned = rolls[rolls != 0]
    assert len(turned) / N == pytest.approx(p_turn, abs=0.03)
    assert 29 < turned.max() <= 30 and -30 <= turned.min() < -29 and abs(turned.mean()) < 1.5
    mirrored = np.mean([choice.mirror for choice in drawn])
    assert mirrored == (0 if is_flat else pytest.approx(0.5, abs=0.03))
    shifts = np.array([choice.box_shift for choice in drawn])
    assert shift * 0.99 < np.abs(shifts).max() <= shift and shifts.std() == pytest.approx(
        shift / np.sqrt(3), rel=0.05
    )
    scales = np.array([choice.box_scale for choice in drawn])
    assert 0.95 <= scales.min() < 0.951 and 1.049 < scales.max() <= 1.05


def test_masks() -> None:
    config = TrgAugmentConfig(**NO_COLOURS, landmarks_p_mask=0.15)
    rng, plain = np.random.default_rng(0), np.full((192, 192, 3), 7, np.uint8)
    masked = 0
    for _ in range(600):
        crop = trg_photo_effects(plain, rng, config, is_flat=True)
        changed = (crop != 7).any(-1)
        if changed.any():
            rows, columns = (np.flatnonzero(changed.any(axis)) for axis in (1, 0))
            assert len(rows) == len(columns) == 192 // 5
            assert len(np.unique(crop[changed], axis=0)) == 1
            masked += 1
    assert masked / 600 == pytest.approx(0.15, abs=0.05) and (plain == 7).all()
    unmasked = trg_photo_effects(plain, rng, config, is_flat=False)
    assert np.abs(unmasked.astype(int) - plain).max() <= 1, "no mask in ARKitFace's pictures"


@pytest.mark.parametrize(
    ("ours", "theirs", "strengths"),
    [
        (trg_crops._brightened, functional.adjust_brightness, (0.7, 1.0, 1.3)),
        (trg_crops._contrasted, functional.adjust_contrast, (0.7, 1.0, 1.3)),
        (trg_crops._saturated, functional.adjust_saturation, (0.8, 1.0, 1.2)),
        (trg_crops._hue_turned, functional.adjust_hue, (-0.01, 0.0, 0.01)),
    ],
)
def test_colours_change_as_torchvision_changes_them(ours, theirs, strengths) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    picture = cv2.resize(noise, (96, 96), interpolation=cv2.INTER_CUBIC)
    tensor = torch.from_numpy(picture).permute(2, 0, 1)
    for strength in strengths:
        expected = theirs(tensor, strength).permute(1, 2, 0).numpy().astype(int)
        difference = np.abs(ours(picture, strength) - expected)
        assert difference.mean() < 1.0 and np.percentile(difference, 99) <= 8, strength


def test_the_order_of_the_colour_changes_varies() -> None:
    config, picture = TrgAugmentConfig(), np.full((8, 8, 3), (200, 120, 60), np.uint8)
    made = {
        tuple(trg_photo_effects(picture, np.random.default_rng(k), config, is_flat=False)[0, 0])
        for k in range(40)
    }
    assert len(made) > 30
