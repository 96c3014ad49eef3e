"""What a drawing is made of: plain shapes in picture pixels, for OpenCV and for a browser canvas.

Coordinates are continuous: the first pixel spans 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8

from viewer.render.palette import RGB, hex_colour

Array = np.ndarray

REACH = 1.0
"""What lies further outside the picture than this, in its longer sides, is cut off."""

JSON_STEPS_PER_PX = 10
"""Coordinates in JSON are whole tenths of a pixel."""


@dataclass(frozen=True)
class Segments:
    """Straight lines, each from one point to another. alpha: 0 to 1."""

    points_px: Float[Array, "n 2 2"]
    colour: RGB
    width_px: float
    alpha: float = 1.0


@dataclass(frozen=True)
class Triangles:
    """Filled triangles, painted in their order, blended as one sheet."""

    points_px: Float[Array, "n 3 2"]
    colours: UInt8[Array, "n 3"]
    alpha: float


@dataclass(frozen=True)
class Dots:
    """Filled circles."""

    points_px: Float[Array, "n 2"]
    colour: RGB
    radius_px: float
    alpha: float = 1.0


@dataclass(frozen=True)
class Label:
    """A line of text on a plate. x, y: lower left corner of the plate."""

    x_px: float
    y_px: float
    text: str
    height_px: float
    colour: RGB


Shape = Segments | Triangles | Dots | Label


@dataclass(frozen=True)
class DrawList:
    """Shapes of one frame, in painting order, for a picture of size_wh_px."""

    shapes: tuple[Shape, ...]
    size_wh_px: tuple[int, int]

    def to_json(self) -> dict[str, object]:
        """For the browser's canvas: {"size": [w, h], "scale": 10, "shapes": [...]}.

        A shape is {"kind": "segments", "points": [x0, y0, x1, y1, ...], "colour": "#rrggbb",
        "alpha", "width"}, {"kind": "triangles", "points": [6 a triangle], "colours": [0xrrggbb,
        ...], "alpha"}, {"kind": "dots", "points", "colour", "alpha", "radius"} or {"kind": "label",
        "x", "y", "text", "height", "colour"}. points are whole numbers, px times scale; the rest is
        in px.
        """
        return {
            "size": list(self.size_wh_px),
            "scale": JSON_STEPS_PER_PX,
            "shapes": [_shape_to_json(shape) for shape in self.shapes],
        }


def within_reach(shapes: Sequence[Shape], size_wh_px: tuple[int, int]) -> tuple[Shape, ...]:
    """The shapes without what lies far outside the picture, which overflows OpenCV and JSON.

    Lines are cut where they leave the reach and keep their direction.
    """
    size = np.array(size_wh_px, np.float64)
    margin = max(64.0, REACH * float(size.max()))
    low, high = np.full(2, -margin), size + margin
    kept: list[Shape] = []
    for shape in shapes:
        if isinstance(shape, Label):
            kept.append(shape)
            continue
        points = shape.points_px
        inside = ((points >= low) & (points <= high)).all(-1)
        if inside.all():
            kept += [shape] if len(points) else []
        elif isinstance(shape, Segments):
            cut = _cut_lines(points, low, high)
            kept += [replace(shape, points_px=cut)] if len(cut) else []
        elif isinstance(shape, Triangles):
            rows = inside.all(1)
            if rows.any():
                kept.append(replace(shape, points_px=points[rows], colours=shape.colours[rows]))
        elif inside.any():
            kept.append(replace(shape, points_px=points[inside]))
    return tuple(kept)


def _cut_lines(
    lines_px: Float[Array, "n 2 2"], low: Float[Array, "2"], high: Float[Array, "2"]
) -> Float[Array, "m 2 2"]:
    """Liang and Barsky 1984: the part of each line inside the rectangle; others are left out."""
    start, way = lines_px[:, 0], lines_px[:, 1] - lines_px[:, 0]
    still = way == 0
    safe = np.where(still, 1.0, way)
    to_low, to_high = (low - start) / safe, (high - start) / safe
    within = (start >= low) & (start <= high)
    enter = np.where(still, np.where(within, -np.inf, np.inf), np.minimum(to_low, to_high))
    leave = np.where(still, np.inf, np.maximum(to_low, to_high))
    first, last = np.clip(enter.max(1), 0, None), np.clip(leave.min(1), None, 1)
    ids = np.flatnonzero(first <= last)
    return np.stack([start[ids] + t[ids, None] * way[ids] for t in (first, last)], 1)


def _shape_to_json(shape: Shape) -> dict[str, object]:
    if isinstance(shape, Label):
        return {
            "kind": "label",
            "x": round(shape.x_px, 1),
            "y": round(shape.y_px, 1),
            "text": shape.text,
            "height": round(shape.height_px, 1),
            "colour": hex_colour(shape.colour),
        }
    steps = np.rint(shape.points_px * JSON_STEPS_PER_PX).astype(int)
    common = {"points": steps.ravel().tolist(), "alpha": round(shape.alpha, 3)}
    if isinstance(shape, Triangles):
        packed = shape.colours.astype(int) @ [65536, 256, 1]
        return {"kind": "triangles", "colours": packed.tolist()} | common
    common["colour"] = hex_colour(shape.colour)
    if isinstance(shape, Dots):
        return {"kind": "dots", "radius": round(shape.radius_px, 2)} | common
    return {"kind": "segments", "width": round(shape.width_px, 2)} | common
