"""Numbers about predictions with known poses; flat dictionaries, units in the names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from models.geometry.rotations import geodesic_deg, rotation_vector_from_matrix
from models.training.predictions import HeldOutPredictions
from models.trg.uncertainty import expected_geodesic_deg

Array = np.ndarray

ONE_SIGMA, TWO_SIGMA = 0.6827, 0.9545
"""Shares of a normal distribution within one and two standard deviations."""
AXES = "xyz"


@dataclass(frozen=True)
class NormalisedErrors:
    """Errors of the faces in units of their claimed sigmas: standard normal if the claims hold.

    rotation, t: per axis of the camera frame, each by its own marginal sigma.
    mahalanobis2: squared length of the whitened rotation error; chi-squared with 3 degrees.
    """

    rotation: Float[Array, "n 3"]
    t: Float[Array, "n 3"]
    mahalanobis2: Float[Array, "n"]


def all_metrics(predictions: HeldOutPredictions) -> dict[str, float]:
    """Of the pose, and of the heads that the network has."""
    out = pose_metrics(predictions)
    if predictions.presence_logit is not None:
        out |= presence_metrics(predictions)
    if predictions.rotation_cholesky is not None:
        out |= uncertainty_metrics(predictions)
    return out


def rotation_errors_rad(predictions: HeldOutPredictions) -> Float[Array, "n 3"]:
    """log(R_true R_predicted^T) of the faces, camera frame."""
    faces = predictions.is_face
    R_true, R_predicted = predictions.R_true[faces], predictions.R_predicted[faces]
    return rotation_vector_from_matrix(R_true @ np.swapaxes(R_predicted, -1, -2))


def pose_metrics(predictions: HeldOutPredictions) -> dict[str, float]:
    """Geodesic error, its parts about the camera's axes, translation, mesh where it is known; of
    the faces.

    Raises: ValueError if there are none.
    """
    faces = predictions.is_face
    if not faces.any():
        raise ValueError("There is no face among the predictions.")
    geodesic = geodesic_deg(predictions.R_predicted[faces], predictions.R_true[faces])
    about = np.degrees(np.abs(rotation_errors_rad(predictions))).mean(0)
    t_true = predictions.t_true_m[faces]
    t_error = predictions.t_predicted_m[faces] - t_true
    t_mm = np.linalg.norm(t_error, axis=-1) * 1000.0
    return {
        "geodesic_mean_deg": float(np.mean(geodesic)),
        "geodesic_median_deg": float(np.median(geodesic)),
        "geodesic_p90_deg": float(np.quantile(geodesic, 0.9)),
        **{f"rotation_{axis}_mae_deg": float(v) for axis, v in zip(AXES, about, strict=True)},
        "t_mean_mm": float(t_mm.mean()),
        "t_median_mm": float(np.median(t_mm)),
        "depth_relative_percent": float(100.0 * np.abs(t_error[:, 2] / t_true[:, 2]).mean()),
        **_mean_of_known("vertices_mean_mm", predictions.vertex_error_mm[faces]),
        **_mean_of_known("crop_mean_px", predictions.crop_error_px[faces]),
    }


def _mean_of_known(name: str, errors: Float[Array, "n"]) -> dict[str, float]:
    """Nothing where no mesh is known."""
    known = errors[~np.isnan(errors)]
    return {name: float(known.mean())} if len(known) else {}


def presence_metrics(predictions: HeldOutPredictions) -> dict[str, float]:
    """False accepts and false rejects at probability 0.5; nan where there are no such crops.

    Raises: ValueError without a presence head.
    """
    if predictions.presence_logit is None:
        raise ValueError("The network has no presence head.")
    faces, accepted = predictions.is_face, predictions.presence_logit > 0.0
    return {
        "presence_accuracy": float((accepted == faces).mean()),
        "presence_false_accept": _share(accepted[~faces]),
        "presence_false_reject": _share(~accepted[faces]),
    }


def _share(values: Array) -> float:
    return float(values.mean()) if len(values) else float("nan")


def normalised_errors(predictions: HeldOutPredictions) -> NormalisedErrors:
    """Raises: ValueError without an uncertainty head."""
    if predictions.rotation_cholesky is None or predictions.t_sigma_m is None:
        raise ValueError("The network has no uncertainty head.")
    faces = predictions.is_face
    L, error = predictions.rotation_cholesky[faces], rotation_errors_rad(predictions)
    sigma = np.linalg.norm(L, axis=-1)  # rows: sqrt of the diagonal of L L^T
    white = np.linalg.solve(L, error[..., None])[..., 0]
    t_error = predictions.t_true_m[faces] - predictions.t_predicted_m[faces]
    return NormalisedErrors(
        error / sigma, t_error / predictions.t_sigma_m[faces], (white**2).sum(-1)
    )


def uncertainty_metrics(predictions: HeldOutPredictions) -> dict[str, float]:
    """Shares of errors within one and two claimed sigmas, quantiles of the squared Mahalanobis
    distance (ideal: 3.53 and 8.02), and how the claimed error goes with the true one."""
    errors = normalised_errors(predictions)
    out: dict[str, float] = {}
    for name, values in (("rotation", errors.rotation), ("t", errors.t)):
        for i, axis in enumerate(AXES):
            out[f"{name}_{axis}_within_1_sigma"] = float((np.abs(values[:, i]) < 1.0).mean())
            out[f"{name}_{axis}_within_2_sigma"] = float((np.abs(values[:, i]) < 2.0).mean())
    out["mahalanobis2_q68"] = float(np.quantile(errors.mahalanobis2, ONE_SIGMA))
    out["mahalanobis2_q95"] = float(np.quantile(errors.mahalanobis2, TWO_SIGMA))
    faces = predictions.is_face
    L = predictions.rotation_cholesky[faces]
    claimed = expected_geodesic_deg(L @ np.swapaxes(L, -1, -2))
    found = geodesic_deg(predictions.R_predicted[faces], predictions.R_true[faces])
    out["claimed_geodesic_mean_deg"] = float(claimed.mean())
    out["claimed_rank_correlation"] = _rank_correlation(claimed, np.asarray(found))
    return out


def _rank_correlation(a: Float[Array, "n"], b: Float[Array, "n"]) -> float:
    """Spearman's, ties in order of appearance; nan for fewer than two."""
    if len(a) < 2:
        return float("nan")
    ranks = [np.argsort(np.argsort(x)).astype(np.float64) for x in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])
