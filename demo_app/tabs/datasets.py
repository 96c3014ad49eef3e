"""The Datasets tab: the data set, samples under filters, one sample, checks, model, export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo_app.actions.dataset_filters import Address
from demo_app.actions.dataset_flags import may_write
from demo_app.actions.dataset_open import list_datasets
from demo_app.services import Services
from demo_app.tabs import (
    datasets_browse,
    datasets_checks,
    datasets_export,
    datasets_model,
    datasets_sample,
    datasets_source,
)
from demo_app.tabs.datasets_browse import BrowseUpdate
from demo_app.tabs.datasets_model import ModelUpdate
from demo_app.tabs.datasets_sample import SampleUpdate
from demo_app.tabs.datasets_source import SourceUpdate
from demo_app.tabs.datasets_state import (
    BROWSE,
    CHECKS,
    EXPORT,
    IN_TURN,
    MODEL,
    QUIET,
    SAMPLE,
    TAB,
    Here,
    split_address,
)
from demo_app.tabs.datasets_widgets import build_address
from demo_app.tabs.problems import EXPLAINED, explaining

VIEW_TITLES = {
    BROWSE: "Browse",
    SAMPLE: "Sample",
    CHECKS: "Checks",
    MODEL: "Model",
    EXPORT: "Export",
}

SEARCH = "() => [location.search]"
EMPTY_VALUE = '{__type__: "update", value: ""}'
SEARCH_AND_STATE = "(search, here) => [location.search, here]"


@dataclass(frozen=True)
class DatasetsComponents:
    """views: the sub tabs; tabs: each of them by its id."""

    here: gr.State
    address: gr.HTML
    views: gr.Tabs
    tabs: dict[str, gr.Tab]
    source: datasets_source.SourceComponents
    browse: datasets_browse.BrowseComponents
    sample: datasets_sample.SampleComponents
    checks: datasets_checks.ChecksComponents
    model: datasets_model.ModelComponents
    export: datasets_export.ExportComponents


def build_state() -> tuple[gr.State, gr.HTML]:
    """Where the visitor is; outside of the tab, so that it is there before the tab is looked at."""
    return gr.State(Here()), build_address("ds-address")


def build(services: Services, here: gr.State, address: gr.HTML) -> DatasetsComponents:
    """The choice of the data set above, its sub tabs below."""
    source = datasets_source.build(services)
    empty = gr.HTML(visible=False, elem_id="ds-empty", apply_default_css=False)
    tabs: dict[str, gr.Tab] = {}
    parts: dict[str, Any] = {}
    builders = {
        BROWSE: datasets_browse.build,
        SAMPLE: lambda: datasets_sample.build(services),
        CHECKS: datasets_checks.build,
        MODEL: lambda: datasets_model.build(services),
        EXPORT: lambda: datasets_export.build(services),
    }
    with (
        gr.Column(
            visible=False, elem_classes=_classes(services), elem_id="ds-sections"
        ) as sections,
        gr.Tabs(selected=BROWSE, elem_id="ds-views") as views,
    ):
        for name, title in VIEW_TITLES.items():
            with gr.Tab(title, id=name, elem_id=f"ds-tab-{name}") as tabs[name]:
                parts[name] = builders[name]()
    shared = {"here": here, "address": address}
    return DatasetsComponents(
        here=here,
        address=address,
        views=views,
        tabs=tabs,
        source=datasets_source.SourceComponents(
            here=here, empty=empty, sections=sections, **source
        ),
        browse=datasets_browse.BrowseComponents(**shared, **parts[BROWSE]),
        sample=datasets_sample.SampleComponents(**shared, **parts[SAMPLE]),
        checks=parts[CHECKS],
        model=datasets_model.ModelComponents(**shared, **parts[MODEL]),
        export=datasets_export.ExportComponents(here=here, **parts[EXPORT]),
    )


def _classes(services: Services) -> str:
    """ds-read-only: whatever flags is hidden, and its key does nothing."""
    return "ds-sections" if may_write(services) else "ds-sections ds-read-only"


def connect(
    datasets: DatasetsComponents,
    app: gr.Blocks,
    sections: gr.Tabs,
    tab: gr.Tab,
    services: Services,
) -> None:
    """All events of the tab. sections, tab: the page's tabs and this one of them."""

    datasets_source.connect(datasets.source, services)
    _connect_refresh(datasets, services)
    datasets_browse.connect(datasets.browse, services)
    datasets_sample.connect(datasets.sample, services)
    datasets_model.connect(datasets.model, services)
    datasets_export.connect(datasets.export, services)
    _connect_arrival(datasets, app, sections, tab, services)
    _connect_views(datasets, services)
    _connect_opening(datasets, services)


def _connect_refresh(datasets: DatasetsComponents, services: Services) -> None:
    """Samples, charts and the sample of the address after a data set was opened or indexed."""

    def on_refresh(here: Here) -> BrowseUpdate:
        return datasets_browse.shown(services, here)

    def on_sample(here: Here) -> SampleUpdate:
        if not here.address.key or not datasets_browse.is_ready(services, here):
            return datasets_sample.UNCHANGED
        shown = datasets_sample.opened(services, here, here.address.key)
        return shown._replace(here=gr.skip(), address=gr.skip())

    def on_other() -> SampleUpdate:
        shown = datasets_sample.no_sample(Here())
        return shown._replace(here=gr.skip(), address=gr.skip())

    here, browse, new = datasets.here, datasets.browse, datasets.source.revision.change
    datasets.tabs[BROWSE].select(on_refresh, here, browse.outputs(), **IN_TURN)
    renewed = new(on_refresh, here, browse.outputs(), **IN_TURN)
    datasets_browse.draw_charts_after(browse, services, renewed)
    new(on_sample, here, datasets.sample.outputs(), **IN_TURN)
    blank = f"() => [{', '.join(2 * [EMPTY_VALUE])}]"
    for other in (datasets.source.open.click, datasets.source.name.input):
        other(fn=None, outputs=[browse.form, browse.grid], js=blank)
        other(on_other, None, datasets.sample.outputs(), **QUIET)


def _connect_arrival(
    datasets: DatasetsComponents,
    app: gr.Blocks,
    sections: gr.Tabs,
    tab: gr.Tab,
    services: Services,
) -> None:
    """An address of this tab, or the first look at it, opens a data set."""

    def open_at(search: str) -> SourceUpdate:
        name = ""
        try:
            is_here, _, query = split_address(search)
            address = Address.from_query_string(query) if is_here and query else Address("")
            name = address.dataset or datasets_source.default_name(list_datasets(services))
            if not address.dataset:
                address = Address(name)
            return datasets_source.opened_update(services, address)
        except EXPLAINED as error:
            return datasets_source.failed_update(services, name, error)

    def on_load(search: str) -> tuple[gr.Tabs, gr.Tabs]:
        is_here, view, _ = split_address(search)
        return gr.Tabs(selected=TAB) if is_here else gr.skip(), gr.Tabs(selected=view)

    def on_arrive(search: str, here: Here) -> SourceUpdate:
        if here.data_id or not split_address(search)[0]:
            return datasets_source.update()
        return open_at(search)

    def on_look(search: str, here: Here) -> SourceUpdate:
        is_arriving = split_address(search)[0]
        if here.data_id or is_arriving:
            return datasets_source.update()
        return open_at(search)

    inputs, outputs = [datasets.address, datasets.here], datasets.source.outputs()
    app.load(on_load, datasets.address, [sections, datasets.views], js=SEARCH, **QUIET)
    app.load(on_arrive, inputs, outputs, js=SEARCH_AND_STATE, **QUIET)
    tab.select(on_look, inputs, outputs, js=SEARCH_AND_STATE, **QUIET)
    tab.select(fn=None, js="() => { window.trgDatasets.enter(); }")


def _connect_views(datasets: DatasetsComponents, services: Services) -> None:
    """Sub tabs compute what they show when they are looked at."""

    def on_checks(here: Here) -> str:
        with explaining():
            return datasets_checks.status_update(services, here)

    def on_model(here: Here, name: str) -> ModelUpdate:
        return datasets_model.shown(services, here, name)

    def on_export(here: Here) -> tuple[str, gr.Radio]:
        if not datasets_browse.is_ready(services, here):
            return gr.skip(), gr.skip()
        with explaining():
            return datasets_export.looked_at(services, here)

    here, export = datasets.here, datasets.export
    for name, tab in datasets.tabs.items():
        tab.select(fn=None, js=f"() => {{ window.trgDatasets.look('{name}'); }}")
    datasets.tabs[CHECKS].select(on_checks, here, datasets.checks.overview, **QUIET)
    datasets.tabs[MODEL].select(
        on_model, [here, datasets.model.model], datasets.model.outputs(), **IN_TURN
    )
    datasets.tabs[EXPORT].select(on_export, here, [export.what, export.format], **QUIET)


def _connect_opening(datasets: DatasetsComponents, services: Services) -> None:
    """From a thumbnail to its sample, from a sample back, from a check or a bin to its samples."""

    def go(view: str) -> dict[str, Any]:
        update = f'() => [{{__type__: "update", selected: "{view}"}}]'
        return {"fn": None, "outputs": datasets.views, "js": update}

    def on_opened(event: gr.EventData, here: Here) -> SampleUpdate:
        return datasets_sample.opened(services, here, str(event.key), None, "", True)

    def on_chosen(event: gr.EventData, here: Here) -> BrowseUpdate:
        with explaining():
            return datasets_checks.chosen_update(services, here, str(event.check))

    def on_bin(event: gr.EventData, here: Here) -> BrowseUpdate:
        return datasets_browse.picked(services, here, event.columns, event.bounds)

    here, model = datasets.here, datasets.model
    shown = {"outputs": datasets.sample.outputs(), **IN_TURN}
    for grid in (datasets.browse.grid, model.worst):
        grid.opened(**go(SAMPLE))
        grid.opened(on_opened, here, **shown)
    datasets.sample.stage.closed(**go(BROWSE))
    narrowed = {"inputs": here, "outputs": datasets.browse.outputs(), **IN_TURN}
    for narrow, handler in (
        (datasets.checks.overview.chosen, on_chosen),
        (model.bins.picked, on_bin),
    ):
        narrow(**go(BROWSE))
        datasets_browse.draw_charts_after(datasets.browse, services, narrow(handler, **narrowed))
