"""HeadRenderer: a scene in, a picture and everything that is true about it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from models.flame.open_head import load_open_head
from models.geometry.cameras import Camera
from models.geometry.rotations import about_x, about_y, geodesic_deg
from models.weights import T_HEAD_FROM_TRG_MINI
from viewer.datasets.synthetic import SyntheticHead
from viewer.synthesis import occluders
from viewer.synthesis.backgrounds import face_box_px, sample_background
from viewer.synthesis.clothing import NECKLINES, ClothingBuilder
from viewer.synthesis.fast_raster import (
    depth_into,
    rasterize_into,
    shade_over,
    shadow_into,
    soften_edges,
    vertex_normals_into,
)
from viewer.synthesis.hair import HairBuilder, strand_pattern
from viewer.synthesis.portrait_shape import inflated
from viewer.synthesis.portraits import PortraitAsset
from viewer.synthesis.scene import Light, Scene, cut_out_camera
from viewer.synthesis.surfaces import Surface, joined, painted

Array = np.ndarray

VISIBLE_WITHIN_M = 0.003
LAMP_MAP_PX = 160


@dataclass(frozen=True)
class _Layer:
    surface: Surface
    n_closed: int = 0
    alpha_from_texture: bool = False
    flat: bool = False


class _Buffers:
    """The arrays that every picture of one size needs."""

    def __init__(self, size_px: int) -> None:
        shape = (size_px, size_px)
        self.nearest = np.zeros(shape, np.float32)
        kinds = (np.int32, np.float32, np.float32, np.float32)
        self.layer = tuple(np.zeros(shape, kind) for kind in kinds)
        self.shadow = np.ones(shape, np.float32)
        self.lamp = tuple(np.zeros((LAMP_MAP_PX, LAMP_MAP_PX), kind) for kind in kinds)
        self.image = np.zeros((*shape, 3), np.uint8)
        self.softened = np.zeros((*shape, 3), np.uint8)


class HeadRenderer:
    """Draws heads of given portraits. Not for several threads at once; each takes its own."""

    def __init__(
        self,
        portraits: Sequence[PortraitAsset],
        size_px: int = 256,
        photos: Sequence[UInt8[Array, "_h _w 3"]] = (),
    ) -> None:
        """photos: without a face, for backgrounds, beside the portraits' own."""
        self._photos = photos
        self.portraits = {portrait.person: portrait for portrait in portraits}
        self.head = load_open_head()
        self.size_px = size_px
        self._list = list(portraits)
        self._face_boxes = np.array([face_box_px(portrait) for portrait in portraits])
        self._buffers = _Buffers(size_px)
        self._hair = HairBuilder(self.head)
        self._strands = strand_pattern().astype(np.float32) / 255
        self._template = self.head.template_vertices_m.astype(np.float32)
        directions = [self.head.shape_directions_m, self.head.expression_directions_m]
        self._directions = np.concatenate(directions).astype(np.float32).reshape(112, -1)
        self._all_triangles = self.head.triangles.astype(np.int32)
        n_head = len(self.head.head_triangles)
        self._clothing = ClothingBuilder(self.head)
        # by neckline; "" is for those whose own shoulders are drawn
        self._triangles = {"": self.head.head_triangles.astype(np.int32)} | {
            name: self._all_triangles[~shirt.hidden]
            for name, shirt in self._clothing.shirts.items()
        }
        self._n_head = {"": n_head} | {
            name: int((~shirt.hidden[:n_head]).sum())
            for name, shirt in self._clothing.shirts.items()
        }
        self._textures = {
            person: np.ascontiguousarray(np.dstack([p.image_rgb, p.person_mask]))
            for person, p in self.portraits.items()
        }
        self._paint = {
            person: tuple(map(np.float32, (p.texture_px, p.texture_weight, p.fill_rgb)))
            for person, p in self.portraits.items()
        }
        parts = self.head.part_of_triangle
        self._eyes = [
            np.unique(self.head.triangles[parts == self.head.part_names.index(name)])
            for name in ("eye_l", "eye_r")
        ]

    def vertices_m(self, scene: Scene) -> Float[Array, "v 3"]:
        """The skin of a scene's person, `open_head` frame, eyes turned, neck straight."""
        weights = np.concatenate([scene.identity, scene.expression]).astype(np.float32)
        vertices = self._template + (weights @ self._directions).reshape(-1, 3)
        joints = self.head.joint_regressor[3:5] @ vertices
        for ids, centre, (yaw, pitch) in zip(self._eyes, joints, scene.eye_angles_deg, strict=True):
            turn = about_y(float(yaw)) @ about_x(float(-pitch))
            vertices[ids] = ((vertices[ids] - centre) @ turn.T + centre).astype(np.float32)
        return vertices

    def render(
        self, scene: Scene, key: str, rng: np.random.Generator, *, depth: bool = True
    ) -> SyntheticHead:
        """The picture with its truth, depth if wanted. rng decides what the scene leaves open."""
        straight = self.vertices_m(scene)
        skin = self.head.with_body_turned(straight, scene.body_from_head)
        landmarks = self.head.landmarks_468_m(skin)
        R_head, t_head = T_HEAD_FROM_TRG_MINI[:3, :3], T_HEAD_FROM_TRG_MINI[:3, 3]
        R = scene.R_cam_from_head @ R_head
        t = scene.R_cam_from_head @ t_head + scene.t_cam_from_head_m
        camera = cut_out_camera(landmarks @ R.T + t, scene.whole_focal_px, self.size_px)
        b = self._buffers
        b.image[:] = sample_background(
            self._list, self._face_boxes, self.size_px, rng, self._photos
        )
        b.nearest[:] = 0
        is_face = scene.negative is None
        mask = np.zeros((self.size_px, self.size_px), bool)
        if scene.negative != "background":
            mask = self._draw(scene, straight, skin, landmarks, R, t, camera, rng)
        soften_edges(b.image, b.nearest, b.softened)
        depth_m = None
        if depth:
            depth_m = np.empty_like(b.nearest)
            depth_into(b.nearest, mask, depth_m)
        return SyntheticHead(
            key=key,
            image_rgb=b.softened.copy(),
            camera=camera,
            is_face=is_face,
            R_cam_from_head=scene.R_cam_from_head if is_face else np.eye(3),
            t_cam_from_head_mm=scene.t_cam_from_head_m * 1000.0 if is_face else np.zeros(3),
            landmarks_468_head_m=landmarks @ R_head.T + t_head if is_face else np.zeros((468, 3)),
            visible_468=self._visible(landmarks @ R.T + t, camera) & is_face,
            identity=scene.identity if is_face else np.zeros(60),
            expression=scene.expression if is_face else np.zeros(52),
            eye_angles_deg=scene.eye_angles_deg if is_face else np.zeros((2, 2)),
            body_from_head=scene.body_from_head if is_face else np.eye(3),
            whole_focal_px=scene.whole_focal_px if is_face else 0.0,
            person=scene.person,
            tags=(*((scene.negative,) if scene.negative else (scene.hair.kind,)), *scene.things),
            mask=mask.view(np.uint8) * np.uint8(255),
            depth_m=depth_m,
        )

    def _visible(self, landmarks_cam_m: Float[Array, "468 3"], camera: Camera) -> Array:
        """Landmarks that nothing hides and that are in the picture."""
        points = camera.project(landmarks_cam_m)
        column, row = np.floor(points).astype(int).clip(0, self.size_px - 1).T
        inside = ((points >= 0) & (points < self.size_px)).all(1)
        nearest_m = 1.0 / np.maximum(self._buffers.nearest[row, column], 1e-6)
        return inside & (landmarks_cam_m[:, 2] < nearest_m + VISIBLE_WITHIN_M)

    def _draw(
        self,
        scene: Scene,
        straight: Float[Array, "v 3"],
        skin: Float[Array, "v 3"],
        landmarks: Float[Array, "468 3"],
        R: Float[Array, "3 3"],
        t: Float[Array, "3"],
        camera: Camera,
        rng: np.random.Generator,
    ) -> Array:
        """Draw all layers; returns where the head with its hair is seen."""
        portrait = self.portraits[scene.person]
        normals = self._skin_normals(scene, skin)
        solid, glass = self._things(scene, portrait, skin, normals, landmarks, rng)
        sheet = self._uses_sheet(scene, portrait, R, rng)
        neckline = "" if sheet else str(rng.choice(list(NECKLINES)))
        own = self._head_surface(scene, portrait, skin, neckline, rng)
        if scene.negative == "things":
            solid = solid or [occluders.hand(landmarks, portrait.skin_rgb, rng)]
            opaque, n_closed, n_head = joined(solid), 0, 0
        else:
            body = [self._shirt(neckline, scene, straight, skin, rng)] if neckline else []
            opaque, n_closed = joined([own, *body, *solid]), len(own.triangles)
            n_head = self._n_head[neckline]
        texture = self._textures[scene.person]
        self._shade(_Layer(opaque, n_closed), R, t, camera, scene.light, texture)
        b = self._buffers
        mask = (b.layer[0] >= 0) & (b.layer[0] < n_head)
        if scene.negative != "things":
            hair = self._hair.surfaces(scene.hair, skin, normals, rng)
            if hair:
                before = b.nearest.copy()
                self._shade(_Layer(joined(hair)), R, t, camera, scene.light, texture)
                mask |= b.nearest != before
            if sheet:
                self._shade(_Layer(sheet, 0, True, True), R, t, camera, scene.light, texture)
        if glass:
            self._shade(_Layer(joined(glass)), R, t, camera, scene.light, texture)
        return mask

    def _skin_normals(self, scene: Scene, skin: Float[Array, "v 3"]) -> Float[Array, "v 3"]:
        """For what is worn on the skin; zeros where nothing is."""
        normals = np.zeros_like(skin)
        if "mask" in scene.things or scene.hair.is_drawn:
            vertex_normals_into(skin, self._all_triangles, normals)
        return normals

    def _head_surface(
        self,
        scene: Scene,
        portrait: PortraitAsset,
        skin: Float[Array, "v 3"],
        neckline: str,
        rng: np.random.Generator,
    ) -> Surface:
        vertices = skin
        strand = np.zeros(len(skin), np.float32)
        if scene.hair.is_portraits:
            amount = rng.uniform(0.3, 1.15) if rng.random() < 0.5 else 1.0
            if scene.hair.kind == "kept":
                amount = 1.0
            grown = (1 + (portrait.inflation - 1) * amount).astype(np.float32)
            vertices = inflated(skin, grown)
            unseen = 1 - portrait.texture_weight
            strand = (0.7 * self._hair.weight(scene.hair) * unseen).astype(np.float32)
        uv = self._hair.strand_uv * [scene.hair.strand_tiles, 9.0]
        return Surface(
            vertices.astype(np.float32),
            self._triangles[neckline],
            *self._paint[scene.person],
            uv.astype(np.float32),
            strand,
            np.ones(len(skin), np.float32),
        )

    def _shirt(
        self,
        neckline: str,
        scene: Scene,
        straight: Float[Array, "v 3"],
        skin: Float[Array, "v 3"],
        rng: np.random.Generator,
    ) -> Surface:
        shirt = self._clothing.shirts[neckline]
        vertices = self._clothing.vertices_m(shirt, straight, skin, scene.body_from_head)
        cloth = rng.uniform(8, 240, 3) if rng.random() < 0.6 else rng.uniform(8, 240) * np.ones(3)
        stripes = 1 + rng.choice([0.0, 0.25]) * np.sin(vertices[:, :1] * rng.uniform(80, 500))
        return painted(vertices, shirt.triangles, cloth * stripes)

    def _uses_sheet(
        self,
        scene: Scene,
        portrait: PortraitAsset,
        R: Float[Array, "3 3"],
        rng: np.random.Generator,
    ) -> Surface | None:
        """Long hair, ears and shoulders of the portrait, where the view is near enough to it."""
        turned = float(geodesic_deg(R, portrait.R_cam_from_open_head))
        wanted = rng.random() < (0.85 if turned < 50 else 0.15)
        if not scene.hair.is_portraits or not wanted or not len(portrait.sheet_triangles):
            return None
        n = len(portrait.sheet_vertices_open_head_m)
        return Surface(
            portrait.sheet_vertices_open_head_m.astype(np.float32),
            portrait.sheet_triangles.astype(np.int32),
            portrait.sheet_px.astype(np.float32),
            np.ones(n, np.float32),
            np.zeros((n, 3), np.float32),
            np.zeros((n, 2), np.float32),
            np.zeros(n, np.float32),
            np.ones(n, np.float32),
        )

    def _things(
        self,
        scene: Scene,
        portrait: PortraitAsset,
        skin: Float[Array, "v 3"],
        normals: Float[Array, "v 3"],
        landmarks: Float[Array, "468 3"],
        rng: np.random.Generator,
    ) -> tuple[list[Surface], list[Surface]]:
        """Solid and glassy things before the face."""
        solid, glass = [], []
        for thing in scene.things:
            if thing == "glasses":
                frame, lenses = occluders.glasses(landmarks, rng)
                solid.append(frame)
                glass.append(lenses)
            elif thing == "mask":
                solid.append(occluders.face_mask(self.head, skin, normals, rng))
            elif thing == "hand":
                solid.append(occluders.hand(landmarks, portrait.skin_rgb, rng))
            elif thing == "phone":
                solid.append(occluders.phone(landmarks, rng))
                solid.append(occluders.hand(landmarks, portrait.skin_rgb, rng))
            elif thing == "microphone":
                solid.append(occluders.microphone(landmarks, rng))
            else:
                glass.append(occluders.strands_over_face(landmarks, scene.hair.rgb, rng))
        return solid, glass

    def _shade(
        self,
        layer: _Layer,
        R: Float[Array, "3 3"],
        t: Float[Array, "3"],
        camera: Camera,
        light: Light,
        texture: UInt8[Array, "512 512 4"],
    ) -> None:
        b, surface = self._buffers, layer.surface
        points = surface.moved(R, t).vertices_m
        normals = np.zeros_like(points)
        vertex_normals_into(points, surface.triangles, normals)
        z = points[:, 2]
        safe = np.maximum(z, 1e-3)
        focal, (cx, cy) = camera.fx_px, camera.principal_point_px
        x_px = (points[:, 0] / safe * focal + cx).astype(np.float32)
        y_px = (points[:, 1] / safe * focal + cy).astype(np.float32)
        rasterize_into(x_px, y_px, z, surface.triangles, layer.n_closed, *b.layer)
        use_shadow = light.casts_shadow and not layer.flat
        if use_shadow:
            self._cast_shadow(points, surface.triangles, light, camera)
        paint = surface.paint()
        kind = [1.0 if layer.flat else 0.6, light.gloss, float(layer.alpha_from_texture)]
        lamp = np.array([light.direction_cam, light.lamp_rgb, light.ambient_rgb, kind], np.float32)
        shade_over(
            b.image,
            b.nearest,
            b.layer,
            surface.triangles,
            normals,
            paint,
            texture,
            self._strands,
            lamp,
            b.shadow,
            use_shadow,
        )

    def _cast_shadow(
        self,
        points_cam_m: Float[Array, "n 3"],
        triangles: Array,
        light: Light,
        camera: Camera,
    ) -> None:
        """`shadow` of the last layer drawn, from a look along the light."""
        b = self._buffers
        forward = -light.direction_cam
        side = np.cross(forward, [0.0, 1.0, 0.1])
        side /= np.linalg.norm(side)
        R_light = np.stack([side, np.cross(forward, side), forward]).astype(np.float32)
        centre = points_cam_m.mean(0)
        scale = np.float32(LAMP_MAP_PX / 0.5)
        seen = (points_cam_m - centre) @ R_light.T
        half = np.float32(LAMP_MAP_PX / 2)
        rasterize_into(
            seen[:, 0] * scale + half,
            seen[:, 1] * scale + half,
            seen[:, 2] + np.float32(2),
            triangles,
            0,
            *b.lamp,
        )
        cx, cy = camera.principal_point_px
        shadow_into(
            b.shadow,
            b.layer,
            R_light,
            centre.astype(np.float32),
            scale,
            b.lamp[3],
            np.float32(camera.fx_px),
            np.float32(cx),
            np.float32(cy),
        )
