"""Heads and camera as one GLB file: right side up and in metres in Blender, three.js and viewers.

glTF has y up and a camera that looks along -z, so camera-frame points are written with y and z
turned. The nodes: `head_<id>` with the mesh under its pose, and `camera` at the origin with the
picture's field of view. A glTF camera cannot have its principal point off the middle; K stands
unchanged in the camera node's `extras`, and the field of view is that of fy (yfov) and the
picture's aspect, in pixels of equal size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from models.estimator import HeadPose
from models.geometry.cameras import Camera
from models.geometry.rotations import GL_FROM_CV
from viewer.render.glb_file import (
    GlbBuffer,
    camera_node,
    glb_bytes,
    placed,
    plain_material,
    vertex_normals,
)
from viewer.render.mesh_shapes import drawable, outward_triangles
from viewer.render.palette import RGB, track_colour

Array = np.ndarray


@dataclass(frozen=True)
class MorphMesh:
    """A head that can change its expression: vertices_m + sum of weight * offset, then its place.

    name: of its node. vertices_m: without expression, in the head's own axes, y up, metres.
    target_names, target_offsets_m, weights: one of each for every expression.
    R_gl_from_mesh, t_gl_from_mesh_m: where it stands before a camera that looks along -z.
    """

    name: str
    vertices_m: Float[Array, "v 3"]
    triangles: Int[Array, "f 3"]
    target_names: tuple[str, ...]
    target_offsets_m: Float[Array, "e v 3"]
    weights: Float[Array, "e"]
    R_gl_from_mesh: Float[Array, "3 3"]
    t_gl_from_mesh_m: Float[Array, "3"]
    colour: RGB

    def shown_vertices_m(self) -> Float[Array, "v 3"]:
        """With its expression and in its place, in glTF's axes."""
        vertices_m = self.vertices_m + np.tensordot(self.weights, self.target_offsets_m, 1)
        return vertices_m @ self.R_gl_from_mesh.T + self.t_gl_from_mesh_m


def glb_from_poses(
    poses: Sequence[HeadPose],
    ids: Sequence[int],
    triangles: Int[Array, "f 3"],
    camera: Camera,
) -> bytes:
    """The bytes of a .glb file with the heads' meshes in the `head` frame (y and z turned).

    A head whose numbers are not finite is left out: glTF cannot hold it.
    """
    chunks = GlbBuffer()
    nodes: list[dict[str, object]] = [camera_node(camera)]
    meshes, materials = [], []
    for pose, number in zip(poses, ids, strict=True):
        if not drawable(pose):
            continue
        vertices = pose.vertices_head_m @ GL_FROM_CV
        name = f"head_{number}"
        faces = outward_triangles(vertices, triangles)
        primitive = _primitive(chunks, vertices, faces) | {"material": len(materials)}
        nodes.append(_head_node(pose, name, len(meshes)))
        meshes.append({"name": name, "primitives": [primitive]})
        materials.append(plain_material(name, track_colour(number)))
    return glb_bytes("heads", nodes, meshes, materials, chunks, camera)


def glb_from_morph_meshes(heads: Sequence[MorphMesh], camera: Camera | None = None) -> bytes:
    """The bytes of a .glb file whose heads have their expressions as named morph targets.

    The weights are those of the heads, so that it opens as it was shown; all at 0 is neutral.
    """
    chunks = GlbBuffer()
    nodes: list[dict[str, object]] = [] if camera is None else [camera_node(camera)]
    meshes, materials = [], []
    for head in heads:
        primitive = _primitive(chunks, head.vertices_m, head.triangles)
        primitive["material"] = len(materials)
        mesh: dict[str, object] = {"name": head.name, "primitives": [primitive]}
        if head.target_names:
            primitive["targets"] = [
                {"POSITION": chunks.add_vectors(offsets, bounds=True)}
                for offsets in head.target_offsets_m
            ]
            mesh["weights"] = head.weights.tolist()
            mesh["extras"] = {"targetNames": list(head.target_names)}
        place = placed(head.R_gl_from_mesh, head.t_gl_from_mesh_m)
        nodes.append({"name": head.name, "mesh": len(meshes), **place})
        meshes.append(mesh)
        materials.append(plain_material(head.name, head.colour))
    return glb_bytes("heads", nodes, meshes, materials, chunks, camera)


def _primitive(
    chunks: GlbBuffer, vertices: Float[Array, "v 3"], faces: Int[Array, "f 3"]
) -> dict[str, object]:
    return {
        "attributes": {
            "POSITION": chunks.add_vectors(vertices, bounds=True),
            "NORMAL": chunks.add_vectors(vertex_normals(vertices, faces)),
        },
        "indices": chunks.add_indices(faces),
    }


def _head_node(pose: HeadPose, name: str, mesh: int) -> dict[str, object]:
    yaw, pitch, roll = pose.ypr_deg
    return {
        "name": name,
        "mesh": mesh,
        **placed(
            GL_FROM_CV @ pose.R_cam_from_head @ GL_FROM_CV,
            GL_FROM_CV @ pose.t_cam_from_head_mm / 1000.0,
        ),
        "extras": {
            "yaw_deg": yaw,
            "pitch_deg": pitch,
            "roll_deg": roll,
            "uncertainty_deg": (
                pose.uncertainty_deg if np.isfinite(pose.uncertainty_deg) else None
            ),
            "model": pose.model,
        },
    }
