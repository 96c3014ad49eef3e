"""Addresses of the Datasets tab: what the page shows is what a shared address brings back."""

from __future__ import annotations

import gradio as gr
import pytest

from demo_app.actions.dataset_filters import Address
from demo_app.tabs import datasets_browse
from demo_app.tabs.datasets_browse import BrowseUpdate, chosen
from demo_app.tabs.datasets_state import Here, address_text, split_address
from viewer.index.filters import Filters


def test_an_address_comes_back_with_its_page_its_view_and_its_model() -> None:
    address = Address(
        "biwi", Filters(ranges={"geodesic_deg": (5.0, None)}), page=2, model="trg-mini"
    )
    text = address_text(Here("biwi-1", address))
    assert "page=" not in text, "Gradio takes it for itself"
    is_here, view, query = split_address(f"?{text}&look=model&__theme=dark")
    assert (is_here, view) == (True, "model")
    assert Address.from_query_string(query) == address
    assert split_address("?tab=pose&look=nonsense") == (False, "browse", "")


def test_an_older_choice_of_filters_that_arrives_last_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def update(_services: object, here: Here, serial: int | None = None) -> BrowseUpdate:
        return BrowseUpdate(here, None, serial, None, None)

    monkeypatch.setattr(datasets_browse, "browse_update", update)
    low, both = (Filters(ranges={"yaw_deg": limits}) for limits in ((-20.0, None), (-20.0, 20.0)))
    newer = chosen(None, Here("x"), both, 2)
    assert newer.form == 2 and newer.here.filters == both
    late = chosen(None, newer.here, low, 1)
    assert all(part == gr.skip() for part in late)
    again = chosen(None, newer.here, low, 3)
    assert again.form == 3 and again.here.filters == low
