"""Browse: filters on the left, linked charts and a page of thumbnails on the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr

from demo_app.actions.dataset_charts import build_charts
from demo_app.actions.dataset_filters import active_filters_html, filter_choices, with_click
from demo_app.actions.dataset_flags import toggle_flag
from demo_app.actions.dataset_open import index_state
from demo_app.actions.dataset_page import read_page
from demo_app.services import Services
from demo_app.tabs.datasets_state import (
    IN_TURN,
    QUIET,
    Here,
    address_text,
    form_from_event,
    form_value,
    grid_value,
)
from demo_app.tabs.datasets_widgets import build_filter_form, build_grid
from demo_app.tabs.figure import build_figure
from demo_app.tabs.problems import explaining
from viewer.index.filters import Filters, Sort

CHART_TITLES = {
    "density": "Yaw against pitch",
    "sphere": "Where the noses point",
    "yaw": "Yaw",
    "pitch": "Pitch",
    "roll": "Roll",
    "distance": "Distance",
}


@dataclass(frozen=True)
class BrowseComponents:
    """charts: by the names of `Charts`."""

    here: gr.State
    address: gr.HTML
    form: gr.HTML
    chips: gr.HTML
    grid: gr.HTML
    charts: dict[str, gr.HTML]
    charts_panel: gr.Accordion

    def outputs(self) -> list[gr.blocks.Block]:
        """In the order of `BrowseUpdate`."""
        return [getattr(self, name) for name in BrowseUpdate._fields]

    def chart_outputs(self) -> list[gr.blocks.Block]:
        """In the order of `ChartsUpdate`."""
        return [self.charts_panel, *self.charts.values()]


class BrowseUpdate(NamedTuple):
    """New values of the components of the same names."""

    here: Any
    address: Any
    form: Any
    chips: Any
    grid: Any


class ChartsUpdate(NamedTuple):
    """The panel around them, and figures by the names of `CHART_TITLES`."""

    panel: Any
    density: Any
    sphere: Any
    yaw: Any
    pitch: Any
    roll: Any
    distance: Any


UNCHANGED = BrowseUpdate(*(gr.skip() for _ in BrowseUpdate._fields))
SAME_CHARTS = ChartsUpdate(*(gr.skip() for _ in ChartsUpdate._fields))


def build() -> dict[str, Any]:
    """The form, the charts, the thumbnails."""
    with gr.Row(elem_classes="ds-browse"):
        with gr.Column(elem_classes="ds-side", min_width=240):
            form = build_filter_form("ds-filters")
        with gr.Column(elem_classes="ds-main", min_width=300):
            with (
                gr.Accordion(
                    "Charts", open=True, elem_classes="panel", elem_id="ds-charts"
                ) as charts_panel,
                gr.Row(elem_classes="ds-charts"),
            ):
                charts = {
                    name: build_figure(f"ds-chart-{name}", title)
                    for name, title in CHART_TITLES.items()
                }
            chips = gr.HTML(visible=False, elem_id="ds-chips", apply_default_css=False)
            grid = build_grid("ds-grid")
    return {
        "form": form, "chips": chips, "grid": grid, "charts": charts, "charts_panel": charts_panel,
    }  # fmt: skip


def browse_update(services: Services, here: Here, serial: int | None = None) -> BrowseUpdate:
    """A page under the filters of `here`, in the page that there is. serial: see `form_value`.

    Raises: IndexMissingError, FilterError, DatasetActionError.
    """
    address = here.address
    choices = filter_choices(services, here.data_id, here.model)
    view = read_page(
        services,
        here.data_id,
        address.filters,
        address.sort,
        address.page,
        layers=here.layers,
        model=here.model,
    )
    here = here.at(page=view.page)
    chips = active_filters_html(services, here.data_id, address.filters)
    return BrowseUpdate(
        here=here,
        address=address_text(here),
        form=form_value(here, choices, serial),
        chips=gr.HTML(chips, visible=bool(chips)),
        grid=grid_value(here, view, choices.sorts),
    )


def charts_update(services: Services, here: Here) -> ChartsUpdate:
    """Raises: as `browse_update`."""
    charts = build_charts(services, here.data_id, here.filters, here.model)
    figures = {name: getattr(charts, name) for name in CHART_TITLES}
    some = any(figures.values())
    return ChartsUpdate(panel=gr.Accordion(visible=True if some else "hidden"), **figures)


def filtered(here: Here, filters: Filters) -> Here:
    """The same place under other filters, at its first page."""
    return here.at(filters=filters, page=0)


def picked(
    services: Services, here: Here, columns: Sequence[str], bounds: Sequence[float]
) -> BrowseUpdate:
    """After a click on a chart's bin."""
    if not columns or not bounds:
        return UNCHANGED
    with explaining():
        return browse_update(services, filtered(here, with_click(here.filters, columns, bounds)))


def shown(services: Services, here: Here) -> BrowseUpdate:
    """`browse_update` where there is an index; a newer place is not written over."""
    if not is_ready(services, here):
        return UNCHANGED
    with explaining():
        return browse_update(services, here)._replace(here=gr.skip())


def draw_charts_after(
    browse: BrowseComponents, services: Services, *events: gr.events.Dependency
) -> None:
    """Charts follow thumbnails, so that those come at once."""

    def on_charts(here: Here) -> ChartsUpdate:
        if not is_ready(services, here):
            return SAME_CHARTS
        with explaining():
            return charts_update(services, here)

    for event in events:
        event.then(
            on_charts, browse.here, browse.chart_outputs(), trigger_mode="always_last", **QUIET
        )


def is_ready(services: Services, here: Here) -> bool:
    """Whether there is an index to browse."""
    return bool(here.data_id) and index_state(services, here.data_id)[0]


def chosen(services: Services, here: Here, filters: Filters, serial: int) -> BrowseUpdate:
    """The page under filters of the form. Of two choices in quick succession the older one may
    arrive last: it changes nothing. serial: grows with every choice."""
    if serial < here.asked:
        return BrowseUpdate(*[gr.skip()] * len(BrowseUpdate._fields))
    return browse_update(services, filtered(here, filters)._replace(asked=serial), serial)


def connect(browse: BrowseComponents, services: Services) -> None:
    """Filter, turn pages, click charts, flag. Opening a sample is connected by `datasets`."""

    def on_filtered(event: gr.EventData, here: Here) -> BrowseUpdate:
        with explaining():
            form = form_from_event(event.filters)
            return chosen(services, here, form.filters(), int(event.serial))

    def on_turned(event: gr.EventData, here: Here) -> BrowseUpdate:
        with explaining():
            sort = Sort(str(event.sort), bool(event.descending))
            here = here.at(page=int(event.page), sort=sort)._replace(overlay=bool(event.overlay))
            return browse_update(services, here)._replace(form=gr.skip())

    def on_picked(event: gr.EventData, here: Here) -> BrowseUpdate:
        return picked(services, here, event.columns, event.bounds)

    def on_flagged(event: gr.EventData, here: Here) -> None:
        with explaining():
            set_flag(services, here, str(event.key), bool(event.on))

    shown = {"outputs": browse.outputs(), **IN_TURN}
    events = [browse.form.filtered(on_filtered, browse.here, **shown)]
    events += [chart.picked(on_picked, browse.here, **shown) for chart in browse.charts.values()]
    draw_charts_after(browse, services, *events)
    browse.grid.turned(on_turned, browse.here, **shown)
    browse.grid.flagged(on_flagged, browse.here, None, **IN_TURN)


def set_flag(services: Services, here: Here, key: str, on: bool) -> None:
    """Set or clear a flag, whatever another page has done meanwhile."""
    if toggle_flag(services, here.data_id, key) != on:
        toggle_flag(services, here.data_id, key)
