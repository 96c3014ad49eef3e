"""Points of a posed head and their derivatives, for the fit: FLAME's formula at chosen points only.

`models.flame.layer` says the formula and the frame. Everything is float64. The coefficients of
identity and expression stand in one vector, identity first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from models.flame.assets import FlameAssets

Array = np.ndarray


@dataclass(frozen=True)
class SurfacePoints:
    """n points on a head: three of its vertices and their weights each."""

    vertex_ids: Int[Array, "n 3"]
    weights: Float[Array, "n 3"]


@dataclass(frozen=True)
class HeadState:
    """One posed head. R: turn of each joint in its parent's axes, acting on column vectors."""

    coefficients: Float[Array, "c"]
    R: Float[Array, "j 3 3"]
    translation_m: Float[Array, "3"]


def at_rest(assets: FlameAssets, coefficients: int) -> HeadState:
    """The mean person, neutral, unturned."""
    joints = len(assets.joint_parents)
    return HeadState(np.zeros(coefficients), np.tile(np.eye(3), (joints, 1, 1)), np.zeros(3))


class PosedPoints:
    """A few points of a head as functions of its state.

    points: None takes every vertex. in_one_piece: only the root will turn; the points' corners are
        then joined once and for all, which is exact and saves two thirds of the work.
    """

    def __init__(
        self,
        assets: FlameAssets,
        directions_m: Float[Array, "c v 3"],
        joint_directions_m: Float[Array, "c j 3"],
        points: SurfacePoints | None = None,
        *,
        in_one_piece: bool = False,
    ) -> None:
        ids, self._corners, self._weights = _used(points, len(assets.template_vertices_m))
        self._template = assets.template_vertices_m[ids]
        self._directions = np.ascontiguousarray(directions_m[:, ids].transpose(1, 2, 0))
        bends = assets.pose_directions_m[:, ids].transpose(1, 2, 0)
        self._bends = np.ascontiguousarray(bends) if bends.any() else None
        self._skinning = assets.skinning_weights[ids]
        if in_one_piece:
            self._template, self._directions, self._skinning = map(
                self._combined, (self._template, self._directions, self._skinning)
            )
            self._bends = self._corners = None
        self._joints = assets.joint_regressor @ assets.template_vertices_m
        self._joint_directions = joint_directions_m.transpose(1, 2, 0)
        self._parents = assets.joint_parents.tolist()
        self._below = _descendants(self._parents)

    def positions_m(self, state: HeadState) -> Float[Array, "n 3"]:
        """Where the points are."""
        posed = self._posed(state)
        return self._combined(posed.vertices) + state.translation_m

    def with_derivatives(
        self, state: HeadState, free_joints: tuple[int, ...], first: int = 0
    ) -> tuple[Float[Array, "n 3"], Float[Array, "n 3 p"]]:
        """Where the points are, and how they move with p = c + 3 len(free_joints) + 3 numbers.

        The numbers: the c coefficients from the `first` on; for each free joint d with
        R = exp(d) R_now, in the axes of its parent; the translation.
        """
        posed = self._posed(state)
        m, c = len(self._template), len(state.coefficients) - first
        derivative = np.empty((m, 3, c + 3 * len(free_joints) + 3))
        np.matmul(posed.blended, self._directions[..., first:], out=derivative[..., :c])
        derivative[..., :c] += self._joints_drag(posed, first)
        for slot, joint in enumerate(free_joints):
            columns = slice(c + 3 * slot, c + 3 * slot + 3)
            derivative[..., columns] = self._turned_by(joint, state, posed)
        derivative[..., -3:] = np.eye(3)
        return self._combined(posed.vertices) + state.translation_m, self._combined(derivative)

    def _posed(self, state: HeadState) -> _Posed:
        shaped = self._template + self._directions @ state.coefficients
        if self._bends is not None:
            shaped += self._bends @ (state.R[1:] - np.eye(3)).ravel()
        joints = self._joints + self._joint_directions @ state.coefficients
        turned, moved = [state.R[0]], [joints[0]]
        for k, parent in enumerate(self._parents[1:], 1):
            moved.append(moved[parent] + turned[parent] @ (joints[k] - joints[parent]))
            turned.append(turned[parent] @ state.R[k])
        turned, moved = np.array(turned), np.array(moved)
        offsets = moved - np.einsum("jkl,jl->jk", turned, joints)
        blended = np.einsum("mj,jkl->mkl", self._skinning, turned)
        vertices = np.einsum("mkl,ml->mk", blended, shaped) + self._skinning @ offsets
        return _Posed(shaped, joints, turned, moved, blended, vertices)

    def _joints_drag(self, posed: _Posed, first: int) -> Float[Array, "m 3 c"]:
        """What of a coefficient's effect comes from the joints that it moves."""
        own = self._joint_directions[..., first:]
        moved = [own[0]]
        for k, parent in enumerate(self._parents[1:], 1):
            moved.append(moved[parent] + posed.turned[parent] @ (own[k] - own[parent]))
        drag = np.array(moved) - posed.turned @ own
        return (self._skinning @ drag.reshape(len(drag), -1)).reshape(len(self._template), 3, -1)

    def _turned_by(self, joint: int, state: HeadState, posed: _Posed) -> Float[Array, "m 3 3"]:
        parent = self._parents[joint]
        axes = np.eye(3) if parent < 0 else posed.turned[parent]
        arms = np.zeros((len(self._template), 3))
        for below in self._below[joint]:
            place = (posed.shaped - posed.joints[below]) @ posed.turned[below].T
            arms += self._skinning[:, [below]] * (place + posed.moved[below] - posed.moved[joint])
        derivative = -_cross_matrices(arms) @ axes
        if joint and self._bends is not None:
            change = _cross_matrices(np.eye(3)) @ state.R[joint]  # of R_joint, for each axis
            bends = self._bends[:, :, 9 * (joint - 1) : 9 * joint]
            derivative += posed.blended @ (bends @ change.reshape(3, 9).T)
        return derivative

    def _combined(self, at_vertices: Float[Array, "m *shape"]) -> Float[Array, "n *shape"]:
        if self._corners is None:
            return at_vertices
        flat = at_vertices.reshape(len(at_vertices), -1)
        total = sum(self._weights[:, [k]] * flat[self._corners[:, k]] for k in range(3))
        return total.reshape(len(total), *at_vertices.shape[1:])


@dataclass(frozen=True)
class _Posed:
    """shaped: vertices before skinning. turned, moved: the joints' axes and places after it."""

    shaped: Float[Array, "m 3"]
    joints: Float[Array, "j 3"]
    turned: Float[Array, "j 3 3"]
    moved: Float[Array, "j 3"]
    blended: Float[Array, "m 3 3"]
    vertices: Float[Array, "m 3"]


def _used(
    points: SurfacePoints | None, vertices: int
) -> tuple[Int[Array, "m"], Int[Array, "n 3"] | None, Float[Array, "n 3"] | None]:
    """The vertices that the points need, and the points' corners among these."""
    if points is None:
        return np.arange(vertices), None, None
    ids, corners = np.unique(points.vertex_ids, return_inverse=True)
    return ids, corners.reshape(points.vertex_ids.shape), points.weights


def _descendants(parents: list[int]) -> list[list[int]]:
    """Each joint and the joints that turn with it."""
    below: list[list[int]] = [[k] for k in range(len(parents))]
    for k in range(len(parents)):
        ancestor = parents[k]
        while ancestor >= 0:
            below[ancestor].append(k)
            ancestor = parents[ancestor]
    return below


def _cross_matrices(vectors: Float[Array, "n 3"]) -> Float[Array, "n 3 3"]:
    """[v]x with [v]x u = v x u."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
