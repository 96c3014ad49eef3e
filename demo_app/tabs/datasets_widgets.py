"""Parts of the Datasets tab that the browser draws: filter form, thumbnails, one picture."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

_FOLDER = Path(__file__).resolve().parent.parent / "theme"

FORM = '<form class="ds-form" autocomplete="off"></form>'
GRID = """<div class="ds-samples"><div class="ds-bar" hidden></div>
<div class="ds-grid" role="group" aria-label="Samples"></div>
<div class="empty ds-empty" hidden></div><div class="ds-pager" hidden></div></div>"""
STAGE = """<section class="ds-stage" tabindex="0" aria-label="Sample" hidden>
<div class="ds-stage-bar">
<button type="button" data-do="back" title="Escape">‹ Browse</button>
<b class="ds-stage-title"></b>
<span class="ds-stage-buttons">
<button type="button" data-do="previous" title="Arrow left">‹ Previous</button>
<button type="button" data-do="play" title="Space">▶ Play</button>
<button type="button" data-do="next" title="Arrow right">Next ›</button>
<button type="button" data-do="flag" title="f">⚐ Flag</button></span></div>
<div class="ds-stage-frame"><img class="ds-stage-picture"></div></section>"""


def _script(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _widget(template: str, script: str, elem_id: str, label: str) -> gr.HTML:
    return gr.HTML(
        "",
        label=label,
        html_template=template,
        js_on_load=_script(script),
        apply_default_css=False,
        elem_id=elem_id,
        elem_classes="ds-widget",
    )


def build_filter_form(elem_id: str) -> gr.HTML:
    """Event `filtered` with {"filters": ...}; its value is `datasets_state.form_value`."""
    return _widget(FORM, "dataset_filters.js", elem_id, "Filters")


def build_grid(elem_id: str) -> gr.HTML:
    """Events `opened` {key}, `flagged` {key, on}, `turned` {page, sort, descending, overlay}.

    Its value is `datasets_state.grid_value`.
    """
    return _widget(GRID, "dataset_grid.js", elem_id, "Samples")


def build_stage(elem_id: str) -> gr.HTML:
    """Events `stepped` {key}, `flagged` {key, on}, `played` and `closed`."""
    return _widget(STAGE, "dataset_stage.js", elem_id, "Sample")


def build_copied(elem_id: str) -> gr.HTML:
    """HTML whose buttons with data-copy copy that text."""
    return gr.HTML(
        "",
        js_on_load=_script("dataset_copy.js"),
        apply_default_css=False,
        elem_id=elem_id,
        elem_classes="ds-widget",
    )


def build_address(elem_id: str) -> gr.HTML:
    """Its value becomes what stands behind "?" in the page's address."""
    return gr.HTML(
        "",
        html_template="<span hidden></span>",
        js_on_load=_script("dataset_address.js"),
        apply_default_css=False,
        elem_id=elem_id,
        elem_classes="ds-widget",
    )
