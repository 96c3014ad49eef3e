"""Which data set is open: its choice, its folder, its index with progress and Cancel."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr

from demo_app.actions.dataset_filters import Address
from demo_app.actions.dataset_flags import may_write
from demo_app.actions.dataset_open import (
    DatasetChoice,
    cancel_index,
    datasets_html,
    index_html,
    index_state,
    list_datasets,
    open_dataset,
    shown_root,
    start_index,
    summary_html,
)
from demo_app.actions.views import notice_html
from demo_app.services import Services
from demo_app.tabs.datasets_state import QUIET, Here
from demo_app.tabs.problems import EXPLAINED

LOOK_EVERY_S = 0.7

NO_INDEX = (
    '<p class="empty-title">Not indexed yet</p><p>Press <b>Build index</b> above. It reads every '
    "label once; after that, any filter answers at once.</p>"
)
BUILDING = (
    '<p class="empty-title">The index is being built</p>'
    "<p>Browsing starts when it is done; you may leave this page meanwhile.</p>"
)
EMPTY = '<div class="empty">{}</div>'


@dataclass(frozen=True)
class SourceComponents:
    """revision: changes when there is something new to browse. root: hidden where paths on the
    server may not be typed. empty: in place of `sections`.
    """

    here: gr.State
    revision: gr.State
    name: gr.Dropdown
    root: gr.Textbox
    open: gr.Button
    build: gr.Button
    cancel: gr.Button
    progress: gr.HTML
    summary: gr.HTML
    shelf: gr.HTML
    about: gr.Accordion
    timer: gr.Timer
    empty: gr.HTML
    sections: gr.Column

    def outputs(self) -> list[gr.blocks.Block]:
        """In the order of `SourceUpdate`."""
        return [getattr(self, name) for name in SourceUpdate._fields]


class SourceUpdate(NamedTuple):
    """New values of the components of the same names."""

    here: Any
    revision: Any
    name: Any
    root: Any
    build: Any
    cancel: Any
    progress: Any
    summary: Any
    shelf: Any
    timer: Any
    empty: Any
    sections: Any


def update(**values: Any) -> SourceUpdate:
    """Everything else stays."""
    return SourceUpdate(**{name: gr.skip() for name in SourceUpdate._fields} | values)


def build(services: Services) -> dict[str, Any]:
    """The card at the top of the tab."""
    with gr.Column(elem_classes="card ds-card ds-source"):
        with gr.Row(elem_classes="ds-source-row"):
            name = gr.Dropdown(
                [], label="Data set", interactive=True, elem_id="ds-name", scale=3, min_width=220
            )
            typed = services.config.local_paths_allowed
            root = gr.Textbox(
                label="Its folder",
                placeholder="bundled samples; type the folder of the real data set",
                visible=typed,
                elem_id="local-path-dataset" if typed else None,
                scale=4,
                min_width=220,
            )
            with gr.Row(elem_classes="ds-source-buttons"):
                opened = gr.Button("Open", variant="primary", elem_id="ds-open", min_width=84)
                start = gr.Button("Build index", elem_id="ds-index", min_width=110)
                cancel = gr.Button("Cancel", visible=False, elem_id="ds-cancel", min_width=84)
        progress = gr.HTML(elem_id="ds-progress", apply_default_css=False)
        with gr.Accordion("About this data set", open=False, elem_id="ds-about") as about:
            summary = gr.HTML(elem_id="ds-summary", apply_default_css=False)
            shelf = gr.HTML(elem_id="ds-shelf", apply_default_css=False)
    return {
        "revision": gr.State(0),
        "name": name,
        "root": root,
        "open": opened,
        "build": start,
        "cancel": cancel,
        "progress": progress,
        "summary": summary,
        "shelf": shelf,
        "about": about,
        "timer": gr.Timer(LOOK_EVERY_S, active=False),
    }


def menu(choices: tuple[DatasetChoice, ...]) -> list[tuple[str, str]]:
    """Those that can be opened first."""
    ordered = sorted(choices, key=lambda one: ("found", "bundled", "missing").index(one.state))
    return [(one.label, one.name) for one in ordered]


def default_name(choices: tuple[DatasetChoice, ...]) -> str:
    """The first one that is found, else our own samples."""
    for state in ("found", "bundled"):
        names = [one.name for one in choices if one.state == state]
        if names:
            return "synthetic" if state == "bundled" and "synthetic" in names else names[0]
    return choices[0].name if choices else ""


def opened_update(services: Services, address: Address, root: str = "") -> SourceUpdate:
    """Open the data set of an address. Raises: DatasetActionError, DatasetError."""
    opened = open_dataset(services, address.dataset, root)
    here = Here(opened.data_id, address)
    choices = list_datasets(services)
    state = state_update(services, here)
    return state._replace(
        here=here,
        revision=time.monotonic_ns(),
        name=gr.Dropdown(choices=menu(choices), value=address.dataset),
        root=shown_root(services, opened),
        shelf=datasets_html(services),
    )


def failed_update(services: Services, name: str, error: Exception) -> SourceUpdate:
    """Nothing is open; the sentence says why."""
    return update(
        here=Here(),
        name=gr.Dropdown(choices=menu(list_datasets(services)), value=name or None),
        build=gr.Button(interactive=False),
        cancel=gr.Button(visible=False),
        progress="",
        summary="",
        shelf=datasets_html(services),
        timer=gr.Timer(active=False),
        empty=gr.HTML(notice_html(str(error)), visible=True),
        sections=gr.Column(visible=False),
    )


def state_update(services: Services, here: Here) -> SourceUpdate:
    """Buttons, progress and summary as the index is now."""
    has_index, job = index_state(services, here.data_id)
    message = BUILDING if job.is_running else NO_INDEX
    may_ask = may_write(services) or not has_index
    return update(
        build=gr.Button(
            "Refresh index" if has_index else "Build index",
            variant="secondary" if has_index else "primary",
            interactive=True,
            visible=may_ask and not job.is_running,
        ),
        cancel=gr.Button(visible=may_write(services) and job.is_running, interactive=True),
        progress=index_html(services, here.data_id),
        summary=summary_html(services, here.data_id) if has_index else "",
        timer=gr.Timer(active=job.is_running),
        empty=gr.HTML(EMPTY.format(message), visible=not has_index),
        sections=gr.Column(visible=has_index),
    )


def connect(source: SourceComponents, services: Services) -> None:
    """Open, build, cancel."""
    _connect_open(source, services)

    def on_build(here: Here) -> SourceUpdate:
        if not here.data_id:
            return update()
        try:
            start_index(services, here.data_id)
            return state_update(services, here)
        except EXPLAINED as error:
            return update(progress=notice_html(str(error)))

    def on_cancel(here: Here) -> gr.Button:
        if here.data_id:
            cancel_index(services, here.data_id)
        return gr.Button(interactive=False)

    def on_tick(here: Here) -> SourceUpdate:
        if not here.data_id:
            return update(timer=gr.Timer(active=False))
        _, job = index_state(services, here.data_id)
        if job.is_running:
            return update(progress=index_html(services, here.data_id))
        return state_update(services, here)._replace(revision=time.monotonic_ns())

    source.build.click(on_build, source.here, source.outputs(), **QUIET)
    source.cancel.click(on_cancel, source.here, source.cancel, queue=False, **QUIET)
    source.timer.tick(on_tick, source.here, source.outputs(), **QUIET)


def _connect_open(source: SourceComponents, services: Services) -> None:
    def on_open(name: str | None, root: str) -> SourceUpdate:
        try:
            return opened_update(services, Address(name or ""), root.strip())
        except EXPLAINED as error:
            return failed_update(services, name or "", error)

    def on_name(name: str | None) -> SourceUpdate:
        return on_open(name, "")

    typed = [source.name, source.root]
    gr.on([source.open.click, source.root.submit], on_open, typed, source.outputs(), **QUIET)
    source.name.input(on_name, source.name, source.outputs(), **QUIET)
