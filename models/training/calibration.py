"""Calibration: after training, the heads' claims are scaled until they hold on held-out crops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from models.training.metrics import ONE_SIGMA, TWO_SIGMA, normalised_errors
from models.training.predictions import HeldOutPredictions
from models.trg.network import Trg
from models.trg.uncertainty import MIN_T_Z_M, REFERENCE_SIGMA, UncertaintyHead

Array = np.ndarray

MIN_FACES = 100
"""Fewer tell nothing."""

TOLERANCE_1, TOLERANCE_2 = 0.03, 0.02
"""Of the shares within one and two sigmas; what they miss by is counted in these units."""

CHI2_3_AT_68, CHI2_3_AT_95 = 3.53, 8.02
"""Squared lengths of standard normal vectors of three numbers: 68.27 and 95.45 % are shorter."""

POWERS = np.arange(0.3, 1.31, 0.02)
COMMON_FACTORS = np.geomspace(0.9, 1.15, 21)
N_SIZE_GROUPS = 6
PULL_TO_ONE = 0.07
"""A power that is better by less than this, per unit of its distance from 1, is chance."""


@dataclass(frozen=True)
class Coverage:
    """Shares of errors within one and two claimed sigmas, for x, y, z."""

    rotation_1: Float[Array, "3"]
    rotation_2: Float[Array, "3"]
    t_1: Float[Array, "3"]
    t_2: Float[Array, "3"]


@dataclass(frozen=True)
class CalibrationReport:
    """What was done to the claimed sigmas (see `UncertaintyHead`), and the coverage with and
    without."""

    rotation_power: float
    rotation_factor: Float[Array, "3"]
    t_power: float
    t_factor: Float[Array, "3"]
    before: Coverage
    after: Coverage

    def summary(self) -> str:
        """Lines for the log."""
        lines = []
        for name, factor in (("rotation", self.rotation_factor), ("t", self.t_factor)):
            power = getattr(self, f"{name}_power")
            lines.append(f"{name}: to the power {power:.2f}, times {np.round(factor, 3).tolist()}")
            for when, coverage in (("before", self.before), ("after", self.after)):
                one = 100.0 * getattr(coverage, f"{name}_1")
                two = 100.0 * getattr(coverage, f"{name}_2")
                lines.append(
                    f"  {when}: within 1 sigma {np.round(one, 1).tolist()} %, "
                    f"within 2 sigma {np.round(two, 1).tolist()} %"
                )
        return "\n".join(lines)


def sigma_factor(normalised: Float[Array, "n"]) -> float:
    """The factor of sigma after which the shares within one and two sigmas are nearest to 68.27 %
    and 95.45 %, the worse of the two counting, in units of the tolerances.

    For normal errors both ask for the same factor; otherwise the best lies between the two.
    """
    size = np.sort(np.abs(normalised))
    wanted = np.quantile(size, ONE_SIGMA), np.quantile(size, TWO_SIGMA) / 2.0
    factors = np.geomspace(max(min(wanted), 1e-6), max(*wanted, 1e-6), 201)
    within_1 = np.searchsorted(size, factors) / len(size)
    within_2 = np.searchsorted(size, 2.0 * factors) / len(size)
    miss = np.maximum(
        np.abs(within_1 - ONE_SIGMA) / TOLERANCE_1, np.abs(within_2 - TWO_SIGMA) / TOLERANCE_2
    )
    return float(factors[miss.argmin()])


def power_and_factors(
    normalised: Float[Array, "n 3"],
    size: Float[Array, "n"],
    correlation: Float[Array, "n 3 3"] | None = None,
) -> tuple[float, Float[Array, "3"]]:
    """The power and the factors of three axes after which the claims hold best: over all crops, the
    worst of each axis and of the three together counting, and within each of N_SIZE_GROUPS groups
    of equally many crops of about the same claimed size. In units of the tolerances.

    normalised: errors divided by the claimed sigmas. size: geometric mean of the claimed sigmas of
        each crop, in units of REFERENCE_SIGMA. correlation: lower factors of the claimed
        correlations; None: the axes are judged one by one.
    """
    groups = np.array_split(np.argsort(size), N_SIZE_GROUPS)
    best, chosen = np.inf, (1.0, np.ones(3))
    for power in POWERS:
        scaled = normalised / size[:, None] ** (power - 1.0)
        factors = np.array([sigma_factor(scaled[:, axis]) for axis in range(3)])
        scaled = scaled / factors
        squared = None if correlation is None else _squared_length(scaled, correlation)
        for common in np.ones(1) if correlation is None else COMMON_FACTORS:
            inside = np.abs(scaled) < common
            spread = np.mean([abs(inside[group].mean() - ONE_SIGMA) for group in groups])
            miss = _worst_miss(scaled / common, None if squared is None else squared / common**2)
            score = miss + spread / TOLERANCE_1 + PULL_TO_ONE * abs(power - 1.0)
            if score < best:
                best, chosen = score, (float(power), factors * common)
    return chosen


def _squared_length(
    normalised: Float[Array, "n 3"], correlation: Float[Array, "n 3 3"]
) -> Float[Array, "n"]:
    """Of the whitened errors."""
    return (np.linalg.solve(correlation, normalised[..., None])[..., 0] ** 2).sum(1)


def _worst_miss(normalised: Float[Array, "n 3"], squared: Float[Array, "n"] | None) -> float:
    """How far the shares are from what they should be, in tolerances."""
    size = np.abs(normalised)
    within_1, within_2 = (size < 1.0).mean(0), (size < 2.0).mean(0)
    if squared is not None:
        within_1 = np.append(within_1, (squared < CHI2_3_AT_68).mean())
        within_2 = np.append(within_2, (squared < CHI2_3_AT_95).mean())
    miss_1 = np.abs(within_1 - ONE_SIGMA) / TOLERANCE_1
    miss_2 = np.abs(within_2 - TWO_SIGMA) / TOLERANCE_2
    return float(max(miss_1.max(), miss_2.max()))


def calibrate_uncertainty(network: Trg, predictions: HeldOutPredictions) -> CalibrationReport:
    """Change the calibration of the network's uncertainty head so that its claims hold for these
    predictions, which it must have made just as it is.

    Raises: ValueError without an uncertainty head, or with fewer than MIN_FACES faces.
    """
    errors = normalised_errors(predictions)
    if len(errors.rotation) < MIN_FACES:
        raise ValueError(f"{len(errors.rotation)} faces are too few to calibrate with.")
    sizes = _claimed_sizes(predictions)
    head = network.uncertainty_head
    found, after = [], []
    correlations = _correlations(predictions), None
    for name, normalised, size, correlation in zip(
        ("rotation", "t"), (errors.rotation, errors.t), sizes, correlations, strict=True
    ):
        power, factors = power_and_factors(normalised, size, correlation)
        apply_calibration(head, name, power, factors)
        found.append((power, factors))
        after.append(normalised / size[:, None] ** (power - 1.0) / factors)
    return CalibrationReport(
        *found[0], *found[1], _coverage(errors.rotation, errors.t), _coverage(*after)
    )


def _claimed_sizes(predictions: HeldOutPredictions) -> tuple[Float[Array, "n"], Float[Array, "n"]]:
    """Of the faces: geometric means of the sigmas as the head takes them, rotation and t."""
    faces = predictions.is_face
    diagonal = np.diagonal(predictions.rotation_cholesky[faces], axis1=1, axis2=2)
    depth = np.maximum(predictions.t_predicted_m[faces][:, 2:], MIN_T_Z_M)
    t_sigma = predictions.t_sigma_m[faces] / depth
    rotation_size, t_size = (
        np.exp(np.log(sigma).mean(1)) / REFERENCE_SIGMA for sigma in (diagonal, t_sigma)
    )
    return rotation_size, t_size


def _correlations(predictions: HeldOutPredictions) -> Float[Array, "n 3 3"]:
    """Lower factors of the claimed correlations of the faces' rotation errors."""
    factor = predictions.rotation_cholesky[predictions.is_face]
    return factor / np.linalg.norm(factor, axis=2, keepdims=True)


def apply_calibration(
    head: UncertaintyHead, name: str, power: float, factors: Float[Array, "3"]
) -> None:
    """Sigmas to the power q (of their geometric mean, see `UncertaintyHead`), then times f.

    After the head's own power p and scales s, whose geometric mean is g: power p q, scales
    s f g ** (q - 1)."""
    scale, old = getattr(head, f"{name}_scale"), getattr(head, f"{name}_power")
    with torch.no_grad():
        mean_scale = scale.log().mean().exp()
        scale.mul_(scale.new_tensor(factors) * mean_scale ** (power - 1.0))
        old.mul_(power)


def _coverage(rotation: Float[Array, "n 3"], t: Float[Array, "n 3"]) -> Coverage:
    return Coverage(
        *((np.abs(values) < limit).mean(0) for values in (rotation, t) for limit in (1.0, 2.0))
    )


def platt_factors(
    logit: Float[Array, "n"], is_face: Bool[Array, "n"], n_rounds: int = 50
) -> tuple[float, float]:
    """Scale and shift of logits that make them probabilities (Platt 1999, with his smoothed
    targets, so that classes which are told apart perfectly do not send the scale to infinity).

    Faces and others count alike, however many there are of either: 0.5 is where as large a share of
    the faces as of the others is on the wrong side, as nearly as a straight line can tell.
    Raises: ValueError unless there are faces and negatives.
    """
    n_face, n_other = int(is_face.sum()), int((~is_face).sum())
    if not (n_face and n_other):
        raise ValueError("Presence is calibrated with faces and negatives; one kind is absent.")
    target = np.where(is_face, (n_face + 1.0) / (n_face + 2.0), 1.0 / (n_other + 2.0))
    count = np.where(is_face, 0.5 * len(logit) / n_face, 0.5 * len(logit) / n_other)
    inputs = np.stack([logit, np.ones_like(logit)], 1)
    factors = logistic_factors(inputs, target, count, np.array([1.0, 0.0]), n_rounds)
    return float(factors[0]), float(factors[1])


def logistic_factors(
    inputs: Float[Array, "n m"],
    target: Float[Array, "n"],
    count: Float[Array, "n"],
    start: Float[Array, "m"],
    n_rounds: int = 50,
) -> Float[Array, "m"]:
    """Factors of a logistic regression, by Newton's method, damped. target: wanted probabilities;
    count: what each row counts."""

    def loss(w: Array) -> float:
        z = inputs @ w
        return float(count @ (np.logaddexp(0.0, z) - target * z) + 1e-6 * (w @ w))

    factors, best = start, loss(start)
    for _ in range(n_rounds):
        p = 1.0 / (1.0 + np.exp(-np.clip(inputs @ factors, -500.0, 500.0)))
        gradient = inputs.T @ (count * (p - target)) + 2e-6 * factors
        hessian = (inputs * (count * p * (1.0 - p))[:, None]).T @ inputs + 1e-6 * np.eye(len(start))
        move, size = np.linalg.solve(hessian, gradient), 1.0
        while size > 1e-8 and loss(factors - size * move) > best:
            size /= 2.0
        if size <= 1e-8:
            break
        factors = factors - size * move
        best = loss(factors)
    return factors


def calibrate_presence(network: Trg, predictions: HeldOutPredictions) -> tuple[float, float]:
    """Scale and shift the network's presence logit for these predictions; returns both.

    Raises: ValueError without a presence head, or unless there are faces and negatives.
    """
    if predictions.presence_logit is None:
        raise ValueError("The network has no presence head.")
    scale, shift = platt_factors(predictions.presence_logit, predictions.is_face)
    head = network.presence_head
    with torch.no_grad():
        head.logit_scale.mul_(scale)
        head.logit_shift.mul_(scale).add_(shift)
    return scale, shift
