"""The head's GLB in Gradio's own viewer: a second program that reads the file as it is exported."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo_app.actions.flame_desk import desk_of
from demo_app.actions.flame_files import head_file
from demo_app.actions.flame_parameters import sent_parameters
from demo_app.actions.views import notice_html
from demo_app.services import Services
from demo_app.tabs.datasets_state import QUIET
from demo_app.tabs.problems import EXPLAINED

VIEWER_PX = 320


@dataclass(frozen=True)
class GlbComponents:
    """panel: around the viewer, hidden until it is asked for."""

    show: gr.Button
    panel: gr.Column
    viewer: gr.Model3D
    note: gr.HTML


def build_button() -> gr.Button:
    """Among the buttons of the files."""
    return gr.Button("See the GLB", size="sm", min_width=110, elem_id="flame-see-glb")


def build(show: gr.Button) -> GlbComponents:
    """Below them."""
    note = gr.HTML(elem_id="flame-glb-note", apply_default_css=False)
    with gr.Column(visible=False) as panel:
        viewer = gr.Model3D(
            label="The GLB as it was when you pressed",
            height=VIEWER_PX,
            interactive=False,
            clear_color=(0.0, 0.0, 0.0, 0.0),
            elem_id="flame-glb",
        )
    return GlbComponents(show, panel, viewer, note)


def connect(glb: GlbComponents, state: gr.Textbox, now: str, services: Services) -> None:
    """state, now: where the browser puts the parameters on screen, and the script that does."""

    def on_show(text: str, request: gr.Request) -> tuple[Any, str, str]:
        desk = desk_of(services, services.visitors.get(request.session_hash))
        try:
            made = head_file(desk, sent_parameters(desk.assets, text, "now"), "glb")
            path = desk.folder / f"{secrets.token_hex(4)}-{made.name}"
            path.write_bytes(made.content)
        except EXPLAINED as error:
            return gr.skip(), "", notice_html(str(error), "warning")
        return gr.Column(visible=True), str(path), ""

    def on_made(path: str) -> Any:
        return path or gr.skip()

    # the viewer takes a file only when it is on the page
    made = gr.State("")
    options = QUIET | {"show_progress": "minimal", "show_progress_on": glb.note}
    glb.show.click(on_show, state, [glb.panel, made, glb.note], js=now, **options).then(
        on_made, made, glb.viewer, **QUIET
    )
