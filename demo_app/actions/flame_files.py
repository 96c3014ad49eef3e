"""The head on screen as files: GLB with morph targets, OBJ, PLY, parameters, picture, ARKit CSV."""

from __future__ import annotations

import io
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from demo_app.actions.flame_desk import FlameDesk
from demo_app.actions.flame_parameters import FlameTabError, HeadParameters
from demo_app.actions.full_head import arkit_turns
from demo_app.inference.live_link import FaceMoment, LiveLinkError, write_live_link_csv
from models.flame.assets import FlameAssets
from models.flame.fit import FlameFitter
from viewer.render.mesh_files import NamedMesh, obj_bytes, ply_bytes
from viewer.render.mesh_glb import MorphMesh, glb_from_morph_meshes
from viewer.render.mesh_image import RenderMesh, shared_renderer
from viewer.render.render_scene import CLAY
from viewer.render.turntable import portrait

Array = np.ndarray

FILE_LABELS = {
    "glb": "GLB with morph targets",
    "obj": "OBJ",
    "ply": "PLY",
    "npz": "Parameters (npz)",
    "png": "PNG, transparent",
    "csv": "ARKit CSV",
}
REMARK = "metres; x to the subject's left, y up, z out of the face"
PICTURE_WH_PX = (1200, 1200)
ONE_FRAME_FPS = 30.0


@dataclass(frozen=True)
class MadeFile:
    """A file to be downloaded."""

    name: str
    content: bytes


def head_file(
    desk: FlameDesk, parameters: HeadParameters, kind: str, view: object = None
) -> MadeFile:
    """kind: a key of `FILE_LABELS`. view: yaw_deg and pitch_deg of the 3D view, for the picture.

    Raises: FlameTabError.
    """
    makers: dict[str, Callable[[], bytes]] = {
        "glb": lambda: glb_from_morph_meshes([morph_mesh(desk.assets, parameters)]),
        "obj": lambda: obj_bytes([named_mesh(desk, parameters)], REMARK),
        "ply": lambda: ply_bytes([named_mesh(desk, parameters)], REMARK),
        "npz": lambda: parameters_npz(desk.assets, [parameters], ONE_FRAME_FPS),
        "png": lambda: picture_png(desk, parameters, *_angles(view)),
        "csv": lambda: arkit_csv(desk, [parameters], ONE_FRAME_FPS),
    }
    if kind not in makers:
        raise FlameTabError(f"There is no file of kind {kind[:20]!r}.")
    return MadeFile(f"{desk.stem}.{kind}", makers[kind]())


def named_mesh(desk: FlameDesk, parameters: HeadParameters) -> NamedMesh:
    """The head as it is shown."""
    vertices_m = desk.head(parameters).vertices_flame_m.astype(np.float64)
    return NamedMesh("head", vertices_m, desk.assets.triangles)


def morph_mesh(assets: FlameAssets, parameters: HeadParameters) -> MorphMesh:
    """The head with its expressions as targets; those without names are numbered from 1."""
    morphs = FlameFitter(assets).morphs(**vars(parameters))
    numbered = tuple(f"expression_{k + 1:03d}" for k in range(len(parameters.expression)))
    return MorphMesh(
        name="head",
        vertices_m=morphs.neutral_m,
        triangles=assets.triangles,
        target_names=assets.expression_names or numbered,
        target_offsets_m=morphs.offsets_m,
        weights=morphs.weights,
        R_gl_from_mesh=morphs.R_flame_from_neutral,
        t_gl_from_mesh_m=morphs.t_flame_from_neutral_m,
        colour=CLAY,
    )


def parameters_npz(assets: FlameAssets, frames: Sequence[HeadParameters], fps: float) -> bytes:
    """One row a frame, without pickles; as `write_head_parameters` names them. Names are bytes."""
    names = [name.encode() for name in assets.expression_names]
    content = io.BytesIO()
    np.savez_compressed(
        content,
        model=np.array(assets.name.encode()),
        joint_names=np.array([name.encode() for name in assets.joint_names]),
        expression_names=np.array(names, "S"),
        frame_index=np.arange(len(frames)),
        time_s=np.arange(len(frames)) / fps,
        track_id=np.ones(len(frames), np.int64),
        **{
            name: np.stack([getattr(frame, name) for frame in frames])
            for name in HeadParameters.__annotations__
        },
    )
    return content.getvalue()


def picture_png(
    desk: FlameDesk, parameters: HeadParameters, yaw_deg: float, pitch_deg: float
) -> bytes:
    """The head from the side of the 3D view, on a transparent ground."""
    meshes = [render_mesh(desk, parameters)]
    placed, camera = portrait(meshes, PICTURE_WH_PX, yaw_deg, pitch_deg)
    return shared_renderer().draw(None, placed, camera).transparent_png()


def render_mesh(desk: FlameDesk, parameters: HeadParameters) -> RenderMesh:
    """The head in the project's upright `head` frame."""
    T = desk.assets.T_head_from_flame
    vertices_m = desk.head(parameters).vertices_flame_m.astype(np.float64)
    return RenderMesh(vertices_m @ T[:3, :3].T + T[:3, 3], desk.assets.triangles)


def arkit_csv(desk: FlameDesk, frames: Sequence[HeadParameters], fps: float) -> bytes:
    """Live Link Face's table. Raises: FlameTabError for a model without ARKit's expressions."""
    assets = desk.assets
    moments = [
        FaceMoment(k / fps, frame.expression, arkit_turns(frame.pose_rad, assets))
        for k, frame in enumerate(frames)
    ]
    path = desk.folder / f"arkit-{secrets.token_hex(4)}.csv"
    try:
        write_live_link_csv(path, moments, assets.expression_names, fps)
    except LiveLinkError as error:
        raise FlameTabError(str(error)) from error
    content = path.read_bytes()
    path.unlink()
    return content


def _angles(view: object) -> tuple[float, float]:
    values = view if isinstance(view, dict) else {}
    angles = []
    for name in ("yaw_deg", "pitch_deg"):
        value = values.get(name, 0.0)
        is_number = isinstance(value, int | float) and math.isfinite(value)
        angles.append(float(value) if is_number else 0.0)
    return angles[0], angles[1]
