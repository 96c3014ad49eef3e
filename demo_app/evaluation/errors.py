"""Errors of poses, and the figures that summarise them. float64, degrees and millimetres."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from demo_app.evaluation.columns import Poses
from models.geometry.rotations import geodesic_deg, ypr_300wlp_from_matrix
from models.training.metrics import in_camera_mm, mesh_distance_mm, wrapped_deg

Array = np.ndarray

YAW_EDGES_DEG = (0.0, 30.0, 60.0, 100.0)
PITCH_EDGES_DEG = (0.0, 20.0, 40.0, 90.0)
ROLL_EDGES_DEG = (0.0, 15.0, 45.0, 180.0)
DISTANCE_EDGES_M = (0.0, 0.4, 0.8, 1.5, 3.5)


@dataclass(frozen=True)
class PoseErrors:
    """One row a head; None: the truth or the prediction does not say.

    ypr_deg: signed differences of yaw, pitch, roll (300W-LP), each in -180..180.
    t_mm: signed differences. depth_pct: |difference of z| / true z.
    add_mm: mean distance of the true mesh under the predicted and the true pose.
    camera_vertices_mm: mean distance of the predicted mesh under the predicted pose to the true
        mesh under the true pose.
    canonical_vertices_mm: mean distance of the meshes in the `head` frame.
    """

    ge_deg: Float[Array, "n"]
    ypr_deg: Float[Array, "n 3"]
    t_mm: Float[Array, "n 3"] | None
    depth_pct: Float[Array, "n"] | None
    add_mm: Float[Array, "n"] | None
    camera_vertices_mm: Float[Array, "n"] | None
    canonical_vertices_mm: Float[Array, "n"] | None

    def at(self, chosen: Bool[Array, "n"]) -> PoseErrors:
        """The rows of some heads."""
        values = {name: getattr(self, name) for name in PoseErrors.__dataclass_fields__}
        return PoseErrors(**{k: None if v is None else v[chosen] for k, v in values.items()})


@dataclass(frozen=True)
class PoseFigures:
    """Summary of n heads; None: not known, or no head.

    t_mean_mm, t_median_mm: of the distance between the origins. t_mae_mm: mean over x, y, z of the
        mean absolute differences, as in TRG's tables.
    """

    heads: int
    ge_mean_deg: float | None
    ge_median_deg: float | None
    ge_p95_deg: float | None
    yaw_mae_deg: float | None
    pitch_mae_deg: float | None
    roll_mae_deg: float | None
    euler_mae_deg: float | None
    yaw_bias_deg: float | None
    pitch_bias_deg: float | None
    roll_bias_deg: float | None
    t_mean_mm: float | None
    t_median_mm: float | None
    t_mae_mm: float | None
    depth_error_pct: float | None
    add_mm: float | None
    camera_vertices_mm: float | None
    canonical_vertices_mm: float | None


def ypr_deg_from_matrices(R: Float[Array, "n 3 3"]) -> Float[Array, "n 3"]:
    """Yaw, pitch, roll of 300W-LP, one row a rotation."""
    return np.array([ypr_300wlp_from_matrix(one) for one in R], np.float64).reshape(-1, 3)


def twin_deg(ypr_deg: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
    """The other angles of the same rotations: beyond 90 degrees of yaw, instead of a head upside
    down."""
    return wrapped_deg(np.array([180.0, 180.0, 180.0]) + ypr_deg * [-1.0, 1.0, 1.0])


def readable_ypr_deg(R: Float[Array, "n 3 3"]) -> Float[Array, "n 3"]:
    """Of the two triples of each rotation the one with |pitch| <= 90; for the bins."""
    ypr = ypr_deg_from_matrices(R)
    return np.where(np.abs(ypr[:, 1:2]) > 90.0, twin_deg(ypr), ypr)


def ypr_errors_deg(
    R_found: Float[Array, "n 3 3"], R_true: Float[Array, "n 3 3"]
) -> Float[Array, "n 3"]:
    """Signed differences, found - true; of the two triples of what was found the nearer one."""
    found, true = ypr_deg_from_matrices(R_found), readable_ypr_deg(R_true)
    both = np.stack([wrapped_deg(found - true), wrapped_deg(twin_deg(found) - true)])
    nearer = np.abs(both).sum(-1).argmin(0)
    return both[nearer, np.arange(len(nearer))]


def pose_errors(found: Poses, true: Poses) -> PoseErrors:
    """Row by row. Raises: ValueError if there is not one prediction for each truth."""
    if len(found) != len(true):
        raise ValueError(f"There are {len(found)} predictions for {len(true)} heads.")
    R_a, R_b = found.R_cam_from_head, true.R_cam_from_head
    t_a, t_b = found.t_cam_from_head_mm, true.t_cam_from_head_mm
    v_a, v_b = found.vertices_head_mm, true.vertices_head_mm
    t_mm = depth_pct = add = camera = canonical = None
    if t_a is not None and t_b is not None:
        t_mm = t_a - t_b
        depth_pct = 100.0 * np.abs(t_mm[:, 2]) / t_b[:, 2]
        if v_b is not None:
            true_cam = in_camera_mm(R_b, t_b, v_b)
            add = mesh_distance_mm(in_camera_mm(R_a, t_a, v_b), true_cam)
            if v_a is not None and v_a.shape == v_b.shape:
                camera = mesh_distance_mm(in_camera_mm(R_a, t_a, v_a), true_cam)
                canonical = mesh_distance_mm(v_a, v_b)
    return PoseErrors(
        ge_deg=np.asarray(geodesic_deg(R_a, R_b), np.float64).reshape(-1),
        ypr_deg=ypr_errors_deg(R_a, R_b),
        t_mm=t_mm,
        depth_pct=depth_pct,
        add_mm=add,
        camera_vertices_mm=camera,
        canonical_vertices_mm=canonical,
    )


def pose_figures(errors: PoseErrors) -> PoseFigures:
    """Summary; all None where there is no head."""
    n, t = len(errors.ge_deg), errors.t_mm
    distance = None if t is None else np.linalg.norm(t, axis=-1)
    angles = errors.ypr_deg
    return PoseFigures(
        heads=n,
        ge_mean_deg=mean(errors.ge_deg),
        ge_median_deg=percentile(errors.ge_deg, 50),
        ge_p95_deg=percentile(errors.ge_deg, 95),
        yaw_mae_deg=mean(np.abs(angles[:, 0])),
        pitch_mae_deg=mean(np.abs(angles[:, 1])),
        roll_mae_deg=mean(np.abs(angles[:, 2])),
        euler_mae_deg=mean(np.abs(angles)),
        yaw_bias_deg=mean(angles[:, 0]),
        pitch_bias_deg=mean(angles[:, 1]),
        roll_bias_deg=mean(angles[:, 2]),
        t_mean_mm=mean(distance),
        t_median_mm=percentile(distance, 50),
        t_mae_mm=mean(None if t is None else np.abs(t)),
        depth_error_pct=mean(errors.depth_pct),
        add_mm=mean(errors.add_mm),
        camera_vertices_mm=mean(errors.camera_vertices_mm),
        canonical_vertices_mm=mean(errors.canonical_vertices_mm),
    )


def bins_of(true: Poses) -> dict[str, Bool[Array, "n"]]:
    """Which heads belong to which row: all; by |yaw|, |pitch|, |roll|, distance.

    What lies beyond a last edge is in the last bin. Yaw is that of the head in the camera frame.
    """
    angles = np.abs(readable_ypr_deg(true.R_cam_from_head))
    rows = {"all": np.ones(len(true), bool)}
    edges = (YAW_EDGES_DEG, PITCH_EDGES_DEG, ROLL_EDGES_DEG)
    for i, (name, limits) in enumerate(zip(("yaw", "pitch", "roll"), edges, strict=True)):
        rows |= _binned(name, "deg", limits, angles[:, i])
    if true.t_cam_from_head_mm is not None:
        distance_m = np.linalg.norm(true.t_cam_from_head_mm, axis=-1) / 1000.0
        rows |= _binned("distance", "m", DISTANCE_EDGES_M, distance_m)
    return rows


def binned_figures(
    found: Poses, true: Poses, more: Mapping[str, Bool[Array, "n"]] | None = None
) -> dict[str, PoseFigures]:
    """One summary for each bin, those of `bins_of` and more."""
    errors, bins = pose_errors(found, true), bins_of(true) | dict(more or {})
    return {name: pose_figures(errors.at(chosen)) for name, chosen in bins.items()}


def mean(values: Array | None) -> float | None:
    """None of nothing."""
    return None if values is None or np.size(values) == 0 else float(np.mean(values))


def percentile(values: Array | None, q: float) -> float | None:
    """None of nothing."""
    return None if values is None or np.size(values) == 0 else float(np.percentile(values, q))


def _binned(
    name: str, unit: str, edges: tuple[float, ...], values: Float[Array, "n"]
) -> dict[str, Bool[Array, "n"]]:
    which = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return {
        f"{name} {low:g}-{high:g} {unit}": which == i
        for i, (low, high) in enumerate(itertools.pairwise(edges))
    }
