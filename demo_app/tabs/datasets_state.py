"""Where a visitor of the Datasets tab is, as the page's address and as values of its components."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from demo_app.actions.dataset_filters import Address, FilterChoices, FilterForm, RangeChoice
from demo_app.actions.dataset_page import Card, PageView
from demo_app.actions.dataset_picture import DEFAULT_LAYERS
from viewer.index.check_table import CHECK_BY_NAME
from viewer.index.filters import Filters, Sort
from viewer.index.schema import CAMERA_COLUMNS, TRANSLATION_COLUMNS

TAB = "datasets"
BROWSE, SAMPLE, CHECKS, MODEL, EXPORT = VIEWS = ("browse", "sample", "checks", "model", "export")

PAGE = "p"
"""Name of the page's number in an address."""

QUIET = {"show_progress": "hidden", "api_visibility": "private"}
"""For every event of this tab: no spinner over what is shown, and no entry in the API."""

IN_TURN = {
    "trigger_mode": "multiple",
    "concurrency_id": "datasets",
    "concurrency_limit": 1,
    **QUIET,
}
"""For events that read or write where the visitor is: all of them, one after the other, so that an
older answer never comes last. ("always_last" would send the data of the first one again.)"""

RANGE_GROUPS = {
    "pose": ("Pose", ("yaw_deg", "pitch_deg", "roll_deg", "angle_deg", "distance_mm")),
    "picture": ("Picture and box", ("box_side_px", "width_px", "height_px", "frame")),
    "model": ("Model beside truth", ("geodesic_deg", "t_error_mm")),
    "camera": ("Position and camera", (*TRANSLATION_COLUMNS, *CAMERA_COLUMNS)),
}
"""Ranges that the form offers; those of checks follow. An address may limit any other column."""

NOTHING_LEFT = (
    '<p class="empty-title">No sample is left</p><p>Take a filter away, or press Clear all.</p>'
)


class Here(NamedTuple):
    """data_id: of the open data set, "" before one is.

    overlay: whether thumbnails are drawn on.
    asked: number of the newest choice of filters that was answered.
    Which sub tab is in front is known to the browser alone.
    """

    data_id: str = ""
    address: Address = Address("")
    overlay: bool = True
    asked: int = 0

    @property
    def filters(self) -> Filters:
        return self.address.filters

    @property
    def model(self) -> str:
        """Whose results are looked at, "" for none."""
        return self.address.model

    @property
    def layers(self) -> tuple[str, ...]:
        """Drawn on thumbnails."""
        return DEFAULT_LAYERS if self.overlay else ()

    def at(self, **changes: Any) -> Here:
        """The same place with some fields of its address changed."""
        return self._replace(address=replace(self.address, **changes))


def address_text(here: Here) -> str:
    """What stands behind "?" in the page's address; the browser adds the sub tab as "look".

    Gradio takes "page" and "view" of an address for itself.
    """
    parts = here.address.to_query_string().split("&")
    said = [
        PAGE + part.removeprefix("page") if part.startswith("page=") else part for part in parts
    ]
    return "&".join([f"tab={TAB}", *said])


def split_address(search: str) -> tuple[bool, str, str]:
    """Whether an address is of this tab, its view, and the rest for `Address.from_query_string`."""
    own = {"tab": "", "look": BROWSE}
    rest = []
    for part in search.lstrip("?").split("&"):
        name, _, value = part.partition("=")
        if name in own:
            own[name] = unquote_plus(value)
        elif part and not name.startswith("__"):  # Gradio's own, such as __theme
            rest.append(f"page={value}" if name == PAGE else part)
    view = own["look"] if own["look"] in VIEWS else BROWSE
    return own["tab"] == TAB, view, "&".join(rest)


def form_value(here: Here, choices: FilterChoices, serial: int | None = None) -> str:
    """The value of the filter form (`theme/dataset_filters.js`).

    serial: of the choice that this answers; None where the form did not ask.
    """
    form = FilterForm.of(here.filters)
    lists = (
        ("split", "Split", choices.splits),
        ("subject", "Subject", choices.subjects),
        ("sequence", "Sequence", choices.sequences),
        ("findings", "Findings", choices.findings),
    )
    return json.dumps(
        {
            "dataset": here.data_id,
            "serial": serial,
            "groups": _range_groups({one.column: one for one in choices.ranges}),
            "values": [
                {"name": name, "title": title, "options": [_option(*pair) for pair in pairs]}
                for name, title, pairs in lists
            ],
            "filters": {
                "text": form.text,
                "ranges": {name: list(limits) for name, limits in form.ranges.items()},
                "values": {
                    "split": form.splits,
                    "subject": form.subjects,
                    "sequence": form.sequences,
                },
                "findings": form.findings,
                "flagged": form.flagged,
            },
        }
    )


def _option(label: str, value: str) -> dict[str, str]:
    return {"label": label, "value": value}


def _range_groups(ranges: Mapping[str, RangeChoice]) -> list[dict[str, Any]]:
    checks = tuple(name for name in ranges if name.startswith("check_"))
    groups = {**RANGE_GROUPS, "checks": ("Check scores", checks)}
    found = []
    for name, (title, columns) in groups.items():
        rows = [ranges[column] for column in columns if column in ranges]
        if rows:
            found.append({"name": name, "title": title, "columns": [_range(row) for row in rows]})
    return found


def _range(row: RangeChoice) -> dict[str, Any]:
    unit = row.unit.replace("deg", "°")
    return {"name": row.column, "title": row.title, "unit": unit, "low": row.low, "high": row.high}


def _check_title(name: str) -> str:
    return CHECK_BY_NAME[name].title if name in CHECK_BY_NAME else name


def form_from_event(given: Mapping[str, Any]) -> FilterForm:
    """What the browser sent, as the form's record; of another shape it is taken as empty."""
    values = given.get("values") or {}
    ranges = given.get("ranges") or {}
    return FilterForm(
        splits=_texts(values.get("split")),
        subjects=_texts(values.get("subject")),
        sequences=_texts(values.get("sequence")),
        findings=_texts(given.get("findings")),
        ranges={str(name): _limits(limits) for name, limits in ranges.items()},
        flagged=str(given.get("flagged") or "all"),
        text=str(given.get("text") or ""),
    )


def _texts(given: Any) -> tuple[str, ...]:
    return tuple(str(one) for one in given or ())


def _limits(given: Any) -> tuple[float | None, float | None]:
    low, high = given
    return (None if low is None else float(low), None if high is None else float(high))


def grid_value(
    here: Here,
    view: PageView,
    sorts: tuple[tuple[str, str], ...] = (),
    message: str = NOTHING_LEFT,
) -> str:
    """The value of a grid of thumbnails (`theme/dataset_grid.js`)."""
    sort: Sort = here.address.sort
    return json.dumps(
        {
            "rows": [_cell(card) for card in view.cards],
            "total": view.total,
            "page": view.page,
            "pages": view.pages,
            "sentence": view.sentence,
            "sorts": sorts,
            "sort": sort.column,
            "descending": sort.descending,
            "overlay": here.overlay,
            "open": here.address.key,
            "message": message,
        }
    )


def cards_value(here: Here, cards: tuple[Card, ...], message: str) -> str:
    """A grid of one page without switches."""
    return grid_value(here, PageView(cards, len(cards), 0, 1, ""), (), message)


def _cell(card: Card) -> dict[str, Any]:
    return {
        "key": card.key,
        "thumb": card.thumbnail,
        "caption": card.caption,
        "detail": card.detail,
        "value": card.value,
        "flagged": card.is_flagged,
        "findings": [_check_title(name) for name in card.findings],
    }
