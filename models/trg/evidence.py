"""How sure an answer is: from what the network says of itself, and from how its views agree."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from models.trg.looks import (
    LooksCalibration,
    agreement,
    covariance_of_views,
    presence_of_looks,
    spread_of_views,
)
from models.trg.uncertainty import expected_geodesic_deg

Array = np.ndarray

MIN_CONFIDENCE = 0.5
"""A find of the detector with less is not shown."""


@dataclass(frozen=True)
class Evidence:
    """Fields as in `models.estimator.HeadPose`; source: how uncertainty_deg was estimated."""

    confidence: float
    uncertainty_deg: float
    source: str
    rotation_covariance_cam: Float[Array, "3 3"] | None = None


def evidence_of_views(
    R: Float[Array, "k 3 3"],
    t_m: Float[Array, "k 3"],
    presence: Float[Array, "l"] | None,
    claimed: Float[Array, "k 3 3"] | None,
    score: float | None,
    typical_error_deg: float,
    looks: LooksCalibration | None,
) -> Evidence:
    """From the k views of one crop, the first of which is the answer.

    presence: of all looks at the head, the views last. claimed: covariances of the rotation error;
    None where the network says nothing. score: the detector's. looks: how they count together;
    where that is not known, views that contradict each other overrule a network that is sure.
    """
    k, spread = len(R), spread_of_views(R, t_m)
    agree = agreement(spread, score)
    evidence = Evidence(1.0, typical_error_deg, "typical of the model")
    if k > 1:
        error_deg = float(np.hypot(typical_error_deg, spread.rotation_deg))
        evidence = Evidence(agree, error_deg, "mirror and crop jitter")
    if presence is not None:
        confidence = float(presence[-k:].mean())
        if k > 1 and looks is not None:
            confidence = presence_of_looks(presence, spread, score, looks)
        elif k > 1 and agree < MIN_CONFIDENCE:
            confidence = min(confidence, agree)
        evidence = replace(evidence, confidence=confidence)
    if claimed is not None:
        covariance, source = claimed[0], "the network itself"
        if k > 1 and looks is not None:
            covariance = covariance_of_views(R, claimed, looks)
            source = "the network and its views"
        error_deg = float(expected_geodesic_deg(covariance))
        evidence = Evidence(evidence.confidence, error_deg, source, covariance)
    return evidence
