"""Clothes over the shoulders of the open head, and the trunk below them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from models.flame.open_head import HeadAssets
from viewer.synthesis.head_regions import vertex_normals
from viewer.synthesis.mesh_cut import MeshCut, cut_mesh

Array = np.ndarray

THICKNESS_M = 0.006
"""Between skin and cloth."""
HIDDEN_BELOW_M = 0.015
"""Skin further below the collar than this is under the cloth whatever the person's shape."""
TRUNK_END_Y_M = -0.65
"""Where the trunk ends, below all that a picture of a face shows."""


def _collar_y_m(points_m: Float[Array, "n 3"]) -> Float[Array, "n"]:
    """Height of a close collar: it lies higher at the nape than at the throat."""
    return -0.150 - 0.37 * points_m[:, 2]


def _v_depth_m(points_m: Float[Array, "n 3"]) -> Float[Array, "n"]:
    x, _, z = points_m.T
    return 0.08 * np.clip(1 - np.abs(x) / 0.06, 0, 1) * (z > -0.06)


NECKLINES: Mapping[str, Callable[[Float[Array, "n 3"]], Float[Array, "n"]]] = {
    "crew": _collar_y_m,
    "turtleneck": lambda points: _collar_y_m(points) + 0.035,
    "wide": lambda points: _collar_y_m(points) - 0.022,
    "v": lambda points: _collar_y_m(points) - _v_depth_m(points),
}
"""Height of the cloth's upper edge on the template head (`open_head` frame, metres)."""


@dataclass(frozen=True)
class Shirt:
    """One neckline on the open head.

    cut: what of skin and shoulders the cloth lies on.
    rim: vertices of the head along the shoulders' lower edge; rim_of_cut: their numbers in the cut.
    triangles: over the cut's vertices and, after them, one below each vertex of the rim.
    hidden: which of all triangles of the head cannot be seen under the cloth.
    """

    cut: MeshCut
    rim: Int[Array, "r"]
    rim_of_cut: Int[Array, "r"]
    triangles: Int[Array, "f 3"]
    hidden: Bool[Array, "g"]


class ClothingBuilder:
    """Shirts for the open head, for any person and any turn of the body."""

    def __init__(self, head: HeadAssets) -> None:
        self._outwards = vertex_normals(head.template_vertices_m, head.triangles)
        self.shirts = {name: _shirt(head, edge_y_m) for name, edge_y_m in NECKLINES.items()}

    def vertices_m(
        self,
        shirt: Shirt,
        straight_m: Float[Array, "v 3"],
        bent_m: Float[Array, "v 3"],
        body_from_head: Float[Array, "3 3"],
    ) -> Float[Array, "n 3"]:
        """The cloth over the shoulders and straight down the trunk, `open_head` frame.

        straight_m, bent_m: one person before and after `HeadAssets.with_body_turned`.
        """
        over = shirt.cut.of(bent_m + THICKNESS_M * (self._outwards @ body_from_head.T))
        down = np.zeros((len(shirt.rim), 3), over.dtype)
        down[:, 1] = TRUNK_END_Y_M - straight_m[shirt.rim, 1]
        return np.concatenate([over, over[shirt.rim_of_cut] + down @ body_from_head.T])


def _shirt(head: HeadAssets, edge_y_m: Callable[[Array], Array]) -> Shirt:
    template = head.template_vertices_m
    skin = np.concatenate([head.triangles_of("skin"), head.triangles_of("shoulders")])
    below_m = edge_y_m(template) - template[:, 1]
    cut = cut_mesh(skin, below_m)
    rim, edges = np.unique(_rim_edges(skin), return_inverse=True)
    rim_of_cut = np.searchsorted(np.where(cut.share == 0, cut.ends[:, 0], len(template)), rim)
    a, b = rim_of_cut[edges.reshape(-1, 2)].T
    c, d = len(cut.ends) + edges.reshape(-1, 2).T
    trunk = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    return Shirt(
        cut=cut,
        rim=rim,
        rim_of_cut=rim_of_cut,
        triangles=np.concatenate([cut.triangles, trunk]),
        hidden=(below_m > HIDDEN_BELOW_M)[head.triangles].all(1),
    )


def _rim_edges(triangles: Int[Array, "f 3"]) -> Int[Array, "e 2"]:
    """Edges that one triangle alone has, run through the other way than that triangle does."""
    edges = np.concatenate([triangles[:, [1, 0]], triangles[:, [2, 1]], triangles[:, [0, 2]]])
    _, first, count = np.unique(np.sort(edges, 1), axis=0, return_index=True, return_counts=True)
    return edges[first[count == 1]]
