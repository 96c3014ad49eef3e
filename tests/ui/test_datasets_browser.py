"""The Datasets tab in a real browser: filter, turn pages, open, orbit, flag, reload, find it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlencode

import numpy as np
import pytest
from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.ui, pytest.mark.slow, pytest.mark.timeout(300)]

YAW_LOW, YAW_HIGH = -20.0, 60.0
EYE = """() => {
  const camera = document.querySelector('#ds-3d .js-plotly-plot')._fullLayout.scene._scene.getCamera();
  return [camera.eye.x, camera.eye.y, camera.eye.z];
}"""  # noqa: E501
FULLEST_BIN = """() => {
  const plot = document.querySelector('#ds-chart-density .js-plotly-plot');
  const { z, x, y } = plot.calcdata[0][0].trace, { xaxis, yaxis } = plot._fullLayout;
  const counts = z.map((row) => [...row]).flat().map((one) => one || 0), wide = z[0].length;
  const fullest = counts.indexOf(Math.max(...counts)), i = fullest % wide, j = Math.floor(fullest / wide);
  const middle = (values, at, bins) => values.length > bins ? (values[at] + values[at + 1]) / 2 : values[at];
  const box = plot.getBoundingClientRect();
  return [box.left + xaxis._offset + xaxis.d2p(middle(x, i, wide)),
          box.top + yaxis._offset + yaxis.d2p(middle(y, j, z.length))];
}"""  # noqa: E501
ALL_WITHIN = """([low, high]) => {
  const cells = [...document.querySelectorAll('#ds-grid .ds-cell b')];
  const yaws = cells.map((one) => Number(one.innerText.match(/[-+]?\\d+/)[0]));
  return yaws.length > 0 && yaws.every((yaw) => low - 1 <= yaw && yaw <= high + 1);
}"""
KEYS = "() => [...document.querySelectorAll('#ds-grid .ds-cell')].map((one) => one.dataset.key)"


@pytest.fixture
def shelf(page: Page) -> Iterator[Page]:
    """The tab with our synthetic heads, indexed."""
    _visit(page)
    yield page


def _visit(page: Page, **address: str) -> None:
    """By an address, as somebody who was sent it."""
    query = urlencode({"tab": "datasets", "data": "synthetic", **address})
    page.goto(page.url.split("?")[0] + "?" + query)
    page.wait_for_selector("#ds-grid .ds-cell, #ds-grid .ds-empty:not([hidden])", timeout=180_000)


def _wait_for_other_keys(page: Page, before: list[str]) -> list[str]:
    page.wait_for_function(f"before => JSON.stringify(({KEYS})()) !== before", arg=_json(before))
    return page.evaluate(KEYS)


def _json(keys: list[str]) -> str:
    return "[" + ",".join(f'"{key}"' for key in keys) + "]"


def _total(page: Page) -> int:
    """Of the sentence "1 to 24 of 160 ..."."""
    found = re.search(r"of ([\d,]+)", page.inner_text("#ds-grid .ds-sentence"))
    return int(found[1].replace(",", ""))


def _limit_yaw(page: Page) -> None:
    page.fill("[name=yaw_deg-low]", f"{YAW_LOW:g}")
    page.fill("[name=yaw_deg-high]", f"{YAW_HIGH:g}")
    page.keyboard.press("Enter")
    limits = f"yaw_deg={YAW_LOW}..{YAW_HIGH}"
    page.wait_for_function("limits => location.search.includes(limits)", arg=limits)
    page.wait_for_selector("#ds-chips .chip")
    page.wait_for_function(ALL_WITHIN, arg=[YAW_LOW, YAW_HIGH])  # the lower limit may come first
    page.wait_for_function("() => !document.querySelector('#ds-grid [aria-busy]')")


def _wait_for_figure(page: Page) -> None:
    page.wait_for_selector("#ds-3d .js-plotly-plot .gl-container canvas", state="attached")
    page.wait_for_function(f"() => {{ try {{ return ({EYE})(); }} catch {{ return false; }} }}")


def _open(page: Page, cell: Locator) -> str:
    key = cell.get_attribute("data-key")
    cell.click()
    page.wait_for_selector(f'.ds-stage[data-key="{key}"][data-state=loaded]')
    return key


def _click_fullest_bin(page: Page) -> None:
    """Plotly takes a click for a bin once it has said which one the pointer is over."""
    before = None
    while (at := page.evaluate(FULLEST_BIN)) != before:
        before = at
        page.wait_for_timeout(400)
    x, y = at
    page.mouse.move(x - 20, y - 20)
    page.mouse.move(x, y, steps=4)
    page.wait_for_selector("#ds-chart-density .hovertext", state="attached")
    page.mouse.click(x, y)


def test_filter_page_open_orbit_flag_and_find_it_again(shelf: Page) -> None:
    page = shelf
    everything = _total(page)
    _limit_yaw(page)
    assert 0 < _total(page) < everything
    assert page.evaluate(ALL_WITHIN, [YAW_LOW, YAW_HIGH])

    first = page.evaluate(KEYS)
    page.click("#ds-grid .ds-pager [aria-label='Next page']")
    second = _wait_for_other_keys(page, first)
    assert not set(first) & set(second)

    key = _open(page, page.locator("#ds-grid .ds-cell").nth(1))
    assert key == second[1]
    _wait_for_figure(page)
    before = np.array(page.evaluate(EYE))
    plot = page.locator("#ds-3d .js-plotly-plot")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 120, y + 40, steps=8)
    page.mouse.up()
    assert np.linalg.norm(np.array(page.evaluate(EYE)) - before) > 0.2

    page.click("#ds-stage [data-do=flag]")
    page.wait_for_selector("#ds-stage [data-do=flag][aria-pressed=true]")
    page.wait_for_timeout(1000)
    page.reload()
    page.wait_for_selector(f'.ds-stage[data-key="{key}"]', timeout=120_000)
    page.wait_for_selector("#ds-stage [data-do=flag][aria-pressed=true]")

    page.click("#ds-stage [data-do=back]")
    page.wait_for_selector(f'#ds-grid .ds-cell.is-flagged[data-key="{key}"]')
    assert page.input_value("[name=yaw_deg-low]") == f"{YAW_LOW:g}"
    assert page.input_value("[name=yaw_deg-high]") == f"{YAW_HIGH:g}"
    assert page.evaluate(KEYS) == second, "the same page of the same filter"

    page.select_option("#ds-filters [name=flagged]", "flagged")
    page.wait_for_function(f"key => JSON.stringify(({KEYS})()) === key", arg=_json([key]))


def test_the_keyboard_moves_flags_and_opens(shelf: Page) -> None:
    page, cells = shelf, shelf.locator("#ds-grid .ds-cell")
    keys = page.evaluate(KEYS)
    cells.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    here = "() => document.activeElement.dataset.key"
    assert page.evaluate(here) == keys[1]
    was = "is-flagged" in cells.nth(1).get_attribute("class")
    page.keyboard.press("f")
    assert ("is-flagged" in cells.nth(1).get_attribute("class")) != was
    page.keyboard.press("PageDown")
    other = _wait_for_other_keys(page, keys)
    page.wait_for_function(f"key => ({here})() === key", arg=other[0])
    page.keyboard.press("Enter")
    page.wait_for_selector(f'.ds-stage[data-key="{other[0]}"]')
    page.keyboard.press("Escape")
    page.wait_for_selector("#ds-grid .ds-cell", state="visible")


def test_a_click_on_the_density_limits_yaw_and_pitch(shelf: Page) -> None:
    page = shelf
    before = page.evaluate(KEYS)
    drawn = "() => document.querySelectorAll('#ds-charts [data-ready=true]').length === 6"
    page.wait_for_function(drawn)
    _click_fullest_bin(page)
    _wait_for_other_keys(page, before)
    assert "yaw_deg" in page.url and "pitch_deg" in page.url
    assert page.input_value("[name=yaw_deg-low]") and page.input_value("[name=pitch_deg-high]")


def test_layers_and_the_address_of_a_picture(shelf: Page) -> None:
    page = shelf
    key = _open(page, page.locator("#ds-grid .ds-cell").first)
    source = "() => document.querySelector('.ds-stage-picture').src"
    drawn = page.evaluate(source)
    page.locator("#ds-layers label").first.click()
    page.wait_for_function(f"before => ({source})() !== before", arg=drawn)
    assert page.inner_text(".ds-stage-title") == key
    assert "assets" not in drawn and ".parquet" not in drawn, "no path of this machine"
    assert page.request.get(drawn).ok
    assert page.request.get(drawn.replace("key=", "key=nothing")).status == 404


def test_an_address_of_nothing_says_what_to_do(page: Page) -> None:
    page.goto(page.url.split("?")[0] + "?tab=datasets&data=synthetic&nonsense_deg=1..2")
    page.wait_for_selector("#ds-empty .notice")
    assert "nonsense_deg" in page.inner_text("#ds-empty")


def test_it_fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    _visit(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    _open(page, page.locator("#ds-grid .ds-cell").first)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
