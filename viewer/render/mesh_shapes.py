"""A predicted mesh as shapes: front-facing edges, or shaded triangles."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

from models.estimator import HeadPose
from viewer.render.palette import LIGHT, RGB
from viewer.render.shapes import Segments, Shape, Triangles

Array = np.ndarray

LIGHT_DIRECTION_CAM = np.array([-0.35, -0.5, -0.79])
"""From the surface to the lamp: over the camera's left shoulder."""

NEAR_M = 0.02


def wireframe(
    pose: HeadPose, triangles: Int[Array, "f 3"], colour: RGB, width_px: float
) -> list[Shape]:
    """Edges of the triangles that face the camera."""
    vertices_cam_m = pose.vertices_cam_m()
    front, _ = _facing(vertices_cam_m, triangles)
    edges, owners = _edges(triangles.tobytes(), triangles.dtype.str, len(triangles))
    shown = edges[front[owners[:, 0]] | front[owners[:, 1]]]
    points = _project(pose, vertices_cam_m)[shown]
    light = tuple(int(0.55 * a + 0.45 * b) for a, b in zip(colour, LIGHT, strict=True))
    return [Segments(points, light, width_px, 0.6)]


def shaded_mesh(
    pose: HeadPose, triangles: Int[Array, "f 3"], colour: RGB, alpha: float = 0.72
) -> list[Shape]:
    """Front-facing triangles, far ones first, lit by a lamp beside the camera (Lambert)."""
    vertices_cam_m = pose.vertices_cam_m()
    front, normals = _facing(vertices_cam_m, triangles)
    depth = vertices_cam_m[triangles, 2].mean(1)
    order = np.flatnonzero(front)[np.argsort(-depth[front], kind="stable")]
    brightness = 0.28 + 0.72 * np.clip(normals[order] @ LIGHT_DIRECTION_CAM, 0, 1)
    tone = 0.5 * np.array(colour) + 0.5 * np.array(LIGHT)
    colours = np.clip(brightness[:, None] * tone, 0, 255).astype(np.uint8)
    return [Triangles(_project(pose, vertices_cam_m)[triangles[order]], colours, alpha)]


def _project(pose: HeadPose, points_cam_m: Float[Array, "v 3"]) -> Float[Array, "v 2"]:
    K = pose.K_image_from_cam
    z = np.maximum(points_cam_m[:, 2:], 1e-6)
    return points_cam_m[:, :2] / z * [K[0, 0], K[1, 1]] + K[:2, 2]


def _facing(
    vertices_cam_m: Float[Array, "v 3"], triangles: Int[Array, "f 3"]
) -> tuple[Bool[Array, "f"], Float[Array, "f 3"]]:
    """Which triangles the camera sees from outside, and all outward unit normals.

    Outward is found from the mesh itself, so a mirrored mesh needs no other triangles.
    """
    normals, centres = _normals_and_centres(vertices_cam_m, triangles)
    if not _point_outward(normals, centres):
        normals = -normals
    front = ((centres * normals).sum(1) < 0) & (vertices_cam_m[triangles, 2].min(1) > NEAR_M)
    return front, normals


def outward_triangles(
    vertices_m: Float[Array, "v 3"], triangles: Int[Array, "f 3"]
) -> Int[Array, "f 3"]:
    """The triangles counter-clockwise seen from outside, in any right-handed frame."""
    normals, centres = _normals_and_centres(vertices_m, triangles)
    return triangles if _point_outward(normals, centres) else triangles[:, ::-1]


def _normals_and_centres(
    vertices_m: Float[Array, "v 3"], triangles: Int[Array, "f 3"]
) -> tuple[Float[Array, "f 3"], Float[Array, "f 3"]]:
    a, b, c = vertices_m[triangles].transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return normals, (a + b + c) / 3


def _point_outward(normals: Float[Array, "f 3"], centres: Float[Array, "f 3"]) -> bool:
    """A face is convex as a whole: outward normals point away from the middle of its triangles."""
    return float(np.mean(((centres - centres.mean(0)) * normals).sum(1))) >= 0


@lru_cache(maxsize=8)
def _edges(data: bytes, dtype: str, count: int) -> tuple[Int[Array, "e 2"], Int[Array, "e 2"]]:
    """Unique edges and the one or two triangles on them (the same twice at a rim)."""
    triangles = np.frombuffer(data, dtype).reshape(count, 3).astype(np.int64)
    pairs = np.sort(
        np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1
    )
    owner = np.tile(np.arange(count), 3)
    edges, inverse = np.unique(pairs, axis=0, return_inverse=True)
    owners = np.zeros((len(edges), 2), np.int64)
    owners[inverse.ravel()[::-1], 0] = owner[::-1]
    owners[inverse.ravel(), 1] = owner
    return edges, owners
