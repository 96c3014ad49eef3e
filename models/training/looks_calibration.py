"""Calibration of several looks at one head: what their agreement is worth, on held-out heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from models.geometry.rotations import rotation_vector_from_matrix
from models.training.calibration import (
    CHI2_3_AT_68,
    CHI2_3_AT_95,
    MIN_FACES,
    TOLERANCE_1,
    TOLERANCE_2,
    logistic_factors,
)
from models.training.metrics import ONE_SIGMA, TWO_SIGMA
from models.trg.looks import (
    LooksCalibration,
    PresenceFactors,
    claim_and_spread,
    mean_logit,
    score_logit,
    spread_of_views,
)

Array = np.ndarray

MIN_FALSE_FINDS = 30
"""Of the detector: few, since it is a good one."""

CLAIM_FACTORS, SPREAD_FACTORS = np.arange(0.3, 1.31, 0.05), np.arange(0.0, 1.51, 0.1)


@dataclass(frozen=True)
class LookedAt:
    """One crop as the app sees it: k views after l looks.

    R_true: None where there is no face. R, t_m, claimed: of the views, in the camera frame;
    presence: of all looks. score: the detector's, if it found the crop.
    """

    R_true: Float[Array, "3 3"] | None
    R: Float[Array, "k 3 3"]
    t_m: Float[Array, "k 3"]
    claimed: Float[Array, "k 3 3"]
    presence: Float[Array, "l"]
    score: float | None = None


def calibrate_looks(
    crops: Sequence[Sequence[LookedAt]], finds: Sequence[LookedAt]
) -> LooksCalibration:
    """The calibration under which presence and uncertainty of these looks hold best.

    crops: by source; faces count as much as all others together, and what is no face counts alike
    from each source. finds: of the detector, with its scores, right and wrong ones; they too count
    alike, however many there are of either.
    Raises: ValueError with too few faces or others.
    """
    faces, *others = _by_kind(crops, MIN_FACES, "crops")
    found, *false_finds = _by_kind([finds], MIN_FALSE_FINDS, "finds of the detector")
    return LooksCalibration(
        _presence_factors(faces, others),
        _presence_factors(found, false_finds),
        *_covariance_factors(faces),
    )


def _by_kind(
    sources: Sequence[Sequence[LookedAt]], fewest: int, of_what: str
) -> list[list[LookedAt]]:
    """The faces, then what is none, by source."""
    faces = [looked for source in sources for looked in source if looked.R_true is not None]
    others = [[looked for looked in source if looked.R_true is None] for source in sources]
    others = [source for source in others if source]
    n_others = sum(map(len, others))
    if min(len(faces), n_others) < fewest:
        raise ValueError(
            f"{len(faces)} faces and {n_others} others are too few {of_what} to calibrate looks "
            f"with; it takes {fewest} of each."
        )
    return [faces, *others]


def _presence_factors(
    faces: Sequence[LookedAt], others: Sequence[Sequence[LookedAt]]
) -> PresenceFactors:
    inputs, target, count = [], [], []
    for group, is_face in ((faces, True), *((source, False) for source in others)):
        smoothed = (len(group) + 1.0) / (len(group) + 2.0)  # Platt 1999
        share = 0.5 if is_face else 0.5 / len(others)
        for looked in group:
            disagreement = spread_of_views(looked.R, looked.t_m).disagreement
            score = 0.0 if looked.score is None else score_logit(looked.score)
            inputs.append((mean_logit(looked.presence), -np.log1p(disagreement), score, 1.0))
            target.append(smoothed if is_face else 1.0 - smoothed)
            count.append(share / len(group))
    counts = np.array(count) * len(count)
    start = np.array([1.0, 0.0, 0.0, 0.0])
    factors = logistic_factors(np.array(inputs), np.array(target), counts, start)
    return PresenceFactors(*map(float, factors))


def _covariance_factors(faces: Sequence[LookedAt]) -> tuple[float, float]:
    """Of all pairs the one whose claims hold best for each axis and for the three together; their
    misses, in tolerances, are added in squares."""
    true = np.stack([looked.R_true for looked in faces])
    answer = np.stack([looked.R[0] for looked in faces])
    error_rad = rotation_vector_from_matrix(true @ np.swapaxes(answer, 1, 2))
    claims, spreads = map(
        np.stack, zip(*(claim_and_spread(f.R, f.claimed) for f in faces), strict=True)
    )
    pairs = [(float(c), float(s)) for c in CLAIM_FACTORS for s in SPREAD_FACTORS]
    misses = [_miss(error_rad, claim * claims + spread * spreads) for claim, spread in pairs]
    return pairs[int(np.argmin(misses))]


def _miss(error_rad: Float[Array, "n 3"], covariance: Float[Array, "n 3 3"]) -> float:
    sigma = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    whitened = np.linalg.solve(covariance, error_rad[..., None])[..., 0]
    squared = (error_rad * whitened).sum(1)
    size = np.abs(error_rad) / sigma
    within_1 = np.append((size < 1.0).mean(0), (squared < CHI2_3_AT_68).mean())
    within_2 = np.append((size < 2.0).mean(), (squared < CHI2_3_AT_95).mean())
    return float(
        (((within_1 - ONE_SIGMA) / TOLERANCE_1) ** 2).sum()
        + (((within_2 - TWO_SIGMA) / TOLERANCE_2) ** 2).sum()
    )
