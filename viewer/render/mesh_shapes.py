"""A predicted mesh as shapes: front-facing edges, or shaded triangles."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from models.estimator import HeadPose
from models.geometry.rotations import MIRROR_X
from viewer.render.palette import LIGHT, RGB
from viewer.render.shapes import Segments, Shape, Triangles

Array = np.ndarray

NEAR_M = 0.02
"""What is nearer to the camera's plane is not drawn."""

KEY_LIGHT_CAM = np.array([-0.58, -0.58, -0.57])
FILL_LIGHT_CAM = np.array([0.80, 0.05, -0.60])
"""From the surface to the lamps: a strong one over the camera's left shoulder, a weak one right."""

AMBIENT, KEY, FILL = 0.27, 0.72, 0.16
SHINE, SHININESS = 0.13, 14.0
CAVITY = 2.2
"""How much hollows (eye sockets, beside the nose) darken; see `_hollowness`."""


def drawable(pose: HeadPose) -> bool:
    """Whether all numbers of the pose are finite; one that is not has no place in a picture."""
    return all(
        bool(np.isfinite(numbers).all())
        for numbers in (
            pose.R_cam_from_head,
            pose.t_cam_from_head_mm,
            pose.K_image_from_cam,
            pose.box_xyxy_px,
            pose.vertices_head_m,
            pose.landmarks_68_head_m,
        )
    )


def project_px(pose: HeadPose, points_cam_m: Float[Array, "*batch 3"]) -> Float[Array, "*batch 2"]:
    """Pixels of points in the camera frame; only those with z > `NEAR_M` are to be drawn."""
    K = pose.K_image_from_cam
    z = np.maximum(points_cam_m[..., 2:], 1e-6)
    return points_cam_m[..., :2] / z * [K[0, 0], K[1, 1]] + K[:2, 2]


def wireframe(
    pose: HeadPose, triangles: Int[Array, "f 3"], colour: RGB, width_px: float
) -> list[Shape]:
    """Each edge of the triangles that face the camera, once."""
    vertices_cam_m = pose.vertices_cam_m()
    front, _ = _facing(vertices_cam_m, triangles)
    edges, owners = _edges(triangles.tobytes(), triangles.dtype.str, len(triangles))
    shown = edges[front[owners[:, 0]] | front[owners[:, 1]]]
    if len(shown) == 0:
        return []
    points = project_px(pose, vertices_cam_m)[shown]
    light = tuple(int(0.5 * a + 0.5 * b) for a, b in zip(colour, LIGHT, strict=True))
    return [Segments(points, light, width_px, 0.85)]


def shaded_mesh(
    pose: HeadPose, triangles: Int[Array, "f 3"], colour: RGB, alpha: float = 0.85
) -> list[Shape]:
    """Front-facing triangles, far ones first, lit by two lamps that stand with the camera.

    The normals are half-way to smooth ones: facets show little, the form stays crisp.
    """
    vertices_cam_m = pose.vertices_cam_m()
    front, flat = _facing(vertices_cam_m, triangles)
    depth = vertices_cam_m[triangles, 2].mean(1)
    order = np.flatnonzero(front)[np.argsort(-depth[front], kind="stable")]
    if len(order) == 0:
        return []
    at_vertices = _vertex_means(flat, triangles, len(vertices_cam_m))
    smooth = _unit(at_vertices[triangles[order]].mean(1))
    normals = _unit(0.4 * flat[order] + 0.6 * smooth)
    hollow = _hollowness(vertices_cam_m, at_vertices, triangles)[triangles[order]].mean(1)
    views = -_unit(vertices_cam_m[triangles[order]].mean(1))
    colours = _lit(normals, views, hollow, colour)
    return [Triangles(project_px(pose, vertices_cam_m)[triangles[order]], colours, alpha)]


def lit_vertices(pose: HeadPose, triangles: Int[Array, "f 3"], colour: RGB) -> UInt8[Array, "v 3"]:
    """Colours of the vertices as `shaded_mesh` has them, with the lamps changed over.

    For views from the camera's right, where the strong lamp then stands.
    """
    return lit_points(pose.vertices_cam_m(), triangles, colour)


def lit_points(
    vertices_cam_m: Float[Array, "v 3"], triangles: Int[Array, "f 3"], colour: RGB
) -> UInt8[Array, "v 3"]:
    """The same for any mesh in a camera's frame."""
    _, flat = _facing(vertices_cam_m, triangles)
    normals = _vertex_means(flat, triangles, len(vertices_cam_m))
    hollow = _hollowness(vertices_cam_m, normals, triangles)
    return _lit(normals @ MIRROR_X, -_unit(vertices_cam_m) @ MIRROR_X, hollow, colour)


def _lit(
    normals: Float[Array, "f 3"], views: Float[Array, "f 3"], hollow: Float[Array, "f"], colour: RGB
) -> UInt8[Array, "f 3"]:
    """Lambert with two lamps, a soft highlight, darker hollows and rims."""
    key, fill = (_unit(lamp[None])[0] for lamp in (KEY_LIGHT_CAM, FILL_LIGHT_CAM))
    level = AMBIENT + KEY * np.clip(normals @ key, 0, 1) + FILL * np.clip(normals @ fill, 0, 1)
    level *= 1.0 - np.clip(CAVITY * hollow, -0.12, 0.5)
    level *= 0.72 + 0.28 * np.clip((normals * views).sum(1), 0, 1)
    shine = SHINE * np.clip((normals * _unit(views + key)).sum(1), 0, 1) ** SHININESS
    tone = 0.55 * np.array(colour) + 0.45 * np.array(LIGHT)
    return np.clip(level[:, None] * tone + shine[:, None] * 255.0, 0, 255).astype(np.uint8)


def _unit(vectors: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _vertex_means(
    normals: Float[Array, "f 3"], triangles: Int[Array, "f 3"], count: int
) -> Float[Array, "v 3"]:
    """Unit normals at the vertices, from those of the triangles around them."""
    ids = triangles.ravel()
    sums = [np.bincount(ids, np.repeat(normals[:, k], 3), count) for k in range(3)]
    return _unit(np.stack(sums, 1))


def _hollowness(
    vertices_m: Float[Array, "v 3"], normals: Float[Array, "v 3"], triangles: Int[Array, "f 3"]
) -> Float[Array, "v"]:
    """How far a vertex lies behind its neighbours, in edge lengths: > 0 hollow, < 0 bulge."""
    edges, _ = _edges(triangles.tobytes(), triangles.dtype.str, len(triangles))
    here, there, count = edges.ravel(), edges[:, ::-1].ravel(), len(vertices_m)
    offsets = vertices_m[there] - vertices_m[here]
    lengths = np.bincount(here, np.linalg.norm(offsets, axis=1), count)
    return np.bincount(here, (offsets * normals[here]).sum(1), count) / np.maximum(lengths, 1e-12)


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
    return _unit(np.cross(b - a, c - a)), (a + b + c) / 3


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
