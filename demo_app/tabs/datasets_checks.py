"""Checks: what the label-error finder has found, and the way to the samples."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from demo_app.actions.dataset_filters import FilterForm, filter_choices
from demo_app.services import Services
from demo_app.tabs.datasets_browse import BrowseUpdate, browse_update, filtered
from demo_app.tabs.datasets_state import Here
from viewer.index.check_table import CHECKS, Check
from viewer.index.filters import Sort

CLICK = """element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-check]');
  if (button) trigger('chosen', { check: button.dataset.check });
});"""

NOTHING_FOUND = (
    '<div class="empty"><p class="empty-title">Nothing found</p>'
    "<p>No label is beyond the limit of any check.</p></div>"
)
LEAD = (
    '<p class="status"><b>{count} of {all} checks</b> found something. A finding is a reason to '
    "look, not a verdict: open its samples, worst first, and flag what is wrong.</p>"
)


@dataclass(frozen=True)
class ChecksComponents:
    """Event `chosen` {check}."""

    overview: gr.HTML


def build() -> ChecksComponents:
    """One list of checks."""
    overview = gr.HTML(
        "",
        js_on_load=CLICK,
        apply_default_css=False,
        elem_id="ds-checks",
        elem_classes="ds-widget",
    )
    return ChecksComponents(overview)


def overview_html(services: Services, data_id: str) -> str:
    """Checks with findings first, then those that are silent.

    Raises: IndexMissingError, DatasetActionError.
    """
    labels = {value: label for label, value in filter_choices(services, data_id).findings}
    found = [check for check in CHECKS if check.name in labels]
    silent = [check for check in CHECKS if check.name not in labels]
    rows = "".join(_found_row(check, labels[check.name]) for check in found)
    quiet = "".join(
        f"<li><b>{escape(check.title)}</b> {escape(_limit(check))}</li>" for check in silent
    )
    head = LEAD.format(count=len(found), all=len(CHECKS)) if found else NOTHING_FOUND
    body = f'<ol class="ds-checks">{rows}</ol>' if found else ""
    silent_part = (
        f'<details class="ds-silent"><summary>{len(silent)} checks found nothing, or do not apply '
        f"to this data set</summary><ul>{quiet}</ul></details>"
    )
    return head + body + (silent_part if silent else "")


def _found_row(check: Check, label: str) -> str:
    count = label.rpartition("(")[2].rstrip(")") if "(" in label else ""
    return (
        f"<li><div><b>{escape(check.title)}</b><p>{escape(check.meaning)}</p>"
        f"<small>{escape(_limit(check))}</small></div>"
        f'<button type="button" data-check="{escape(check.name)}">'
        f"{escape(count)} {'sample' if count == '1' else 'samples'} ›</button></li>"
    )


def _limit(check: Check) -> str:
    if check.is_flag:
        return ""
    side = "above" if check.higher_is_worse else "below"
    return f"Finding {side} {check.limit:g} {check.unit}".strip()


def chosen_update(services: Services, here: Here, name: str) -> BrowseUpdate:
    """Browse with the samples of a check, worst first. Raises: as `browse_update`."""
    check = next((one for one in CHECKS if one.name == name), None)
    form = FilterForm(findings=(name,))
    here = filtered(here, form.filters())
    if check is not None and not check.is_flag:
        sort = Sort(f"check_{name}", check.higher_is_worse)
        here = here.at(sort=sort)
    return browse_update(services, here)


def status_update(services: Services, here: Here) -> Any:
    """The list for a data set that has an index, nothing otherwise."""
    return overview_html(services, here.data_id) if here.data_id else ""
