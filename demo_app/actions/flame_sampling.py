"""Random heads: identity, expression, pose, and faces whose two halves mirror one another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from demo_app.actions.flame_parameters import FlameTabError, HeadParameters
from models.flame.assets import FlameAssets
from models.geometry.mesh_distance import nearest_on_surface

Array = np.ndarray

KINDS = ("shape", "expression", "pose", "symmetric")
SPREAD = 1.0
"""Standard deviations of identity and of expressions without names."""

NAMED_AT_ONCE = 6
_TURN_SIGMA_DEG = {"jaw": 0.0, "eye": 8.0, "neck": 12.0, "head": 12.0, "global": 15.0}
_JAW_OPEN_DEG = 12.0
_MIRROR_REACH_M = 0.004
_SYMMETRIC_SHARE = 0.15


def sample(
    assets: FlameAssets,
    parameters: HeadParameters,
    kind: str,
    rng: np.random.Generator,
    mirror: Callable[[], Int[Array, "v"]],
) -> HeadParameters:
    """The head with one part of it new, by chance; "symmetric": identity and expression.

    mirror: gives `mirror_ids` of the assets. Raises: FlameTabError.
    """
    if kind == "shape":
        return replace(parameters, shape=_normal(assets.shape_directions_m, rng))
    if kind == "expression":
        return replace(parameters, expression=_expression(assets, rng))
    if kind == "pose":
        return replace(parameters, pose_rad=_pose(assets, rng))
    if kind == "symmetric":
        shape = _normal(assets.shape_directions_m, rng)
        expression = _expression(assets, rng)
        return replace(
            parameters,
            shape=symmetric_part(assets.shape_directions_m, shape, mirror()),
            expression=_symmetric_expression(assets, expression, mirror),
        )
    raise FlameTabError(f"There is no sample {kind[:20]!r}; known are {', '.join(KINDS)}.")


def _normal(directions: Float[Array, "k v 3"], rng: np.random.Generator) -> Float[Array, "k"]:
    return np.clip(rng.normal(0.0, SPREAD, len(directions)), -2.5, 2.5)


def _expression(assets: FlameAssets, rng: np.random.Generator) -> Float[Array, "e"]:
    """Named expressions go from 0 to 1, a few at a time."""
    if not assets.expression_names:
        return _normal(assets.expression_directions_m, rng)
    count = len(assets.expression_names)
    weights = np.zeros(count)
    chosen = rng.choice(count, min(NAMED_AT_ONCE, count), replace=False)
    weights[chosen] = rng.uniform(0.15, 0.8, len(chosen))
    return weights


def _pose(assets: FlameAssets, rng: np.random.Generator) -> Float[Array, "p"]:
    """Both eyes look the same way; the jaw only opens."""
    pose = np.zeros((len(assets.joint_names), 3))
    gaze_deg = rng.normal(0.0, _TURN_SIGMA_DEG["eye"], 2)
    for k, name in enumerate(assets.joint_names):
        if "eye" in name:
            pose[k, :2] = gaze_deg
        elif name == "jaw":
            pose[k, 0] = rng.uniform(0.0, _JAW_OPEN_DEG) if assets.has_jaw else 0.0
        else:
            pose[k] = rng.normal(0.0, _TURN_SIGMA_DEG.get(name, 5.0), 3) * [1.0, 1.0, 0.5]
    return np.radians(np.clip(pose, -40.0, 40.0)).ravel()


def _symmetric_expression(
    assets: FlameAssets,
    expression: Float[Array, "e"],
    mirror: Callable[[], Int[Array, "v"]],
) -> Float[Array, "e"]:
    """What is said of one side is said of the other too."""
    names = assets.expression_names
    if not names:
        return symmetric_part(assets.expression_directions_m, expression, mirror())
    places = {name: k for k, name in enumerate(names)}
    partner = [places.get(_other_side(name), k) for k, name in enumerate(names)]
    return np.maximum(expression, expression[partner])


def _other_side(name: str) -> str:
    """`jawLeft` and `mouthLeft` go the other way too, which leaves both in the middle."""
    if name.endswith("Left"):
        return name.removesuffix("Left") + "Right"
    return name.removesuffix("Right") + "Left" if name.endswith("Right") else name


def symmetric_part(
    directions: Float[Array, "k v 3"], coefficients: Float[Array, "k"], partner: Int[Array, "v"]
) -> Float[Array, "k"]:
    """The coefficients without what makes the two halves of the face differ.

    Kept are the combinations of components that move the halves apart by less than
    `_SYMMETRIC_SHARE` of what they move at all.
    """
    if not len(directions):
        return coefficients
    known = partner >= 0
    moves = directions[:, known]
    other = directions[:, partner[known]] * [-1.0, 1.0, 1.0]
    uneven = (moves - other).reshape(len(directions), -1) / 2
    whole = moves.reshape(len(directions), -1)
    # generalised eigenvalues of unevenness against movement, by the movement's own square root
    values, vectors = np.linalg.eigh(whole @ whole.T)
    is_real = values > 1e-9 * values.max()
    root = vectors[:, is_real] * np.sqrt(values[is_real])
    inverse = vectors[:, is_real] / np.sqrt(values[is_real])
    shares, axes = np.linalg.eigh(inverse.T @ (uneven @ uneven.T) @ inverse)
    even = axes[:, shares < _SYMMETRIC_SHARE**2]
    return inverse @ (even @ (even.T @ (root.T @ coefficients)))


def mirror_ids(assets: FlameAssets) -> Int[Array, "v"]:
    """For each vertex the one at its mirror image in the mean head; -1 where none is near."""
    vertices = assets.template_vertices_m
    mirrored = vertices * [-1.0, 1.0, 1.0]
    triangles = assets.triangles
    nearest = nearest_on_surface(mirrored, vertices, triangles)
    corners = triangles[nearest.triangle_id]
    gaps = np.linalg.norm(vertices[corners] - mirrored[:, None], axis=2)
    best = gaps.argmin(1)
    rows = np.arange(len(vertices))
    return np.where(gaps[rows, best] < _MIRROR_REACH_M, corners[rows, best], -1)
