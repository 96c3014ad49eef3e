"""The full heads as files: those on screen, and those of a whole video."""

from __future__ import annotations

import secrets
import zipfile
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from demo_app.actions.background import Job, Progress, removed_on_error
from demo_app.actions.predict_picture import NothingToDoError
from demo_app.actions.predict_video import VIDEO
from demo_app.actions.results import ShownFrame, VideoResult
from demo_app.inference.full_heads import FullHead, FullHeads, HeadFollower
from demo_app.inference.head_files import HeadMoment, write_head_meshes, write_head_parameters
from demo_app.inference.live_link import FaceMoment, write_live_link_csv
from demo_app.inference.output_names import safe_stem
from demo_app.services import Visitor
from models.flame.assets import FlameAssets
from models.geometry.rotations import GL_FROM_CV, matrix_from_rotation_vector
from viewer.render.mesh_image import shared_renderer

Array = np.ndarray

HEAD_FILES = {"glb": "Head GLB", "obj": "OBJ", "ply": "PLY", "npz": "Parameters"}
"""Files of the heads on screen, and their names there."""

_EYES = (("left_eye", "right_eye"), ("eye_l", "eye_r"))


class HeadsView(NamedTuple):
    """note: which head model, and how well it fits. files: by the keys of `HEAD_FILES`."""

    note: str
    files: dict[str, Path]


class VideoHeads(NamedTuple):
    """parameters: of all frames. blendshapes: a CSV, or a ZIP of one for each person; None where
    the head model has no ARKit expressions. note: a sentence for the screen."""

    note: str
    parameters: Path
    blendshapes: Path | None


def build_heads_view(
    shown: ShownFrame, heads: FullHeads, folder: Path, stem: str
) -> HeadsView | None:
    """What stands below the picture about its heads; None where there are none. Raises: OSError."""
    if not shown.heads:
        return None
    fitter, result = heads.fitter, shown.result
    files = write_head_meshes(shown.heads, fitter, result.camera, folder / stem)
    moment = HeadMoment(result.frame_index, result.time_s, shown.heads)
    files["npz"] = write_head_parameters([moment], fitter.assets, folder / f"{stem}_head.npz")
    drawn_by = shared_renderer().renderer_name
    return HeadsView(heads_note_html(shown.heads, fitter.assets, drawn_by), files)


def heads_note_html(heads: tuple[FullHead, ...], assets: FlameAssets, drawn_by: str) -> str:
    """Which head it is, how far it is from what the network saw, and which renderer drew it."""
    fits = [head.fit for head in heads]
    mean, median = (
        float(np.mean([getattr(fit, f"residual_{name}_mm") for fit in fits]))
        for name in ("mean", "median")
    )
    largest = max(fit.residual_max_mm for fit in fits)
    milliseconds = 1000 * float(np.mean([fit.seconds for fit in fits]))
    name = f"The {assets.name}" if assets.is_open_head else assets.name
    instead = " It stands in for FLAME, of which no file is here." if assets.is_open_head else ""
    return (
        f'<p class="status"><b>{escape(name)}</b> fitted to the network\'s landmarks: '
        f"{mean:.2f} mm off in the mean, median {median:.2f}, at most {largest:.2f}; "
        f"{milliseconds:.0f} ms a head. Drawn by {escape(drawn_by)}.{instead}</p>"
    )


def export_video_heads(visitor: Visitor) -> Iterator[Progress | VideoHeads]:
    """The heads of every frame of the visitor's video as parameters and as ARKit's CSV.

    Raises: NothingToDoError, FlameFileError, BusyError.
    """
    result: VideoResult | None = visitor.results.get(VIDEO)
    if result is None or not len(result):
        raise NothingToDoError("There is no video to fit heads to: estimate one first.")
    heads = visitor.full_heads

    def work(
        report: Callable[[int, int | None], None], cancelled: Callable[[], bool]
    ) -> VideoHeads:
        folder = result.folder / f"heads-{secrets.token_hex(4)}"
        folder.mkdir()
        with removed_on_error(folder):
            follower, moments = HeadFollower(heads), []
            for index in range(len(result)):
                if cancelled():
                    raise NothingToDoError("Fitting the heads was cancelled; nothing was written.")
                frame = result.store.result(index)
                fitted = follower.of_faces(frame.faces)
                moments.append(HeadMoment(index, frame.time_s, fitted))
                report(index + 1, len(result))
            return _write_video(moments, result, heads.assets, folder)

    yield from Job(visitor, work).watch()


def _write_video(
    moments: list[HeadMoment], result: VideoResult, assets: FlameAssets, folder: Path
) -> VideoHeads:
    stem = safe_stem(result.stem)
    parameters = write_head_parameters(moments, assets, folder / f"{stem}_heads.npz")
    count = sum(len(moment.heads) for moment in moments)
    note = f"{assets.name[:1].upper()}{assets.name[1:]}: {count} heads in {len(moments)} frames."
    if not assets.expression_names:
        return VideoHeads(
            f"{note} It has no ARKit expressions, so there is no CSV of them.", parameters, None
        )
    ids = sorted({head.track_id for moment in moments for head in moment.heads})
    paths = [
        write_live_link_csv(
            folder / f"{stem}_arkit_{track_id}.csv",
            face_moments(moments, track_id, assets),
            assets.expression_names,
            float(result.run.info.fps),
        )
        for track_id in ids
    ]
    if len(paths) == 1:
        return VideoHeads(note, parameters, paths[0])
    archive = folder / f"{stem}_arkit.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in paths:
            file.write(path, path.name)
    return VideoHeads(f"{note} One CSV for each person.", parameters, archive)


def face_moments(moments: list[HeadMoment], track_id: int, assets: FlameAssets) -> list[FaceMoment]:
    """One person through a video, for the CSV."""
    return [
        FaceMoment(moment.time_s, head.fit.expression, arkit_turns(head.fit.pose_rad, assets))
        for moment in moments
        for head in moment.heads
        if head.track_id == track_id
    ]


def arkit_turns(pose_rad: Float[Array, "p"], assets: FlameAssets) -> Float[Array, "3 3 3"]:
    """The head before the camera, from the model's axes to ours, and its eyes."""
    R = matrix_from_rotation_vector(pose_rad.reshape(-1, 3))
    tilt = GL_FROM_CV @ assets.T_head_from_flame[:3, :3]
    # the second joint is FLAME's neck, or the open head's head
    head = R[0] @ R[1] @ tilt.T
    names = next((pair for pair in _EYES if set(pair) <= set(assets.joint_names)), ())
    eyes = [R[assets.joint_names.index(name)] for name in names] or [np.eye(3)] * 2
    return np.stack([head, *eyes])
