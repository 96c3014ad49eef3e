"""Is the network's own uncertainty true? Is its presence? Figures of the two heads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from demo_app.evaluation.columns import Poses
from models.geometry.rotations import geodesic_deg, rotation_vector_from_matrix
from models.trg.uncertainty import expected_geodesic_deg

Array = np.ndarray

MAHALANOBIS_68, MAHALANOBIS_95 = 3.53, 8.02
"""68.3 and 95.4 per cent of a chi-squared with three degrees of freedom lie below these."""

MIN_PRESENCE = 0.5


@dataclass(frozen=True)
class CoverageFigures:
    """How often errors are inside what the uncertainty head claims; in per cent of the heads.

    The three axes are those of the camera frame; 68.3 and 95.4 are right for 1 and 2 sigma and for
    the two squared Mahalanobis distances.
    """

    heads: int
    rotation_x_1_sigma_pct: float
    rotation_y_1_sigma_pct: float
    rotation_z_1_sigma_pct: float
    rotation_1_sigma_pct: float
    rotation_2_sigma_pct: float
    mahalanobis_below_3_53_pct: float
    mahalanobis_below_8_02_pct: float
    t_1_sigma_pct: float | None
    t_2_sigma_pct: float | None
    expected_ge_mean_deg: float
    ge_mean_deg: float


@dataclass(frozen=True)
class PresenceFigures:
    """False decisions of the presence head at 0.5; None where there was nothing to judge."""

    faces: int
    false_rejects_pct: float | None
    negatives: int
    false_accepts_pct: float | None


def coverage_figures(found: Poses, true: Poses) -> CoverageFigures | None:
    """None if the network has no uncertainty head, or there is no head to judge."""
    if found.covariance_rad2 is None or len(found) == 0:
        return None
    R, covariance = found.R_cam_from_head, found.covariance_rad2
    error_rad = rotation_vector_from_matrix(true.R_cam_from_head @ np.swapaxes(R, -1, -2))
    sigma_rad = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    whitened = np.linalg.solve(covariance, error_rad[..., None])[..., 0]
    squared = (error_rad * whitened).sum(-1)
    relative = np.abs(error_rad) / sigma_rad
    relative_t = None
    if found.sigma_t_mm is not None and true.t_cam_from_head_mm is not None:
        relative_t = np.abs(found.t_cam_from_head_mm - true.t_cam_from_head_mm) / found.sigma_t_mm
    inside = [percent(relative[:, axis] <= 1.0) for axis in range(3)]
    return CoverageFigures(
        heads=len(found),
        rotation_x_1_sigma_pct=inside[0],
        rotation_y_1_sigma_pct=inside[1],
        rotation_z_1_sigma_pct=inside[2],
        rotation_1_sigma_pct=percent(relative <= 1.0),
        rotation_2_sigma_pct=percent(relative <= 2.0),
        mahalanobis_below_3_53_pct=percent(squared <= MAHALANOBIS_68),
        mahalanobis_below_8_02_pct=percent(squared <= MAHALANOBIS_95),
        t_1_sigma_pct=None if relative_t is None else percent(relative_t <= 1.0),
        t_2_sigma_pct=None if relative_t is None else percent(relative_t <= 2.0),
        expected_ge_mean_deg=float(np.mean(expected_geodesic_deg(covariance))),
        ge_mean_deg=float(np.mean(geodesic_deg(R, true.R_cam_from_head))),
    )


def presence_figures(
    of_faces: Float[Array, "n"] | None, of_negatives: Float[Array, "m"] | None
) -> PresenceFigures | None:
    """None if neither is known: the network has no presence head."""
    if of_faces is None and of_negatives is None:
        return None
    faces = np.zeros(0) if of_faces is None else of_faces
    negatives = np.zeros(0) if of_negatives is None else of_negatives
    return PresenceFigures(
        faces=len(faces),
        false_rejects_pct=percent(faces < MIN_PRESENCE) if len(faces) else None,
        negatives=len(negatives),
        false_accepts_pct=percent(negatives >= MIN_PRESENCE) if len(negatives) else None,
    )


def percent(chosen: Array) -> float:
    """How many are true."""
    return 100.0 * float(np.mean(chosen))
