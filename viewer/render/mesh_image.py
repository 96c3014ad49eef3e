"""Meshes drawn into a picture: pyrender where OpenGL works, OpenCV's z-buffer elsewhere.

    picture = shared_renderer().draw(photo_rgb, [RenderMesh(vertices_cam_m, triangles)], camera)

`picture.rgb`, `.alpha`, `.depth_m`, `.rgba`; `shared_renderer().renderer_name` says what drew.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8

from models.geometry.cameras import Camera
from viewer.render.gl_probe import CANDIDATES, find_gl
from viewer.render.gl_renderer import GlPlatform, GlRenderer
from viewer.render.opencv_renderer import OpenCvRenderer
from viewer.render.palette import LIGHT, RGB
from viewer.render.render_scene import Layer, Region, RenderedPicture, RenderMesh
from viewer.render.surfaces import RendererError, Surface, region_of, surface_of
from viewer.render.wires import wire_layer

__all__ = ["MeshRenderer", "RenderMesh", "RenderedPicture", "live_renderer", "shared_renderer"]

Array = np.ndarray

MAX_GL_PX = 4_000_000
"""Larger regions are drawn by OpenCV: the graphics side takes 40 bytes a pixel."""


class MeshRenderer:
    """Draws from any thread: what needs OpenGL runs in one thread of its own, one at a time.

    OpenGL is looked for at the first drawing, in processes of their own. Where there is none, or
    where it fails later, OpenCV draws and `fallback_reason` says why.
    """

    def __init__(
        self,
        gl_candidates: Sequence[tuple[GlPlatform, int]] = CANDIDATES,
        is_live: bool = False,
    ) -> None:
        """gl_candidates: platforms and devices to be tried in this order; none: OpenCV alone.

        is_live: OpenCV draws in half the time, with softer rims.
        """
        self._candidates = tuple(gl_candidates)
        self._opencv = OpenCvRenderer(is_live)
        self._gl: GlRenderer | None = None
        self._reason = ""
        self._thread: ThreadPoolExecutor | None = None
        if gl_candidates:
            self._thread = ThreadPoolExecutor(1, "mesh-renderer", self._start)

    def __enter__(self) -> MeshRenderer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def renderer_name(self) -> str:
        """pyrender EGL, pyrender OSMesa or OpenCV. The first call waits for the search."""
        if self._thread is None:
            return self._opencv.name
        return self._thread.submit(lambda: (self._gl or self._opencv).name).result()

    @property
    def fallback_reason(self) -> str:
        """Why OpenCV draws though OpenGL was wanted; empty otherwise."""
        return self._reason

    def draw(
        self,
        image_rgb: UInt8[Array, "h w 3"] | None,
        meshes: Sequence[RenderMesh],
        camera: Camera,
        *,
        background: RGB = LIGHT,
    ) -> RenderedPicture:
        """The meshes over the photo, or over the background where there is none.

        The nearest is in front, pixel by pixel. Meshes whose numbers are not finite are left out.
        Raises: ValueError for a photo that is not of the camera's size.
        """
        width, height = camera.size_wh_px
        if image_rgb is None:
            image_rgb = np.full((height, width, 3), background, np.uint8)
        elif image_rgb.shape[:2] != (height, width):
            raise ValueError(
                f"The photo is {image_rgb.shape[1]} x {image_rgb.shape[0]}, the camera's picture "
                f"{width} x {height}."
            )
        layers = self._layers([mesh for mesh in meshes if mesh.is_drawable], camera)
        return _composed(image_rgb, layers)

    def close(self) -> None:
        """Give the context back."""
        if self._thread is not None:
            self._thread.submit(self._stop)
            self._thread.shutdown()

    def _layers(self, meshes: Sequence[RenderMesh], camera: Camera) -> list[tuple[Layer, float]]:
        """Layers with their opacities: all surfaces of one opacity together, wires one by one."""
        surfaces = [surface_of(mesh) for mesh in meshes]
        region = region_of(surfaces, camera)
        if region is None:
            return []
        layers = []
        solid = {mesh.opacity for mesh in meshes if not mesh.is_wireframe and mesh.opacity > 0}
        for opacity in sorted(solid):
            chosen = [
                surface
                for mesh, surface in zip(meshes, surfaces, strict=True)
                if not mesh.is_wireframe and mesh.opacity == opacity
            ]
            layers.append((self._drawn(chosen, camera, region), opacity))
        for mesh, surface in zip(meshes, surfaces, strict=True):
            if mesh.is_wireframe and mesh.opacity > 0 and len(surface.triangles):
                layer = self._drawn([surface], camera, region)
                layers.append((wire_layer(mesh, camera, layer), mesh.opacity))
        return layers

    def _drawn(self, surfaces: Sequence[Surface], camera: Camera, region: Region) -> Layer:
        if self._thread is None or region.width * region.height > MAX_GL_PX:
            return self._opencv.draw(surfaces, camera, region)
        return self._thread.submit(self._draw_in_thread, surfaces, camera, region).result()

    def _draw_in_thread(self, surfaces: Sequence[Surface], camera: Camera, region: Region) -> Layer:
        if self._gl is not None:
            try:
                return self._gl.draw(surfaces, camera, region)
            except RendererError as error:
                self._gl, self._reason = None, str(error)
        return self._opencv.draw(surfaces, camera, region)

    def _start(self) -> None:
        """In the thread, before its first work."""
        found = find_gl(self._candidates)
        if found.platform is None:
            self._reason = found.said
            return
        try:
            self._gl = GlRenderer(found.platform, found.device)
        except RendererError as error:
            self._reason = str(error)

    def _stop(self) -> None:
        if self._gl is not None:
            self._gl.close()
            self._gl = None


@lru_cache(maxsize=1)
def shared_renderer() -> MeshRenderer:
    """The app's one renderer for good pictures."""
    return MeshRenderer()


@lru_cache(maxsize=1)
def live_renderer() -> MeshRenderer:
    """The one for live video, which needs no OpenGL."""
    return MeshRenderer(gl_candidates=(), is_live=True)


def _composed(
    image_rgb: UInt8[Array, "h w 3"], layers: Sequence[tuple[Layer, float]]
) -> RenderedPicture:
    """Layers, which share a region, over the photo: far ones first in each pixel."""
    rgb = np.array(image_rgb, order="C")
    if not layers:
        nothing = np.zeros((0, 0), np.float32)
        return RenderedPicture(rgb, Region(0, 0, 0, 0), np.zeros((0, 0, 3)), nothing, nothing)
    region = layers[0][0].region
    colours, alpha = _stacked(layers)
    ground = region.of(rgb)
    ground[:] = np.rint(colours + (1.0 - alpha[..., None]) * ground)
    depth_m = np.minimum.reduce([layer.depth_m for layer, _ in layers])
    return RenderedPicture(rgb, region, colours, alpha, depth_m)


def _stacked(
    layers: Sequence[tuple[Layer, float]],
) -> tuple[Float[Array, "h w 3"], Float[Array, "h w"]]:
    """Premultiplied colours and alpha of all layers on one another."""
    weighed = [
        (
            layer.premultiplied_rgb * np.float32(opacity),
            layer.coverage * np.float32(opacity / 255.0),
        )
        for layer, opacity in layers
    ]
    if len(layers) == 1:
        return weighed[0]
    far_first = np.argsort(-np.stack([layer.depth_m for layer, _ in layers]), 0, kind="stable")
    all_colours = np.stack([colours for colours, _ in weighed])
    all_alphas = np.stack([alpha for _, alpha in weighed])
    colours, alpha = np.zeros_like(all_colours[0]), np.zeros_like(all_alphas[0])
    for order in far_first:
        over = np.take_along_axis(all_alphas, order[None], 0)[0]
        on_top = np.take_along_axis(all_colours, order[None, ..., None], 0)[0]
        colours = on_top + (1.0 - over[..., None]) * colours
        alpha = over + (1.0 - over) * alpha
    return colours, alpha
