"""Paints a DrawList over a picture with OpenCV: anti-aliased, to a sixteenth of a pixel."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from viewer.render.palette import DARK, LIGHT
from viewer.render.shapes import Dots, DrawList, Label, Segments, Triangles

Array = np.ndarray

SHIFT = 4
"""Fractional bits of OpenCV's drawing coordinates."""

MAX_SUPERSAMPLED_PX = 1_500_000
"""Regions up to this are shaded at twice the resolution; in larger ones a step does not show."""


def draw_overlay(image_rgb: UInt8[Array, "h w 3"], draw_list: DrawList) -> UInt8[Array, "h w 3"]:
    """A new picture with the shapes on it. Raises: ValueError if it is of another size."""
    if (image_rgb.shape[1], image_rgb.shape[0]) != tuple(draw_list.size_wh_px):
        raise ValueError(
            f"The shapes are for a picture of {draw_list.size_wh_px}, not "
            f"{(image_rgb.shape[1], image_rgb.shape[0])}."
        )
    canvas = np.array(image_rgb, order="C")
    for shape in draw_list.shapes:
        if isinstance(shape, Label):
            _paint_label(canvas, shape)
        elif isinstance(shape, Triangles):
            _paint_triangles(canvas, shape)
        else:
            _paint_strokes(canvas, shape)
    return canvas


def _fixed_point(points_px: Array, origin: Array, scale: int = 1) -> Array:
    """OpenCV's fixed-point coordinates; its pixel centres are whole numbers, ours are halves."""
    local = (points_px - origin) * scale - 0.5
    return np.rint(local * (1 << SHIFT)).astype(np.int32)


def _region(canvas: Array, points_px: Array, margin_px: float) -> tuple[Array, Array] | None:
    """The part of the picture that the points touch (a view), and its corner; None if none."""
    flat = points_px.reshape(-1, 2)
    if len(flat) == 0:
        return None
    size = np.array([canvas.shape[1], canvas.shape[0]])
    low = np.clip(np.floor(flat.min(0) - margin_px), 0, size).astype(int)
    high = np.clip(np.ceil(flat.max(0) + margin_px), 0, size).astype(int)
    if (high <= low).any():
        return None
    return canvas[low[1] : high[1], low[0] : high[0]], low.astype(np.float64)


def _paint_strokes(canvas: Array, shape: Segments | Dots) -> None:
    """Painted solid on a copy of the region, which is then laid over: overlaps do not add up."""
    reach = shape.width_px if isinstance(shape, Segments) else shape.radius_px
    region = _region(canvas, shape.points_px, reach + 3)
    if region is None:
        return
    part, origin = region
    alpha = shape.alpha
    if isinstance(shape, Segments):
        alpha *= min(1.0, shape.width_px)
    sheet = part.copy()
    points = _fixed_point(shape.points_px, origin)
    if isinstance(shape, Dots):
        radius = max(1, round(shape.radius_px * (1 << SHIFT)))
        for x, y in points.tolist():
            cv2.circle(sheet, (x, y), radius, shape.colour, -1, cv2.LINE_AA, SHIFT)
    else:
        width = max(1, round(shape.width_px))
        cv2.polylines(sheet, list(points), False, shape.colour, width, cv2.LINE_AA, SHIFT)
    part[:] = cv2.addWeighted(sheet, alpha, part, 1.0 - alpha, 0.0)


def _paint_triangles(canvas: Array, shape: Triangles) -> None:
    """At twice the resolution, then averaged: smooth rims and no seams between neighbours."""
    region = _region(canvas, shape.points_px, 2.0)
    if region is None:
        return
    part, origin = region
    size_wh = (part.shape[1], part.shape[0])
    scale = 2 if part.shape[0] * part.shape[1] <= MAX_SUPERSAMPLED_PX else 1
    sheet = np.repeat(np.repeat(part, scale, 0), scale, 1)
    corners = _fixed_point(shape.points_px, origin, scale)
    for points, colour in zip(corners, shape.colours.tolist(), strict=True):
        cv2.fillConvexPoly(sheet, points, colour, cv2.LINE_8, SHIFT)
    if scale > 1:
        sheet = cv2.resize(sheet, size_wh, interpolation=cv2.INTER_AREA)
    part[:] = cv2.addWeighted(sheet, shape.alpha, part, 1.0 - shape.alpha, 0.0)


@lru_cache(maxsize=32)
def label_font(height_px: int) -> ImageFont.FreeTypeFont:
    """The font of all letters in pictures."""
    return ImageFont.load_default(height_px)


def _paint_label(canvas: Array, label: Label) -> None:
    """Dark plate with a bar in the track's colour at its left, light letters."""
    font = label_font(max(8, round(label.height_px)))
    left, top, right, bottom = font.getbbox(label.text)
    pad = 0.35 * label.height_px
    bar = 0.28 * label.height_px
    width, height = round(right - left + 2 * pad + bar), round(1.4 * label.height_px)
    plate = Image.new("RGBA", (max(1, width), max(1, height)), (0, 0, 0, 0))
    pen = ImageDraw.Draw(plate)
    pen.rounded_rectangle(
        (0, 0, width - 1, height - 1), radius=0.25 * label.height_px, fill=(*DARK, 205)
    )
    pen.rectangle((0, 0, bar, height - 1), fill=(*label.colour, 255))
    middle = (height - (bottom - top)) / 2 - top
    pen.text((bar + pad - left, middle), label.text, font=font, fill=(*LIGHT, 255))
    x, y = round(label.x_px), round(label.y_px) - height
    _paste(canvas, np.asarray(plate), x, y)


def _paste(canvas: Array, rgba: Array, x: int, y: int) -> None:
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = min(canvas.shape[1], x + rgba.shape[1]), min(canvas.shape[0], y + rgba.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    over = rgba[y0 - y : y1 - y, x0 - x : x1 - x].astype(np.float32)
    part = canvas[y0:y1, x0:x1]
    weight = over[..., 3:] / 255.0
    part[:] = np.rint(part + (over[..., :3] - part) * weight).astype(np.uint8)
