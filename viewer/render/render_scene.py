"""What a renderer is given and what it gives back: meshes in the camera's frame, a picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from viewer.render.palette import RGB

Array = np.ndarray

CLAY: RGB = (238, 228, 219)
"""Colour of a mesh that has none of its own."""


@dataclass(frozen=True)
class RenderMesh:
    """One mesh of a scene.

    vertices_cam_m: metres, in the camera's frame (OpenCV axes).
    triangles: wound either way, all alike: outward is found from the mesh itself.
    vertex_colours: instead of `colour`.
    is_wireframe: only the edges that are seen, `line_width_px` wide.
    opacity: 0 to 1 for the mesh as one sheet: its far side does not shine through its near side.
    shading: 1 lit by the lamps, 0 the bare colours (a heat map that is to be read: 0.4).
    is_closed: the backs of triangles are not drawn. Faster; right where no hole is looked into.
    """

    vertices_cam_m: Float[Array, "v 3"]
    triangles: Int[Array, "f 3"]
    colour: RGB = CLAY
    vertex_colours: UInt8[Array, "v 3"] | None = None
    is_wireframe: bool = False
    opacity: float = 1.0
    shading: float = 1.0
    is_closed: bool = False
    line_width_px: float = 1.0

    def __post_init__(self) -> None:
        count, ids = len(self.vertices_cam_m), self.triangles
        if self.vertex_colours is not None and len(self.vertex_colours) != count:
            raise ValueError(
                f"{count} vertices need as many colours, got {len(self.vertex_colours)}."
            )
        for name in ("opacity", "shading"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be 0 to 1, got {getattr(self, name):g}.")
        if len(ids) and not 0 <= ids.min() <= ids.max() < count:
            raise ValueError(f"Triangles point outside the vertices 0 to {count - 1}.")

    @property
    def is_drawable(self) -> bool:
        """Whether there is something to draw and all of its numbers are finite."""
        return len(self.triangles) > 0 and bool(np.isfinite(self.vertices_cam_m).all())

    def base_colours(self) -> UInt8[Array, "v 3"]:
        """Colours without light."""
        if self.vertex_colours is not None:
            return self.vertex_colours
        return np.broadcast_to(np.array(self.colour, np.uint8), (len(self.vertices_cam_m), 3))


@dataclass(frozen=True)
class Region:
    """A part of a picture: its upper left pixel and its size."""

    x: int
    y: int
    width: int
    height: int

    def of(self, image: Array) -> Array:
        """That part of an image, a view."""
        return image[self.y : self.y + self.height, self.x : self.x + self.width]


@dataclass(frozen=True)
class Layer:
    """Meshes drawn on nothing, in a region of the picture.

    premultiplied_rgb: colours times coverage. coverage: 0 to 255, smooth at rims.
    depth_m: z of the nearest surface, infinite where there is none.
    """

    region: Region
    premultiplied_rgb: UInt8[Array, "h w 3"]
    coverage: UInt8[Array, "h w"]
    depth_m: Float[Array, "h w"]


@dataclass(frozen=True)
class RenderedPicture:
    """rgb: the meshes over the photo or the ground; nothing is outside `region` but those.

    The other arrays are of the region: colours times alpha, alpha (0 to 1, opacity included) and
    depth. `alpha`, `depth_m` and `rgba` are of the whole picture.
    """

    rgb: UInt8[Array, "h w 3"]
    region: Region
    region_premultiplied_rgb: Float[Array, "rh rw 3"]
    region_alpha: Float[Array, "rh rw"]
    region_depth_m: Float[Array, "rh rw"]

    @property
    def alpha(self) -> Float[Array, "h w"]:
        """How much of each pixel the meshes cover, 0 to 1."""
        whole = np.zeros(self.rgb.shape[:2], np.float32)
        self.region.of(whole)[:] = self.region_alpha
        return whole

    @property
    def depth_m(self) -> Float[Array, "h w"]:
        """z of the nearest surface, infinite where there is none."""
        whole = np.full(self.rgb.shape[:2], np.inf, np.float32)
        self.region.of(whole)[:] = self.region_depth_m
        return whole

    @property
    def rgba(self) -> UInt8[Array, "h w 4"]:
        """The meshes alone on a transparent ground, not premultiplied."""
        whole = np.zeros((*self.rgb.shape[:2], 4), np.uint8)
        part, alpha = self.region.of(whole), self.region_alpha[..., None]
        part[..., :3] = np.rint(
            np.clip(self.region_premultiplied_rgb / np.maximum(alpha, 1e-6), 0, 255)
        )
        part[..., 3:] = np.rint(alpha * 255)
        return whole

    def transparent_png(self) -> bytes:
        """`rgba` as a PNG file."""
        ok, data = cv2.imencode(".png", cv2.cvtColor(self.rgba, cv2.COLOR_RGBA2BGRA))
        if not ok:
            raise ValueError("OpenCV could not write the PNG.")
        return data.tobytes()
