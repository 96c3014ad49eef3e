"""A moving head: between two sets of parameters, or a video to which heads were fitted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from demo_app.actions.flame_desk import Clip, FlameDesk
from demo_app.actions.flame_files import arkit_csv, parameters_npz, render_mesh
from demo_app.actions.flame_parameters import FlameTabError, HeadParameters
from demo_app.inference.silent_video import FPS, write_silent_mp4
from models.flame.assets import FlameAssets
from models.flame.versions import version_mismatch
from models.geometry.rotations import matrix_from_rotation_vector, rotation_vector_from_matrix
from viewer.datasets.npz_file import read_npz
from viewer.datasets.source import DatasetError
from viewer.render.mesh_image import shared_renderer
from viewer.render.palette import LIGHT
from viewer.render.turntable import portrait, turntable_frames

Array = np.ndarray

VIDEO_WH_PX = (720, 720)
TURNTABLE_FRAMES = 120
MAX_FRAMES, MAX_SECONDS = 3000, 20.0
VIDEO_YAW_DEG, VIDEO_PITCH_DEG = -20.0, 8.0

Report = Callable[[int, int | None], None]


def interpolated(first: HeadParameters, last: HeadParameters, seconds: float) -> Clip:
    """From the first head to the last and back, slow at both ends. Raises: FlameTabError."""
    if not 0.2 <= seconds <= MAX_SECONDS:
        raise FlameTabError(f"The animation must last 0.2 to {MAX_SECONDS:g} seconds.")
    count = max(4, round(seconds * FPS))
    shares = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(count) / count)
    frames = tuple(between(first, last, float(share)) for share in shares)
    return Clip("From the first head to this one and back", float(FPS), frames)


def between(first: HeadParameters, last: HeadParameters, share: float) -> HeadParameters:
    """Joints turn the short way at an even pace; everything else is in proportion."""
    mixed = {
        name: (1 - share) * getattr(first, name) + share * getattr(last, name)
        for name in ("shape", "expression", "translation_m")
    }
    R = matrix_from_rotation_vector(first.pose_rad.reshape(-1, 3))
    goal = matrix_from_rotation_vector(last.pose_rad.reshape(-1, 3))
    way = rotation_vector_from_matrix(R.transpose(0, 2, 1) @ goal)
    pose = rotation_vector_from_matrix(R @ matrix_from_rotation_vector(share * way)).ravel()
    return HeadParameters(pose_rad=pose, **mixed)


def read_fitted(path: Path, assets_of: Callable[[str], FlameAssets]) -> tuple[FlameAssets, Clip]:
    """The heads of an .npz of parameters: one person through a video, at the origin.

    assets_of: the head model of a name; raises FlameTabError. Raises: FlameTabError.
    """
    try:
        arrays, pickled = read_npz(path)
    except DatasetError as error:
        raise FlameTabError(str(error).replace(str(path), path.name)) from error
    wanted = ("model", "track_id", "time_s", *HeadParameters.__annotations__)
    missing = [name for name in wanted if name not in arrays]
    if missing or pickled:
        raise FlameTabError(f"{path.name} holds no fitted heads: it has no {missing or pickled}.")
    rows = len(arrays["track_id"]) if arrays["track_id"].ndim == 1 else 0
    tables = {name: arrays[name] for name in HeadParameters.__annotations__}
    is_sound = all(t.ndim == 2 and len(t) == rows and t.dtype.kind == "f" for t in tables.values())
    if not 0 < rows <= MAX_FRAMES * 20 or not is_sound or arrays["time_s"].shape != (rows,):
        raise FlameTabError(f"{path.name} holds no fitted heads: its tables have odd shapes.")
    assets = assets_of(_text(arrays["model"]))
    people, counts = np.unique(arrays["track_id"], return_counts=True)
    chosen = np.flatnonzero(arrays["track_id"] == people[counts.argmax()])
    if len(chosen) > MAX_FRAMES:
        raise FlameTabError(f"{path.name} has {len(chosen)} frames; at most {MAX_FRAMES} play.")
    frames = tuple(
        replace(
            HeadParameters.of_model(assets, **{n: t[k] for n, t in tables.items()}),
            translation_m=np.zeros(3),
        )
        for k in chosen
    )
    who = "" if len(people) == 1 else f", the one seen most of {len(people)} people"
    title = f"{path.name}: {len(frames)} frames{who}"
    return assets, Clip(title, _fps(arrays["time_s"][chosen]), frames)


def _text(array: Array) -> str:
    return array.item().decode("utf-8", "replace") if array.dtype.kind == "S" else "?"


def _fps(times_s: Float[Array, "n"]) -> float:
    steps = np.diff(times_s.astype(np.float64))
    step = float(np.median(steps)) if len(steps) else 0.0
    return float(np.clip(1 / step, 1.0, 120.0)) if step > 1e-4 else float(FPS)


def known_assets(name: str, here: FlameAssets, open_head: FlameAssets) -> FlameAssets:
    """The model that parameters are made for. Raises: FlameTabError where it is not at hand."""
    for assets in (here, open_head):
        if name == assets.name:
            return assets
    mismatch = version_mismatch(name, here)
    raise FlameTabError(
        f"{mismatch or f'The parameters are of {name[:40]!r}.'} Open its file first."
    )


def clip_message(clip: Clip) -> dict[str, Any]:
    """For the page, which plays it."""
    frames = [frame.message() for frame in clip.frames]
    return {"kind": "clip", "title": clip.title, "fps": clip.fps, "frames": frames}


def write_clip_files(
    desk: FlameDesk, clip: Clip, report: Report, cancelled: Callable[[], bool]
) -> dict[str, Path]:
    """The clip as MP4, as parameters, and as ARKit's CSV where the model has its expressions."""
    paths = {"mp4": desk.folder / f"{desk.stem}_animation.mp4"}
    write_silent_mp4(paths["mp4"], _clip_frames(desk, clip, report, cancelled), round(clip.fps))
    contents = {"npz": parameters_npz(desk.assets, clip.frames, clip.fps)}
    if desk.assets.expression_names:
        contents["csv"] = arkit_csv(desk, clip.frames, clip.fps)
    for kind, content in contents.items():
        paths[kind] = desk.folder / f"{desk.stem}_animation.{kind}"
        paths[kind].write_bytes(content)
    return paths


def _clip_frames(
    desk: FlameDesk, clip: Clip, report: Report, cancelled: Callable[[], bool]
) -> Iterator[UInt8[Array, "h w 3"]]:
    """All before one camera: that of the first frame."""
    first = render_mesh(desk, clip.frames[0])
    placed, camera = portrait([first], VIDEO_WH_PX, VIDEO_YAW_DEG, VIDEO_PITCH_DEG)
    R, t = _motion(first.vertices_cam_m, placed[0].vertices_cam_m)
    for k, frame in enumerate(clip.frames):
        if cancelled():
            raise FlameTabError("The video was cancelled; nothing was written.")
        mesh = render_mesh(desk, frame)
        mesh = replace(mesh, vertices_cam_m=mesh.vertices_cam_m @ R.T + t)
        yield shared_renderer().draw(None, [mesh], camera, background=LIGHT).rgb
        report(k + 1, len(clip.frames))


def _motion(
    source: Float[Array, "v 3"], target: Float[Array, "v 3"]
) -> tuple[Float[Array, "3 3"], Float[Array, "3"]]:
    """How `portrait` moved the first frame, for the others."""
    affine = np.linalg.lstsq(np.c_[source, np.ones(len(source))], target, rcond=None)[0]
    return affine[:3].T, affine[3]


def write_turntable(
    desk: FlameDesk, parameters: HeadParameters, report: Report, cancelled: Callable[[], bool]
) -> Path:
    """The head going round once. Raises: FlameTabError when it was cancelled, VideoError."""
    path = desk.folder / f"{desk.stem}_turntable.mp4"
    meshes = [render_mesh(desk, parameters)]
    frames = turntable_frames(shared_renderer(), meshes, VIDEO_WH_PX, TURNTABLE_FRAMES)

    def watched() -> Iterator[UInt8[Array, "h w 3"]]:
        for k, frame in enumerate(frames):
            if cancelled():
                raise FlameTabError("The video was cancelled; nothing was written.")
            yield frame
            report(k + 1, TURNTABLE_FRAMES)

    write_silent_mp4(path, watched())
    return path
