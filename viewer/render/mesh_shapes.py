"""A predicted mesh as shapes: front-facing edges, or shaded triangles."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from models.estimator import HeadPose
from models.geometry.rotations import MIRROR_X
from viewer.render.palette import LIGHT, RGB
from viewer.render.shading import (
    hollowness,
    lit,
    point_outward,
    topology_of,
    triangle_normals,
    unit,
    vertex_normals,
)
from viewer.render.shapes import Segments, Shape, Triangles

Array = np.ndarray

NEAR_M = 0.02
"""What is nearer to the camera's plane is not drawn."""


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
    topology = topology_of(triangles, len(vertices_cam_m))
    shown = topology.edges[front[topology.owners].any(1)]
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
    topology = topology_of(triangles, len(vertices_cam_m))
    at_vertices = vertex_normals(flat, topology)
    smooth = unit(at_vertices[triangles[order]].mean(1))
    normals = unit(0.4 * flat[order] + 0.6 * smooth)
    hollow = hollowness(vertices_cam_m, at_vertices, topology)[triangles[order]].mean(1)
    views = -unit(vertices_cam_m[triangles[order]].mean(1))
    colours = lit(normals, views, hollow, _tone(colour))
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
    topology = topology_of(triangles, len(vertices_cam_m))
    normals = vertex_normals(flat, topology)
    hollow = hollowness(vertices_cam_m, normals, topology)
    views = -unit(vertices_cam_m)
    return lit(normals @ MIRROR_X, views @ MIRROR_X, hollow, _tone(colour))


def _tone(colour: RGB) -> Float[Array, "3"]:
    """A track's colour, paler, for a whole face."""
    return 0.55 * np.array(colour) + 0.45 * np.array(LIGHT)


def _facing(
    vertices_cam_m: Float[Array, "v 3"], triangles: Int[Array, "f 3"]
) -> tuple[Bool[Array, "f"], Float[Array, "f 3"]]:
    """Which triangles the camera sees from outside, and all outward unit normals.

    Outward is found from the mesh itself, so a mirrored mesh needs no other triangles.
    """
    normals, centres = triangle_normals(vertices_cam_m, triangles)
    if not point_outward(normals, centres):
        normals = -normals
    front = ((centres * normals).sum(1) < 0) & (vertices_cam_m[triangles, 2].min(1) > NEAR_M)
    return front, normals


def outward_triangles(
    vertices_m: Float[Array, "v 3"], triangles: Int[Array, "f 3"]
) -> Int[Array, "f 3"]:
    """The triangles counter-clockwise seen from outside, in any right-handed frame."""
    normals, centres = triangle_normals(vertices_m, triangles)
    return triangles if point_outward(normals, centres) else triangles[:, ::-1]
