"""The look of the page: Gradio's theme in our colours; the finer part is `theme/studio.css`."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

_FOLDER = Path(__file__).resolve().parent.parent / "theme"
CSS_PATHS = [_FOLDER / name for name in ("studio.css", "datasets.css", "flame.css", "training.css")]

TEXT_FONTS = [
    gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)),
    "ui-sans-serif",
    "system-ui",
    "sans-serif",
]
CODE_FONTS = [gr.themes.LocalFont("IBM Plex Mono", weights=(400,)), "ui-monospace", "monospace"]


LOOK = {
    "body_background_fill": "*neutral_50",
    "body_background_fill_dark": "*neutral_950",
    "block_background_fill": "white",
    "block_background_fill_dark": "*neutral_900",
    "block_border_width": "1px",
    "block_border_color": "*neutral_200",
    "block_border_color_dark": "*neutral_800",
    "border_color_primary": "*neutral_200",
    "border_color_primary_dark": "*neutral_800",
    "block_label_background_fill": "transparent",
    "block_label_background_fill_dark": "transparent",
    "block_label_border_width": "0px",
    "block_label_border_width_dark": "0px",
    "block_label_text_color": "*neutral_500",
    "block_label_text_color_dark": "*neutral_400",
    "block_title_text_weight": "600",
    "block_title_text_color": "*neutral_700",
    "block_title_text_color_dark": "*neutral_200",
    "input_border_width": "1px",
    "input_border_color": "*neutral_300",
    "input_border_color_dark": "*neutral_700",
    "input_background_fill": "white",
    "input_background_fill_dark": "*neutral_950",
    "button_primary_background_fill": "*primary_700",
    "button_primary_background_fill_hover": "*primary_800",
    "button_primary_background_fill_dark": "*primary_600",
    "button_primary_background_fill_hover_dark": "*primary_500",
    "button_primary_text_color": "white",
    "button_primary_text_color_dark": "white",
    "checkbox_label_border_width": "0px",
    "checkbox_label_border_width_dark": "0px",
    "button_border_width": "0px",
    "button_border_width_dark": "0px",
    "checkbox_label_background_fill": "transparent",
    "checkbox_label_background_fill_dark": "transparent",
    "color_accent": "*primary_700",
    "checkbox_background_color_selected": "*primary_700",
    "checkbox_background_color_selected_dark": "*primary_600",
    "checkbox_border_color_selected": "*primary_700",
    "checkbox_border_color_selected_dark": "*primary_600",
    "slider_color": "*primary_700",
    "slider_color_dark": "*primary_500",
    "button_secondary_background_fill": "*neutral_100",
    "button_secondary_background_fill_hover": "*neutral_200",
    "button_secondary_background_fill_dark": "*neutral_800",
    "button_secondary_background_fill_hover_dark": "*neutral_700",
    "shadow_drop": "none",
    "block_shadow": "none",
}
"""Gradio's theme variables: greys of slate, one accent."""


def build_theme() -> gr.themes.Base:
    """Quiet greys, one teal accent; fonts come from this server or the visitor's own machine."""
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        secondary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.slate,
        text_size=gr.themes.sizes.text_md,
        spacing_size=gr.themes.sizes.spacing_md,
        radius_size=gr.themes.sizes.radius_md,
        font=TEXT_FONTS,
        font_mono=CODE_FONTS,
    )
    return theme.set(**LOOK)
