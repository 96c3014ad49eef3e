"""The compiled inner loops of the synthesis: z-buffer, normals, shading, soft edges.

`viewer/synthesis/rasterizer.py` is the same z-buffer in plain numpy, for single pictures; a test
compares the two. Pixel centres are at half numbers. Needs numba (requirements-train.txt).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numba
import numpy as np

Array = np.ndarray

NEAR_M = 0.01
"""Triangles with a corner nearer than this to the camera's plane are left out, not clipped."""

STRAND_TILE_PX = 256
ZERO, HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Machine code. What checks shapes in tests wraps every function, and cannot be compiled."""
    return numba.njit(cache=True, fastmath=True, nogil=True)(inspect.unwrap(function))


@_compiled
def rasterize_into(
    x_px, y_px, z_m, triangles, n_closed, triangle_id, weight_0, weight_1, inverse_z
):
    """Fill the four buffers (h, w) with the nearest surface; -1 and 0 where there is none.

    x_px, y_px, z_m: (v,) projected vertices. weight_0, weight_1: perspective-correct barycentric
    weights of a triangle's first two corners. n_closed: so many triangles, from the first on, are
    of a closed surface, counter-clockwise from outside: their backs are not drawn.
    """
    height, width = triangle_id.shape
    edge = np.float32(-1e-5)
    triangle_id[:] = -1
    inverse_z[:] = 0.0
    points = np.empty((x_px.shape[0], 3), np.float32)  # side by side: fewer cache misses
    for v in range(x_px.shape[0]):
        points[v, 0], points[v, 1] = x_px[v], y_px[v]
        points[v, 2] = ZERO if z_m[v] < NEAR_M else ONE / z_m[v]
    for f in range(triangles.shape[0]):
        i, j, k = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ax, ay, bx, by = points[i, 0], points[i, 1], points[j, 0], points[j, 1]
        cx, cy = points[k, 0], points[k, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        # counter-clockwise from outside is clockwise on screen, whose y points down
        if abs(area) < 1e-9 or (f < n_closed and area > 0):
            continue
        za, zb, zc = points[i, 2], points[j, 2], points[k, 2]
        if za == ZERO or zb == ZERO or zc == ZERO:
            continue
        left = max(np.float32(0.0), np.ceil(min(ax, bx, cx) - HALF))
        right = min(np.float32(width - 1), np.floor(max(ax, bx, cx) - HALF))
        top = max(np.float32(0.0), np.ceil(min(ay, by, cy) - HALF))
        bottom = min(np.float32(height - 1), np.floor(max(ay, by, cy) - HALF))
        if left > right or top > bottom:
            continue
        scale = ONE / area
        x0, y0 = left + HALF, top + HALF
        w0_row = ((bx - x0) * (cy - y0) - (by - y0) * (cx - x0)) * scale
        w1_row = ((cx - x0) * (ay - y0) - (cy - y0) * (ax - x0)) * scale
        w0_right, w0_down = (by - cy) * scale, (cx - bx) * scale
        w1_right, w1_down = (cy - ay) * scale, (ax - cx) * scale
        for row in range(int(top), int(bottom) + 1):
            w0, w1 = w0_row - w0_right, w1_row - w1_right
            w0_row += w0_down
            w1_row += w1_down
            entered = False
            for column in range(int(left), int(right) + 1):
                w0 += w0_right
                w1 += w1_right
                w2 = ONE - w0 - w1
                if w0 < edge or w1 < edge or w2 < edge:
                    if entered:
                        break
                    continue
                entered = True
                nearness = w0 * za + w1 * zb + w2 * zc
                if nearness > inverse_z[row, column]:
                    inverse_z[row, column] = nearness
                    triangle_id[row, column] = f
                    weight_0[row, column] = w0 * za / nearness
                    weight_1[row, column] = w1 * zb / nearness


@_compiled
def vertex_normals_into(vertices, triangles, normals):
    """Unit normals, weighted by area; outwards where triangles are counter-clockwise."""
    normals[:] = 0.0
    for f in range(triangles.shape[0]):
        i, j, k = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ax, ay, az = (
            vertices[j, 0] - vertices[i, 0],
            vertices[j, 1] - vertices[i, 1],
            vertices[j, 2] - vertices[i, 2],
        )
        bx, by, bz = (
            vertices[k, 0] - vertices[i, 0],
            vertices[k, 1] - vertices[i, 1],
            vertices[k, 2] - vertices[i, 2],
        )
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for v in (i, j, k):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(normals.shape[0]):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2) + 1e-12
        normals[v, 0] /= length
        normals[v, 1] /= length
        normals[v, 2] /= length


@_compiled
def _taps(height, width, x, y):
    """Row, column and the four weights of a bilinear sample; pixel centres are at half numbers."""
    x = min(max(x - HALF, ZERO), np.float32(width - 1.001))
    y = min(max(y - HALF, ZERO), np.float32(height - 1.001))
    column, row = int(x), int(y)
    fx, fy = x - np.float32(column), y - np.float32(row)
    lower = fx * fy
    ends = np.uint64(row), np.uint64(row + 1), np.uint64(column), np.uint64(column + 1)
    return ends, ONE - fx - fy + lower, fx - lower, fy - lower, lower


@_compiled
def _sampled(image, taps, channel):
    (top, bottom, left, right), w00, w01, w10, w11 = taps
    return (
        w00 * image[top, left, channel]
        + w01 * image[top, right, channel]
        + w10 * image[bottom, left, channel]
        + w11 * image[bottom, right, channel]
    )


@_compiled
def _mixed(values, corners, weights, column):
    return (
        weights[0] * values[corners[0], column]
        + weights[1] * values[corners[1], column]
        + weights[2] * values[corners[2], column]
    )


@_compiled
def _strand_tone(paint, corners, weights, strands, strand, alpha):
    """Brightness of the hair's strands, and the opacity that is left between them."""
    tile = strands.shape[0]
    u = _mixed(paint, corners, weights, 6) * np.float32(tile)
    v = _mixed(paint, corners, weights, 7) * np.float32(tile)
    s = strands[int(v) % tile, int(u) % tile]
    return ONE + strand * np.float32(0.9) * (s - HALF), min(max(alpha + alpha - s, ZERO), ONE)


@_compiled
def _lamp(normals, corners, weights, light, lit):
    """How much a surface faces the lamp, and its gloss (of 255)."""
    if light[3, 0] >= ONE:
        return HALF, ZERO
    nx = _mixed(normals, corners, weights, 0)
    ny = _mixed(normals, corners, weights, 1)
    nz = _mixed(normals, corners, weights, 2)
    if nz > ZERO and light[3, 0] > ZERO:
        nx, ny, nz = -nx, -ny, -nz
    facing = max(nx * light[0, 0] + ny * light[0, 1] + nz * light[0, 2], ZERO) * lit
    half = max(facing * HALF - nz * HALF, ZERO)
    half *= half
    half *= half
    half *= half
    return facing, np.float32(255.0) * light[3, 1] * half * half


@_compiled
def shade_over(
    out_rgb,
    nearest_inverse_z,
    buffers,
    triangles,
    normals,
    paint,
    texture_rgba,
    strands,
    light,
    shadow,
    use_shadow,
):
    """Blend one layer over the picture and take over its depth where it is opaque.

    out_rgb: (h, w, 3) uint8, changed. nearest_inverse_z: (h, w), of what is there, changed.
    buffers: of `rasterize_into`. paint: (v, 10): texture x, y, weight, r, g, b, strand u, v,
    strand, alpha. light: (4, 3): direction to the lamp in the camera frame, its colour, the
    ambient colour, and (how much backs are lit, gloss, alpha from the texture: 0 or 1).
    shadow: (h, w), 1 lit to 0 in shadow.
    """
    triangle_id, weight_0, weight_1, inverse_z = buffers
    for row in range(triangle_id.shape[0]):
        for column in range(triangle_id.shape[1]):
            f = triangle_id[row, column]
            if f < 0 or inverse_z[row, column] < nearest_inverse_z[row, column]:
                continue
            f = np.uint64(f)
            corners = (
                np.uint64(triangles[f, 0]),
                np.uint64(triangles[f, 1]),
                np.uint64(triangles[f, 2]),
            )
            a, b = weight_0[row, column], weight_1[row, column]
            weights = (a, b, ONE - a - b)
            alpha, tone = _mixed(paint, corners, weights, 9), ONE
            strand = _mixed(paint, corners, weights, 8)
            if strand > ZERO:
                tone, alpha = _strand_tone(paint, corners, weights, strands, strand, alpha)
            if alpha <= np.float32(0.004):
                continue
            x, y = _mixed(paint, corners, weights, 0), _mixed(paint, corners, weights, 1)
            taps = _taps(texture_rgba.shape[0], texture_rgba.shape[1], x, y)
            if light[3, 2] > ZERO:
                alpha *= _sampled(texture_rgba, taps, 3) / np.float32(255.0)
            lit = shadow[row, column] if use_shadow else ONE
            facing, shine = _lamp(normals, corners, weights, light, lit)
            textured = _mixed(paint, corners, weights, 2)
            for channel in range(3):
                value = (ONE - textured) * _mixed(paint, corners, weights, 3 + channel)
                if textured > ZERO:
                    value += textured * _sampled(texture_rgba, taps, channel)
                value = value * tone * (light[2, channel] + light[1, channel] * facing) + shine
                value = min(max(value, ZERO), np.float32(255.0))
                below = np.float32(out_rgb[row, column, channel])
                out_rgb[row, column, channel] = np.uint8(value * alpha + below * (ONE - alpha))
            if alpha > HALF:
                nearest_inverse_z[row, column] = inverse_z[row, column]


@_compiled
def shadow_into(shadow, buffers, R_light, centre, scale, lamp_inverse_z, focal, cx, cy):
    """1 where a pixel's surface is seen by the lamp, 0 in shadow.

    lamp_inverse_z: (n, n) z-buffer of an orthographic look along the light with depths offset by 2.
    R_light: rows are the lamp's axes in the camera frame, the third along the light.
    """
    triangle_id, _, _, inverse_z = buffers
    n = lamp_inverse_z.shape[0]
    for row in range(triangle_id.shape[0]):
        for column in range(triangle_id.shape[1]):
            shadow[row, column] = 1.0
            if triangle_id[row, column] < 0:
                continue
            z = 1.0 / inverse_z[row, column]
            x = (column + 0.5 - cx) / focal * z - centre[0]
            y = (row + 0.5 - cy) / focal * z - centre[1]
            d = z - centre[2]
            u = int(n / 2 + scale * (R_light[0, 0] * x + R_light[0, 1] * y + R_light[0, 2] * d))
            v = int(n / 2 + scale * (R_light[1, 0] * x + R_light[1, 1] * y + R_light[1, 2] * d))
            depth = 2.0 + R_light[2, 0] * x + R_light[2, 1] * y + R_light[2, 2] * d
            if 1 <= u < n - 1 and 1 <= v < n - 1:
                lit = 0.0
                for dv in range(-1, 2):
                    for du in range(-1, 2):
                        if lamp_inverse_z[v + dv, u + du] * (depth - 0.012) <= 1.0:
                            lit += 1.0
                shadow[row, column] = lit / 9.0


@_compiled
def depth_into(nearest_inverse_z, mask, depth_m):
    """Depth where the mask is, 0 elsewhere."""
    for row in range(mask.shape[0]):
        for column in range(mask.shape[1]):
            z = max(nearest_inverse_z[row, column], np.float32(1e-6))
            depth_m[row, column] = ONE / z if mask[row, column] else ZERO


@_compiled
def soften_edges(image_rgb, nearest_inverse_z, out_rgb):
    """Average over 3 x 3 where the depth jumps, so that outlines are not staircases."""
    height, width = nearest_inverse_z.shape
    out_rgb[:] = image_rgb
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            here, beside = nearest_inverse_z[row, column], nearest_inverse_z[row, column + 1]
            if (
                here == beside
                and here == nearest_inverse_z[row + 1, column]
                and here == nearest_inverse_z[row, column - 1]
                and here == nearest_inverse_z[row - 1, column]
            ):
                continue
            limit = np.float32(0.03) * max(here, beside, np.float32(1e-3))
            if (
                abs(here - beside) > limit
                or abs(here - nearest_inverse_z[row + 1, column]) > limit
                or abs(here - nearest_inverse_z[row, column - 1]) > limit
                or abs(here - nearest_inverse_z[row - 1, column]) > limit
            ):
                for channel in range(3):
                    total = 4.0 * image_rgb[row, column, channel]
                    total += 2.0 * (
                        np.float32(image_rgb[row - 1, column, channel])
                        + image_rgb[row + 1, column, channel]
                        + image_rgb[row, column - 1, channel]
                        + image_rgb[row, column + 1, channel]
                    )
                    total += (
                        np.float32(image_rgb[row - 1, column - 1, channel])
                        + image_rgb[row - 1, column + 1, channel]
                        + image_rgb[row + 1, column - 1, channel]
                        + image_rgb[row + 1, column + 1, channel]
                    )
                    out_rgb[row, column, channel] = np.uint8(total / 16.0)
