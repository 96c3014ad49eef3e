"""Numbers about predictions with known poses; units in the names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from models.geometry.rotations import (
    geodesic_deg,
    matrix_from_rotation_vector,
    rotation_vector_from_matrix,
)
from models.training.predictions import HeldOutPredictions
from models.trg.uncertainty import expected_geodesic_deg

Array = np.ndarray

ONE_SIGMA, TWO_SIGMA = 0.6827, 0.9545
"""Shares of a normal distribution within one and two standard deviations."""
AXES = "xyz"
MEAN_STEPS = 100
MIN_GROUPS = 5
"""Fewer people or photos say nothing about others."""


@dataclass(frozen=True)
class NormalisedErrors:
    """Errors of the faces in units of their claimed sigmas: standard normal if the claims hold.

    rotation, t: per axis of the camera frame, each by its own marginal sigma.
    mahalanobis2: squared length of the whitened rotation error; chi-squared with 3 degrees.
    """

    rotation: Float[Array, "n 3"]
    t: Float[Array, "n 3"]
    mahalanobis2: Float[Array, "n"]


@dataclass(frozen=True)
class ProtocolMetrics:
    """What tables of head pose print, means over n heads; None: not known.

    mae_r_deg, mae_t_mm: means of the three before them. ge_deg: geodesic error. add_mm: distance
    of the true mesh under both poses. dense_*: distance of both meshes in the head's frame, mean
    and median over the heads of each one's mean.
    """

    samples: int
    yaw_deg: float | None
    pitch_deg: float | None
    roll_deg: float | None
    mae_r_deg: float | None
    ge_deg: float | None
    tx_mm: float | None
    ty_mm: float | None
    tz_mm: float | None
    mae_t_mm: float | None
    add_mm: float | None
    dense_mean_mm: float | None
    dense_median_mm: float | None


def protocol_metrics(
    ypr_errors_deg: Float[Array, "n 3"],
    ge_deg: Float[Array, "n"],
    t_errors_mm: Float[Array, "n 3"],
    add_mm: Float[Array, "n"],
    dense_mm: Float[Array, "n"],
) -> ProtocolMetrics:
    """Of signed errors; NaN where one is not known, which is then left out of its mean."""
    angles = [_known_mean(np.abs(column)) for column in ypr_errors_deg.T]
    shifts = [_known_mean(np.abs(column)) for column in t_errors_mm.T]
    dense = dense_mm[np.isfinite(dense_mm)]
    return ProtocolMetrics(
        len(ge_deg),
        *angles,
        None if None in angles else float(np.mean(angles)),
        _known_mean(ge_deg),
        *shifts,
        None if None in shifts else float(np.mean(shifts)),
        _known_mean(add_mm),
        _known_mean(dense),
        float(np.median(dense)) if len(dense) else None,
    )


def wrapped_deg(angle_deg: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """The same angles in -180..180."""
    return (np.asarray(angle_deg, np.float64) + 180.0) % 360.0 - 180.0


def mesh_distance_mm(a_mm: Float[Array, "n v 3"], b_mm: Float[Array, "n v 3"]) -> Float[Array, "n"]:
    """Mean distance of corresponding vertices, for each pair of meshes."""
    return np.linalg.norm(a_mm - b_mm, axis=-1).mean(-1)


def in_camera_mm(
    R: Float[Array, "n 3 3"], t_mm: Float[Array, "n 3"], vertices_mm: Float[Array, "n v 3"]
) -> Float[Array, "n v 3"]:
    """Vertices of heads under their poses."""
    return vertices_mm @ np.swapaxes(R, -1, -2) + t_mm[:, None]


def mean_rotation(R: Float[Array, "n 3 3"]) -> Float[Array, "3 3"]:
    """The rotation with the least sum of squared angles to all (Karcher's mean), from those within
    90 degrees of no rotation; I where there is none."""
    near = R[np.asarray(geodesic_deg(R, np.eye(3))).reshape(-1) < 90.0]
    mean = np.eye(3)
    for _ in range(MEAN_STEPS if len(near) else 0):
        step = rotation_vector_from_matrix(mean.T @ near).mean(0)
        mean = mean @ matrix_from_rotation_vector(step)
        if np.linalg.norm(step) < 1e-12:
            break
    return mean


def aligned_rotations(
    R_found: Float[Array, "n 3 3"], R_true: Float[Array, "n 3 3"], groups: Sequence[str]
) -> Float[Array, "n 3 3"]:
    """R_found with the head's frame of each group turned by the group's mean turn to the truth.

    Cobo et al. 2024, "On the representation and methodology for wide and short range head pose
    estimation": takes out that two data sets put the head's frame differently.
    """
    aligned, names = np.array(R_found, np.float64), np.asarray(groups)
    for name in np.unique(names):
        rows = names == name
        turns = np.swapaxes(R_found[rows], -1, -2) @ R_true[rows]
        aligned[rows] = R_found[rows] @ mean_rotation(turns)
    return aligned


def mean_interval(
    values: Float[Array, "n"], groups: Sequence[str], seed: int, draws: int = 1000
) -> tuple[float, float] | None:
    """95 % bootstrap interval of the mean: whole groups are drawn, since frames of a person are no
    independent samples (Efron and Tibshirani 1993). None for fewer than MIN_GROUPS groups."""
    names, which = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < MIN_GROUPS:
        return None
    sums, counts = np.bincount(which, values), np.bincount(which)
    rng = np.random.default_rng(seed)
    shares = np.full(len(names), 1.0 / len(names))
    drawn = rng.multinomial(len(names), shares, draws)
    means = (drawn @ sums) / (drawn @ counts)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _known_mean(values: Float[Array, "n"]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


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
