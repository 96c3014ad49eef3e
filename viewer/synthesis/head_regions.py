"""Where hair grows on the open head, what is inside the mouth, what light reaches: once per run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix, diags
from scipy.spatial import cKDTree

from models.flame.open_head import HeadAssets
from viewer.synthesis.fast_raster import rasterize_into, vertex_normals_into
from viewer.synthesis.head_model import SIZE_SCALE
from viewer.synthesis.head_paint import hair_weight, smooth_step
from viewer.synthesis.portrait_fit import open_head

Array = np.ndarray

OCCLUSION_LOOKS, OCCLUSION_PX, OCCLUSION_PX_PER_M = 80, 300, 600.0
VISIBLE_WITHIN_M = 0.004
MOUTH_REACH_M = 0.016
"""Hidden skin nearer than this to teeth or tongue is the inside of the mouth."""


@dataclass(frozen=True)
class HeadRegions:
    """Facts about each of the v vertices of the open head.

    is_skin: of the skin of head and neck. shoulders: of theirs alone.
    openness: how much of the sky it sees, 0 to 1.
    hair: 0 bare skin to 1 hair (sharp hairline). growth: the same, but softly beginning behind it.
    ears, neck, mouth_inside: of the skin. mirror_ids: the vertex at the other side.
    laplacian: degree minus adjacency.
    """

    is_skin: Bool[Array, "v"]
    shoulders: Bool[Array, "v"]
    openness: Float[Array, "v"]
    hair: Float[Array, "v"]
    growth: Float[Array, "v"]
    ears: Bool[Array, "v"]
    neck: Bool[Array, "v"]
    mouth_inside: Bool[Array, "v"]
    mirror_ids: Int[Array, "v"]
    laplacian: csr_matrix


@cache
def head_regions() -> HeadRegions:
    """Of the open head; a fifth of a second, kept for the process."""
    head = open_head()
    template = head.template_vertices_m
    is_skin = np.zeros(len(template), bool)
    is_skin[np.unique(head.triangles_of("skin"))] = True
    shoulders = np.zeros(len(template), bool)
    shoulders[np.unique(head.triangles_of("shoulders"))] = True
    shoulders &= ~is_skin
    x, y, z = template.T / SIZE_SCALE  # the numbers below are of MakeHuman's own size
    ears = is_skin & (np.hypot((z + 0.058) / 0.027, (y - 0.010) / 0.037) < 1) & (np.abs(x) > 0.05)
    behind = smooth_step(-z, 0.0, 0.03) * smooth_step(y, -0.06, -0.03)
    growth = np.maximum(smooth_step(y, 0.072, 0.095), behind) * (is_skin & ~ears)
    openness = _openness(head)
    hidden = is_skin & (openness < 0.12)
    mouth = np.unique(
        np.concatenate([head.triangles_of(part) for part in ("teeth_up", "teeth_low", "tongue")])
    )
    distance = cKDTree(template[mouth]).query(template)[0]
    scale = np.percentile(openness[is_skin], 90)
    return HeadRegions(
        is_skin=is_skin,
        shoulders=shoulders,
        openness=np.clip(openness / scale, 0, 1),
        hair=hair_weight(template) * is_skin,
        growth=growth,
        ears=ears,
        neck=is_skin & (y < -0.075) & (z < 0.035),
        mouth_inside=hidden & (distance < MOUTH_REACH_M),
        mirror_ids=cKDTree(template).query(template * [-1, 1, 1])[1],
        laplacian=_laplacian(head.triangles, len(template)),
    )


def vertex_normals(
    vertices_m: Float[Array, "v 3"], triangles: Int[Array, "f 3"]
) -> Float[Array, "v 3"]:
    """Unit normals, outwards."""
    normals = np.empty_like(vertices_m)
    vertex_normals_into(vertices_m, triangles, normals)
    return normals


def depth_buffer(
    points_px: Float[Array, "v 2"],
    z_m: Float[Array, "v"],
    triangles: Int[Array, "f 3"],
    side_px: int,
) -> tuple[Int[Array, "h w"], Float[Array, "h w"]]:
    """Nearest triangle (-1: none) and its depth (infinite: none) at each pixel of a square."""
    ids = np.empty((side_px, side_px), np.int32)
    weight_0, weight_1, inverse_z = (np.zeros((side_px, side_px), np.float32) for _ in range(3))
    x_px, y_px = np.ascontiguousarray(points_px.T, np.float32)
    rasterize_into(
        x_px,
        y_px,
        z_m.astype(np.float32),
        triangles.astype(np.int32),
        0,
        ids,
        weight_0,
        weight_1,
        inverse_z,
    )
    depth_m = np.full(inverse_z.shape, np.inf)
    np.divide(1.0, inverse_z, out=depth_m, where=inverse_z > 0)
    return ids.astype(np.int64), depth_m


def seen_vertices(
    points_px: Float[Array, "v 2"], z_m: Float[Array, "v"], depth_m: Float[Array, "h w"]
) -> Bool[Array, "v"]:
    """Which vertices are not behind the surface of the depth buffer."""
    side_px = len(depth_m)
    column, row = np.clip(points_px.astype(np.int64), 0, side_px - 1).T
    return z_m < depth_m[row, column] + VISIBLE_WITHIN_M


def _openness(head: HeadAssets) -> Float[Array, "v"]:
    """Ambient occlusion of the mean head: part of all directions, by cosine, that see a vertex."""
    template, triangles = head.template_vertices_m, head.triangles
    normals = vertex_normals(template, triangles)
    rng = np.random.default_rng(0)
    seen, total = np.zeros(len(template)), np.zeros(len(template))
    for _ in range(OCCLUSION_LOOKS):
        look = rng.normal(size=3)
        look /= np.linalg.norm(look)
        right = np.cross(look, [0.3, 0.9, 0.1])
        right /= np.linalg.norm(right)
        turned = template @ np.stack([right, np.cross(look, right), look]).T
        points_px = OCCLUSION_PX / 2 + OCCLUSION_PX_PER_M * turned[:, :2]
        z_m = 2.0 - turned[:, 2]
        _, depth_m = depth_buffer(points_px, z_m, triangles, OCCLUSION_PX)
        cosine = np.clip(normals @ look, 0, 1)
        seen += cosine * seen_vertices(points_px, z_m, depth_m)
        total += cosine
    return seen / np.maximum(total, 1e-9)


def _laplacian(triangles: Int[Array, "f 3"], n_vertices: int) -> csr_matrix:
    ends = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    ends = np.concatenate([ends, ends[:, ::-1]])
    adjacency = csr_matrix((np.ones(len(ends)), ends.T), (n_vertices, n_vertices))
    adjacency.data[:] = 1.0
    return csr_matrix(diags(np.asarray(adjacency.sum(1)).ravel()) - adjacency)
