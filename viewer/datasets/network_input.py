"""NetworkInput: what training data must know of the network that it is made for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from models.training.initialisation import FaceBasis
from models.trg.config import TrgConfig
from models.weights import T_HEAD_FROM_TRG, T_HEAD_FROM_TRG_MINI

Array = np.ndarray


@dataclass(frozen=True)
class NetworkInput:
    """What a network wants to see: its crops, its head frame, its mesh.

    T_head_from_model: rigid; takes points of the network's own frame to `head`, metres.
    mirror_vertex_ids: each vertex's mirror image.
    landmark_68_ids: iBUG's points among the vertices. canonical_vertices_m: a neutral face in the
        network's own frame. Both None: only sets with the network's own mesh can be used.
    """

    config: TrgConfig
    T_head_from_model: Float[Array, "4 4"]
    mirror_vertex_ids: Int[Array, "v"]
    landmark_68_ids: Int[Array, "68"] | None = None
    canonical_vertices_m: Float[Array, "v 3"] | None = None

    @property
    def boxes_of_landmarks(self) -> bool:
        """Crops go around the 68 landmarks, as the released network's; else around the mesh."""
        return self.config.landmark_head

    def canonical_head_m(self) -> Float[Array, "v 3"] | None:
        """The neutral face in `head`."""
        if self.canonical_vertices_m is None:
            return None
        T = self.T_head_from_model
        return self.canonical_vertices_m @ T[:3, :3].T + T[:3, 3]


def mini_input(config: TrgConfig, basis: FaceBasis) -> NetworkInput:
    """For trg-mini."""
    mirror = basis.bundle_arrays().mirror_vertex_ids()
    return NetworkInput(
        config, T_HEAD_FROM_TRG_MINI, mirror, basis.landmark_68_ids, basis.canonical_vertices_m
    )


def trg_input(
    config: TrgConfig, basis: FaceBasis, mirror_vertex_ids: Int[Array, "v"]
) -> NetworkInput:
    """For the released network; mirror_vertex_ids: ARKitFace's flip_index."""
    return NetworkInput(
        config,
        T_HEAD_FROM_TRG,
        mirror_vertex_ids,
        basis.landmark_68_ids,
        basis.canonical_vertices_m,
    )
