"""Collar and shoulders for a head that ends at the neck."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray

NECK_SECTION_M = (-0.105, -0.093)
"""Heights on the template head between which the collar goes around the neck."""

NECK_END_M = -0.120
"""Below this height the neck, which ends in a ragged rim inside the shirt, is left out."""

# Rings of the shirt below the collar: how far below it, half widths, how far behind it (m).
RINGS_M = np.array(
    [
        [0.014, 0.072, 0.074, 0.002],
        [0.030, 0.105, 0.078, 0.006],
        [0.050, 0.150, 0.084, 0.010],
        [0.092, 0.195, 0.094, 0.010],
        [0.162, 0.215, 0.104, 0.002],
        [0.262, 0.215, 0.108, -0.004],
    ]
)
SIDES = 48


def build_torso(
    neck_m: Float[Array, "n 3"],
    rings_m: Float[Array, "r 4"] = RINGS_M,
    sides: int = SIDES,
) -> tuple[Float[Array, "v 3"], Int[Array, "f 3"]]:
    """Vertices and triangles of elliptic rings from a collar down to the chest.

    neck_m: skin around the neck where the collar goes, in the `open_head` frame.
    """
    low, high = neck_m.min(0), neck_m.max(0)
    middle, half = (low + high) / 2, 1.04 * (high - low) / 2
    collar = np.array([[0.0, half[0], half[2], 0.0]])
    below, half_x, half_z, behind = (
        column[:, None] for column in np.concatenate([collar, rings_m]).T
    )
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    half_x, half_z = np.maximum(half_x, half[0]), np.maximum(half_z, half[2])
    x, z = half_x * np.sin(angle), half_z * np.cos(angle) - behind
    rings = middle + np.stack(np.broadcast_arrays(x, -below, z), -1)
    upper = np.arange(len(below) - 1)[:, None] * sides
    here = np.arange(sides)
    a, b = (upper + here).ravel(), (upper + (here + 1) % sides).ravel()
    c, d = a + sides, b + sides
    return rings.reshape(-1, 3), np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
