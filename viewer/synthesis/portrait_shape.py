"""What of a portrait is not the bare head: hair that stands out, a sheet of hair and shoulders."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from viewer.synthesis.head_model import SIZE_SCALE
from viewer.synthesis.head_paint import smooth_step
from viewer.synthesis.head_regions import depth_buffer, head_regions
from viewer.synthesis.portrait_fit import PortraitFit, open_head
from viewer.synthesis.portraits import PORTRAIT_PX

Array = np.ndarray

SCALP_CENTRE_OPEN_HEAD_M = SIZE_SCALE * np.array([0.0, 0.03, -0.01])
"""Hair grows away from here: `centre + inflation * (vertex - centre)`."""

N_ANGLES, N_RADII = 72, 260
UPPER_HALF_DEG = 95.0
"""Angles from straight up within which the silhouette is the hair's."""
MOST_INFLATION = 1.35

SHEET_SIDE = 65
SHEET_BEHIND_M = 0.008
"""The sheet keeps this far behind the head's surface where they overlap."""
SHEET_DEPTH_OPEN_HEAD_M = SIZE_SCALE * np.array([0.0, 0.0, -0.015])
"""The sheet stands at the depth of this point."""


@dataclass(frozen=True)
class Sheet:
    """See `PortraitAsset.sheet_*`."""

    vertices_open_head_m: Float[Array, "s 3"]
    points_px: Float[Array, "s 2"]
    triangles: Int[Array, "g 3"]


def inflated(vertices_m: Float[Array, "v 3"], inflation: Float[Array, "v"]) -> Array:
    """The vertices with the hair's volume."""
    centre = SCALP_CENTRE_OPEN_HEAD_M
    return centre + (vertices_m - centre) * inflation[:, None]


def hair_inflation(
    fit: PortraitFit, vertices_m: Float[Array, "v 3"], person_mask: UInt8[Array, "h w"]
) -> Float[Array, "v"]:
    """How far the scalp must grow to reach the person's silhouette above the ears."""
    regions, head = head_regions(), open_head()
    points_cam = vertices_m @ fit.R_cam_from_open_head.T + fit.t_cam_from_open_head_m
    points_px = fit.camera.project(points_cam)
    x, y, _ = head.template_vertices_m.T
    trunk = (y < -0.1 * SIZE_SCALE) | (np.abs(x) > 0.1 * SIZE_SCALE)
    head_only = head.triangles[~trunk[head.triangles].any(1)]
    ids, _ = depth_buffer(points_px, points_cam[:, 2], head_only, PORTRAIT_PX)
    middle = fit.R_cam_from_open_head @ SCALP_CENTRE_OPEN_HEAD_M + fit.t_cam_from_open_head_m
    middle_px = fit.camera.project(middle)
    up = fit.R_cam_from_open_head[:2, 1]
    up_rad = np.arctan2(up[1], up[0])
    from_up = np.linspace(-np.pi, np.pi, N_ANGLES, endpoint=False)
    radii = [
        _radius_px(inside, middle_px, from_up + up_rad) for inside in (person_mask > 127, ids >= 0)
    ]
    ratio = np.clip(radii[0] / np.maximum(radii[1], 5.0), 1.0, MOST_INFLATION)
    upper = np.abs(from_up) < np.radians(UPPER_HALF_DEG)
    ratio = np.where(upper, ratio, 1.0)
    smooth = np.convolve(np.r_[ratio[-2:], ratio, ratio[:2]], np.full(5, 0.2), "valid")
    out_px = points_px - middle_px
    at_rad = np.angle(np.exp(1j * (np.arctan2(out_px[:, 1], out_px[:, 0]) - up_rad)))
    mean = ratio[np.abs(from_up) < 1.6].mean()
    grown = np.interp(at_rad, from_up, smooth, period=2 * np.pi)
    grown = np.where(np.abs(at_rad) > 1.7, mean, grown)
    # near the axis through the face the angle means nothing
    off_axis = np.linalg.norm((head.template_vertices_m - SCALP_CENTRE_OPEN_HEAD_M)[:, :2], axis=1)
    lateral = smooth_step(off_axis, 0.03 * SIZE_SCALE, 0.07 * SIZE_SCALE)
    return 1 + (grown * lateral + mean * (1 - lateral) - 1) * regions.growth


def _radius_px(
    inside: Bool[Array, "h w"], middle_px: Float[Array, "2"], angles_rad: Float[Array, "a"]
) -> Float[Array, "a"]:
    """How far from the middle a region reaches in each direction without a gap."""
    radius = np.arange(1, N_RADII)
    direction = np.stack([np.cos(angles_rad), np.sin(angles_rad)], -1)
    at = np.floor(middle_px + radius[None, :, None] * direction[:, None]).astype(np.int64)
    within = ((at >= 0) & (at < len(inside))).all(-1)
    column, row = np.clip(at, 0, len(inside) - 1).transpose(2, 0, 1)
    stops = ~(inside[row, column] & within)
    return np.where(stops.any(1), radius[stops.argmax(1)], radius[-1]).astype(np.float64)


def build_sheet(
    fit: PortraitFit,
    vertices_m: Float[Array, "v 3"],
    inflation: Float[Array, "v"],
    person_mask: UInt8[Array, "h w"],
) -> Sheet:
    """A grid over the picture at the depth of the head, bent around behind it."""
    R, t = fit.R_cam_from_open_head, fit.t_cam_from_open_head_m
    grown_cam = inflated(vertices_m, inflation) @ R.T + t
    ids, depth_m = depth_buffer(
        fit.camera.project(grown_cam), grown_cam[:, 2], open_head().head_triangles, PORTRAIT_PX
    )
    steps = np.linspace(0.5, PORTRAIT_PX - 0.5, SHEET_SIDE)
    at = steps.astype(np.int64)
    covered = cv2.erode((ids >= 0).astype(np.uint8), np.ones((9, 9)))[np.ix_(at, at)] > 0
    behind_m = np.where(covered, depth_m[np.ix_(at, at)] + SHEET_BEHIND_M, 0.0)
    flat_m = (R @ SHEET_DEPTH_OPEN_HEAD_M + t)[2]
    z = cv2.blur(np.where(covered, behind_m, flat_m).astype(np.float32), (3, 3))
    z = np.maximum(z, behind_m).ravel()
    x_px, y_px = np.meshgrid(steps, steps)
    points_px = np.stack([x_px, y_px], -1).reshape(-1, 2)
    points_cam = np.column_stack([fit.camera.normalise(points_px) * z[:, None], z])
    number = np.arange(SHEET_SIDE**2).reshape(SHEET_SIDE, SHEET_SIDE)
    corners = [
        number[rows, columns].ravel()
        for rows in (slice(None, -1), slice(1, None))
        for columns in (slice(None, -1), slice(1, None))
    ]
    person = (person_mask[np.ix_(at, at)] > 76).ravel()
    hidden = covered.ravel()
    used = np.any([person[c] for c in corners], 0) & ~np.all([hidden[c] for c in corners], 0)
    a, b, c, d = (corner[used] for corner in corners)
    triangles = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
    return Sheet((points_cam - t) @ R, points_px, triangles)
