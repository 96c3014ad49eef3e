"""What is drawn on the front of the painted head: brows, lips, lids, nostrils, blush."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from viewer.synthesis.head_paint import Palette, smooth_step

Array = np.ndarray

# FaceMesh landmark numbers; of each pair the first is the subject's right, at image left.
LIPS_UPPER_EDGE = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409)
LIPS_LOWER_EDGE = (291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
LIPS_SEAM = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
# upper edge from the temple inwards, then the lower edge back
BROWS = (
    (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    (300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
)
LIDS_UPPER = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133),
    (263, 466, 388, 387, 386, 385, 384, 398, 362),
)
LIDS_LOWER = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133),
    (263, 249, 390, 373, 374, 380, 381, 382, 362),
)
NOSTRILS = (98, 327)
NOSE_TIP = 4
CHEEKS = (50, 280)
UPPER_LID_MIDDLES = (159, 386)
CHIN_CREASE = 17

MAP_PX = 512
MAP_HALF_MM = 90.0
"""The map is the face seen along -z: x and y from -90 to 90 mm of the template head."""

BROW_HAIRS = 160
COARSEST_PX = 32


class FaceMap:
    """The front of one person's face as RGBA, premultiplied, 0 to 1.

    Smaller copies (a texture's mipmaps) keep small faces from being jagged and noisy.
    """

    def __init__(self, landmarks_468_m: Float[Array, "468 3"], palette: Palette, seed: int) -> None:
        """landmarks_468_m: on the template head."""
        canvas = _Canvas(landmarks_468_m)
        _draw_blush(canvas, palette)
        _draw_lips(canvas, palette)
        _draw_lids(canvas, palette)
        _draw_nostrils(canvas, palette)
        _draw_brows(canvas, palette, np.random.default_rng([seed, 3]))
        self._levels = [canvas.rgba]
        while self._levels[-1].shape[0] > COARSEST_PX:
            half = self._levels[-1].shape[0] // 2
            self._levels.append(
                cv2.resize(self._levels[-1], (half, half), interpolation=cv2.INTER_AREA)
            )

    def sample(
        self, positions_m: Float[Array, "n 3"], pixel_m: float
    ) -> tuple[Float[Array, "n 3"], Float[Array, "n"]]:
        """Premultiplied colour and alpha at points of the template head.

        pixel_m: how much of the face one pixel of the picture covers.
        """
        octaves = np.log2(max(1000.0 * pixel_m * MAP_PX / (2 * MAP_HALF_MM), 1.0))
        level = self._levels[min(round(float(octaves)), len(self._levels) - 1)]
        at_px = _map_px(positions_m) * (level.shape[0] / MAP_PX) - 0.5
        # cv2.remap limits both sides of a picture to 32767: the points go in rows of 4096
        rows = np.full((-(-len(at_px) // 4096) * 4096, 2), -9.0, np.float32)
        rows[: len(at_px)] = at_px
        rows = rows.reshape(-1, 4096, 2)
        rgba = cv2.remap(level, rows[..., 0], rows[..., 1], cv2.INTER_LINEAR).reshape(-1, 4)
        # the back of the head shows none of it
        front = smooth_step(positions_m[:, 2], 0.0, 0.012)
        rgba = rgba[: len(at_px)] * front[:, None]
        return rgba[:, :3], rgba[:, 3]


def _map_px(points_m: Float[Array, "n 3"]) -> Float[Array, "n 2"]:
    """Continuous pixels of the map; its x runs to the subject's left, its y down."""
    points_mm = 1000.0 * points_m[:, :2] * [1, -1]
    return (points_mm + MAP_HALF_MM) * (MAP_PX / (2 * MAP_HALF_MM))


class _Canvas:
    """A map being drawn; lengths in mm on the face."""

    px_per_mm = MAP_PX / (2 * MAP_HALF_MM)

    def __init__(self, landmarks_468_m: Float[Array, "468 3"]) -> None:
        self.rgba = np.zeros((MAP_PX, MAP_PX, 4), np.float32)
        self.points_mm = _map_px(landmarks_468_m) / self.px_per_mm

    def line(self, ids: tuple[int, ...]) -> Float[Array, "n 2"]:
        return self.points_mm[list(ids)]

    def blend(self, rgb: Float[Array, "3"], alpha: Float[Array, "h w"]) -> None:
        """Paint over what is there."""
        alpha = np.clip(alpha, 0, 1).astype(np.float32)[..., None]
        self.rgba *= 1 - alpha
        self.rgba += alpha * np.array([*rgb, 1.0], np.float32)

    def filled(self, outline_mm: Float[Array, "n 2"], blur_mm: float) -> Float[Array, "h w"]:
        mask = np.zeros((MAP_PX, MAP_PX), np.float32)
        cv2.fillPoly(mask, [self._fixed_point(outline_mm)], 1.0, cv2.LINE_8, 4)
        return cv2.GaussianBlur(mask, (0, 0), blur_mm * self.px_per_mm)

    def stroked(
        self, lines_mm: list[Float[Array, "n 2"]], width_mm: float, blur_mm: float = 0.0
    ) -> Float[Array, "h w"]:
        mask = np.zeros((MAP_PX, MAP_PX), np.float32)
        width_px = max(round(width_mm * self.px_per_mm), 1)
        lines = [self._fixed_point(line) for line in lines_mm]
        cv2.polylines(mask, lines, False, 1.0, width_px, cv2.LINE_8, 4)
        return cv2.GaussianBlur(mask, (0, 0), blur_mm * self.px_per_mm) if blur_mm else mask

    def spot(
        self, centre_mm: Float[Array, "2"], half_width_mm: float, half_height_mm: float
    ) -> Float[Array, "h w"]:
        along = (np.arange(MAP_PX) + 0.5) / self.px_per_mm
        x = np.exp(-(((along - centre_mm[0]) / half_width_mm) ** 2))
        y = np.exp(-(((along - centre_mm[1]) / half_height_mm) ** 2))
        return y[:, None] * x

    def _fixed_point(self, points_mm: Float[Array, "n 2"]) -> Array:
        """OpenCV's pixels with 4 fractional bits, centres on whole numbers."""
        return np.round((points_mm * self.px_per_mm - 0.5) * 16).astype(np.int32)


def _draw_blush(canvas: _Canvas, palette: Palette) -> None:
    for cheek in CHEEKS:
        canvas.blend(
            palette.skin * [1, 0.78, 0.74], 0.3 * canvas.spot(canvas.points_mm[cheek], 19.0, 16.0)
        )
    nose = canvas.points_mm[NOSE_TIP]
    canvas.blend(palette.skin * [1, 0.8, 0.76], 0.3 * canvas.spot(nose, 12.0, 10.5))
    for lid in UPPER_LID_MIDDLES:
        socket = canvas.points_mm[lid] + [0, 1.8]
        canvas.blend(palette.skin * [0.72, 0.62, 0.6], 0.42 * canvas.spot(socket, 21.0, 13.0))


def _draw_lips(canvas: _Canvas, palette: Palette) -> None:
    canvas.blend(
        palette.lips, 0.85 * canvas.filled(canvas.line(LIPS_UPPER_EDGE + LIPS_LOWER_EDGE), 0.7)
    )
    under = canvas.points_mm[CHIN_CREASE] + [0, 5.3]
    canvas.blend(palette.skin * 0.7, 0.35 * canvas.spot(under, 16.0, 3.2))
    canvas.blend(palette.lips * 0.3, 1.2 * canvas.stroked([canvas.line(LIPS_SEAM)], 1.2, 0.5))


def _draw_lids(canvas: _Canvas, palette: Palette) -> None:
    upper = [canvas.line(lid) for lid in LIDS_UPPER]
    lower = [canvas.line(lid) for lid in LIDS_LOWER]
    crease = canvas.stroked([line - np.array([0, 4.6]) for line in upper], 1.05, 0.9)
    canvas.blend(palette.skin * 0.55, 0.5 * crease)
    lashes = canvas.stroked([line - np.array([0, 0.35]) for line in upper], 2.3, 0.5)
    canvas.blend(palette.hair * 0.45, 1.15 * lashes)
    lashes = canvas.stroked([line + np.array([0, 0.35]) for line in lower], 1.05, 0.5)
    canvas.blend(palette.hair * 0.8, 0.6 * lashes)


def _draw_nostrils(canvas: _Canvas, palette: Palette) -> None:
    for nostril, inwards in zip(NOSTRILS, (2.8, -2.8), strict=True):
        hole = canvas.points_mm[nostril] + [inwards, 0]
        canvas.blend(palette.skin * 0.25, 0.95 * canvas.spot(hole, 3.9, 2.1))


def _draw_brows(canvas: _Canvas, palette: Palette, rng: np.random.Generator) -> None:
    for brow in BROWS:
        outline = canvas.line(brow)
        upper, lower = outline[:5], outline[:4:-1]
        hairs = []
        for root, lean in rng.uniform((0, 0.5), (4, 1), (BROW_HAIRS, 2)):
            hairs.append(np.stack([_along(lower, root), _along(upper, max(root - lean, 0.0))]))
        area = canvas.filled(outline, 1.05)
        alpha = 0.45 * area + 0.6 * area * canvas.stroked(hairs, 0.5)
        canvas.blend(palette.hair * 0.8, np.minimum(alpha, 0.95))


def _along(line: Float[Array, "n 2"], place: float) -> Float[Array, "2"]:
    """The point `place` segments along a polyline."""
    index = np.arange(len(line))
    return np.array([np.interp(place, index, line[:, 0]), np.interp(place, index, line[:, 1])])
