"""Colours of the painted head: who has which, and where the hair is.

Points are given on the template head (`open_head` frame), so that paint sticks to the skin whatever
the identity and the expression. Colours are RGB, 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from viewer.synthesis.head_model import SIZE_SCALE

Array = np.ndarray

SKIN_RGB = np.array(
    [[238, 196, 170], [226, 178, 148], [205, 155, 122], [176, 124, 92], [134, 90, 66], [98, 64, 48]]
)
HAIR_RGB = np.array([[34, 26, 22], [58, 40, 28], [88, 60, 38], [128, 92, 54], [120, 116, 112]])
IRIS_RGB = np.array([[70, 48, 30], [92, 66, 36], [88, 104, 82], [84, 118, 150]])
CLOTH_RGB = np.array([[46, 62, 96], [104, 40, 44], [58, 84, 62], [150, 148, 140], [48, 48, 52]])


@dataclass(frozen=True)
class Palette:
    """One person's colours, RGB 0 to 1."""

    skin: Float[Array, "3"]
    lips: Float[Array, "3"]
    hair: Float[Array, "3"]
    iris: Float[Array, "3"]
    cloth: Float[Array, "3"]


def palette_from_seed(seed: int) -> Palette:
    """Colours of person `seed`: dark skin goes with dark hair and dark eyes."""
    rng = np.random.default_rng([seed, 1])
    tone = int(rng.integers(len(SKIN_RGB)))
    dark = 2 if tone >= 3 else len(HAIR_RGB)
    skin = SKIN_RGB[tone] * rng.uniform(0.96, 1.04, 3)
    return Palette(
        skin=skin.clip(0, 255) / 255,
        lips=(skin * [0.88, 0.62, 0.62]).clip(0, 255) / 255,
        hair=HAIR_RGB[rng.integers(dark)] / 255,
        iris=IRIS_RGB[rng.integers(min(dark, len(IRIS_RGB)))] / 255,
        cloth=CLOTH_RGB[rng.integers(len(CLOTH_RGB))] / 255,
    )


def smooth_step(values: Array, low: float, high: float) -> Array:
    """0 below low, 1 above high, smooth between; low may be the larger."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def hair_weight(positions_m: Float[Array, "n 3"]) -> Float[Array, "n"]:
    """0 on skin, 1 on hair: above and behind a hairline, except a patch around each ear."""
    x, y, z = positions_m.T / SIZE_SCALE  # the numbers below are of MakeHuman's own size
    profile_z = np.array([-0.15, -0.095, -0.075, -0.05, -0.034, -0.02, 0.0, 0.02, 0.04, 0.07])
    profile_y = np.array([-0.07, -0.06, -0.03, 0.02, -0.002, 0.02, 0.052, 0.072, 0.084, 0.09])
    above = smooth_step(y - np.interp(z, profile_z, profile_y), -0.003, 0.004)
    ear = np.hypot((z + 0.058) / 0.026, (y - 0.010) / 0.036)
    side = smooth_step(np.abs(x), 0.045, 0.055)
    return above * (1 - side * (1 - smooth_step(ear, 0.9, 1.05)))


def hair_strands(
    positions_m: Float[Array, "n 3"], seed: int
) -> tuple[Float[Array, "n"], Float[Array, "n"]]:
    """Brightness of the strands (about 1) and how ragged the hairline is (about 0)."""
    x, y, z = positions_m.T
    around = np.arctan2(x, z + 0.04)
    # strands hang from the crown: fine around the head, long downwards
    lengthwise = np.stack([0.02 * around, 0.06 * y, np.zeros_like(z)], -1)
    return (
        1 + 0.22 * _waves(lengthwise, seed, 0.0012),
        0.12 * _waves(lengthwise, seed + 1, 0.0008),
    )


def _waves(points_m: Float[Array, "n 3"], seed: int, scale_m: float) -> Float[Array, "n"]:
    """Smooth noise in space, standard deviation 1, mean 0: a sum of waves of about `scale_m`."""
    rng = np.random.default_rng([seed, 2])
    waves = rng.normal(0, 1 / scale_m, (3, 6)).astype(np.float32)
    offsets = rng.uniform(0, 2 * np.pi, 6).astype(np.float32)
    phases = points_m.astype(np.float32) @ waves + offsets
    return np.cos(phases).sum(1, dtype=np.float64) / np.sqrt(3)
