"""Filters and Sort: what is asked of an index, checked at birth, and as an address to share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from viewer.index.check_table import CHECK_BY_NAME
from viewer.index.schema import (
    CATEGORY_COLUMNS,
    COLUMN_BY_NAME,
    PREDICTION_COLUMNS,
    AnnotationIndexError,
)

MOST_FIELDS = 200
LONGEST_TEXT = 500
LONGEST_QUERY = 20_000

Bounds = tuple[float | None, float | None]


class FilterError(AnnotationIndexError):
    """Filters that cannot be; the message says which and why."""


def can_be_ranged(column: str) -> bool:
    """Whether the column holds numbers of which a range may be asked for."""
    known = COLUMN_BY_NAME.get(column)
    return column in PREDICTION_COLUMNS or (known is not None and known.is_filter_range)


@dataclass(frozen=True)
class Filters:
    """Which rows. Everything given must hold; of several values or findings any one.

    ranges: column -> low and high, both included, None: open; rows without the number are left
        out. values: split, subject or sequence -> any of these.
    flagged: True: only flagged rows, False: only the others. text: a part of the key, whatever its
        case.
    Raises: FilterError.
    """

    ranges: Mapping[str, Bounds] = field(default_factory=dict)
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    findings: tuple[str, ...] = ()
    flagged: bool | None = None
    text: str = ""

    def __post_init__(self) -> None:
        for column, bounds in self.ranges.items():
            _require_range(column, bounds)
        for column, values in self.values.items():
            if column not in CATEGORY_COLUMNS:
                known = ", ".join(CATEGORY_COLUMNS)
                raise FilterError(f"Values can be chosen of {known}, not of {column!r:.60}.")
            for value in values:
                _require_text(value, column)
        for name in self.findings:
            if name not in CHECK_BY_NAME:
                raise FilterError(f"There is no check {name!r:.60}.")
        _require_text(self.text, "text")
        if (
            len(self.ranges) + len(self.findings) + sum(map(len, self.values.values()))
            > MOST_FIELDS
        ):
            raise FilterError(f"More than {MOST_FIELDS} conditions at once.")

    @property
    def is_empty(self) -> bool:
        return self == Filters()

    def to_query_string(self) -> str:
        """For an address: `yaw_deg=10.0..30.0&split=train&finding=rotation&flagged=yes&text=a`."""
        pairs = [
            (column, "..".join("" if bound is None else repr(float(bound)) for bound in bounds))
            for column, bounds in self.ranges.items()
        ]
        pairs += [(column, value) for column, values in self.values.items() for value in values]
        pairs += [("finding", name) for name in self.findings]
        if self.flagged is not None:
            pairs.append(("flagged", "yes" if self.flagged else "no"))
        if self.text:
            pairs.append(("text", self.text))
        return urlencode(pairs)

    @classmethod
    def from_query_string(cls, text: str) -> Filters:
        """The inverse of `to_query_string`; a leading "?" is allowed. Raises: FilterError."""
        if len(text) > LONGEST_QUERY:
            raise FilterError("The address is too long.")
        try:
            pairs = parse_qsl(
                text.removeprefix("?"),
                keep_blank_values=True,
                strict_parsing=bool(text.removeprefix("?")),
                errors="strict",
                max_num_fields=MOST_FIELDS,
            )
        except ValueError as error:
            raise FilterError(f"The address has no readable filters: {error}.") from error
        ranges: dict[str, Bounds] = {}
        values: dict[str, tuple[str, ...]] = {}
        single: dict[str, str] = {}
        findings: list[str] = []
        for name, value in pairs:
            if name in CATEGORY_COLUMNS:
                values[name] = (*values.get(name, ()), value)
            elif name == "finding":
                findings.append(value)
            elif name in single or name in ranges:
                raise FilterError(f"{name!r:.60} is given twice.")
            elif name in ("flagged", "text"):
                single[name] = value
            else:
                ranges[name] = _bounds_of(name, value)
        return cls(
            ranges,
            values,
            tuple(findings),
            _truth_of(single.get("flagged")),
            single.get("text", ""),
        )


@dataclass(frozen=True)
class Sort:
    """The order of a page: by a column, rows without the number last, equal ones by key.

    column: any numeric one, split, subject, sequence or key. Raises: FilterError.
    """

    column: str = "key"
    descending: bool = False

    def __post_init__(self) -> None:
        if not (can_be_ranged(self.column) or self.column in ("key", *CATEGORY_COLUMNS)):
            raise FilterError(f"Samples cannot be sorted by {self.column!r:.60}.")


def _require_range(column: str, bounds: Bounds) -> None:
    if not can_be_ranged(column):
        raise FilterError(f"There is no column of numbers {column!r:.60}.")
    if len(bounds) != 2 or any(b is not None and not math.isfinite(b) for b in bounds):
        raise FilterError(f"The range of {column} is no pair of finite numbers.")


def _require_text(text: str, what: str) -> None:
    if len(text) > LONGEST_TEXT:
        raise FilterError(f"The text of {what} is longer than {LONGEST_TEXT} characters.")
    if "\0" in text or any(0xD800 <= ord(c) <= 0xDFFF for c in text):
        raise FilterError(f"The text of {what} has characters that no name has.")


def _bounds_of(column: str, text: str) -> Bounds:
    if not can_be_ranged(column):
        raise FilterError(f"There is no column of numbers {column!r:.60}.")
    low, dots, high = text.partition("..")
    try:
        bounds = tuple(float(part) if part else None for part in (low, high))
    except ValueError:
        bounds = ()
    if not dots or len(bounds) != 2:
        raise FilterError(f"{column} must be like 10..30, 10.. or ..30, not {text!r:.60}.")
    return bounds


def _truth_of(text: str | None) -> bool | None:
    if text not in (None, "yes", "no"):
        raise FilterError(f"flagged must be yes or no, not {text!r:.60}.")
    return None if text is None else text == "yes"
