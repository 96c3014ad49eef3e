"""Fitted heads as files: GLB with morph targets, OBJ, PLY, parameters as an .npz of arrays."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demo_app.inference.export import atomic_file
from demo_app.inference.full_heads import FullHead
from models.flame.assets import FlameAssets
from models.flame.fit import FlameFitter
from models.geometry.cameras import Camera
from viewer.render.mesh_files import NamedMesh, obj_bytes, ply_bytes
from viewer.render.mesh_glb import MorphMesh, glb_from_morph_meshes
from viewer.render.palette import track_colour

REMARK = "metres; x right, y up, z to the camera, which is at the origin"


@dataclass(frozen=True)
class HeadMoment:
    """The heads of one frame of a video, or of a picture."""

    frame_index: int
    time_s: float
    heads: tuple[FullHead, ...]


def write_head_meshes(
    heads: Sequence[FullHead], fitter: FlameFitter, camera: Camera, stem: Path
) -> dict[str, Path]:
    """`stem`_head.glb, .obj and .ply with all heads, with their shoulders. Raises: OSError."""
    triangles = fitter.assets.triangles
    meshes = [
        NamedMesh(f"head_{head.track_id}", head.fit.vertices_flame_m, triangles) for head in heads
    ]
    morphs = [morph_mesh(head, fitter) for head in heads]
    contents = {
        "glb": glb_from_morph_meshes(morphs, camera),
        "obj": obj_bytes(meshes, REMARK),
        "ply": ply_bytes(meshes, REMARK),
    }
    paths = {kind: stem.with_name(f"{stem.name}_head.{kind}") for kind in contents}
    for kind, path in paths.items():
        with atomic_file(path) as file:
            file.write(contents[kind])
    return paths


def morph_mesh(head: FullHead, fitter: FlameFitter) -> MorphMesh:
    """A head with its expressions as targets; those without names are numbered from 1."""
    fit, assets = head.fit, fitter.assets
    morphs = fitter.morphs(fit.shape, fit.expression, fit.pose_rad, fit.translation_m)
    numbered = tuple(f"expression_{k + 1:03d}" for k in range(len(fit.expression)))
    return MorphMesh(
        name=f"head_{head.track_id}",
        vertices_m=morphs.neutral_m,
        triangles=assets.triangles,
        target_names=assets.expression_names or numbered,
        target_offsets_m=morphs.offsets_m,
        weights=morphs.weights,
        R_gl_from_mesh=morphs.R_flame_from_neutral,
        t_gl_from_mesh_m=morphs.t_flame_from_neutral_m,
        colour=track_colour(head.track_id),
    )


def write_head_parameters(moments: Sequence[HeadMoment], assets: FlameAssets, path: Path) -> Path:
    """An .npz without pickles: one row for each head of each frame. Raises: OSError.

    shape, expression, pose_rad, translation_m: what `models.flame.layer.FlameLayer` takes; the
    vertices are in the camera's frame with y and z turned. residual_mm: mean, median and largest.
    Names are ASCII bytes.
    """
    rows = [(moment, head) for moment in moments for head in moment.heads]
    fits = [head.fit for _, head in rows]
    joints = 3 * len(assets.joint_names)
    arrays = {
        "model": np.array(assets.name.encode()),
        "joint_names": np.array([name.encode() for name in assets.joint_names]),
        "expression_names": np.array([name.encode() for name in assets.expression_names], "S"),
        "frame_index": np.array([moment.frame_index for moment, _ in rows], np.int64),
        "time_s": np.array([moment.time_s for moment, _ in rows], np.float64),
        "track_id": np.array([head.track_id for _, head in rows], np.int64),
        "shape": _rows([fit.shape for fit in fits]),
        "expression": _rows([fit.expression for fit in fits]),
        "pose_rad": _rows([fit.pose_rad for fit in fits], joints),
        "translation_m": _rows([fit.translation_m for fit in fits], 3),
        "residual_mm": _rows(
            [
                np.array([fit.residual_mean_mm, fit.residual_median_mm, fit.residual_max_mm])
                for fit in fits
            ],
            3,
        ),
    }
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    with atomic_file(path) as file:
        file.write(content.getvalue())
    return path


def _rows(vectors: Sequence[np.ndarray], width: int = 0) -> np.ndarray:
    return np.stack(vectors) if vectors else np.zeros((0, width))
