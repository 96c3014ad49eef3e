"""A Plotly figure on the page that keeps the visitor's view when it changes."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

_FOLDER = Path(__file__).resolve().parent.parent / "theme"


def build_figure(elem_id: str, label: str) -> gr.HTML:
    """An empty figure; its value is a figure's JSON."""
    return gr.HTML(
        "",
        label=label,
        html_template=(_FOLDER / "figure.html").read_text(encoding="utf-8"),
        js_on_load=(_FOLDER / "figure.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id=elem_id,
        elem_classes="figure-block",
    )
