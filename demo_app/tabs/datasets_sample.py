"""Sample: one picture with its label, the same pose in every convention, 3D view, fields, notes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr

from demo_app.actions.dataset_flags import may_write, set_note, set_tags
from demo_app.actions.dataset_model import compare_sample
from demo_app.actions.dataset_page import read_page
from demo_app.actions.dataset_picture import DEFAULT_LAYERS, LAYER_TITLES
from demo_app.actions.dataset_sample import (
    SAMPLE_LAYERS,
    SampleView,
    play_addresses,
    view_sample,
)
from demo_app.actions.model_choices import model_menu
from demo_app.actions.views import notice_html
from demo_app.services import Services
from demo_app.tabs.datasets_browse import set_flag
from demo_app.tabs.datasets_state import IN_TURN, QUIET, Here, address_text
from demo_app.tabs.datasets_widgets import build_copied, build_stage
from demo_app.tabs.figure import build_figure
from demo_app.tabs.problems import EXPLAINED, explaining

NO_SAMPLE = (
    '<div class="empty"><p class="empty-title">No sample is open</p>'
    "<p>Choose one in Browse: click it, or press Enter on it.</p></div>"
)


@dataclass(frozen=True)
class SampleComponents:
    """stage: picture and buttons. under: below it. body: beside it. pose: readings of the label."""

    here: gr.State
    address: gr.HTML
    stage: gr.HTML
    status: gr.HTML
    under: gr.Column
    body: gr.Column
    layers: gr.CheckboxGroup
    pose: gr.Radio
    legend: gr.HTML
    heading: gr.HTML
    findings: gr.HTML
    conventions: gr.HTML
    figure: gr.HTML
    figure_panel: gr.Accordion
    raw: gr.HTML
    notes: gr.HTML
    remarks: gr.Accordion
    tags: gr.Textbox
    note: gr.Textbox
    model: gr.Dropdown
    compare_panel: gr.Accordion
    compare: gr.Button
    errors: gr.HTML

    def outputs(self) -> list[gr.blocks.Block]:
        """In the order of `SampleUpdate`."""
        return [getattr(self, name) for name in SampleUpdate._fields]


class SampleUpdate(NamedTuple):
    """New values of the components of the same names."""

    here: Any
    address: Any
    stage: Any
    status: Any
    under: Any
    body: Any
    layers: Any
    pose: Any
    legend: Any
    heading: Any
    findings: Any
    conventions: Any
    figure: Any
    figure_panel: Any
    raw: Any
    notes: Any
    remarks: Any
    tags: Any
    note: Any
    compare_panel: Any
    errors: Any


UNCHANGED = SampleUpdate(*(gr.skip() for _ in SampleUpdate._fields))


def build(services: Services) -> dict[str, Any]:
    """The picture on the left, what is known of it on the right."""
    status = gr.HTML(NO_SAMPLE, elem_id="ds-sample-status", apply_default_css=False)
    with gr.Row(elem_classes="ds-sample"):
        with gr.Column(elem_classes="ds-sample-picture", min_width=300):
            stage = build_stage("ds-stage")
            with gr.Column(visible=False, elem_id="ds-sample-under") as under:
                layers = gr.CheckboxGroup(
                    [(title, name) for name, title in LAYER_TITLES.items()],
                    value=list(DEFAULT_LAYERS),
                    label="Draw",
                    show_label=False,
                    elem_id="ds-layers",
                )
                pose = gr.Radio([], label="Reading of the label", visible=False, elem_id="ds-pose")
                legend = gr.HTML(elem_id="ds-legend", apply_default_css=False)
                model = _build_model(services)
                remarks = _build_remarks(services)
        with gr.Column(visible=False, elem_classes="ds-sample-facts", min_width=300) as body:
            facts = _build_facts()
    return {
        "status": status, "stage": stage, "layers": layers, "pose": pose, "legend": legend,
        "under": under, "body": body, **facts, **remarks, **model,
    }  # fmt: skip


def _build_facts() -> dict[str, Any]:
    heading = gr.HTML(elem_id="ds-heading", apply_default_css=False)
    findings = gr.HTML(elem_id="ds-findings", apply_default_css=False)
    with gr.Accordion("3D view", open=True, elem_classes="panel") as figure_panel:
        figure = build_figure("ds-3d", "3D view")
    with gr.Accordion("Pose in every convention", open=True, elem_classes="panel"):
        conventions = build_copied("ds-conventions")
    with gr.Accordion("Fields of the file", open=False, elem_classes="panel", elem_id="ds-fields"):
        raw = gr.HTML(elem_id="ds-raw", apply_default_css=False)
        notes = gr.HTML(elem_id="ds-notes", apply_default_css=False)
    return {
        "heading": heading, "findings": findings, "figure": figure, "figure_panel": figure_panel,
        "conventions": conventions, "raw": raw, "notes": notes,
    }  # fmt: skip


def _build_remarks(services: Services) -> dict[str, Any]:
    """Only where flags may be set."""
    with gr.Accordion(
        "Tags and note",
        open=False,
        visible=may_write(services),
        elem_classes="panel",
        elem_id="ds-remarks",
    ) as remarks:
        tags = gr.Textbox(label="Tags, with commas between them", elem_id="ds-tags")
        note = gr.Textbox(label="Note", lines=2, max_lines=6, elem_id="ds-note")
    return {"remarks": remarks, "tags": tags, "note": note}


def _build_model(services: Services) -> dict[str, Any]:
    with gr.Accordion(
        "Model beside the label", open=True, elem_classes="panel", elem_id="ds-compare-panel"
    ) as panel:
        with gr.Row(elem_classes="ds-compare-row"):
            model = gr.Dropdown(
                model_menu(),
                value=services.config.default_model,
                label="Model",
                show_label=False,
                container=False,
                elem_id="ds-sample-model",
            )
            compare = gr.Button("Run on this sample", elem_id="ds-compare")
        errors = gr.HTML(elem_id="ds-errors", apply_default_css=False)
    return {"model": model, "compare_panel": panel, "compare": compare, "errors": errors}


def sample_update(
    services: Services,
    here: Here,
    layers: list[str] | None = None,
    pose: str = "",
    focus: bool = False,
) -> SampleUpdate:
    """Everything about the sample of `here`. layers: as `view_sample`. Raises: as `view_sample`."""
    view = view_sample(services, here.data_id, here.address.key, layers, pose, here.model)
    poses = [(name or "As labelled", name) for name in view.poses]
    return SampleUpdate(
        here=here,
        address=address_text(here),
        stage=_stage(view, _neighbours(services, here, view), focus),
        status=gr.HTML("", visible=False),
        under=gr.Column(visible=True),
        body=gr.Column(visible=True),
        layers=gr.CheckboxGroup(
            choices=[(SAMPLE_LAYERS[name], name) for name in view.layers], value=list(view.shown)
        ),
        pose=gr.Radio(
            choices=poses, value=pose, visible=len(poses) > 1, info=view.pose_note or None
        ),
        legend=view.legend_html,
        heading=view.title_html,
        findings=view.findings_html,
        conventions=view.conventions_html,
        figure=view.figure,
        figure_panel=gr.Accordion(visible=bool(view.figure)),
        raw=view.raw_html,
        notes=view.notes_html,
        remarks=gr.Accordion(open=True) if view.tags or view.note else gr.skip(),
        tags=view.tags,
        note=view.note,
        compare_panel=gr.Accordion(visible=view.has_picture),
        errors=view.errors_html,
    )


def _neighbours(services: Services, here: Here, view: SampleView) -> tuple[str | None, str | None]:
    """In the sequence; for a sample without one, on the page of thumbnails that it is on."""
    if view.previous_key or view.next_key:
        return view.previous_key, view.next_key
    address = here.address
    page = read_page(
        services,
        here.data_id,
        address.filters,
        address.sort,
        address.page,
        model=here.model,
    )
    keys = [None, *(card.key for card in page.cards), None]
    if view.key not in keys:
        return None, None
    at = keys.index(view.key)
    return keys[at - 1], keys[at + 1]


def _stage(view: SampleView, neighbours: tuple[str | None, str | None], focus: bool) -> str:
    return json.dumps(
        {
            "key": view.key,
            "src": view.picture,
            "previous": neighbours[0],
            "next": neighbours[1],
            "count": view.frames,
            "flagged": view.is_flagged,
            "focus": focus,
        }
    )


def no_sample(here: Here, status: str = NO_SAMPLE) -> SampleUpdate:
    """A sentence in place of a sample."""
    hidden = gr.Column(visible=False)
    return UNCHANGED._replace(
        here=here,
        address=address_text(here),
        stage="",
        status=gr.HTML(status, visible=True),
        under=hidden,
        body=hidden,
        errors="",
    )


def opened(services: Services, here: Here, key: str, *options: Any) -> SampleUpdate:
    """The sample of a key, or the sentence why it cannot be shown. options: as `sample_update`."""
    here = here.at(key=key)
    try:
        return sample_update(services, here, *options)
    except EXPLAINED as error:
        return no_sample(here, notice_html(str(error)))


def connect(sample: SampleComponents, services: Services) -> None:
    """Step, play, flag, layers, readings, tags, notes, the model. Back is in `datasets`."""
    shown = {"outputs": sample.outputs(), **IN_TURN}
    switches = [sample.here, sample.layers, sample.pose]

    def on_stepped(
        event: gr.EventData, here: Here, layers: list[str], pose: str | None
    ) -> SampleUpdate:
        return opened(services, here, str(event.key), layers, pose or "")

    def on_switch(here: Here, layers: list[str], pose: str | None) -> SampleUpdate:
        if not here.address.key:
            return no_sample(here)
        return opened(services, here, here.address.key, layers, pose or "")

    def on_played(here: Here, layers: list[str], pose: str | None) -> str:
        with explaining():
            frames = play_addresses(
                services, here.data_id, here.address.key, layers, pose or "", here.model
            )
            return json.dumps({"play": frames})

    def on_flagged(event: gr.EventData, here: Here) -> None:
        with explaining():
            set_flag(services, here, str(event.key), bool(event.on))

    sample.stage.stepped(on_stepped, switches, **shown)
    sample.stage.played(on_played, switches, sample.stage, **QUIET)
    sample.stage.flagged(on_flagged, sample.here, None, **IN_TURN)
    for switch in (sample.layers, sample.pose):
        switch.input(on_switch, switches, **shown)
    _connect_remarks(sample, services)
    _connect_model(sample, services)


def _connect_remarks(sample: SampleComponents, services: Services) -> None:
    def on_tags(here: Here, text: str) -> str:
        with explaining():
            return set_tags(services, here.data_id, here.address.key, text or "")

    def on_note(here: Here, text: str) -> str:
        with explaining():
            return set_note(services, here.data_id, here.address.key, text or "")

    for box, handler in ((sample.tags, on_tags), (sample.note, on_note)):
        gr.on([box.submit, box.blur], handler, [sample.here, box], box, **QUIET)


def _connect_model(sample: SampleComponents, services: Services) -> None:
    def on_compare(here: Here, layers: list[str], pose: str | None, model: str) -> SampleUpdate:
        if not here.address.key:
            return UNCHANGED
        try:
            compare_sample(services, here.data_id, here.address.key, model)
            return sample_update(services, here.at(model=model), [*layers, "model"], pose or "")
        except EXPLAINED as error:
            return UNCHANGED._replace(errors=notice_html(str(error), "warning"))

    sample.compare.click(
        on_compare,
        [sample.here, sample.layers, sample.pose, sample.model],
        sample.outputs(),
        **IN_TURN | {"show_progress": "minimal", "show_progress_on": sample.errors},
    )
