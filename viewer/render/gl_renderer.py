"""Surfaces drawn by pyrender in an OpenGL context without a window.

Nothing else imports pyrender. A context belongs to the thread that made it: one thread makes a
GlRenderer and calls it. Which platform works here is found by `viewer.render.gl_probe`.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from models.geometry.cameras import Camera
from models.geometry.rotations import GL_FROM_CV
from viewer.render.render_scene import Layer, Region
from viewer.render.surfaces import NEAR_M, RendererError, Surface, camera_of

Array = np.ndarray

GlPlatform = Literal["EGL", "OSMesa"]

SIZE_STEP_PX = 64
"""Framebuffers have sizes in such steps, so that a head that moves seldom needs a new one."""

OSMESA_ATTRIBUTES = {
    0x22: 0x1908,  # format: RGBA
    0x30: 24,  # bits of depth
    0x33: 0x34,  # core profile
    0x36: 3,  # version 3.3
    0x37: 3,
}


class GlRenderer:
    """See `SurfaceRenderer`. Buffers on the graphics side are reused from call to call."""

    def __init__(self, platform: GlPlatform, device: int = 0) -> None:
        """The first instance decides the platform of the process.

        device: of EGL's devices. Raises: RendererError where there is no such platform or device.
        """
        os.environ["PYOPENGL_PLATFORM"] = platform.lower()
        # pyrender 0.1.45 asks numpy for a name that numpy 2 no longer has
        np.infty = np.inf  # noqa: NPY201
        self.name = f"pyrender {platform}"
        try:
            import pyrender

            self._pyrender = pyrender
            self._platform = _egl(device) if platform == "EGL" else _osmesa()
            self._platform.init_context()
            self._platform.make_current()
        except (ImportError, OSError, ValueError, AssertionError, AttributeError) as error:
            raise RendererError(f"{platform}: {_sentence(error)}") from error
        except _gl_errors() as error:
            raise RendererError(f"{platform}: {_sentence(error)}") from error
        self._renderer = pyrender.Renderer(SIZE_STEP_PX, SIZE_STEP_PX)
        self._scene = pyrender.Scene(bg_color=[0.0, 0.0, 0.0, 0.0])
        self._camera = pyrender.IntrinsicsCamera(1.0, 1.0, 0.0, 0.0)
        self._scene.add(self._camera, pose=np.eye(4))
        self._slots: list[_Slot] = []

    def graphics_name(self) -> str:
        """What draws, in its own words."""
        from OpenGL import GL

        return GL.glGetString(GL.GL_RENDERER).decode("utf-8", "replace")

    def draw(self, surfaces: Sequence[Surface], camera: Camera, region: Region) -> Layer:
        """Raises: RendererError."""
        flags = self._pyrender.RenderFlags
        try:
            self._platform.make_current()
            self._place(surfaces)
            self._aim(surfaces, camera_of(camera, region), region)
            rgba, depth_m = self._renderer.render(
                self._scene, flags.RGBA | flags.FLAT | flags.OFFSCREEN
            )
        except (AssertionError, *_gl_errors()) as error:
            raise RendererError(f"{self.name}: {_sentence(error)}") from error
        part = Region(0, 0, region.width, region.height)
        rgba, depth_m = part.of(rgba), part.of(depth_m)
        return Layer(
            region,
            np.ascontiguousarray(rgba[..., :3]),
            np.ascontiguousarray(rgba[..., 3]),
            np.where(depth_m > 0, depth_m, np.float32(np.inf)),
        )

    def close(self) -> None:
        """Give the context back."""
        self._platform.make_current()
        self._renderer.delete()
        self._platform.delete_context()

    def _aim(self, surfaces: Sequence[Surface], camera: Camera, region: Region) -> None:
        """The camera on a frame that is larger than the region, to the right and below."""
        width, height = (-(-side // SIZE_STEP_PX) * SIZE_STEP_PX for side in camera.size_wh_px)
        self._renderer.viewport_width, self._renderer.viewport_height = width, height
        self._camera.fx, self._camera.fy = camera.fx_px, camera.fy_px
        self._camera.cx, self._camera.cy = map(float, camera.principal_point_px)
        self._camera.znear = NEAR_M / 2
        self._camera.zfar = 2.0 * max(float(s.vertices_cam_m[:, 2].max()) for s in surfaces)

    def _place(self, surfaces: Sequence[Surface]) -> None:
        """Surfaces into the scene: where the triangles are the same, into the same buffers."""
        sides = [side for surface in surfaces for side in _sides(surface)]
        while len(self._slots) < len(sides):
            self._slots.append(_Slot())
        for slot, side in zip(self._slots, sides, strict=False):
            if not slot.take(side):
                if slot.node is not None:
                    self._scene.remove_node(slot.node)
                slot.node = self._scene.add(self._new_mesh(slot, side))
        for i, slot in enumerate(self._slots):
            slot.node.mesh.is_visible = i < len(sides)

    def _new_mesh(self, slot: _Slot, surface: Surface) -> Any:
        material = self._pyrender.MetallicRoughnessMaterial(
            alphaMode="OPAQUE", baseColorFactor=[1.0, 1.0, 1.0, 1.0]
        )
        slot.triangles = surface.triangles
        slot.primitive = self._pyrender.Primitive(
            positions=_to_gl(surface),
            color_0=_colours(surface),
            indices=surface.triangles,
            material=material,
        )
        return self._pyrender.Mesh([slot.primitive])


@dataclass
class _Slot:
    """A mesh of the scene and the buffers it has on the graphics side."""

    node: Any = None
    primitive: Any = None
    triangles: Int[Array, "f 3"] | None = None

    def take(self, surface: Surface) -> bool:
        """Overwrite positions and colours in place; False if the triangles are others."""
        from OpenGL import GL

        if (
            self.primitive is None
            or not self.primitive._buffers
            or len(self.primitive.positions) != len(surface.vertices_cam_m)
            or not np.array_equal(self.triangles, surface.triangles)
        ):
            return False
        self.primitive.positions = _to_gl(surface)
        self.primitive.color_0 = _colours(surface)
        data = np.hstack([self.primitive.positions, self.primitive.color_0]).astype(np.float32)
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, self.primitive._buffers[0])
        GL.glBufferSubData(GL.GL_ARRAY_BUFFER, 0, data.nbytes, data)
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, 0)
        return True


def _sides(surface: Surface) -> list[Surface]:
    """The outside and, where it can be seen, the inside as a mesh of its own."""
    if not surface.has_inside:
        return [surface]
    inside = replace(surface, triangles=surface.triangles[:, ::-1], colours=surface.inside_colours)
    return [surface, inside]


def _to_gl(surface: Surface) -> Float[Array, "v 3"]:
    return (surface.vertices_cam_m @ GL_FROM_CV).astype(np.float32)


def _colours(surface: Surface) -> Float[Array, "v 4"]:
    opaque = np.ones((len(surface.colours), 1), np.float32)
    return np.hstack([surface.colours.astype(np.float32) / 255.0, opaque])


def _gl_errors() -> tuple[type[BaseException], ...]:
    from OpenGL.error import Error

    return (Error,)


def _sentence(error: BaseException) -> str:
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__} {first}".strip()[:200]


def _egl(device: int) -> Any:
    from pyrender.platforms import egl

    return egl.EGLPlatform(SIZE_STEP_PX, SIZE_STEP_PX, device=egl.get_device_by_index(device))


def _osmesa() -> Any:
    """A context in main memory. pyrender's own needs a newer PyOpenGL and has no framebuffers."""
    from OpenGL import platform
    from pyrender.platforms.base import Platform

    library = platform.PLATFORM.OSMesa
    create = library.OSMesaCreateContextAttribs
    create.restype, create.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_void_p]
    use = library.OSMesaMakeCurrent
    use.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_int]
    destroy = library.OSMesaDestroyContext
    destroy.argtypes = [ctypes.c_void_p]
    current = library.OSMesaGetCurrentContext
    current.restype = ctypes.c_void_p
    # PyOpenGL keeps what it knows of a context under this, and its own kind of pointer has no hash
    platform.GetCurrentContext = platform.PLATFORM.GetCurrentContext = current

    class OsMesa(Platform):
        def init_context(self) -> None:
            pairs = [number for pair in OSMESA_ATTRIBUTES.items() for number in pair]
            self._context = create((ctypes.c_int * (len(pairs) + 1))(*pairs, 0), None)
            if not self._context:
                raise OSError("no context of OpenGL 3.3")
            self._pixels = (ctypes.c_ubyte * (SIZE_STEP_PX * SIZE_STEP_PX * 4))()

        def make_current(self) -> None:
            unsigned_byte = 0x1401
            size = self.viewport_width, self.viewport_height
            if not use(self._context, self._pixels, unsigned_byte, *size):
                raise OSError("the context cannot be used")

        def make_uncurrent(self) -> None:
            pass

        def delete_context(self) -> None:
            destroy(self._context)

        def supports_framebuffers(self) -> bool:
            return True

    return OsMesa(SIZE_STEP_PX, SIZE_STEP_PX)
