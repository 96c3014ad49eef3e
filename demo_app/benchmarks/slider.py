"""For `benchmark flame`: how long a slider's move takes in the FLAME tab of a real browser.

From the input event to the end of the drawing of its mesh, with the server on this machine and a
processor in place of a graphics card. The slider is dragged: a move follows the last one's picture.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from demo_app.benchmarks.live import BROWSER_FLAGS, running_server
from demo_app.benchmarks.timing import p50_p95

FLAGS = (*BROWSER_FLAGS, "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
MOVES, PAUSE_MS, UNCOUNTED = 150, 30, 10

DRAG = """async ([moves, pause]) => {
  const stage = document.querySelector('[data-moves]'), times = [];
  const input = document.querySelector('input[data-slider="expression-24"]');
  for (let k = 0; k < moves; k += 1) {
    const drawn = new Promise((done) => {
      const watch = new MutationObserver(() => { watch.disconnect(); done(performance.now()); });
      watch.observe(stage, { attributes: true, attributeFilter: ['data-moves'] });
    });
    const began = performance.now();
    input.value = 0.5 + 0.5 * Math.sin(k / 5);
    input.dispatchEvent(new Event('input', { bubbles: true }));
    times.push(await drawn - began);
    await new Promise((done) => setTimeout(done, pause));
  }
  return times;
}"""


def slider_figures(threads: int) -> dict[str, float | None]:
    """Median and 95th percentile; None where there is no Chromium. Raises: BenchmarkError."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        return {"slider_p50_ms": None, "slider_p95_ms": None}
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(threads, Path(folder) / "server.log") as address,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.goto(address)
        times_ms = drag(page)
        browser.close()
    p50, p95 = p50_p95(times_ms)
    return {"slider_p50_ms": p50, "slider_p95_ms": p95}


def drag(page: Page) -> np.ndarray:
    """Milliseconds of each move in the FLAME tab of the open app."""
    page.get_by_role("tab", name="FLAME").click()
    page.wait_for_function("() => document.querySelector('[data-moves]')", timeout=60_000)
    page.wait_for_timeout(1000)
    return np.array(page.evaluate(DRAG, [MOVES, PAUSE_MS]))[UNCOUNTED:]
