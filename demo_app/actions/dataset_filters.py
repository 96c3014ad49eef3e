"""Filters as the page's form has them, as an address has them, as a click on a chart sets them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from urllib.parse import parse_qsl, urlencode

from demo_app.actions.dataset_shelf import index_of
from demo_app.services import Services
from viewer.datasets.registry import DATASET_INFOS
from viewer.index.check_table import CHECK_BY_NAME
from viewer.index.filters import FilterError, Filters, Sort, can_be_ranged
from viewer.index.predictions import has_predictions
from viewer.index.query import Index
from viewer.index.schema import (
    CATEGORY_COLUMNS,
    COLUMN_BY_NAME,
    PREDICTION_COLUMNS,
    ROTATION_COLUMNS,
)
from viewer.index.stats import histogram
from viewer.index.tables import Extent

FLAG_CHOICES: dict[str, bool | None] = {"all": None, "flagged": True, "not flagged": False}
HIDDEN_RANGES = set(ROTATION_COLUMNS)
"""Nobody filters by the numbers of a matrix."""

OWN_NAMES = ("data", "sort", "page", "key", "model")
"""Of an address; all other names are the filters'."""

PREDICTION_TITLES = {
    "geodesic_deg": ("Model's rotation error", "deg"),
    "t_error_mm": ("Model's translation error", "mm"),
}


@dataclass(frozen=True)
class RangeChoice:
    """A column that can be limited. low, high: its extent in the index."""

    column: str
    title: str
    unit: str
    low: float
    high: float


@dataclass(frozen=True)
class FilterChoices:
    """What the form offers. (label with its count, value) for menus; ranges in the schema's order,
    only columns that have a number in this index; findings by check; sorts: (label, column)."""

    splits: tuple[tuple[str, str], ...]
    subjects: tuple[tuple[str, str], ...]
    sequences: tuple[tuple[str, str], ...]
    findings: tuple[tuple[str, str], ...]
    ranges: tuple[RangeChoice, ...]
    sorts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class FilterForm:
    """The form's plain values. ranges: column -> (low, high), None: open. flagged: of
    `FLAG_CHOICES`."""

    splits: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    ranges: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    flagged: str = "all"
    text: str = ""

    def filters(self) -> Filters:
        """Raises: FilterError."""
        named = zip(CATEGORY_COLUMNS, (self.splits, self.subjects, self.sequences), strict=True)
        if self.flagged not in FLAG_CHOICES:
            raise FilterError(f"Flags can be {', '.join(FLAG_CHOICES)}, not {self.flagged!r}.")
        return Filters(
            ranges={
                column: limits for column, limits in self.ranges.items() if limits != (None, None)
            },
            values={column: tuple(chosen) for column, chosen in named if chosen},
            findings=tuple(self.findings),
            flagged=FLAG_CHOICES[self.flagged],
            text=self.text.strip(),
        )

    @classmethod
    def of(cls, filters: Filters) -> FilterForm:
        """The form that gives these filters."""
        words = {flagged: word for word, flagged in FLAG_CHOICES.items()}
        split, subject, sequence = (
            tuple(filters.values.get(column, ())) for column in CATEGORY_COLUMNS
        )
        return cls(
            splits=split,
            subjects=subject,
            sequences=sequence,
            findings=tuple(filters.findings),
            ranges=dict(filters.ranges),
            flagged=words[filters.flagged],
            text=filters.text,
        )


@dataclass(frozen=True)
class Address:
    """Where the visitor is, for the page's URL: the data set, the filters' own query string, and
    `sort=-yaw_deg`, `page=2`, `key=01/frame_00003`, `model=trg-mini`.

    dataset: its name, never a path. page: from 0. model: whose errors are looked at, "" for none.
    """

    dataset: str
    filters: Filters = field(default_factory=Filters)
    sort: Sort = field(default_factory=Sort)
    page: int = 0
    key: str = ""
    model: str = ""

    def to_query_string(self) -> str:
        """Without the leading "?"; what is as it is at the start is left out."""
        asked = {"data": self.dataset}
        if self.sort != Sort():
            asked["sort"] = ("-" if self.sort.descending else "") + self.sort.column
        if self.page:
            asked["page"] = str(self.page + 1)
        if self.key:
            asked["key"] = self.key
        if self.model:
            asked["model"] = self.model
        parts = (urlencode({"data": asked.pop("data")}), self.filters.to_query_string())
        return "&".join(part for part in (*parts, urlencode(asked, safe="/")) if part)

    @classmethod
    def from_query_string(cls, text: str) -> Address:
        """Raises: FilterError with a sentence for anything that is no such address."""
        pairs = parse_qsl(text.removeprefix("?"), keep_blank_values=True, max_num_fields=200)
        own = {name: value for name, value in pairs if name in OWN_NAMES}
        if own.get("data") not in DATASET_INFOS:
            raise FilterError("The address names no data set that this program knows.")
        page = own.get("page", "1")
        if not (page.isascii() and page.isdecimal() and len(page) < 10):
            raise FilterError("The address has a page that is no number.")
        theirs = urlencode([(name, value) for name, value in pairs if name not in OWN_NAMES])
        sort = own.get("sort", Sort().column)
        return cls(
            dataset=own["data"],
            filters=Filters.from_query_string(theirs),
            sort=Sort(sort.removeprefix("-"), sort.startswith("-")),
            page=max(0, int(page) - 1),
            key=own.get("key", ""),
            model=own.get("model", ""),
        )


def filter_choices(services: Services, data_id: str, model: str = "") -> FilterChoices:
    """model: its errors can be limited and sorted by.

    Raises: IndexMissingError, DatasetActionError.
    """
    index = index_of(services, data_id)
    summary = index.summary()
    extents = _error_extents(index, model) | summary.extents
    ranges = tuple(
        choice
        for column, extent in extents.items()
        if column not in HIDDEN_RANGES and (choice := _range(column, extent)) is not None
    )
    findings = tuple(
        (f"{_check_title(name)} ({count:,})", name)
        for name, count in sorted(summary.findings.items(), key=lambda item: -item[1])
        if count
    )
    split, subject, sequence = (_menu(index, column) for column in CATEGORY_COLUMNS)
    sorts = [("Sample", "key"), *((choice.title, choice.column) for choice in ranges)]
    return FilterChoices(split, subject, sequence, findings, ranges, tuple(sorts))


def _error_extents(index: Index, model: str) -> dict[str, Extent]:
    """Of a model's errors; nothing where no model is looked at."""
    found: dict[str, Extent] = {}
    if not model or not has_predictions(index.folder, model):
        return found
    for column in PREDICTION_COLUMNS:
        errors = histogram(index, column, Filters(), 1, model=model)
        if errors.counts.sum():
            low, high = map(float, errors.edges)
            found[column] = Extent(low, high, int(errors.counts.sum()))
    return found


def _range(column: str, extent: Extent) -> RangeChoice | None:
    if extent.low is None or extent.high is None:
        return None
    title, unit = column_title(column)
    return RangeChoice(column, title, unit, extent.low, extent.high)


def column_title(column: str) -> tuple[str, str]:
    """Title and unit for the screen."""
    if column in PREDICTION_COLUMNS:
        return PREDICTION_TITLES[column]
    found = COLUMN_BY_NAME.get(column)
    if found is None:
        raise FilterError(f"There is no column {column!r:.60}.")
    return found.title, found.unit


def _check_title(name: str) -> str:
    return CHECK_BY_NAME[name].title if name in CHECK_BY_NAME else name


def _menu(index: Index, column: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (f"{value} ({count:,})", value) for value, count in index.distinct(column) if value
    )


def with_click(filters: Filters, columns: Sequence[str], bounds: Sequence[float]) -> Filters:
    """Filters after a click on a chart: every trace of `dataset_charts` has points whose customdata
    begins with [low, high] of each of the figure's columns (`figure.layout.meta.columns`).

    The same bin clicked again takes the limit away. Raises: FilterError.
    """
    if len(bounds) < 2 * len(columns) or not all(map(can_be_ranged, columns)):
        raise FilterError("This chart cannot filter.")
    clicked = {
        column: _outward(float(bounds[2 * i]), float(bounds[2 * i + 1]))
        for i, column in enumerate(columns)
    }
    ranges = dict(filters.ranges)
    if all(ranges.get(column) == limits for column, limits in clicked.items()):
        ranges = {column: limits for column, limits in ranges.items() if column not in clicked}
    else:
        ranges |= clicked
    return replace(filters, ranges=ranges)


def _outward(low: float, high: float) -> tuple[float, float]:
    """Short numbers for an address that leave nothing of the bin out."""
    return math.floor(low * 1000) / 1000, math.ceil(high * 1000) / 1000


def active_filters_html(services: Services, data_id: str, filters: Filters) -> str:
    """The limits in words, one chip each: "Yaw 10 to 30 deg"; "" where nothing is limited."""
    words = [_range_words(column, limits) for column, limits in filters.ranges.items()]
    for column, chosen in filters.values.items():
        words.append(f"{column_title(column)[0]} {', '.join(chosen)}")
    words += [_check_title(name) for name in filters.findings]
    if filters.flagged is not None:
        words.append("flagged" if filters.flagged else "not flagged")
    if filters.text:
        words.append(f"name has “{filters.text}”")
    chips = "".join(f'<span class="chip ds-filter">{escape(word)}</span>' for word in words)
    return f'<div class="chips ds-filters">{chips}</div>' if chips else ""


def _range_words(column: str, limits: tuple[float | None, float | None]) -> str:
    title, unit = column_title(column)
    low, high = limits
    unit_text = {"deg": "°", "": ""}.get(unit, f" {unit}")
    if low is None:
        return f"{title} at most {high:g}{unit_text}"
    if high is None:
        return f"{title} at least {low:g}{unit_text}"
    return f"{title} {low:g} to {high:g}{unit_text}"
