"""The FLAME tab: a head model to open, to move by sliders, to compare, to animate, to export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from demo_app.services import Services
from demo_app.tabs import flame_source, flame_tools

TAB = "flame"
_FOLDER = Path(__file__).resolve().parent.parent / "theme"
_SCRIPTS = ("flame_view.js", "flame_stage.js")


@dataclass(frozen=True)
class FlameComponents:
    """stage: the 3D view with its sliders."""

    stage: gr.HTML
    source: flame_source.SourceComponents
    tools: flame_tools.ToolComponents


def build(services: Services) -> FlameComponents:
    """What to open above, the head with its sliders, what to do with it below."""
    source = flame_source.build(services)
    stage = gr.HTML(
        "",
        label="Head",
        html_template=(_FOLDER / "flame_stage.html").read_text(encoding="utf-8"),
        js_on_load="\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in _SCRIPTS),
        apply_default_css=False,
        elem_id="flame-stage",
    )
    return FlameComponents(stage, source, flame_tools.build())


def connect(flame: FlameComponents, tab: gr.Tab, services: Services) -> None:
    """All events of the tab. tab: this one of the page's."""
    flame_source.connect(flame.source, flame.stage, flame.tools, tab, services)
    flame_tools.connect(flame.tools, flame.stage, tab, services)
