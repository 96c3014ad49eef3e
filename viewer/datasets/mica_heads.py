"""The head models behind MICA's meshes: the user's FLAME, and the project's open head."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from models.flame.assets import (
    FlameAssets,
    files_beside,
    open_head_assets,
    read_flame_assets,
)
from models.flame.flame_files import FlameFileError
from models.flame.layer import FlameLayer
from models.flame.versions import MICA_VERSION, version_mismatch
from models.geometry.rotations import geodesic_deg, nearest_rotation
from viewer.datasets.mica_files import SHAPE_COUNT, Parameters
from viewer.datasets.source import DatasetError

Array = np.ndarray


@dataclass(frozen=True)
class ParametricHead:
    """A head model ready to use. layer: its mesh of coefficients."""

    title: str
    assets: FlameAssets
    layer: FlameLayer

    @property
    def triangles(self) -> Int[Array, "f 3"]:
        return self.assets.triangles

    def has_triangles(self, triangles: Int[Array, "f 3"]) -> bool:
        """Whether a mesh has this model's vertices in this model's order."""
        return np.array_equal(self.triangles, triangles)

    def vertices_m(self, parameters: Parameters) -> Float[Array, "v 3"]:
        """The mesh of parameters, in the model's frame.

        Raises: DatasetError for coefficients that the model does not have.
        """
        betas = torch.tensor(parameters.betas, dtype=torch.float64)[None]
        pose = None
        if parameters.pose_rad is not None:
            pose = torch.tensor(parameters.pose_rad, dtype=torch.float64)[None]
        shape, expression = _used(betas[:, :SHAPE_COUNT]), _used(betas[:, SHAPE_COUNT:])
        try:
            with torch.no_grad():
                return self.layer(shape, expression, pose).vertices_flame_m[0].numpy()
        except ValueError as error:
            raise DatasetError(f"The parameters are not those of {self.title}: {error}") from error

    def mismatch(self, parameters: Parameters) -> str:
        """Why MICA's parameters are not this model's; "" where nothing speaks against it."""
        made_for = self.assets.name if self.assets.is_open_head else MICA_VERSION
        return version_mismatch(made_for, self.assets, parameters.pose_rad)

    def landmarks_68_m(self, vertices_m: Float[Array, "v 3"]) -> Float[Array, "68 3"] | None:
        """iBUG's landmarks on a mesh of this topology, in any frame; None: nobody says where."""
        landmarks = self.assets.landmarks
        if landmarks is None:
            return None
        corners = vertices_m[landmarks.static_vertex_ids]
        return (corners * landmarks.static_weights[..., None]).sum(1)


def _used(coefficients: torch.Tensor) -> torch.Tensor:
    """Without the zeros at the end: a shorter model has no directions for them, and needs none."""
    ids = coefficients[0].nonzero()
    return coefficients[:, : int(ids.max()) + 1 if len(ids) else 0]


@lru_cache(maxsize=1)
def open_head() -> ParametricHead:
    """The project's own head."""
    return _head(open_head_assets(), "the open head")


def flame_head(path: Path) -> ParametricHead:
    """The user's FLAME, with landmark_embedding.npy of the same folder where that is there.

    Raises: DatasetError.
    """
    try:
        files = (path, *filter(None, files_beside(path)))
        stamps = tuple(file.stat().st_mtime_ns for file in files if file.is_file())
        return _flame_head(path, stamps)
    except (OSError, FlameFileError) as error:
        raise DatasetError(str(error)) from error


@lru_cache(maxsize=1)
def _flame_head(path: Path, stamps: tuple[int, ...]) -> ParametricHead:
    assets = read_flame_assets(path, *files_beside(path))
    if len(assets.joint_names) != 5:
        raise DatasetError(f"{path} has {len(assets.joint_names)} joints; FLAME has 5.")
    return _head(assets, assets.name)


def _head(assets: FlameAssets, title: str) -> ParametricHead:
    return ParametricHead(title, assets, FlameLayer(assets, torch.float64))


@dataclass(frozen=True)
class Motion:
    """How a mesh was moved onto another one, vertex by vertex in the least-squares sense."""

    vertices_m: Float[Array, "v 3"]
    turned_deg: float
    moved_mm: float


def moved_onto(source_m: Float[Array, "v 3"], target_m: Float[Array, "v 3"]) -> Motion:
    """The source turned and shifted onto the target, not scaled (Kabsch 1976)."""
    middle, goal = source_m.mean(0), target_m.mean(0)
    R = nearest_rotation((target_m - goal).T @ (source_m - middle))
    moved = (source_m - middle) @ R.T + goal
    shift_mm = 1000.0 * float(np.linalg.norm(goal - middle))
    return Motion(moved, float(geodesic_deg(R, np.eye(3))), shift_mm)


def transformed(T: Float[Array, "4 4"], points: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
    """T @ p of each point."""
    return points @ T[:3, :3].T + T[:3, 3]


def outward(vertices: Float[Array, "v 3"], triangles: Int[Array, "f 3"]) -> Int[Array, "f 3"]:
    """The triangles counter-clockwise seen from outside, by the sign of the enclosed volume."""
    a, b, c = (vertices - vertices.mean(0))[triangles].transpose(1, 0, 2)
    return triangles if float((a * np.cross(b, c)).sum()) >= 0 else triangles[:, ::-1]
