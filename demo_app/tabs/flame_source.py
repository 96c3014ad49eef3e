"""What to open in the FLAME tab: a head model, parameters, a registration, a photo, a video."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

import gradio as gr

from demo_app.actions.flame_clip import clip_message
from demo_app.actions.flame_desk import FLAME, model_message, stage_value
from demo_app.actions.flame_open import (
    ENDINGS,
    Opened,
    has_server_flame,
    open_files,
    open_fit,
    open_own_head,
    open_path,
    open_server_flame,
)
from demo_app.actions.views import notice_html
from demo_app.services import Services, Visitor
from demo_app.tabs.datasets_state import QUIET
from demo_app.tabs.flame_tools import ToolComponents
from demo_app.tabs.problems import EXPLAINED

FILE_HINT = (
    '<p class="hint"><b>FLAME</b> .pkl, .npz, with landmark_embedding.npy and FLAME_masks.pkl · '
    "<b>MICA</b> .npz · <b>registration</b> .obj, .ply · <b>photo</b> · "
    "<b>fitted video</b> .npz</p>"
)
OWN, SERVER = "open head", "FLAME"


@dataclass(frozen=True)
class SourceComponents:
    """path, open: hidden where paths on the server may not be typed. fit: of a MICA folder."""

    model: gr.Radio
    files: gr.File
    path: gr.Textbox
    open: gr.Button
    fit: gr.Dropdown
    note: gr.HTML


class SourceUpdate(NamedTuple):
    """New values: of the stage, of the components here, and of the tools."""

    stage: Any
    model: Any
    fit: Any
    note: Any
    other: Any
    snippet: Any
    snippet_panel: Any
    clip_files: Any


def build(services: Services) -> SourceComponents:
    """The card at the top of the tab."""
    typed = services.config.local_paths_allowed
    models = [("Open head", OWN)]
    if has_server_flame(services):
        models.append(("FLAME of this server", SERVER))
    with gr.Column(elem_classes="card ds-card flame-source"):
        with gr.Row(elem_classes="flame-source-row"):
            model = gr.Radio(
                models, value=OWN, label="Head model", elem_id="flame-model", min_width=150
            )
            files = gr.File(
                label="Open a file",
                file_count="multiple",
                file_types=list(ENDINGS),
                height=88,
                min_width=240,
                scale=3,
                elem_id="flame-files",
            )
            path = gr.Textbox(
                label="Or a path on this computer",
                placeholder="a file, or a folder of MICA or of FLAME",
                visible=typed,
                min_width=240,
                scale=3,
                elem_id="local-path-flame" if typed else None,
            )
            opened = gr.Button(
                "Open", variant="primary", visible=typed, min_width=84, elem_id="flame-open"
            )
        gr.HTML(FILE_HINT, apply_default_css=False, elem_classes="flame-hint")
        fit = gr.Dropdown([], label="Fit", visible=False, elem_id="flame-fit")
        note = gr.HTML(elem_id="flame-note", apply_default_css=False)
    return SourceComponents(model, files, path, opened, fit, note)


def connect(
    source: SourceComponents, stage: gr.HTML, tools: ToolComponents, tab: gr.Tab, services: Services
) -> None:
    """The first look at the tab opens a head; then whatever is chosen, given or typed."""
    outputs = [
        stage, source.model, source.fit, source.note,
        tools.other, tools.snippet, tools.snippet_panel, tools.clip_files,
    ]  # fmt: skip

    def answered(request: gr.Request, act: Callable[[Visitor], Opened]) -> SourceUpdate:
        visitor = services.visitors.get(request.session_hash)
        try:
            return shown(act(visitor))
        except EXPLAINED as error:
            return _nothing()._replace(note=notice_html(str(error)))
        except OSError as error:
            reason = error.strerror or "it is damaged"
            return _nothing()._replace(note=notice_html(f"The file cannot be read: {reason}."))

    def on_look(request: gr.Request) -> SourceUpdate:
        if FLAME in services.visitors.get(request.session_hash).results:
            return _nothing()
        act = open_server_flame if has_server_flame(services) else open_own_head
        return answered(request, lambda visitor: act(services, visitor))

    def on_model(name: str, request: gr.Request) -> SourceUpdate:
        act = open_server_flame if name == SERVER else open_own_head
        return answered(request, lambda visitor: act(services, visitor))

    def on_files(files: list[str] | None, request: gr.Request) -> SourceUpdate:
        if not files:
            return _nothing()
        return answered(request, lambda visitor: open_files(services, visitor, files))

    def on_path(text: str, request: gr.Request) -> SourceUpdate:
        return answered(request, lambda visitor: open_path(services, visitor, text))

    def on_fit(key: str, request: gr.Request) -> SourceUpdate:
        return answered(request, lambda visitor: open_fit(services, visitor, key))

    busy = QUIET | {"show_progress": "minimal", "show_progress_on": source.note}
    tab.select(on_look, None, outputs, **QUIET)
    source.model.input(on_model, source.model, outputs, **busy)
    source.files.upload(on_files, source.files, outputs, **busy)
    gr.on([source.open.click, source.path.submit], on_path, source.path, outputs, **busy)
    source.fit.input(on_fit, source.fit, outputs, **busy)


def _nothing() -> SourceUpdate:
    return SourceUpdate(*(gr.skip() for _ in SourceUpdate._fields))


def shown(opened: Opened) -> SourceUpdate:
    """What was opened, on the page."""
    desk, parameters = opened.desk, opened.parameters
    update = _nothing()._replace(
        note=_note_html(opened), fit=_fits(opened), clip_files=gr.Row(visible=False)
    )
    messages = []
    if opened.is_new and parameters is not None:
        messages.append(model_message(desk, parameters))
        model = OWN if desk.assets.is_open_head else gr.skip()
        update = update._replace(other=_other(False), model=model)
    elif parameters is not None:
        messages.append({"kind": "parameters", "parameters": parameters.message()})
    if opened.has_clip and desk.clip is not None:
        messages.append(clip_message(desk.clip))
    if messages:
        update = update._replace(stage=stage_value(*messages))
    if opened.has_other:
        update = update._replace(other=_other(True))
    if opened.snippet:
        panel = gr.Accordion(visible=True, open=True)
        update = update._replace(snippet=opened.snippet, snippet_panel=panel)
    else:
        update = update._replace(snippet_panel=gr.Accordion(visible=False))
    return update


def _fits(opened: Opened) -> gr.Dropdown:
    keys = list(opened.desk.fits)
    return gr.Dropdown(choices=keys, value=opened.fit, visible=opened.fit is not None)


def _other(is_there: bool) -> gr.Radio:
    choices = [("Mean head", "mean"), ("Kept head", "kept")]
    if is_there:
        return gr.Radio([*choices, ("Registration", "other")], value="other")
    return gr.Radio(choices, value="mean")


def _note_html(opened: Opened) -> str:
    news = " ".join(escape(one) for one in opened.news)
    warnings = "".join(notice_html(one, "warning") for one in opened.warnings)
    return (f'<p class="status">{news}</p>' if news else "") + warnings
