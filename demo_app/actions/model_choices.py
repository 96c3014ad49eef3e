"""The model switch and the banner: what can be used here and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from demo_app.runs.exports import is_own_name
from demo_app.services import Services
from models.weights import ModelStatus, describe_models

PRIVACY = (
    "Live frames are looked at and forgotten. Results go when the page closes, uploads within "
    "the hour after."
)
BANNER_LABELS = {"trg": "TRG (released checkpoint)", "trg-multi": "TRG★ (released checkpoint)"}


OWN_WORDS = (
    "It was not part of this program's own measurements. The uncertainty that is shown is what the "
    "network says of itself."
)


def model_menu(statuses: Sequence[ModelStatus] | None = None) -> list[tuple[str, str]]:
    """(label, name) of every model, those that are not here marked as such."""
    found = describe_models() if statuses is None else statuses
    return [
        (status.label if status.present else f"{status.label} – not installed", status.name)
        for status in found
    ]


def missing_model_html(name: str, statuses: Sequence[ModelStatus] | None = None) -> str:
    """What a model lacks and where to get it, or whose training it is; empty for the others."""
    found = describe_models() if statuses is None else statuses
    status = next((status for status in found if status.name == name), None)
    if status is not None and is_own_name(name):
        label = status.label[:1].upper() + status.label[1:]
        return f'<div class="notice notice-info"><b>{escape(label)}.</b> {OWN_WORDS}</div>'
    if status is None or status.present:
        return ""
    files = "".join(f"<li><code>{escape(path)}</code></li>" for path in status.what_is_missing)
    return (
        f'<div class="notice notice-info"><b>{escape(status.label)} is not installed.</b> '
        f"Missing:<ul>{files}</ul>{escape(status.where_to_get_it)}</div>"
    )


def banner_html(services: Services, name: str) -> str:
    """Chips for the top of the page: the model in use, the device, and what happens to pictures."""
    status = next((one for one in services.model_statuses() if one.name == name), None)
    label = BANNER_LABELS.get(name, status.label if status else name)
    if status is not None and not status.present:
        label += " – not installed"
    kind = "chip-model" if status is not None and status.present else "chip-warning"
    kept = "Webcam frames are never stored; your files are deleted after use"
    return (
        '<div class="chips">'
        f'<span class="chip {kind}" title="The network in use">{escape(label)}</span>'
        f'<span class="chip" title="Where the network runs">{services.device_label()}</span>'
        f'<span class="chip chip-privacy" title="{escape(PRIVACY)}">{escape(kept)}</span>'
        "</div>"
    )
