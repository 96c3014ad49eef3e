"""What to do with the head on screen: files, a second head, an animation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from demo_app.actions.background import BusyError, Job, Progress
from demo_app.actions.flame_clip import (
    clip_message,
    interpolated,
    write_clip_files,
    write_turntable,
)
from demo_app.actions.flame_compare import compare, comparison_html, comparison_message
from demo_app.actions.flame_desk import FlameDesk, desk_of, stage_value
from demo_app.actions.flame_files import FILE_LABELS, named_mesh
from demo_app.actions.flame_parameters import FlameTabError, HeadParameters, sent_parameters
from demo_app.actions.progress_text import progress_html
from demo_app.actions.views import notice_html
from demo_app.services import Services, Visitor
from demo_app.tabs import flame_glb
from demo_app.tabs.datasets_state import QUIET
from demo_app.tabs.problems import EXPLAINED
from viewer.render.mesh_files import NamedMesh
from viewer.render.mesh_image import shared_renderer

_FOLDER = Path(__file__).resolve().parent.parent / "theme"
COMPARE_HINT = (
    '<p class="hint">Side by side, the head on screen coloured by its distance to the other.</p>'
)
ANIMATE_HINT = (
    '<p class="hint">From the start to the head on screen and back; a fitted video (.npz) that is '
    "opened above plays too.</p>"
)
NOW, NOW_AND_KEPT, NOW_AND_FIRST = (
    f"(...given) => [window.trgFlame.text({names}), ...given.slice(1)]"
    for names in ("'now'", "'now', 'kept'", "'now', 'first'")
)
_CLIP_LABELS = {"mp4": "MP4", "npz": "Parameters (npz)", "csv": "ARKit CSV"}


class ClipUpdate(NamedTuple):
    """New values of the animation's note, of the row of its files, and of these."""

    note: Any
    row: Any
    mp4: Any
    npz: Any
    csv: Any


@dataclass(frozen=True)
class ToolComponents:
    """state: where the browser puts the parameters on screen. other: the second head's choice.
    clip_files, clip_downloads: of the animation.
    """

    state: gr.Textbox
    files: dict[str, gr.Button]
    turntable: gr.Button
    turntable_file: gr.DownloadButton
    turntable_note: gr.HTML
    glb: flame_glb.GlbComponents
    renderer: gr.HTML
    other: gr.Radio
    keep: gr.Button
    compare: gr.Button
    compare_note: gr.HTML
    first: gr.Button
    seconds: gr.Slider
    animate: gr.Button
    write: gr.Button
    animate_note: gr.HTML
    clip_files: gr.Row
    clip_downloads: dict[str, gr.DownloadButton]
    snippet_panel: gr.Accordion
    snippet: gr.HTML


def build() -> ToolComponents:
    """Below the stage: three cards in a row, and MICA's lines."""
    state = gr.Textbox(visible=False)
    with gr.Accordion(
        "Read this file in Python", open=True, visible=False, elem_classes="panel"
    ) as snippet_panel:
        snippet = gr.HTML(
            "",
            js_on_load=(_FOLDER / "flame_copy.js").read_text(encoding="utf-8"),
            apply_default_css=False,
            elem_id="flame-snippet",
        )
    with gr.Row(elem_classes="flame-tools"):
        with gr.Column(elem_classes="card ds-card flame-card", min_width=280):
            files = _build_files()
        with gr.Column(elem_classes="card ds-card flame-card", min_width=280):
            compared = _build_compare()
        with gr.Column(elem_classes="card ds-card flame-card", min_width=280):
            animated = _build_animate()
    return ToolComponents(
        state=state, snippet_panel=snippet_panel, snippet=snippet,
        **files, **compared, **animated,
    )  # fmt: skip


def _title(text: str) -> None:
    gr.HTML(f'<h3 class="ds-title">{text}</h3>', apply_default_css=False)


def _build_files() -> dict[str, Any]:
    _title("Export")
    with gr.Row(elem_classes="downloads"):
        files = {
            kind: gr.Button(label, size="sm", min_width=110, elem_id=f"flame-file-{kind}")
            for kind, label in FILE_LABELS.items()
        }
        see_glb = flame_glb.build_button()
        turntable = gr.Button("Turntable MP4", size="sm", min_width=110, elem_id="flame-turntable")
    turntable_file = gr.DownloadButton(
        "Save turntable", size="sm", visible=False, elem_id="flame-turntable-file"
    )
    turntable_note = gr.HTML(elem_id="flame-turntable-note", apply_default_css=False)
    return {
        "files": files,
        "turntable": turntable,
        "turntable_file": turntable_file,
        "turntable_note": turntable_note,
        "glb": flame_glb.build(see_glb),
        "renderer": gr.HTML(elem_id="flame-renderer", apply_default_css=False),
    }


def _build_compare() -> dict[str, Any]:
    _title("Compare")
    other = gr.Radio(
        [("Mean head", "mean"), ("Kept head", "kept")],
        value="mean",
        label="With",
        show_label=False,
        elem_id="flame-other",
    )
    with gr.Row(elem_classes="downloads"):
        keep = gr.Button("Keep this head", size="sm", elem_id="flame-keep", min_width=110)
        button = gr.Button(
            "Compare", size="sm", variant="primary", elem_id="flame-compare", min_width=110
        )
    note = gr.HTML(COMPARE_HINT, elem_id="flame-compare-note", apply_default_css=False)
    return {"other": other, "keep": keep, "compare": button, "compare_note": note}


def _build_animate() -> dict[str, Any]:
    _title("Animate")
    seconds = gr.Slider(0.5, 10, value=2, step=0.5, label="Seconds", elem_id="flame-seconds")
    with gr.Row(elem_classes="downloads"):
        first = gr.Button("Start here", size="sm", elem_id="flame-first", min_width=90)
        animate = gr.Button(
            "Animate", size="sm", variant="primary", elem_id="flame-animate", min_width=90
        )
        write = gr.Button("Make files", size="sm", elem_id="flame-write", min_width=90)
    note = gr.HTML(ANIMATE_HINT, elem_id="flame-animate-note", apply_default_css=False)
    with gr.Row(visible=False, elem_classes="downloads") as clip_files:
        downloads = {
            kind: gr.DownloadButton(label, size="sm", min_width=90, elem_id=f"flame-clip-{kind}")
            for kind, label in _CLIP_LABELS.items()
        }
    return {
        "seconds": seconds, "first": first, "animate": animate, "write": write,
        "animate_note": note, "clip_files": clip_files, "clip_downloads": downloads,
    }  # fmt: skip


def connect(tools: ToolComponents, stage: gr.HTML, tab: gr.Tab, services: Services) -> None:
    """Files, comparison, animation. tab: its first look says which renderer is in use."""
    tab.select(renderer_html, None, tools.renderer, **QUIET)
    for kind, button in tools.files.items():
        button.click(fn=None, js=f"() => {{ window.trgFlame.download('{kind}'); }}")
    pressed = "() => { window.trgFlame.%s(); }"
    tools.keep.click(fn=None, js=pressed % "keep")
    tools.first.click(fn=None, js=pressed % "start")
    flame_glb.connect(tools.glb, tools.state, NOW, services)
    _connect_turntable(tools, services)
    _connect_compare(tools, stage, services)
    _connect_animate(tools, stage, services)


def renderer_html() -> str:
    """Which renderer draws pictures and videos; the first call looks for one."""
    renderer = shared_renderer()
    name = renderer.renderer_name
    why = f" ({renderer.fallback_reason})" if renderer.fallback_reason else ""
    return (
        f'<p class="hint">3D view: WebGL in this browser. PNG and MP4: <b>{name}</b> on the '
        f"server{why}.</p>"
    )


def _connect_turntable(tools: ToolComponents, services: Services) -> None:
    def on_turntable(text: str, request: gr.Request) -> Iterator[tuple[Any, Any]]:
        visitor = services.visitors.get(request.session_hash)

        def start(report: Any, cancelled: Any) -> Path:
            desk = desk_of(services, visitor)
            now = sent_parameters(desk.assets, text, "now")
            return write_turntable(desk, now, report, cancelled)

        for news, path in _watched(visitor, start):
            file = gr.DownloadButton(value=str(path), visible=True) if path else gr.skip()
            yield news, file

    tools.turntable.click(
        on_turntable,
        tools.state,
        [tools.turntable_note, tools.turntable_file],
        js=NOW,
        **_LONG,
    )


_LONG = {
    "api_visibility": "private",
    "concurrency_id": "jobs",
    "concurrency_limit": 2,
    "show_progress": "hidden",
}


def _watched(visitor: Visitor, work: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    """HTML of the progress, then with the result an empty line; or a sentence without result."""
    try:
        for news in Job(visitor, work).watch():
            if isinstance(news, Progress):
                yield progress_html(news, "frames"), None
            else:
                yield "", news
    except (*EXPLAINED, BusyError) as error:
        yield notice_html(str(error), "warning"), None


def _connect_compare(tools: ToolComponents, stage: gr.HTML, services: Services) -> None:
    def on_compare(text: str, other: str, request: gr.Request) -> tuple[Any, Any]:
        desk = desk_of(services, services.visitors.get(request.session_hash))
        try:
            mesh = named_mesh(desk, sent_parameters(desk.assets, text, "now"))
            second = _second(desk, text, other)
            compared = compare("The head on screen", mesh, second)
        except EXPLAINED as error:
            return gr.skip(), notice_html(str(error), "warning")
        return stage_value(comparison_message(compared)), comparison_html(compared)

    tools.compare.click(
        on_compare,
        [tools.state, tools.other],
        [stage, tools.compare_note],
        js=NOW_AND_KEPT,
        **QUIET | {"show_progress": "minimal", "show_progress_on": tools.compare_note},
    )


def _second(desk: FlameDesk, text: str, other: str) -> NamedMesh:
    if other == "other":
        if desk.other is None:
            raise FlameTabError("No registration is open: open an OBJ or PLY file first.")
        return NamedMesh("The registration", desk.other.vertices_m, desk.other.triangles)
    if other == "kept":
        mesh = named_mesh(desk, sent_parameters(desk.assets, text, "kept"))
        return NamedMesh("The kept head", mesh.vertices_m, mesh.triangles)
    mesh = named_mesh(desk, HeadParameters.neutral(desk.assets))
    return NamedMesh("The mean head", mesh.vertices_m, mesh.triangles)


def _connect_animate(tools: ToolComponents, stage: gr.HTML, services: Services) -> None:
    def on_animate(text: str, seconds: float, request: gr.Request) -> tuple[Any, Any, Any]:
        desk = desk_of(services, services.visitors.get(request.session_hash))
        try:
            ends = (sent_parameters(desk.assets, text, name) for name in ("first", "now"))
            desk.clip = interpolated(*ends, float(seconds))
        except EXPLAINED as error:
            return gr.skip(), notice_html(str(error), "warning"), gr.skip()
        note = f'<p class="status">{desk.clip.title}: {len(desk.clip.frames)} frames.</p>'
        return stage_value(clip_message(desk.clip)), note, gr.Row(visible=False)

    def on_write(request: gr.Request) -> Iterator[ClipUpdate]:
        visitor = services.visitors.get(request.session_hash)

        def work(report: Any, cancelled: Any) -> dict[str, Path]:
            desk = desk_of(services, visitor)
            if desk.clip is None:
                raise FlameTabError("There is no animation yet: press Animate, or open a video.")
            return write_clip_files(desk, desk.clip, report, cancelled)

        for news, paths in _watched(visitor, work):
            files = {kind: gr.skip() for kind in _CLIP_LABELS}
            if paths:
                files = {kind: _file(paths.get(kind)) for kind in _CLIP_LABELS}
            row = gr.Row(visible=True) if paths else gr.skip()
            yield ClipUpdate(news, row, **files)

    tools.animate.click(
        on_animate,
        [tools.state, tools.seconds],
        [stage, tools.animate_note, tools.clip_files],
        js=NOW_AND_FIRST,
        **QUIET,
    )
    tools.write.click(
        on_write,
        None,
        [
            tools.animate_note,
            tools.clip_files,
            *(tools.clip_downloads[kind] for kind in ClipUpdate._fields[2:]),
        ],
        **_LONG,
    )


def _file(path: Path | None) -> gr.DownloadButton:
    """Hidden where there is no such file."""
    return gr.DownloadButton(value=None if path is None else str(path), visible=path is not None)
