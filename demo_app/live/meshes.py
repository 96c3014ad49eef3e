"""The shaded meshes of live frames: drawn on the frame here, sent as the part that they touch."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Int, UInt8

from demo_app.actions.head_drawing import face_mesh, head_mesh
from demo_app.actions.options import FULL_HEAD, SHADED
from demo_app.inference.full_heads import FullHeads, HeadFollower
from demo_app.inference.records import FrameResult
from models.geometry.cameras import Camera
from viewer.render.mesh_image import RenderMesh, live_renderer

Array = np.ndarray

JPEG_QUALITY = 90
"""Above what the browser sends, so that the edge of the part does not show."""


@dataclass(frozen=True)
class LivePatch:
    """A part of a frame with the meshes on it. x_px, y_px: its upper left pixel in the frame."""

    x_px: int
    y_px: int
    jpeg: bytes

    def to_json(self) -> dict[str, object]:
        """For the browser: {"x", "y", "jpeg"}, the last in base64."""
        text = base64.b64encode(self.jpeg).decode("ascii")
        return {"x": self.x_px, "y": self.y_px, "jpeg": text}


@dataclass(frozen=True)
class LiveDrawing:
    """patch: None where no mesh is in the picture. note: what was drawn, for the screen."""

    patch: LivePatch | None
    note: str


class LiveMeshes:
    """Of one webcam: a person keeps one identity, and a head starts from that of the last frame."""

    def __init__(self, heads: FullHeads) -> None:
        self._heads, self._follower = heads, HeadFollower(heads)

    def draw(
        self,
        image_rgb: UInt8[Array, "h w 3"],
        result: FrameResult,
        triangles: Int[Array, "f 3"],
        mesh: str,
    ) -> LiveDrawing | None:
        """What the switch `mesh` asks for; None where it asks for no shaded mesh.

        triangles: of the network's mesh. Raises: FlameFileError.
        """
        if mesh not in (SHADED, FULL_HEAD) or not result.faces:
            return None
        drawn_by = f"drawn by {live_renderer().renderer_name}."
        if mesh == SHADED:
            meshes = [face_mesh(face, triangles) for face in result.faces]
            return LiveDrawing(patch_of(image_rgb, meshes, result.camera), f"Mesh {drawn_by}")
        heads, assets = self._follower.of_faces(result.faces), self._heads.assets
        meshes = [head_mesh(head, assets.head_triangles) for head in heads]
        note = f"Head: {assets.name}, {drawn_by}"
        return LiveDrawing(patch_of(image_rgb, meshes, result.camera), note)


def patch_of(
    image_rgb: UInt8[Array, "h w 3"], meshes: Sequence[RenderMesh], camera: Camera
) -> LivePatch | None:
    """The meshes on the frame, cut to what they touch."""
    picture = live_renderer().draw(image_rgb, meshes, camera)
    if not picture.region.width:
        return None
    part_bgr = cv2.cvtColor(picture.region.of(picture.rgb), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", part_bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return LivePatch(picture.region.x, picture.region.y, data.tobytes())
