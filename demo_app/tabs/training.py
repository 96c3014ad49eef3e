"""The Training tab: one desk that the browser draws; the server answers it by plain JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from demo_app.actions.model_choices import model_menu
from demo_app.actions.training_acts import act
from demo_app.actions.training_desk import why_not
from demo_app.actions.training_form import form_value
from demo_app.actions.training_view import look
from demo_app.runs.exports import is_own_name
from demo_app.services import Services
from demo_app.tabs.datasets_state import QUIET

TAB = "training"
_FOLDER = Path(__file__).resolve().parent.parent / "theme"
_SCRIPTS = (
    "training_parts.js",
    "training_charts.js",
    "training_form.js",
    "training_run.js",
    "training_desk.js",
)
SEARCH = "() => [location.search]"


@dataclass(frozen=True)
class TrainingComponents:
    """desk: the whole tab. Event `used` with {"model": name}."""

    desk: gr.HTML
    address: gr.Textbox


def build(services: Services) -> TrainingComponents:
    """The desk asks by the functions given here; they are reached only through Gradio's login."""

    def training_look(query: dict[str, Any]) -> dict[str, Any]:
        return look(services, query)

    def training_form(_: dict[str, Any]) -> dict[str, Any]:
        return {"error": why_not(services)} if why_not(services) else form_value(services)

    def training_act(message: dict[str, Any]) -> dict[str, Any]:
        return act(services, message)

    desk = gr.HTML(
        "",
        label="Training",
        html_template=(_FOLDER / "training.html").read_text(encoding="utf-8"),
        js_on_load="\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in _SCRIPTS),
        server_functions=[training_look, training_form, training_act],
        apply_default_css=False,
        elem_id="training-desk",
    )
    return TrainingComponents(desk, gr.Textbox(visible=False))


def connect(
    training: TrainingComponents,
    app: gr.Blocks,
    sections: gr.Tabs,
    tab: gr.Tab,
    model: gr.Dropdown,
    services: Services,
) -> None:
    """sections, tab: the page's tabs and this one of them. model: the Pose tab's switch."""

    def on_load(search: str) -> tuple[gr.Tabs, gr.Dropdown]:
        here = f"tab={TAB}" in search.lstrip("?").split("&")
        menu = gr.Dropdown(choices=model_menu(services.model_statuses()))
        return gr.Tabs(selected=TAB) if here else gr.skip(), menu

    def on_used(event: gr.EventData) -> tuple[gr.Tabs, gr.Dropdown]:
        statuses = services.model_statuses()
        name = str(event.model)
        if not is_own_name(name) or name not in {one.name for one in statuses}:
            return gr.skip(), gr.skip()
        menu = gr.Dropdown(choices=model_menu(statuses), value=name)
        return gr.Tabs(selected="pose"), menu

    app.load(on_load, training.address, [sections, model], js=SEARCH, **QUIET)
    training.desk.used(on_used, None, [sections, model], **QUIET)
    tab.select(fn=None, js="() => { window.trgTraining?.enter(); }")
