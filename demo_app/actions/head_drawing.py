"""The full heads of a frame: fitted when they are asked for, drawn over the photo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Int, UInt8

from demo_app.actions.options import FULL_HEAD, PoseOptions
from demo_app.actions.results import ShownFrame
from demo_app.inference.full_heads import FullHead, FullHeads, pose_with_head
from demo_app.inference.records import FacePose
from models.estimator import HeadPose
from models.geometry.cameras import Camera
from viewer.render.mesh_image import RenderMesh, shared_renderer
from viewer.render.palette import LIGHT, RGB, track_colour

Array = np.ndarray

HEAD_OPACITY = 0.88
"""The face shows through a little, so that one sees whether the head sits on it."""

FitFaces = Callable[[Sequence[FacePose]], tuple[FullHead, ...]]


def with_full_heads(
    shown: ShownFrame, options: PoseOptions, heads: FullHeads, fit: FitFaces | None = None
) -> ShownFrame:
    """The frame with the heads that the switches ask for.

    fit: how, where it is not one by one. Raises: FlameFileError.
    """
    if options.mesh != FULL_HEAD or not shown.result.faces:
        return shown
    fitted = (fit or heads.of_faces)(shown.result.faces)
    return replace(shown, heads=fitted, head_triangles=heads.assets.head_triangles)


def draw_full_heads(
    image_rgb: UInt8[Array, "h w 3"], shown: ShownFrame, camera: Camera
) -> UInt8[Array, "h w 3"]:
    """The picture with the heads of the frame, the nearest in front.

    camera: that of the picture, which may be the frame's own in another size.
    """
    if not shown.heads:
        return image_rgb
    meshes = [head_mesh(head, shown.head_triangles) for head in shown.heads]
    return shared_renderer().draw(image_rgb, meshes, camera).rgb


def beside_heads(shown: ShownFrame, options: PoseOptions) -> PoseOptions:
    """What is left to be drawn of a face that has its head already."""
    return options._replace(mesh="none") if shown.heads else options


def meshes_shown(shown: ShownFrame) -> tuple[list[HeadPose], list[int], Int[Array, "f 3"]]:
    """What the 3D view shows: the heads where there are some, else the faces; with their ids."""
    faces = shown.result.faces
    if not shown.heads:
        return [face.pose for face in faces], [face.track_id for face in faces], shown.triangles
    poses = {face.track_id: face.pose for face in faces}
    ids = [head.track_id for head in shown.heads]
    replaced = [pose_with_head(poses[head.track_id], head.fit) for head in shown.heads]
    return replaced, ids, shown.head_triangles


def head_mesh(head: FullHead, triangles: Int[Array, "f 3"]) -> RenderMesh:
    """A head in its person's colour. triangles: of the head model."""
    return RenderMesh(
        head.fit.vertices_cam_m, triangles, colour=_skin(head.track_id), opacity=HEAD_OPACITY
    )


def face_mesh(face: FacePose, triangles: Int[Array, "f 3"]) -> RenderMesh:
    """The network's own mesh of a face in the same colour. triangles: of the network's mesh."""
    return RenderMesh(
        face.pose.vertices_cam_m(), triangles, colour=_skin(face.track_id), opacity=HEAD_OPACITY
    )


def _skin(track_id: int) -> RGB:
    """The track's colour, paler."""
    return tuple(
        int(0.55 * a + 0.45 * b) for a, b in zip(track_colour(track_id), LIGHT, strict=True)
    )
