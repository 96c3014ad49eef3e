"""The linear face model of trg-mini's 468 vertices, learned from the training persons alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from models.flame.open_head import HeadAssets
from models.training.initialisation import FaceBasis
from models.trg.bundle import BundleArrays
from viewer.synthesis.portraits import PortraitAsset
from viewer.synthesis.scene import SceneConfig, sample_face

Array = np.ndarray

COMPONENTS, SAMPLED_VERTICES, FACES = 80, 128, 6000
NOSE_TIP = 4


def build_face_basis(
    portraits: Sequence[PortraitAsset], head: HeadAssets, topology: BundleArrays, seed: int = 0
) -> FaceBasis:
    """From faces as the generator draws them. topology: triangles, landmarks and the canonical
    face, which is brought to the size of the mean face."""
    rng = np.random.default_rng(seed)
    weights = head.landmark_468_weights[..., None]
    corners = head.landmark_468_vertex_ids
    mean = (head.template_vertices_m[corners] * weights).sum(1)
    directions = np.concatenate([head.shape_directions_m, head.expression_directions_m])
    at_landmarks = (directions[:, corners] * weights).sum(2).reshape(len(directions), -1)
    config, names = SceneConfig(), list(head.expression_names)
    faces = [
        np.concatenate(sample_face(portraits[n % len(portraits)], config, names, rng))
        for n in range(FACES)
    ]
    vertices = mean.ravel() + np.array(faces) @ at_landmarks
    middle = vertices.mean(0)
    _, deviation, components = np.linalg.svd(vertices - middle, full_matrices=False)
    scaled = components[:COMPONENTS] * (deviation[:COMPONENTS, None] / np.sqrt(FACES))
    mean_face = middle.reshape(468, 3)
    return FaceBasis(
        mean_face,
        scaled.reshape(-1, 468, 3),
        spread_vertices(mean_face, SAMPLED_VERTICES),
        topology.triangles,
        topology.landmark_68_ids,
        topology.canonical_vertices_m * _size_ratio(topology.canonical_vertices_m, mean_face),
    )


def spread_vertices(vertices_m: Float[Array, "v 3"], count: int) -> Int[Array, "n"]:
    """Farthest-point sampling, from the tip of the nose."""
    chosen = [NOSE_TIP]
    distance = np.linalg.norm(vertices_m - vertices_m[NOSE_TIP], axis=1)
    while len(chosen) < count:
        farthest = int(distance.argmax())
        chosen.append(farthest)
        to_it = np.linalg.norm(vertices_m - vertices_m[farthest], axis=1)
        distance = np.minimum(distance, to_it)
    return np.array(chosen)


def _size_ratio(source: Float[Array, "v 3"], target: Float[Array, "v 3"]) -> float:
    """Root mean square distance from the centroid, target over source."""
    spread = [np.sqrt(((p - p.mean(0)) ** 2).sum(1).mean()) for p in (source, target)]
    return float(spread[1] / spread[0])
