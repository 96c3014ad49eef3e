"""Values at vertices as colours, and the legend that says what the colours mean."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from viewer.render.painting import label_font
from viewer.render.palette import DARK, LIGHT, RGB, hex_colour

Array = np.ndarray

UNKNOWN: RGB = (150, 150, 150)
"""Colour of a vertex without a value."""

LEGEND_SHADING = 0.4
"""How much light a mesh takes whose colours are to be read off the legend."""

STEPS = 256


@dataclass(frozen=True)
class HeatScale:
    """Colours from low (dark blue) to high (yellow); what lies outside takes the end's colour.

    title: what the values are; unit: as it is written behind the numbers.
    """

    low: float
    high: float
    title: str = ""
    unit: str = "mm"

    def __post_init__(self) -> None:
        if not (np.isfinite([self.low, self.high]).all() and self.low < self.high):
            raise ValueError(f"The scale must rise, got {self.low:g} to {self.high:g}.")

    def colours(self, values: Float[Array, "n"]) -> UInt8[Array, "n 3"]:
        """A colour for each value; `UNKNOWN` for those that are not finite."""
        known = np.isfinite(values)
        place = (np.where(known, values, self.low) - self.low) / (self.high - self.low)
        colours = _ramp()[np.rint(np.clip(place, 0, 1) * (STEPS - 1)).astype(int)]
        colours[~known] = UNKNOWN
        return colours

    def ticks(self) -> list[float]:
        """Three to seven round numbers within the scale."""
        span = self.high - self.low
        step = 10.0 ** np.floor(np.log10(span))
        step *= next(part for part in (1.0, 0.5, 0.2, 0.1) if span / (step * part) >= 3.0)
        first, last = np.ceil(self.low / step - 1e-9), np.floor(self.high / step + 1e-9)
        return [float(k * step) + 0.0 for k in np.arange(first, last + 1)]

    def text(self, value: float) -> str:
        """A tick's text."""
        return f"{value:g} {self.unit}".strip()

    def plotly(self) -> list[tuple[float, str]]:
        """The same colours for Plotly."""
        chosen = np.linspace(0, STEPS - 1, 17).round().astype(int)
        return [(k / (STEPS - 1), hex_colour(tuple(_ramp()[k].tolist()))) for k in chosen.tolist()]


def scale_of(values: Float[Array, "n"], title: str = "", unit: str = "mm") -> HeatScale:
    """From 0 (or the lowest, if it is negative) to a round number that few values exceed."""
    known = values[np.isfinite(values)]
    high = float(np.percentile(known, 98)) if len(known) else 1.0
    low = min(0.0, float(known.min())) if len(known) else 0.0
    if high <= low:
        return HeatScale(low, low + 1.0, title, unit)
    step = 10.0 ** np.floor(np.log10(high - low)) / 2
    return HeatScale(
        float(np.floor(low / step) * step), float(np.ceil(high / step) * step), title, unit
    )


def draw_legend(image_rgb: UInt8[Array, "h w 3"], scale: HeatScale) -> UInt8[Array, "h w 3"]:
    """A new picture with the legend in its lower right corner; as it is where there is no room."""
    height, width = image_rgb.shape[:2]
    size = _LegendSize.of(scale, (width, height))
    if size.plate_wh[0] > width or size.plate_wh[1] > height:
        return image_rgb.copy()
    plate = _legend_plate(scale, size)
    picture = Image.fromarray(image_rgb)
    corner = (width - size.plate_wh[0] - size.pad, height - size.plate_wh[1] - size.pad)
    picture.paste(plate, (max(0, corner[0]), max(0, corner[1])), plate)
    return np.array(picture)


def legend_width_px(scale: HeatScale, size_wh_px: tuple[int, int]) -> int:
    """Room that the legend takes at the right edge of a picture of this size."""
    size = _LegendSize.of(scale, size_wh_px)
    return size.plate_wh[0] + 2 * size.pad


@dataclass(frozen=True)
class _LegendSize:
    """letters: their height. title: height of its line. bar_wh, plate_wh, pad: pixels."""

    letters: int
    pad: int
    title: int
    bar_wh: tuple[int, int]
    plate_wh: tuple[int, int]

    @classmethod
    def of(cls, scale: HeatScale, size_wh_px: tuple[int, int]) -> _LegendSize:
        """The size in a picture of this size."""
        width, height = size_wh_px
        letters = int(np.clip(0.03 * min(height, width), 9, 40))
        font, pad = label_font(letters), round(0.7 * letters)
        bar = round(0.9 * letters), round(float(np.clip(0.36 * height, 4 * letters, 16 * letters)))
        text_width = max(font.getlength(scale.text(tick)) for tick in scale.ticks())
        wide = round(max(bar[0] + 0.6 * letters + text_width, font.getlength(scale.title)))
        title = round(1.6 * letters) if scale.title else 0
        return cls(letters, pad, title, bar, (wide + 2 * pad, bar[1] + title + 2 * pad + letters))


def _legend_plate(scale: HeatScale, size: _LegendSize) -> Image.Image:
    """Dark plate with the title above a bar of the colours and its numbers."""
    plate = Image.new("RGBA", size.plate_wh, (0, 0, 0, 0))
    pen, font = ImageDraw.Draw(plate), label_font(size.letters)
    right, bottom = size.plate_wh
    pen.rounded_rectangle(
        (0, 0, right - 1, bottom - 1), radius=0.5 * size.letters, fill=(*DARK, 205)
    )
    top = size.pad + size.title + size.letters // 2
    if scale.title:
        pen.text((size.pad, size.pad), scale.title, font=font, fill=(*LIGHT, 255), anchor="lt")
    ramp = cv2.resize(_ramp()[::-1, None], size.bar_wh, interpolation=cv2.INTER_AREA)
    plate.paste(Image.fromarray(ramp), (size.pad, top))
    x = size.pad + size.bar_wh[0]
    for tick in scale.ticks():
        y = top + (scale.high - tick) / (scale.high - scale.low) * (size.bar_wh[1] - 1)
        pen.line((x, y, x + 0.3 * size.letters, y), fill=(*LIGHT, 255))
        place = (x + 0.6 * size.letters, y)
        pen.text(place, scale.text(tick), font=font, fill=(*LIGHT, 255), anchor="lm")
    return plate


def _ramp() -> UInt8[Array, "256 3"]:
    """Viridis: rises in brightness all along, for colour-blind eyes and grey prints too."""
    steps = np.arange(STEPS, dtype=np.uint8)[:, None]
    return cv2.applyColorMap(steps, cv2.COLORMAP_VIRIDIS)[:, 0, ::-1].copy()
