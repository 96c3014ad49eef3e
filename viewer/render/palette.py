"""Colours: one per track, three for the axes. Told apart by colour-blind eyes too."""

from __future__ import annotations

RGB = tuple[int, int, int]

TRACK_COLOURS: tuple[RGB, ...] = (
    (255, 176, 0),
    (86, 180, 233),
    (240, 110, 190),
    (0, 190, 140),
    (255, 240, 90),
    (190, 140, 255),
    (255, 120, 70),
    (160, 220, 80),
)
"""After Okabe and Ito (2008), lightened to stand on dark and light photos."""

AXIS_COLOURS: dict[str, RGB] = {"x": (255, 72, 72), "up": (70, 215, 90), "nose": (70, 140, 255)}
"""Head axes as drawn: +x (to image right on a frontal face), -y (up), -z (out of the face)."""

DARK: RGB = (17, 20, 28)
LIGHT: RGB = (245, 247, 250)


def track_colour(track_id: int) -> RGB:
    """Colour of a track number; 1 is the first."""
    return TRACK_COLOURS[(track_id - 1) % len(TRACK_COLOURS)]


def hex_colour(rgb: RGB) -> str:
    """#rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)
