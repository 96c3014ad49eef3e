"""Addresses of the Datasets tab: what the page shows is what a shared address brings back."""

from __future__ import annotations

from demo_app.actions.dataset_filters import Address
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
