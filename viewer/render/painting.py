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

MAX_COORDINATE_PX = 30_000.0
"""What reaches further outside is cut: OpenCV's drawing overflows beyond 2^15."""


def draw_overlay(image_rgb: UInt8[Array, "h w 3"], draw_list: DrawList) -> UInt8[Array, "h w 3"]:
    """A new picture with the shapes on it. Raises: ValueError if it is of another size."""
    if (image_rgb.shape[1], image_rgb.shape[0]) != tuple(draw_list.size_wh_px):
        raise ValueError(
            f"The shapes are for a picture of {draw_list.size_wh_px}, not "
            f"{(image_rgb.shape[1], image_rgb.shape[0])}."
        )
    canvas = np.ascontiguousarray(image_rgb).copy()
    for shape in draw_list.shapes:
        if isinstance(shape, Label):
            _paint_label(canvas, shape)
        elif isinstance(shape, Triangles):
            _paint_triangles(canvas, shape)
        else:
            _paint_strokes(canvas, shape)
    return canvas


def _fixed_point(points_px: Array, origin: Array) -> Array:
    """OpenCV's fixed-point coordinates; its pixel centres are whole numbers, ours are halves."""
    local = np.clip(points_px, -MAX_COORDINATE_PX, MAX_COORDINATE_PX) - origin - 0.5
    return np.rint(local * (1 << SHIFT)).astype(np.int32)


def _region(canvas: Array, points_px: Array, margin_px: float) -> tuple[slice, slice, Array] | None:
    """The part of the picture that the points touch, and its corner; None if there is none."""
    flat = points_px.reshape(-1, 2)
    if len(flat) == 0 or not np.isfinite(flat).all():
        return None
    size = np.array([canvas.shape[1], canvas.shape[0]])
    low = np.clip(np.floor(flat.min(0) - margin_px), 0, size).astype(int)
    high = np.clip(np.ceil(flat.max(0) + margin_px), 0, size).astype(int)
    if (high <= low).any():
        return None
    return slice(low[1], high[1]), slice(low[0], high[0]), low.astype(np.float64)


def _blend(canvas: Array, rows: slice, columns: slice, colour: Array, weight: Array) -> None:
    """canvas = canvas + (colour - canvas) * weight, weight 0 to 1 of shape (h, w)."""
    part = canvas[rows, columns].astype(np.float32)
    part += (colour - part) * weight[..., None]
    canvas[rows, columns] = np.rint(part).astype(np.uint8)


def _paint_strokes(canvas: Array, shape: Segments | Dots) -> None:
    margin = (shape.width_px if isinstance(shape, Segments) else shape.radius_px) + 3
    region = _region(canvas, shape.points_px, margin)
    if region is None:
        return
    rows, columns, origin = region
    mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
    points = _fixed_point(shape.points_px, origin)
    strength = shape.alpha
    if isinstance(shape, Dots):
        radius = max(1, round(shape.radius_px * (1 << SHIFT)))
        for x, y in points:
            cv2.circle(mask, (int(x), int(y)), radius, 255, -1, cv2.LINE_AA, SHIFT)
    else:
        width = max(1, round(shape.width_px))
        strength *= min(1.0, shape.width_px)
        cv2.polylines(mask, list(points), False, 255, width, cv2.LINE_AA, SHIFT)
    weight = mask.astype(np.float32) * (strength / 255.0)
    _blend(canvas, rows, columns, np.array(shape.colour, np.float32), weight)


def _paint_triangles(canvas: Array, shape: Triangles) -> None:
    """At twice the resolution, then averaged: smooth rims and no seams between neighbours."""
    region = _region(canvas, shape.points_px, 2)
    if region is None:
        return
    rows, columns, origin = region
    size_hw = (rows.stop - rows.start, columns.stop - columns.start)
    sheet = np.zeros((2 * size_hw[0], 2 * size_hw[1], 4), np.uint8)
    doubled = (np.clip(shape.points_px, -MAX_COORDINATE_PX, MAX_COORDINATE_PX) - origin) * 2 - 0.5
    corners = np.rint(doubled * (1 << SHIFT)).astype(np.int32)
    for points, colour in zip(corners, shape.colours.tolist(), strict=True):
        cv2.fillConvexPoly(sheet, points, (*colour, 255), cv2.LINE_8, SHIFT)
    small = cv2.resize(sheet, size_hw[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    cover = small[..., 3] / 255.0
    colour = small[..., :3] / np.maximum(cover, 1e-6)[..., None]
    _blend(canvas, rows, columns, colour, cover * shape.alpha)


@lru_cache(maxsize=32)
def _font(height_px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(height_px)


def _paint_label(canvas: Array, label: Label) -> None:
    """Dark plate with a bar in the track's colour at its left, light letters."""
    font = _font(max(8, round(label.height_px)))
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
    part = rgba[y0 - y : y1 - y, x0 - x : x1 - x].astype(np.float32)
    _blend(canvas, slice(y0, y1), slice(x0, x1), part[..., :3], part[..., 3] / 255.0)
