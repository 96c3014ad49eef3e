"""Live webcam: the websocket component, and Gradio's own streaming where that is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np

from demo_app.actions.options import PoseOptions
from demo_app.actions.stream_frame import stream_frame
from demo_app.services import Services
from demo_app.tabs.pose_options import OptionComponents
from demo_app.tabs.problems import explaining

_FOLDER = Path(__file__).resolve().parent.parent / "live"

EXPLANATION = """<p class="hint">The webcam's frames go to this server one at a time, are looked at
and forgotten: nothing is written. Press <b>Start webcam</b>; the switches below act at once.</p>"""


@dataclass(frozen=True)
class LiveComponents:
    """component: the websocket's. camera, annotated, table: the plain fallback."""

    component: gr.HTML
    camera: gr.Image
    annotated: gr.HTML
    table: gr.HTML


class StreamUpdate(NamedTuple):
    """New values of the fallback's outputs."""

    annotated: str
    table: str


def build_input() -> gr.HTML:
    """What stands on the left."""
    return gr.HTML(EXPLANATION, apply_default_css=False)


def build_output() -> LiveComponents:
    """The component and, folded away, the fallback."""
    component = gr.HTML(
        html_template=_text("live.html"),
        css_template="",
        js_on_load=_text("live.js"),
        apply_default_css=False,
        elem_id="pose-live",
    )
    with gr.Accordion(
        "Without websocket (slower)",
        open=False,
        elem_classes="panel",
        elem_id="pose-live-fallback",
    ):
        with gr.Row():
            camera = gr.Image(
                sources=["webcam"],
                streaming=True,
                type="numpy",
                label="Webcam",
                webcam_options=gr.WebcamOptions(mirror=False),
                elem_id="pose-stream",
            )
            annotated = gr.HTML(apply_default_css=False)
        table = gr.HTML(apply_default_css=False)
    return LiveComponents(component, camera, annotated, table)


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def connect(live: LiveComponents, options: OptionComponents, services: Services) -> None:
    """The fallback; the component listens to the switches in the browser (`pose_options`)."""

    def on_stream(request: gr.Request, frame: np.ndarray | None, *options: Any) -> StreamUpdate:
        if frame is None:
            return StreamUpdate("", "")
        with explaining():
            checked = PoseOptions(*options).checked()
            visitor = services.visitors.get(request.session_hash)
            return StreamUpdate(*stream_frame(services, visitor, frame, checked))

    live.camera.stream(
        on_stream,
        [live.camera, *options.switches.inputs()],
        [live.annotated, live.table],
        stream_every=0.1,
        time_limit=600,
        show_progress="hidden",
        concurrency_id="stream",
        concurrency_limit=services.config.max_live_connections,
        api_visibility="private",
    )
