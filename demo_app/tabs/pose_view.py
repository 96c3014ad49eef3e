"""The right side of the Pose tab: one frame's picture, table, 3D view, matrix and downloads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr

from demo_app.actions.options import PoseOptions
from demo_app.actions.view_update import (
    Drawing,
    Numbers,
    View,
    clear_zero,
    redraw,
    renumber,
    restyle,
    set_zero,
)
from demo_app.actions.views import notice_html
from demo_app.services import Services
from demo_app.tabs import pose_full_head
from demo_app.tabs.figure import build_figure
from demo_app.tabs.pose_full_head import HeadsComponents, HeadsUpdate, as_heads
from demo_app.tabs.pose_options import OptionComponents
from demo_app.tabs.problems import EXPLAINED, explaining

TABLE_FORMATS = {"json": "JSON", "csv": "CSV", "parquet": "Parquet"}

EMPTY = """<div class="empty"><svg viewBox="0 0 48 48" aria-hidden="true">
<circle cx="24" cy="20" r="11"/><path d="M24 20 38 14M24 20 24 36M24 20 17 25"/></svg>
<p class="empty-title">No result yet</p><p>{}</p></div>"""


@dataclass(frozen=True)
class ViewComponents:
    """source, index: which input's results are on screen, and which frame of them."""

    source: gr.State
    index: gr.State
    status: gr.HTML
    body: gr.Column
    picture: gr.Image
    legend: gr.HTML
    table: gr.HTML
    figure: gr.HTML
    face: gr.Dropdown
    matrix: gr.HTML
    code: gr.Code
    annotated: gr.DownloadButton
    glb: gr.DownloadButton
    json: gr.DownloadButton
    csv: gr.DownloadButton
    parquet: gr.DownloadButton
    heads: HeadsComponents

    def outputs(self) -> list[gr.blocks.Block]:
        """In the order of `ViewUpdate`."""
        own = [name for name in ViewUpdate._fields if name not in HeadsUpdate._fields]
        return [*(getattr(self, name) for name in own), *self.heads.outputs()]

    def drawing(self) -> list[gr.blocks.Block]:
        """In the order of `DrawingUpdate`."""
        return [getattr(self, name) for name in DrawingUpdate._fields]

    def numbers(self) -> list[gr.blocks.Block]:
        """In the order of `NumbersUpdate`."""
        return [getattr(self, name) for name in NumbersUpdate._fields]


class DrawingUpdate(NamedTuple):
    """New values of the components of the same names."""

    picture: Any
    legend: Any
    annotated: Any


class StyleUpdate(NamedTuple):
    """New values of the components of the same names."""

    picture: Any
    legend: Any
    annotated: Any
    figure: Any
    heads: Any
    heads_note: Any
    heads_glb: Any
    heads_obj: Any
    heads_ply: Any
    heads_npz: Any


class NumbersUpdate(NamedTuple):
    """New values of the components of the same names."""

    table: Any
    face: Any
    matrix: Any
    code: Any


class ViewUpdate(NamedTuple):
    """New values of the components of the same names."""

    source: Any
    index: Any
    status: Any
    body: Any
    picture: Any
    legend: Any
    annotated: Any
    table: Any
    face: Any
    matrix: Any
    code: Any
    figure: Any
    glb: Any
    json: Any
    csv: Any
    parquet: Any
    heads: Any
    heads_note: Any
    heads_glb: Any
    heads_obj: Any
    heads_ply: Any
    heads_npz: Any


def build() -> ViewComponents:
    """The view, hidden until there is something to show."""
    source, index = gr.State(""), gr.State(0)
    status = gr.HTML(empty_html("picture"), elem_id="pose-status", apply_default_css=False)
    with gr.Column(visible=False, elem_classes="view", elem_id="pose-view") as body:
        picture = gr.Image(
            label="Heads",
            show_label=False,
            type="filepath",
            format="jpeg",
            interactive=False,
            buttons=["fullscreen"],
            elem_id="pose-picture",
            elem_classes="picture",
        )
        legend = gr.HTML(elem_id="pose-legend", apply_default_css=False)
        table = gr.HTML(elem_id="pose-table", apply_default_css=False)
        downloads = _build_downloads()
        heads = pose_full_head.build()
        with gr.Accordion("3D view", open=True, elem_classes="panel", elem_id="pose-3d-panel"):
            figure = build_figure("pose-3d", "3D view")
        with gr.Accordion("Matrix and code", open=False, elem_classes="panel"):
            face = gr.Dropdown([], label="Face", interactive=True, elem_id="pose-face")
            matrix = gr.HTML(elem_id="pose-matrix", apply_default_css=False)
            code = gr.Code(
                language="python",
                label="Python, to copy",
                interactive=False,
                wrap_lines=True,
                show_line_numbers=False,
                buttons=["copy"],
                elem_id="pose-code",
            )
    return ViewComponents(
        source,
        index,
        status,
        body,
        picture,
        legend,
        table,
        figure,
        face,
        matrix,
        code,
        heads=heads,
        **downloads,
    )


def _build_downloads() -> dict[str, gr.DownloadButton]:
    with gr.Row(elem_classes="downloads"):
        buttons = {"annotated": _download("Annotated picture", "pose-download-annotated")}
        for key, label in TABLE_FORMATS.items():
            buttons[key] = _download(label, f"pose-download-{key}")
        buttons["glb"] = _download("GLB (3D)", "pose-download-glb")
    return buttons


def _download(label: str, elem_id: str) -> gr.DownloadButton:
    return gr.DownloadButton(label, size="sm", min_width=90, elem_id=elem_id)


def empty_html(source: str) -> str:
    """What stands in the view's place before there is a result."""
    hint = {
        "picture": "Drop a photo on the left, take one with the webcam, or pick an example.",
        "video": "Drop a video on the left and start it.",
        "folder": "Give several pictures, or the path of a folder, and start.",
    }
    return EMPTY.format(hint.get(source, ""))


def shown(source: str, index: int, view: View) -> ViewUpdate:
    """The update that shows a view."""
    drawing, numbers = as_drawing(view.drawing), as_numbers(view.numbers)
    tables = {key: _file(view.tables.get(key)) for key in TABLE_FORMATS}
    return ViewUpdate(
        source=source,
        index=index,
        status=view.status,
        body=gr.Column(visible=True),
        **drawing._asdict(),
        **numbers._asdict(),
        figure=view.figure,
        glb=_file(view.glb),
        **tables,
        **as_heads(view.heads)._asdict(),
    )


def hidden(status: str) -> ViewUpdate:
    """The update that shows a sentence and nothing else."""
    kept = {name: gr.skip() for name in ViewUpdate._fields}
    return ViewUpdate(**kept | {"status": status, "body": gr.Column(visible=False)})


def said(status: str) -> ViewUpdate:
    """The update that changes the sentence above the picture only."""
    return unchanged()._replace(status=status)


def failed(error: Exception) -> ViewUpdate:
    """The update for an input that cannot be used."""
    return hidden(notice_html(str(error)))


def unchanged() -> ViewUpdate:
    """The update that leaves everything as it is."""
    return ViewUpdate(*(gr.skip() for _ in ViewUpdate._fields))


def as_drawing(drawing: Drawing) -> DrawingUpdate:
    """The update of the parts that drawing switches change."""
    return DrawingUpdate(str(drawing.picture), drawing.legend, _file(drawing.annotated))


def as_numbers(numbers: Numbers) -> NumbersUpdate:
    """The update of the parts that numbers switches change."""
    choices = [(f"Face {face_id}", face_id) for face_id in numbers.face_ids]
    face = gr.Dropdown(choices=choices, value=numbers.face_id, visible=len(choices) > 1)
    return NumbersUpdate(numbers.table, face, numbers.matrix, numbers.code)


def _file(path: Any) -> gr.DownloadButton:
    if path is None:
        return gr.DownloadButton(value=None, interactive=False)
    return gr.DownloadButton(value=str(path), interactive=True)


def connect(view: ViewComponents, options: OptionComponents, services: Services) -> None:
    """Switches that change what is shown of results, without running the network."""
    switches = options.switches
    inputs = [view.source, view.index, *switches.inputs()]
    quiet = {"show_progress": "hidden", "api_visibility": "private"}

    def on_draw(request: gr.Request, source: str, index: int, *options: Any) -> DrawingUpdate:
        visitor = services.visitors.get(request.session_hash)
        if source not in visitor.results:
            return DrawingUpdate(gr.skip(), gr.skip(), gr.skip())
        with explaining():
            return as_drawing(redraw(visitor, source, index, PoseOptions(*options).checked()))

    def on_numbers(
        request: gr.Request, source: str, index: int, face_id: int | None, *options: Any
    ) -> NumbersUpdate:
        visitor = services.visitors.get(request.session_hash)
        if source not in visitor.results:
            return NumbersUpdate(gr.skip(), gr.skip(), gr.skip(), gr.skip())
        with explaining():
            checked = PoseOptions(*options).checked()
            return as_numbers(renumber(visitor, source, index, checked, face_id))

    def on_style(request: gr.Request, source: str, index: int, *options: Any) -> StyleUpdate:
        visitor = services.visitors.get(request.session_hash)
        if source not in visitor.results:
            return StyleUpdate(*(gr.skip() for _ in StyleUpdate._fields))
        with explaining():
            new = restyle(visitor, source, index, PoseOptions(*options).checked())
            return StyleUpdate(*as_drawing(new.drawing), new.figure, *as_heads(new.heads))

    styled = [*view.drawing(), view.figure, *view.heads.outputs()]
    switches.mesh.change(on_style, inputs, styled, trigger_mode="always_last", **quiet)
    for switch in (switches.layers, switches.mirror):
        switch.change(on_draw, inputs, view.drawing(), trigger_mode="always_last", **quiet)
    with_face = [view.source, view.index, view.face, *switches.inputs()]
    view.face.input(on_numbers, with_face, view.numbers(), **quiet)
    renumbering = [switches.convention.change, *_connect_zero(view, options, services)]
    for event in renumbering:
        event(on_numbers, with_face, view.numbers(), **quiet).then(
            on_draw, inputs, view.drawing(), **quiet
        )


def _connect_zero(
    view: ViewComponents, options: OptionComponents, services: Services
) -> list[Callable[..., Any]]:
    """Set and clear the zero; returns the events after which numbers are other ones."""
    quiet = {"show_progress": "hidden", "api_visibility": "private"}

    def on_set_zero(request: gr.Request, source: str, index: int) -> str:
        visitor = services.visitors.get(request.session_hash)
        try:
            return f'<p class="hint">{set_zero(visitor, source, index)}</p>'
        except EXPLAINED as error:
            return notice_html(str(error), "warning")

    def on_clear_zero(request: gr.Request, source: str) -> str:
        visitor = services.visitors.get(request.session_hash)
        return f'<p class="hint">{clear_zero(visitor, source)}</p>'

    was_set = options.set_zero.click(
        on_set_zero, [view.source, view.index], options.zero_note, **quiet
    )
    was_cleared = options.clear_zero.click(on_clear_zero, view.source, options.zero_note, **quiet)
    return [was_set.then, was_cleared.then]
