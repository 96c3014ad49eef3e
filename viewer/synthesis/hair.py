"""Hair, caps and scarves as surfaces over the scalp, random in shape, for any person.

Everything is measured on the template head (`open_head` frame), so it follows the skin of every
identity. A portrait shows one side of one person's hair; these give profiles and backs of heads
their outlines.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from models.flame.open_head import HeadAssets
from viewer.synthesis.fast_raster import STRAND_TILE_PX
from viewer.synthesis.head_paint import hair_weight, smooth_step
from viewer.synthesis.surfaces import Surface, ellipsoid, grid_triangles, painted

Array = np.ndarray

HairKind = Literal["own", "kept", "bald", "short", "long", "bun", "cap", "scarf"]

CROWN_M = np.array([0.0, 0.111, -0.058])
"""Strands radiate from here."""


@dataclass(frozen=True)
class HairStyle:
    """What is on the scalp.

    kind: own: what the portrait shows, grown more or less. kept: the same as it is, since it is a
        hat or a scarf, or may be one. thickness_m: above the skin. length_m: of long hair or a
    scarf below the ears. reach_deg: how far it comes forward, 0 at the back, 180 at the nose.
    fringe_m: how far the hairline comes down the forehead. rgb: 0 to 255.
    """

    kind: HairKind
    thickness_m: float
    length_m: float
    reach_deg: float
    fringe_m: float
    strand_tiles: float
    rgb: Float[Array, "3"]

    @property
    def is_portraits(self) -> bool:
        """Whether it is what the portrait shows."""
        return self.kind in ("own", "kept")

    @property
    def is_drawn(self) -> bool:
        """Whether it is a layer of its own over the skin."""
        return not self.is_portraits and self.kind != "bald"


def sample_hair(rng: np.random.Generator, hair_rgb: Float[Array, "3"]) -> HairStyle:
    """A random style. hair_rgb: the colour of a person's hair; cloth takes a colour of its own."""
    kinds: tuple[HairKind, ...] = ("own", "bald", "short", "long", "bun", "cap", "scarf")
    kind = kinds[rng.choice(len(kinds), p=[0.48, 0.06, 0.16, 0.17, 0.04, 0.05, 0.04])]
    rgb = np.asarray(hair_rgb, np.float64) * rng.uniform(0.7, 1.3)
    if kind in ("cap", "scarf"):
        rgb = rng.uniform(15, 235, 3)
    elif rng.random() < 0.15:
        rgb = rng.uniform(0.2, 1.0) * np.array([235.0, 205.0, 150.0]) * rng.uniform(0.85, 1.1, 3)
    thick = {"short": (0.003, 0.03), "cap": (0.006, 0.016), "scarf": (0.004, 0.012)}
    low, high = thick.get(kind, (0.006, 0.03))
    return HairStyle(
        kind,
        float(rng.uniform(low, high)),
        float(rng.uniform(0.05, 0.28)),
        float(rng.uniform(85, 158)),
        float(rng.choice([0.0, rng.uniform(-0.012, 0.035)])),
        float(rng.uniform(6, 14)),
        rgb.clip(4, 250),
    )


def strand_pattern(seed: int = 0) -> UInt8[Array, "tile tile"]:
    """Hair strands that run along v, tiling in both directions."""
    rng = np.random.default_rng(seed)
    n = STRAND_TILE_PX
    noise = rng.normal(0, 1, (n, n)).astype(np.float32)
    wide = np.tile(noise, (3, 3))
    fine = cv2.GaussianBlur(wide, (0, 0), sigmaX=0.7, sigmaY=30)[n : 2 * n, n : 2 * n]
    locks = cv2.GaussianBlur(wide, (0, 0), sigmaX=6, sigmaY=60)[n : 2 * n, n : 2 * n]
    mixed = fine / fine.std() + 0.8 * locks / locks.std()
    return (255 * (0.5 + 0.22 * mixed)).clip(0, 255).astype(np.uint8)


class HairBuilder:
    """Hair of any style for skins of the open head."""

    def __init__(self, head: HeadAssets) -> None:
        self._template = head.template_vertices_m
        self._skin_triangles = head.triangles_of("skin").astype(np.int32)
        self._is_skin = np.zeros(len(self._template), bool)
        self._is_skin[np.unique(self._skin_triangles)] = True

    @cached_property
    def strand_uv(self) -> Float[Array, "v 2"]:
        """Around the crown (turns) and away from it (metres), for every vertex."""
        from_crown = self._template - CROWN_M
        around = np.arctan2(from_crown[:, 0], -from_crown[:, 2] + 1e-9) / (2 * np.pi)
        return np.stack([around, np.linalg.norm(from_crown, axis=1)], 1)

    @cached_property
    def _scalp(self) -> Float[Array, "v"]:
        return hair_weight(self._template) * self._is_skin

    @cached_property
    def _covered_by_scarf(self) -> Float[Array, "v"]:
        x, y, z = self._template.T
        oval = np.hypot(x / 0.068, (y + 0.013) / 0.100)
        face = (1 - smooth_step(oval, 0.9, 1.06)) * smooth_step(z, -0.048, -0.026)
        return (1 - face) * self._is_skin * smooth_step(y, -0.132, -0.117)

    def weight(self, style: HairStyle) -> Float[Array, "v"]:
        """0 where the skin is bare, 1 under the hair."""
        if style.kind == "scarf":
            return self._covered_by_scarf
        if style.kind == "cap":
            y, z = self._template[:, 1], self._template[:, 2]
            return smooth_step(y - (0.066 + 0.25 * z) - style.fringe_m, -0.003, 0.003) * (
                self._is_skin
            )
        if style.fringe_m == 0.0:
            return self._scalp
        lowered = self._template + np.array([0.0, style.fringe_m, 0.0])
        fringe = hair_weight(lowered) * (self._template[:, 1] > 0.037)
        return np.maximum(self._scalp * (style.fringe_m > 0), fringe) * self._is_skin

    def surfaces(
        self,
        style: HairStyle,
        vertices_m: Float[Array, "v 3"],
        normals: Float[Array, "v 3"],
        rng: np.random.Generator,
    ) -> list[Surface]:
        """The layer of hair over a skin; empty for styles that need none."""
        if not style.is_drawn:
            return []
        weight = self.weight(style)
        used = self._skin_triangles[(weight[self._skin_triangles] > 0.02).any(1)]
        out = [self._shell(style, used, vertices_m, normals, weight, rng)]
        if style.kind == "long" or (style.kind == "scarf" and style.length_m > 0.1):
            out.append(self._curtain(style, rng))
        if style.kind == "bun":
            size = rng.uniform(0.022, 0.045) * np.array([1.0, 1.0, 0.85])
            place = np.array([0.0, rng.uniform(-0.02, 0.127), rng.uniform(-0.16, -0.095)])
            ball, triangles = ellipsoid(place, size)
            uv = np.stack([ball[:, 0] * style.strand_tiles * 3, ball[:, 1] * 8], 1)
            out.append(painted(ball, triangles, style.rgb, strand_uv=uv, strand=0.8))
        if style.kind == "cap" and rng.random() < 0.7:
            out.append(self._visor(style, rng))
        return out

    def _shell(
        self,
        style: HairStyle,
        triangles: Array,
        vertices_m: Float[Array, "v 3"],
        normals: Float[Array, "v 3"],
        weight: Float[Array, "v"],
        rng: np.random.Generator,
    ) -> Surface:
        cloth = style.kind in ("cap", "scarf")
        ids, local = np.unique(triangles, return_inverse=True)
        waves = rng.normal(0, 1, 4)
        turn = self.strand_uv[ids, 0] * 2 * np.pi
        uneven = 1 + 0.25 * (waves[0] * np.sin(turn) + waves[1] * np.cos(turn)) / 2
        uneven += 0.15 * (waves[2] * np.sin(3 * turn) + waves[3] * np.cos(4 * turn)) / 2
        grown = style.thickness_m * np.clip(uneven, 0.4, 1.8) * np.sqrt(weight[ids])
        grown += 0.0012
        skin = vertices_m[ids] + normals[ids] * grown[:, None]
        uv = self.strand_uv[ids] * [style.strand_tiles, 9.0]
        shade = 1 + rng.normal(0, 0.04, (len(ids), 1))
        return painted(
            skin,
            local.reshape(-1, 3),
            style.rgb * shade,
            alpha=weight[ids],
            strand_uv=uv,
            strand=0.12 if cloth else rng.uniform(0.6, 1.1),
        )

    def _curtain(self, style: HairStyle, rng: np.random.Generator) -> Surface:
        """What hangs down at the back and the sides."""
        rows, columns = 13, 44
        reach = np.radians(style.reach_deg)
        down, across = np.meshgrid(
            np.linspace(0, 1, rows), np.linspace(-1, 1, columns), indexing="ij"
        )
        angle = across * reach
        y = 0.080 - down * (0.110 + style.length_m)
        flare = rng.uniform(-0.03, 0.05) * down + 0.012 * rng.normal() * np.sin(3 * down)
        half_x = 0.084 + style.thickness_m + flare
        half_z = 0.104 + style.thickness_m + flare
        folds = 0.006 * np.sin(angle * rng.uniform(4, 14) + rng.uniform(0, 6)) * down
        sine, cosine = np.sin(angle), np.cos(angle)
        x = np.sign(sine) * np.abs(sine) ** 0.7 * (half_x + folds)
        z = -0.048 - cosine * (half_z + folds)
        vertices = np.stack([x, y, z], -1).reshape(-1, 3)
        fade = np.clip((1 - down) * rng.uniform(3, 8), 0, 1) * np.clip(
            (1 - np.abs(across)) * 9, 0, 1
        )
        cloth = style.kind == "scarf"
        shade = 1 + rng.normal(0, 0.03, (1, columns, 1))
        uv = np.stack([across * style.strand_tiles * 0.4, down * 2.2], -1).reshape(-1, 2)
        return painted(
            vertices,
            grid_triangles(rows, columns),
            np.broadcast_to(style.rgb * shade, (rows, columns, 3)).reshape(-1, 3),
            alpha=np.ones(rows * columns) if cloth else (0.25 + 0.75 * fade).ravel(),
            strand_uv=uv,
            strand=0.15 if cloth else rng.uniform(0.6, 1.1),
        )

    def _visor(self, style: HairStyle, rng: np.random.Generator) -> Surface:
        out, across = np.meshgrid(np.linspace(0, 1, 5), np.linspace(-1, 1, 17), indexing="ij")
        angle = across * 1.05
        length = rng.uniform(0.03, 0.08) * np.sqrt(np.clip(1 - across**2, 0, 1))
        beyond = style.thickness_m + out * length
        x = np.sin(angle) * (0.072 + beyond)
        z = -0.035 + np.cos(angle) * (0.077 + beyond)
        y = 0.077 + style.fringe_m - out * rng.uniform(-0.01, 0.03) - 0.01 * across**2
        vertices = np.stack([x, y, z], -1).reshape(-1, 3)
        return painted(vertices, grid_triangles(5, 17), style.rgb * rng.uniform(0.5, 1.2))
