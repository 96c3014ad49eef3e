"""Model beside truth: run a model on the filtered samples, errors by bin, worst samples first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr

from demo_app.actions.dataset_model import (
    cancel_comparison,
    comparison_html,
    comparison_state,
    model_report,
    start_comparison,
)
from demo_app.actions.dataset_page import count_samples
from demo_app.actions.model_choices import missing_model_html, model_menu
from demo_app.actions.views import notice_html
from demo_app.services import Services
from demo_app.tabs.datasets_state import IN_TURN, QUIET, Here, address_text, cards_value
from demo_app.tabs.datasets_widgets import build_grid
from demo_app.tabs.figure import build_figure
from demo_app.tabs.problems import EXPLAINED

LOOK_EVERY_S = 1.0

WHAT = '<p class="status"><b>{} samples</b> are left by the filters of Browse.</p>'
WORST_TITLE = '<h3 class="ds-title">Largest errors first</h3>'
NO_RESULTS = (
    '<p class="empty-title">No results yet</p><p>Choose a model and run it on the samples that '
    "the filters of Browse leave. Results are kept: a second run goes on.</p>"
)


@dataclass(frozen=True)
class ModelComponents:
    """worst: a grid of the samples with the largest errors."""

    here: gr.State
    address: gr.HTML
    what: gr.HTML
    model: gr.Dropdown
    missing: gr.HTML
    start: gr.Button
    cancel: gr.Button
    progress: gr.HTML
    timer: gr.Timer
    report: gr.HTML
    bins_panel: gr.Accordion
    bins: gr.HTML
    worst_title: gr.HTML
    worst: gr.HTML

    def outputs(self) -> list[gr.blocks.Block]:
        """In the order of `ModelUpdate`."""
        return [getattr(self, name) for name in ModelUpdate._fields]


class ModelUpdate(NamedTuple):
    """New values of the components of the same names."""

    here: Any
    address: Any
    what: Any
    missing: Any
    start: Any
    cancel: Any
    progress: Any
    timer: Any
    report: Any
    bins_panel: Any
    bins: Any
    worst_title: Any
    worst: Any


def build(services: Services) -> dict[str, Any]:
    """Model and buttons, then the report."""
    with gr.Column(elem_classes="card ds-card"):
        with gr.Row(elem_classes="ds-source-row"):
            model = gr.Dropdown(
                model_menu(),
                value=services.config.default_model,
                label="Model",
                elem_id="ds-model",
                min_width=220,
            )
            with gr.Row(elem_classes="ds-source-buttons"):
                start = gr.Button(
                    "Run on the filtered samples", variant="primary", elem_id="ds-model-run"
                )
                cancel = gr.Button("Cancel", visible=False, elem_id="ds-model-cancel", min_width=84)
        what = gr.HTML(elem_id="ds-model-what", apply_default_css=False)
        missing = gr.HTML(elem_id="ds-model-missing", apply_default_css=False)
        progress = gr.HTML(elem_id="ds-model-progress", apply_default_css=False)
    report = gr.HTML(
        visible=False, elem_id="ds-model-report", elem_classes="ds-widget", apply_default_css=False
    )
    with gr.Accordion(
        "Error by yaw and pitch", visible=False, elem_classes="panel", elem_id="ds-bins-panel"
    ) as bins_panel:
        bins = build_figure("ds-bins", "Error by yaw and pitch")
    worst_title = gr.HTML(
        WORST_TITLE, visible=False, elem_classes="ds-widget", apply_default_css=False
    )
    worst = build_grid("ds-worst")
    return {
        "what": what, "model": model, "missing": missing, "start": start, "cancel": cancel,
        "progress": progress, "report": report, "bins_panel": bins_panel, "bins": bins,
        "worst_title": worst_title, "worst": worst, "timer": gr.Timer(LOOK_EVERY_S, active=False),
    }  # fmt: skip


def update(**values: Any) -> ModelUpdate:
    """Everything else stays."""
    return ModelUpdate(**{name: gr.skip() for name in ModelUpdate._fields} | values)


def model_update(services: Services, here: Here, model: str) -> ModelUpdate:
    """What is stored of the model's results on the filtered samples.

    Raises: IndexMissingError, FilterError, DatasetActionError.
    """
    job = comparison_state(services, here.data_id)
    report = model_report(services, here.data_id, here.filters, model)
    if report.is_stored:
        here = here.at(model=model)
    return ModelUpdate(
        here=here,
        address=address_text(here),
        what=WHAT.format(f"{count_samples(services, here.data_id, here.filters, here.model):,}"),
        missing=missing_model_html(model),
        start=gr.Button(visible=not job.is_running),
        cancel=gr.Button(visible=job.is_running, interactive=True),
        progress=comparison_html(services, here.data_id),
        timer=gr.Timer(active=job.is_running),
        report=gr.HTML(report.html, visible=report.count > 0),
        bins_panel=gr.Accordion(visible=bool(report.bins)),
        bins=report.bins,
        worst_title=gr.HTML(visible=report.count > 0),
        worst=cards_value(here, report.worst, "" if job.is_running else NO_RESULTS),
    )


def shown(services: Services, here: Here, model: str) -> ModelUpdate:
    """`model_update`, or the sentence why there is none."""
    if not here.data_id:
        return update()
    try:
        return model_update(services, here, model)
    except EXPLAINED as error:
        return update(progress=notice_html(str(error)))


def connect(model: ModelComponents, services: Services) -> None:
    """Run, cancel, look. Opening a sample is connected by `datasets`."""

    def on_show(here: Here, name: str) -> ModelUpdate:
        return shown(services, here, name)

    def on_start(here: Here, name: str) -> ModelUpdate:
        if not here.data_id:
            return update()
        try:
            start_comparison(services, here.data_id, here.filters, name)
        except EXPLAINED as error:
            return update(progress=notice_html(str(error)))
        return shown(services, here, name)

    def on_cancel(here: Here) -> gr.Button:
        if here.data_id:
            cancel_comparison(services, here.data_id)
        return gr.Button(interactive=False)

    def on_tick(here: Here, name: str) -> ModelUpdate:
        if not here.data_id:
            return update(timer=gr.Timer(active=False))
        if comparison_state(services, here.data_id).is_running:
            return update(progress=comparison_html(services, here.data_id))
        return shown(services, here, name)

    inputs, outputs = [model.here, model.model], model.outputs()
    model.model.input(on_show, inputs, outputs, **IN_TURN)
    model.start.click(on_start, inputs, outputs, **IN_TURN)
    model.cancel.click(on_cancel, model.here, model.cancel, queue=False, **QUIET)
    model.timer.tick(on_tick, inputs, outputs, **IN_TURN)
