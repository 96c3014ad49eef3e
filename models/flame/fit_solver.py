"""Gauss-Newton steps with priors and bounds, damped as Levenberg and Marquardt do when one fails.

Minimised, with r over its noise and every unknown over its standard deviation:

    sum |r|^2 + sum (coefficient / sigma)^2 + sum over joints but the root |turn / sigma|^2
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float

from models.flame.fit_points import HeadState, PosedPoints
from models.geometry.rotations import (
    GL_FROM_CV,
    matrix_from_rotation_vector,
    rotation_vector_from_matrix,
)

Array = np.ndarray

NEAREST_M = 0.02
"""Points nearer to the camera's plane say nothing in pixels."""

ENOUGH = 1e-4
"""A step that lowers the cost by less than this share is the last one."""

MAX_DAMPING = 1e6


@dataclass(frozen=True)
class PixelTarget:
    """Where n points are seen by a camera that looks along -z of FLAME's frame, its x to the right.

    noise_px: standard deviation of each point.
    """

    points_px: Float[Array, "n 2"]
    K_image_from_cam: Float[Array, "3 3"]
    noise_px: Float[Array, "n"]


@dataclass(frozen=True)
class FitTarget:
    """Where n points of the head should be, in FLAME's frame.

    noise_m: their standard deviations.
    """

    points: PosedPoints
    target_m: Float[Array, "n 3"]
    noise_m: Float[Array, "n"]
    pixels: PixelTarget | None = None

    def residuals(
        self, state: HeadState, free_joints: tuple[int, ...], first: int
    ) -> tuple[Float[Array, "k"], Float[Array, "k p"]]:
        """What is off, over its noise, and the derivatives, see `PosedPoints.with_derivatives`."""
        places, moves = self.points.with_derivatives(state, free_joints, first)
        share = 1.0 / self.noise_m[:, None]
        r = ((places - self.target_m) * share).ravel()
        J = (moves * share[..., None]).reshape(len(r), -1)
        if self.pixels is None:
            return r, J
        r_px, J_px = _pixel_residuals(self.pixels, places, moves)
        return np.concatenate([r, r_px]), np.concatenate([J, J_px])


@dataclass(frozen=True)
class Prior:
    """What is known before: standard deviations about 0, and bounds, of each coefficient.

    joint_sigma_rad: of the turn of each joint but the root, which may turn freely.
    """

    sigma: Float[Array, "c"]
    low: Float[Array, "c"]
    high: Float[Array, "c"]
    joint_sigma_rad: float

    @property
    def first_free(self) -> int:
        """So many coefficients at the front are known: they are no unknowns."""
        is_free = self.high > self.low
        return int(is_free.argmax()) if is_free.any() else len(is_free)


def solve(
    target: FitTarget,
    start: HeadState,
    free_joints: tuple[int, ...],
    prior: Prior,
    max_iterations: int,
) -> tuple[HeadState, int]:
    """The state nearest to the target, and how many steps it took."""
    state = replace(start, coefficients=np.clip(start.coefficients, prior.low, prior.high))
    here = _linearised(target, state, free_joints, prior)
    damping = 0.0
    for iteration in range(1, max_iterations + 1):
        step = _bounded_step(here, damping, *_room(state, prior, len(here.gradient)))
        trial = _moved(state, step, free_joints)
        there = _linearised(target, trial, free_joints, prior)
        if not there.cost < here.cost:
            damping = max(1e-4, 10 * damping)
            if damping > MAX_DAMPING or here.cost == 0 or not np.any(step):
                return state, iteration
            continue
        gain = 1 - there.cost / here.cost
        state, here, damping = trial, there, damping / 10
        if gain < ENOUGH:
            return state, iteration
    return state, max_iterations


@dataclass(frozen=True)
class _Linearised:
    """The cost at a state and half its gradient; J and the prior's weights for the rest."""

    cost: float
    gradient: Float[Array, "p"]
    J: Float[Array, "k p"]
    weights: Float[Array, "p"]

    def curvature(self) -> Float[Array, "p p"]:
        """Half of the cost's approximate second derivatives."""
        return _squared(self.J) + np.diag(self.weights)


def _linearised(
    target: FitTarget, state: HeadState, free_joints: tuple[int, ...], prior: Prior
) -> _Linearised:
    r, J = target.residuals(state, free_joints, prior.first_free)
    held, weights = _prior_terms(state, free_joints, prior)
    cost = float(r @ r + (weights * held * held).sum())
    return _Linearised(cost, J.T @ r + weights * held, J, weights)


def _prior_terms(
    state: HeadState, free_joints: tuple[int, ...], prior: Prior
) -> tuple[Float[Array, "p"], Float[Array, "p"]]:
    """The unknowns that a prior pulls to 0, and 1 / sigma^2; 0 for the root and the translation."""
    turns = [rotation_vector_from_matrix(state.R[joint]) for joint in free_joints]
    weights = [
        np.full(3, 0.0 if joint == 0 else prior.joint_sigma_rad**-2) for joint in free_joints
    ]
    first = prior.first_free
    held = np.concatenate([state.coefficients[first:], *turns, np.zeros(3)])
    return held, np.concatenate([prior.sigma[first:] ** -2.0, *weights, np.zeros(3)])


def _room(
    state: HeadState, prior: Prior, unknowns: int
) -> tuple[Float[Array, "p"], Float[Array, "p"]]:
    """How far each unknown may go down and up."""
    low, high = np.full(unknowns, -np.inf), np.full(unknowns, np.inf)
    first = prior.first_free
    count = len(state.coefficients) - first
    low[:count] = (prior.low - state.coefficients)[first:]
    high[:count] = (prior.high - state.coefficients)[first:]
    return low, high


def _bounded_step(
    here: _Linearised, damping: float, low: Float[Array, "p"], high: Float[Array, "p"]
) -> Float[Array, "p"]:
    """The least of the quadratic with the unknowns that would leave their bounds held at them."""
    H = here.curvature()
    H[np.diag_indices_from(H)] *= 1 + damping
    step = np.zeros_like(here.gradient)
    free: Bool[Array, "p"] = high > low
    for _ in range(8):
        held = ~free
        wanted = -here.gradient[free] - H[np.ix_(free, held)] @ step[held]
        step[free] = _solution(H[np.ix_(free, free)], wanted)
        outside = free & ((step < low) | (step > high))
        step = np.clip(step, low, high)
        if not outside.any():
            break
        free &= ~outside
    return step


FEW = 64
"""NumPy multiplies matrices of fewer columns in one thread, which waits for no other's work."""


# Through PyTorch, whose threads do not spin while they wait; NumPy's are slow beside other work.
def _squared(J: Float[Array, "k p"]) -> Float[Array, "p p"]:
    if J.shape[1] < FEW:
        return J.T @ J
    on_torch = torch.from_numpy(J)
    return (on_torch.T @ on_torch).numpy()


def _solution(H: Float[Array, "p p"], b: Float[Array, "p"]) -> Float[Array, "p"]:
    return torch.linalg.solve(torch.from_numpy(H), torch.from_numpy(b)).numpy()


def _moved(state: HeadState, step: Float[Array, "p"], free_joints: tuple[int, ...]) -> HeadState:
    count = len(step) - 3 * len(free_joints) - 3
    R = state.R.copy()
    for slot, joint in enumerate(free_joints):
        turn = step[count + 3 * slot : count + 3 * slot + 3]
        R[joint] = matrix_from_rotation_vector(turn) @ R[joint]
    coefficients = state.coefficients.copy()
    coefficients[len(coefficients) - count :] += step[:count]
    return HeadState(coefficients, R, state.translation_m + step[-3:])


def _pixel_residuals(
    target: PixelTarget, places_m: Float[Array, "n 3"], moves: Float[Array, "n 3 p"]
) -> tuple[Float[Array, "k"], Float[Array, "k p"]]:
    p, K = places_m @ GL_FROM_CV, target.K_image_from_cam
    z = np.maximum(p[:, 2], NEAREST_M)
    seen_px = p[:, :2] / z[:, None] * [K[0, 0], K[1, 1]] + K[:2, 2]
    share = np.where(p[:, 2] > NEAREST_M, 1.0 / target.noise_px, 0.0)
    # d(x / z) and d(y / z) of FLAME's x, y, z: y and z have the other sign in the camera's frame
    by_place = np.zeros((len(p), 2, 3))
    by_place[:, 0, 0] = K[0, 0] / z
    by_place[:, 1, 1] = -K[1, 1] / z
    by_place[:, 0, 2] = K[0, 0] * p[:, 0] / z**2
    by_place[:, 1, 2] = K[1, 1] * p[:, 1] / z**2
    r = (seen_px - target.points_px) * share[:, None]
    return r.ravel(), ((by_place * share[:, None, None]) @ moves).reshape(r.size, -1)
