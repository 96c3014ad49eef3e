"""Several looks at one head: what their agreement adds to what the network says of itself."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float

from models.geometry.rotations import geodesic_deg, rotation_vector_from_matrix

Array = np.ndarray

VIEWS = np.array(
    [[0.0, 0.0, 1.0, 0], [0.0, 0.0, 1.0, 1], [0.06, 0.03, 1.08, 0], [-0.05, -0.04, 0.93, 1]]
)
"""Crops whose agreement is the evidence: shift x, shift y (of the side), scale, mirrored. The first
is the answer."""

TRACKING_VIEWS = np.array([[0.0, 0.0, 1.0, 0], [0.03, 0.02, 1.04, 1]])
"""The same for a face that is being followed: one mirrored, shifted copy."""

SPREAD_SCALE_DEG, DEPTH_SPREAD_SCALE = 10.0, 0.06
"""Disagreement of the views that speaks against a face: faces stay below 6 deg and 0.03, hands and
bowls do not."""

SUREST = 1e-9
"""Probabilities are held this far from 0 and 1."""


@dataclass(frozen=True)
class PresenceFactors:
    """The logit of "a face" is looks * (mean logit of the looks) - disagreement * log(1 +
    disagreement of the views) + score * (logit of the detector's score) + shift."""

    looks: float
    disagreement: float
    score: float
    shift: float


@dataclass(frozen=True)
class LooksCalibration:
    """How much the views' disagreement counts beside the network's own claims.

    crop: presence of a face in any crop. find: in one that the face detector found, where most
    faces are easy ones and most others look like a face; it has a score.
    The covariance of the rotation error is claim_factor * (mean claim of the views) +
    spread_factor * (mean of d d^T), d the rotation vectors from the answer to the other views.
    Found by `models.training.looks_calibration` for each network.
    """

    crop: PresenceFactors
    find: PresenceFactors
    claim_factor: float
    spread_factor: float

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> LooksCalibration:
        """Raises: ValueError unless these are exactly its numbers, all finite."""
        values = json.loads(text)
        try:
            crop, find = (PresenceFactors(**values.pop(name)) for name in ("crop", "find"))
            made = cls(crop, find, **values)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"The calibration of looks is damaged ({error}).") from error
        numbers = [*vars(crop).values(), *vars(find).values(), *values.values()]
        if not all(isinstance(v, float | int) and math.isfinite(v) for v in numbers):
            raise ValueError("The calibration of looks holds finite numbers.")
        return made


@dataclass(frozen=True)
class Spread:
    """Of the views of one crop around the answer, which is the first of them.

    rotation_deg: root of the mean squared angle. depth: largest |log ratio| of the depths.
    """

    rotation_deg: float
    depth: float

    @property
    def disagreement(self) -> float:
        """Squared, in units of SPREAD_SCALE_DEG and DEPTH_SPREAD_SCALE."""
        return (self.rotation_deg / SPREAD_SCALE_DEG) ** 2 + (self.depth / DEPTH_SPREAD_SCALE) ** 2


def spread_of_views(R: Float[Array, "k 3 3"], t_m: Float[Array, "k 3"]) -> Spread:
    """One view agrees with itself."""
    if len(R) == 1:
        return Spread(0.0, 0.0)
    rotation_deg = float(np.sqrt(np.mean(geodesic_deg(R[1:], R[:1]) ** 2)))
    ratios = np.maximum(t_m[1:, 2], 1e-3) / max(t_m[0, 2], 1e-3)
    return Spread(rotation_deg, float(np.abs(np.log(ratios)).max()))


def agreement(spread: Spread, score: float | None) -> float:
    """How well the views of one crop agree, 0 to 1: the evidence for a face where the network says
    nothing of it.

    On a face a network says the same of every view; on anything else it says something else each
    time. The detector's score moves the balance: a logistic of 2.2 - 2.2 E + 0.5 (logit(score) -
    4), where E is the disagreement. Not calibrated.
    """
    logit = 2.2 - 2.2 * spread.disagreement
    if score is not None:
        logit += 0.5 * (score_logit(score) - 4.0)
    return _probability(logit)


def score_logit(score: float) -> float:
    """Of a detector's score, held between 0.1 and 0.999."""
    p = float(np.clip(score, 0.1, 0.999))
    return float(np.log(p / (1 - p)))


def mean_logit(presence: Float[Array, "k"]) -> float:
    """Of several looks' probabilities of a face."""
    p = np.clip(presence, SUREST, 1.0 - SUREST)
    return float(np.mean(np.log(p / (1.0 - p))))


def presence_of_looks(
    presence: Float[Array, "k"],
    spread: Spread,
    score: float | None,
    calibration: LooksCalibration,
) -> float:
    """The probability of a face from all looks together; score: the detector's, if it found it."""
    factors = calibration.crop if score is None else calibration.find
    return _probability(
        factors.looks * mean_logit(presence)
        - factors.disagreement * float(np.log1p(spread.disagreement))
        + (0.0 if score is None else factors.score * score_logit(score))
        + factors.shift
    )


def _probability(logit: float) -> float:
    return float(1.0 / (1.0 + np.exp(-np.clip(logit, -50, 50))))


def covariance_of_views(
    R: Float[Array, "k 3 3"],
    claimed: Float[Array, "k 3 3"],
    calibration: LooksCalibration,
) -> Float[Array, "3 3"]:
    """Of the answer's rotation error in the camera frame, rad^2; see `LooksCalibration`."""
    mean_claim, spread = claim_and_spread(R, claimed)
    return calibration.claim_factor * mean_claim + calibration.spread_factor * spread


def claim_and_spread(
    R: Float[Array, "k 3 3"], claimed: Float[Array, "k 3 3"]
) -> tuple[Float[Array, "3 3"], Float[Array, "3 3"]]:
    """Mean of the views' claims, mean of d d^T over the views beside the first, both rad^2."""
    d = rotation_vector_from_matrix(R[1:] @ R[0].T)
    return claimed.mean(0), np.einsum("ki,kj->ij", d, d) / len(d)
