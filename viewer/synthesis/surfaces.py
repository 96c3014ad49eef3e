"""Surface: a mesh with paint, the thing that the fast rasterizer draws; and simple shapes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float32, Int32

Array = np.ndarray


@dataclass(frozen=True)
class Surface:
    """Vertices of one kind of paint, in the `open_head` frame.

    texture_px: where each vertex is in the portrait. texture_weight: 1 paints from there, 0 with
        `rgb` (0 to 255).
    strand_uv: place in the pattern of hair strands, in tiles. strand: how much of it is seen.
    alpha: 1 opaque. With strands an alpha below 1 frays into single strands.
    """

    vertices_m: Float32[Array, "v 3"]
    triangles: Int32[Array, "f 3"]
    texture_px: Float32[Array, "v 2"]
    texture_weight: Float32[Array, "v"]
    rgb: Float32[Array, "v 3"]
    strand_uv: Float32[Array, "v 2"]
    strand: Float32[Array, "v"]
    alpha: Float32[Array, "v"]

    def moved(self, R: Float[Array, "3 3"], t_m: Float[Array, "3"]) -> Surface:
        """The same, turned and then shifted."""
        vertices = self.vertices_m @ np.asarray(R, np.float32).T + np.asarray(t_m, np.float32)
        return replace(self, vertices_m=vertices)

    def paint(self) -> Float32[Array, "v 10"]:
        """All but the shape, side by side as `fast_raster.shade_over` reads it."""
        out = np.empty((len(self.vertices_m), 10), np.float32)
        out[:, :2], out[:, 2], out[:, 3:6] = self.texture_px, self.texture_weight, self.rgb
        for column, tiles in ((6, self.strand_uv[:, 0]), (7, self.strand_uv[:, 1])):
            out[:, column] = tiles - np.floor(tiles.min())
        out[:, 8], out[:, 9] = self.strand, self.alpha
        return out


def painted(
    vertices_m: Float[Array, "v 3"],
    triangles: Array,
    rgb: Float[Array, "*colours"],
    *,
    alpha: float | Array = 1.0,
    strand_uv: Float[Array, "v 2"] | None = None,
    strand: float | Array = 0.0,
) -> Surface:
    """A surface without texture, in one colour or one for each vertex."""
    n = len(vertices_m)
    return Surface(
        np.asarray(vertices_m, np.float32),
        np.asarray(triangles, np.int32),
        np.zeros((n, 2), np.float32),
        np.zeros(n, np.float32),
        np.broadcast_to(np.asarray(rgb, np.float32), (n, 3)),
        np.zeros((n, 2), np.float32) if strand_uv is None else np.asarray(strand_uv, np.float32),
        np.broadcast_to(np.asarray(strand, np.float32), n),
        np.broadcast_to(np.asarray(alpha, np.float32), n),
    )


def joined(surfaces: Sequence[Surface]) -> Surface:
    """All of them as one, in order."""
    offsets = np.cumsum([0, *(len(surface.vertices_m) for surface in surfaces)])
    triangles = [
        surface.triangles + np.int32(offset)
        for surface, offset in zip(surfaces, offsets, strict=False)
    ]
    return Surface(
        np.concatenate([surface.vertices_m for surface in surfaces]),
        np.concatenate(triangles),
        np.concatenate([surface.texture_px for surface in surfaces]),
        np.concatenate([surface.texture_weight for surface in surfaces]),
        np.concatenate([surface.rgb for surface in surfaces]),
        np.concatenate([surface.strand_uv for surface in surfaces]),
        np.concatenate([surface.strand for surface in surfaces]),
        np.concatenate([surface.alpha for surface in surfaces]),
    )


@lru_cache(maxsize=64)
def grid_triangles(rows: int, columns: int, *, closed: bool = False) -> Int32[Array, "f 3"]:
    """Triangles over vertices in rows, row-major; closed: the last column meets the first.

    Read-only: the same array for the same numbers.
    """
    across = columns if closed else columns - 1
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(across), indexing="ij")
    a = (row * columns + column).ravel()
    b = (row * columns + (column + 1) % columns).ravel()
    c, d = a + columns, b + columns
    made = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)]).astype(np.int32)
    made.flags.writeable = False
    return made


def tube(
    path_m: Float[Array, "n 3"], radius_m: float | Float[Array, "n"], sides: int = 5
) -> tuple[Float[Array, "v 3"], Int32[Array, "f 3"]]:
    """A tube along a path, open at both ends."""
    path = np.asarray(path_m, np.float64)
    along = _gradient(path)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-12
    helper = np.where(np.abs(along[:, 1:2]) > 0.9, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    first = _cross(along, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True) + 1e-12
    second = _cross(along, first)
    angle = np.arange(sides) / sides * 2 * np.pi
    ring = np.cos(angle)[:, None, None] * first + np.sin(angle)[:, None, None] * second
    vertices = path[:, None] + np.broadcast_to(radius_m, len(path))[:, None, None] * ring.transpose(
        1, 0, 2
    )
    return vertices.reshape(-1, 3), grid_triangles(len(path), sides, closed=True)


def _gradient(path: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
    """`np.gradient` along a path; numpy's own takes longer than a whole short tube."""
    ends = path[[1, -1]] - path[[0, -2]]
    return np.concatenate([ends[:1], (path[2:] - path[:-2]) / 2.0, ends[1:]])


def _cross(a: Float[Array, "n 3"], b: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
    """`np.cross`, likewise."""
    (ax, ay, az), (bx, by, bz) = a.T, b.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], 1)


def ellipsoid(
    centre_m: Float[Array, "3"], half_m: Float[Array, "3"], rows: int = 9, columns: int = 14
) -> tuple[Float[Array, "v 3"], Int32[Array, "f 3"]]:
    """An ellipsoid with its axes along x, y and z."""
    polar, around = np.meshgrid(
        np.linspace(0, np.pi, rows), np.arange(columns) / columns * 2 * np.pi, indexing="ij"
    )
    unit = np.stack(
        [np.sin(polar) * np.cos(around), np.cos(polar), np.sin(polar) * np.sin(around)], -1
    )
    return centre_m + unit.reshape(-1, 3) * half_m, grid_triangles(rows, columns, closed=True)


def box(half_m: Float[Array, "3"]) -> tuple[Float[Array, "8 3"], Int32[Array, "12 3"]]:
    """A box around the origin."""
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
    faces = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    triangles = [[f[0], f[k], f[k + 1]] for f in faces for k in (1, 2)]
    return signs * half_m, np.array(triangles, np.int32)
