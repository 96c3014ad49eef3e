"""The whole view of one frame at once, and the parts of it that a switch changes."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import NamedTuple

from demo_app.actions.full_head import HeadsView, build_heads_view
from demo_app.actions.head_drawing import with_full_heads
from demo_app.actions.options import PoseOptions
from demo_app.actions.predict_picture import NothingToDoError, write_annotated, write_glb
from demo_app.actions.results import Results, ShownFrame
from demo_app.actions.views import (
    MAX_PREVIEW_SIDE_PX,
    code_to_copy,
    figure_json,
    legend_html,
    matrix_html,
    preview_image,
    status_html,
    table_html,
    write_jpeg,
)
from demo_app.inference.records import FacePose
from demo_app.inference.zero import neutral_from_poses
from demo_app.services import Neutrals, Visitor

KEPT_VIEWS = 6
"""Views whose files stay, so that a download that was just clicked still works."""


class Drawing(NamedTuple):
    """What the drawing switches change. annotated: the download in full size."""

    picture: Path
    legend: str
    annotated: Path


class Numbers(NamedTuple):
    """What the convention, the zero and the choice of a face change."""

    table: str
    face_ids: tuple[int, ...]
    face_id: int | None
    matrix: str
    code: str


class View(NamedTuple):
    """Everything on the screen about one frame. glb: None where there is no face.

    heads: None where no full heads are asked for, or there are none.
    """

    status: str
    drawing: Drawing
    numbers: Numbers
    figure: str
    glb: Path | None
    tables: dict[str, Path]
    heads: HeadsView | None


class Restyled(NamedTuple):
    """What the style of the mesh changes."""

    drawing: Drawing
    figure: str
    heads: HeadsView | None


def build_view(
    visitor: Visitor, source: str, index: int, options: PoseOptions, face_id: int | None = None
) -> View:
    """The view of a frame of an input's results.

    Raises: NothingToDoError where there are none, ImageError and VideoError where the file is gone.
    """
    results, shown = _shown(visitor, source, index, options)
    visitor.shown[source] = index
    folder = _fresh_folder(results.folder)
    return View(
        status=status_html(shown, getattr(results, "seconds", None)),
        drawing=_draw(results, shown, options, visitor.neutrals.get(source, {}), folder, index),
        numbers=_numbers(shown, options, visitor.neutrals.get(source, {}), face_id),
        figure=figure_json(shown),
        glb=write_glb(shown, folder, _stem(results, index)),
        tables=results.tables,
        heads=build_heads_view(shown, visitor.full_heads, folder, _stem(results, index)),
    )


def redraw(visitor: Visitor, source: str, index: int, options: PoseOptions) -> Drawing:
    """The picture with other switches, without the network. Raises as `build_view`."""
    results, shown = _shown(visitor, source, index, options)
    neutrals = visitor.neutrals.get(source, {})
    return _draw(results, shown, options, neutrals, _fresh_folder(results.folder), index)


def restyle(visitor: Visitor, source: str, index: int, options: PoseOptions) -> Restyled:
    """The picture, the 3D view and the files with another style of mesh. Raises as `build_view`."""
    results, shown = _shown(visitor, source, index, options)
    neutrals, folder = visitor.neutrals.get(source, {}), _fresh_folder(results.folder)
    return Restyled(
        _draw(results, shown, options, neutrals, folder, index),
        figure_json(shown),
        build_heads_view(shown, visitor.full_heads, folder, _stem(results, index)),
    )


def renumber(
    visitor: Visitor, source: str, index: int, options: PoseOptions, face_id: int | None
) -> Numbers:
    """The numbers in another convention or for another face. Raises as `build_view`."""
    shown = _shown(visitor, source, index)[1]
    return _numbers(shown, options, visitor.neutrals.get(source, {}), face_id)


def set_zero(visitor: Visitor, source: str, index: int) -> str:
    """Make the heads on screen their persons' zeros; returns a sentence for the screen.

    Raises: NothingToDoError where there is no face.
    """
    faces = _shown(visitor, source, index)[1].result.faces
    if not faces:
        raise NothingToDoError("Zero needs a face: show a frame with one first.")
    visitor.neutrals[source] = {face.track_id: neutral_from_poses([face.pose]) for face in faces}
    people = "face" if len(faces) == 1 else f"{len(faces)} faces"
    return f"Zero set from the {people} on screen."


def clear_zero(visitor: Visitor, source: str) -> str:
    """Back to the camera's frame; returns a sentence for the screen."""
    visitor.neutrals.pop(source, None)
    return "Zero cleared: angles and position are relative to the camera."


def _shown(
    visitor: Visitor, source: str, index: int, options: PoseOptions | None = None
) -> tuple[Results, ShownFrame]:
    """options: None leaves out the picture and the full heads."""
    results: Results | None = visitor.results.get(source)
    if results is None or len(results) == 0:
        raise NothingToDoError("There is nothing to show yet: give a picture or a video first.")
    index = min(max(int(index), 0), len(results) - 1)
    shown = results.frame(index, with_picture=options is not None)
    if options is not None:
        shown = with_full_heads(shown, options, visitor.full_heads)
    return results, shown


def _draw(
    results: Results,
    shown: ShownFrame,
    options: PoseOptions,
    neutrals: Neutrals,
    folder: Path,
    index: int,
) -> Drawing:
    stem = _stem(results, index)
    annotated = write_annotated(shown, options, neutrals, folder, stem)
    picture = annotated
    if options.mirror or max(shown.result.camera.size_wh_px) > MAX_PREVIEW_SIDE_PX:
        picture = write_jpeg(
            preview_image(shown, options, neutrals), folder / f"{stem}_preview.jpg"
        )
    return Drawing(picture, legend_html(options), annotated)


def _numbers(
    shown: ShownFrame, options: PoseOptions, neutrals: Neutrals, face_id: int | None
) -> Numbers:
    faces = {face.track_id: face for face in shown.result.faces}
    chosen: FacePose | None = faces.get(face_id) if face_id is not None else None
    if chosen is None and faces:
        chosen = next(iter(faces.values()))
    return Numbers(
        table=table_html(shown, options, neutrals),
        face_ids=tuple(faces),
        face_id=None if chosen is None else chosen.track_id,
        matrix=matrix_html(chosen, options),
        code=code_to_copy(chosen, options),
    )


def _stem(results: Results, index: int) -> str:
    return results.stem if len(results) == 1 else f"{results.stem}_{index:05d}"


def _fresh_folder(folder: Path) -> Path:
    """A new folder for a view's files; those of views long gone from the screen are deleted."""
    views = folder / "views"
    views.mkdir(exist_ok=True)
    kept = sorted(views.iterdir(), key=lambda one: one.name)
    for old in kept[: max(0, len(kept) - KEPT_VIEWS + 1)]:
        shutil.rmtree(old, ignore_errors=True)
    number = int(kept[-1].name.split("-")[0]) + 1 if kept else 0
    fresh = views / f"{number:06d}-{secrets.token_hex(4)}"
    fresh.mkdir()
    return fresh
