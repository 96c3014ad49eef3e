"""A page of thumbnails under filters."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from demo_app.actions.dataset_filters import column_title
from demo_app.actions.dataset_picture import DEFAULT_LAYERS, thumbnail_address
from demo_app.actions.dataset_shelf import flags_of, index_of
from demo_app.services import Services
from viewer.index.check_table import CHECK_BY_NAME, score_text
from viewer.index.filters import Filters, Sort
from viewer.index.flags import Flag
from viewer.index.schema import CHECK_PREFIX

PAGE_SIZE = 24


@dataclass(frozen=True)
class Card:
    """One thumbnail. thumbnail: address of the picture, relative to the page. caption: the angles,
    or the sample's own name where it has none. detail: subject, sequence and frame. value: what the
    page is sorted by, in words."""

    key: str
    thumbnail: str
    caption: str
    detail: str
    value: str
    is_flagged: bool
    tags: tuple[str, ...]
    findings: tuple[str, ...]


@dataclass(frozen=True)
class PageView:
    """page: from 0, moved into what there is. sentence: "25 to 48 of 13,219 (15,678 in all)"."""

    cards: tuple[Card, ...]
    total: int
    page: int
    pages: int
    sentence: str


def read_page(
    services: Services,
    data_id: str,
    filters: Filters,
    sort: Sort,
    page: int,
    layers: Sequence[str] = DEFAULT_LAYERS,
    page_size: int = PAGE_SIZE,
    model: str = "",
) -> PageView:
    """layers: drawn on the thumbnails, see `dataset_picture.LAYERS`. model: its errors can be
    sorted and filtered by. Raises: IndexMissingError, FilterError, DatasetActionError."""
    index, flags = index_of(services, data_id), flags_of(services, data_id)
    flagged = flags.flagged_keys()
    asked = {"flagged_keys": flagged} | ({"model": model} if model else {})
    total = index.count(filters, **asked)
    pages = max(1, -(-total // page_size))
    page = min(max(page, 0), pages - 1)
    rows = index.page(filters, sort, offset=page * page_size, limit=page_size, **asked)
    said = {flag.key: flag for flag in flags.all()}
    cards = tuple(card_of(data_id, row, layers, said, sort.column) for row in rows)
    everything = total if filters == Filters() else index.count(Filters())
    return PageView(cards, total, page, pages, _sentence(page * page_size, rows, total, everything))


def count_samples(services: Services, data_id: str, filters: Filters, model: str = "") -> int:
    """How many the filters leave. Raises: as `read_page`."""
    flagged = flags_of(services, data_id).flagged_keys()
    return index_of(services, data_id).count(filters, flagged, model)


def card_of(
    data_id: str,
    row: Mapping[str, object],
    layers: Sequence[str],
    flags: Mapping[str, Flag],
    sorted_by: str = "key",
) -> Card:
    """The card of a row of the index."""
    key = str(row["key"])
    flag = flags.get(key, Flag(key))
    return Card(
        key=key,
        thumbnail=thumbnail_address(data_id, key, layers),
        caption=_angles(row) or key.rpartition("/")[2],
        detail=_whereabouts(row) or key,
        value=value_text(row, sorted_by),
        is_flagged=flag.is_flagged,
        tags=flag.tags,
        findings=tuple(row.get("findings") or ()),
    )


def _whereabouts(row: Mapping[str, object]) -> str:
    """Split, subject, sequence, frame; a name that another one says too is left out."""
    names = [str(row[name]) for name in ("split", "subject", "sequence") if row.get(name)]
    words = [set(re.split(r"\W+", name)) for name in names]
    said = [
        name
        for i, name in enumerate(names)
        if not any(words[i] < other for other in words) and words[i] not in words[:i]
    ]
    if row.get("frame") is not None:
        said.append(f"frame {row['frame']}")
    return " · ".join(said)


def _angles(row: Mapping[str, object]) -> str:
    angles = [row.get(name) for name in ("yaw_deg", "pitch_deg", "roll_deg")]
    if any(angle is None for angle in angles):
        return ""
    named = zip("YPR", angles, strict=True)
    return "  ".join(f"{name} {round(angle):+d}°" for name, angle in named)


def value_text(row: Mapping[str, object], column: str) -> str:
    """The number of a column with its unit and name; "" for names and angles, which are said
    anyway."""
    number = row.get(column)
    if column in ("key", "split", "subject", "sequence", "yaw_deg", "pitch_deg", "roll_deg"):
        return ""
    title, unit = column_title(column)
    if number is None:
        return f"– · {title}"
    check = CHECK_BY_NAME.get(column.removeprefix(CHECK_PREFIX))
    if check is not None and column.startswith(CHECK_PREFIX):
        return f"{score_text(check, float(number))} · {title}"
    digits = 0 if unit in ("mm", "px") else 1
    written = f"{float(number):.{digits}f}{'°' if unit == 'deg' else f' {unit}'}".rstrip()
    return f"{written} · {title}"


def _sentence(first: int, rows: Collection[object], total: int, everything: int) -> str:
    if not total:
        return "No sample passes these filters." if everything else "The index is empty."
    shown = f"{first + 1:,} to {first + len(rows):,} of {total:,}"
    return shown if total == everything else f"{shown} ({everything:,} in all)"
