"""A painted head: the open head with a face, hair and a shirt, rendered at an exactly known pose.

Detectors and pose networks take it for a person, so tests and demonstrations have pictures whose
R, t and K are true to the last digit, made on the spot from the project's own CC0 head model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from models.flame.open_head import HeadAssets, load_open_head
from models.geometry.cameras import Camera
from models.weights import T_HEAD_FROM_TRG_MINI
from viewer.synthesis.clothing import ClothingBuilder
from viewer.synthesis.face_map import FaceMap
from viewer.synthesis.head_paint import (
    Palette,
    hair_strands,
    hair_weight,
    palette_from_seed,
    smooth_step,
)
from viewer.synthesis.rasterizer import Raster, rasterize

Array = np.ndarray

HAIR_THICKNESS_M = 0.009
IRIS_HALF_ANGLE_DEG, PUPIL_HALF_ANGLE_DEG = 25.0, 10.0
SUPERSAMPLING = 2


@dataclass(frozen=True)
class PaintedHead:
    """One person with one expression, ready to be rendered.

    vertices_head_m, triangles: everything, hair and shirt included.
    positions_m: where each vertex is on the template (`open_head` frame), for the paint.
    part_of_triangle: index into the open head's parts; the shirt is the next number.
    landmarks_68_head_m, landmarks_468_head_m: on the skin, iBUG's and FaceMesh's order.
    """

    vertices_head_m: Float[Array, "v 3"]
    triangles: Int[Array, "f 3"]
    positions_m: Float[Array, "v 3"]
    part_of_triangle: Int[Array, "f"]
    landmarks_68_head_m: Float[Array, "68 3"]
    landmarks_468_head_m: Float[Array, "468 3"]
    palette: Palette
    face_map: FaceMap
    seed: int


@cache
def _open_head() -> HeadAssets:
    return load_open_head()


@cache
def _clothing() -> ClothingBuilder:
    return ClothingBuilder(_open_head())


@lru_cache(maxsize=16)
def _face_map(seed: int) -> FaceMap:
    head = _open_head()
    landmarks = head.landmarks_468_m(head.template_vertices_m)
    return FaceMap(landmarks, palette_from_seed(seed), seed)


def painted_identity(seed: int) -> Float[Array, "s"]:
    """Identity coefficients of person `seed`: one of the head model's random persons, moderated."""
    samples = _open_head().shape_samples
    return 0.8 * samples[np.random.default_rng([seed, 0]).integers(len(samples))]


def build_painted_head(
    identity_seed: int = 0, expression: Mapping[str, float] | None = None
) -> PaintedHead:
    """Person `identity_seed` (face and colours) with an expression such as {"jawOpen": 0.5}."""
    head = _open_head()
    skin = head.vertices_m(painted_identity(identity_seed), expression)
    hair = np.zeros(len(skin))
    scalp = np.unique(head.triangles_of("skin"))
    hair[scalp] = hair_weight(head.template_vertices_m[scalp])
    grown = skin + (HAIR_THICKNESS_M * hair)[:, None] * vertex_normals(skin, head.triangles)
    clothing, straight = _clothing(), np.eye(3)
    shirt = clothing.shirts["crew"]
    cloth = clothing.vertices_m(shirt, skin, skin, straight)
    shown = ~shirt.hidden
    positions = np.concatenate([head.template_vertices_m, cloth])
    R, t = T_HEAD_FROM_TRG_MINI[:3, :3], T_HEAD_FROM_TRG_MINI[:3, 3]
    return PaintedHead(
        vertices_head_m=np.concatenate([grown, cloth]) @ R.T + t,
        triangles=np.concatenate([head.triangles[shown], shirt.triangles + len(skin)]),
        positions_m=positions,
        part_of_triangle=np.concatenate(
            [head.part_of_triangle[shown], np.full(len(shirt.triangles), len(head.part_names))]
        ),
        landmarks_68_head_m=head.landmarks_68_m(skin) @ R.T + t,
        landmarks_468_head_m=head.landmarks_468_m(skin) @ R.T + t,
        palette=palette_from_seed(identity_seed),
        face_map=_face_map(identity_seed),
        seed=identity_seed,
    )


def render_painted_head(
    R_cam_from_head: Float[Array, "3 3"],
    t_cam_from_head_mm: Float[Array, "3"],
    camera: Camera,
    identity_seed: int = 0,
    expression: Mapping[str, float] | None = None,
    background_seed: int = 0,
) -> UInt8[Array, "height width 3"]:
    """One painted head in front of a made background; the same arguments give the same picture."""
    return draw_painted_head(
        build_background(camera.size_wh_px, background_seed),
        build_painted_head(identity_seed, expression),
        R_cam_from_head,
        t_cam_from_head_mm,
        camera,
    )


def build_background(size_wh_px: tuple[int, int], seed: int) -> UInt8[Array, "height width 3"]:
    """A blurred room: a gradient with soft patches."""
    width, height = size_wh_px
    rng = np.random.default_rng([seed, 4])
    patches = rng.uniform(70, 190, (4, 5, 1)) + rng.normal(0, 9, (4, 5, 3))
    smooth = cv2.resize(patches.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return smooth.clip(0, 255).astype(np.uint8)


def draw_painted_head(
    image_rgb: UInt8[Array, "height width 3"],
    head: PaintedHead,
    R_cam_from_head: Float[Array, "3 3"],
    t_cam_from_head_mm: Float[Array, "3"],
    camera: Camera,
    light_cam: tuple[float, float, float] = (-0.35, -0.55, -0.75),
) -> UInt8[Array, "height width 3"]:
    """A new picture with the head in front of `image_rgb`.

    light_cam: direction to the lamp in the camera frame.
    """
    width, height = camera.size_wh_px
    fine = camera.resized((width * SUPERSAMPLING, height * SUPERSAMPLING))
    vertices_cam_m = head.vertices_head_m @ R_cam_from_head.T + t_cam_from_head_mm / 1000.0
    raster = rasterize(vertices_cam_m, head.triangles, fine, cull_backfaces=True)
    colours = _shaded(head, raster, vertices_cam_m, fine, np.asarray(light_cam))
    layer = np.zeros((*fine.size_wh_px[::-1], 4), np.float32)
    layer[raster.rows, raster.columns] = np.c_[colours, np.ones(len(colours))]
    layer = cv2.resize(layer, (width, height), interpolation=cv2.INTER_AREA)
    covered = layer[..., 3:]
    mixed = layer[..., :3] * 255 + image_rgb * (1 - covered)
    return np.round(mixed).clip(0, 255).astype(np.uint8)


def vertex_normals(
    vertices: Float[Array, "v 3"], triangles: Int[Array, "f 3"]
) -> Float[Array, "v 3"]:
    """Unit normals, weighted by area; outwards where triangles are counter-clockwise."""
    a, b, c = vertices[triangles].transpose(1, 0, 2)
    across = np.cross(b - a, c - a)
    normals = np.stack(
        [
            np.bincount(triangles.ravel(), np.repeat(across[:, axis], 3), len(vertices))
            for axis in range(3)
        ],
        -1,
    )
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _shaded(
    head: PaintedHead,
    raster: Raster,
    vertices_cam_m: Float[Array, "v 3"],
    camera: Camera,
    light_cam: Float[Array, "3"],
) -> Float[Array, "n 3"]:
    """Colour of every pixel that sees the head: paint, lit by a lamp, the sky and a faint gloss."""
    normals = raster.interpolate(head.triangles, vertex_normals(vertices_cam_m, head.triangles))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    to_light = light_cam / np.linalg.norm(light_cam)
    half = to_light + np.array([0.0, 0.0, -1.0])
    diffuse = np.clip(normals @ to_light, 0, None)
    sky = 0.5 - 0.5 * normals[:, 1]
    paint, gloss = _painted(head, raster, float(np.median(raster.depth_m)) / camera.fx_px)
    shine = np.clip(normals @ (half / np.linalg.norm(half)), 0, None) ** 24
    return paint * (0.32 + 0.28 * sky + 0.55 * diffuse)[:, None] + (gloss * shine)[:, None]


def _painted(
    head: PaintedHead, raster: Raster, pixel_m: float
) -> tuple[Float[Array, "n 3"], Float[Array, "n"]]:
    """Unlit colour and glossiness of every pixel."""
    positions = raster.interpolate(head.triangles, head.positions_m)
    part = head.part_of_triangle[raster.triangle_ids]
    names = _open_head().part_names
    rgb, gloss = np.zeros((len(part), 3)), np.zeros(len(part))
    for index, name in enumerate((*names, "shirt")):
        chosen = np.flatnonzero(part == index)
        at = positions[chosen]
        if name == "skin":
            rgb[chosen], gloss[chosen] = _skin_and_hair(head, at, pixel_m)
        elif name.startswith("eye"):
            rgb[chosen], gloss[chosen] = _eye(head, at, index), 0.12
        elif name.startswith("teeth"):
            rgb[chosen] = [0.82, 0.78, 0.70]
        elif name == "tongue":
            rgb[chosen] = [0.55, 0.25, 0.25]
        elif name == "shoulders":
            rgb[chosen], gloss[chosen] = head.palette.skin, 0.06
        else:
            rgb[chosen] = head.palette.cloth
    return rgb, gloss


def _skin_and_hair(
    head: PaintedHead, at: Float[Array, "n 3"], pixel_m: float
) -> tuple[Float[Array, "n 3"], Float[Array, "n"]]:
    over, alpha = head.face_map.sample(at, pixel_m)
    rgb = head.palette.skin * (1 - alpha[:, None]) + over
    gloss = np.full(len(at), 0.06)
    cover = hair_weight(at)
    hairy = np.flatnonzero(cover > 0)
    streaks, edge = hair_strands(at[hairy], head.seed)
    cover = smooth_step(cover[hairy] + edge, 0.35, 0.65)[:, None]
    rgb[hairy] = rgb[hairy] * (1 - cover) + head.palette.hair * streaks[:, None] * cover
    gloss[hairy] += 0.04 * cover[:, 0]
    return rgb, gloss


def _eye(head: PaintedHead, at: Float[Array, "n 3"], part: int) -> Float[Array, "n 3"]:
    """White, iris with a dark rim, and pupil, by the angle from the eye's axis."""
    ball = head.positions_m[head.triangles[head.part_of_triangle == part]].reshape(-1, 3)
    centre = (ball.min(0) + ball.max(0)) / 2
    out = at - centre
    forward = out[:, 2] / np.maximum(np.linalg.norm(out, axis=1), 1e-9)
    angle_deg = np.degrees(np.arccos(np.clip(forward, -1, 1)))
    iris = 1 - smooth_step(angle_deg, IRIS_HALF_ANGLE_DEG - 1.5, IRIS_HALF_ANGLE_DEG + 1.5)
    rim = iris * smooth_step(angle_deg, IRIS_HALF_ANGLE_DEG - 7, IRIS_HALF_ANGLE_DEG)
    pupil = 1 - smooth_step(angle_deg, PUPIL_HALF_ANGLE_DEG - 1.5, PUPIL_HALF_ANGLE_DEG + 1.5)
    white = np.array([0.86, 0.83, 0.81]) * (1 - 0.3 * smooth_step(out[:, 1], 0.0, 0.009))[:, None]
    colour = white * (1 - iris[:, None]) + head.palette.iris * (iris * (1 - 0.6 * rim))[:, None]
    return colour * (1 - 0.95 * pupil[:, None])
