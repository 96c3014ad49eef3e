"""`benchmark live`: a fake webcam in a real browser against a real server, overlay to overlay.

What is counted is what a user sees: overlays that the page has drawn, each on the frame that was
sent for it. Browser and server share this machine's processors, as they do for a local user.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import cv2
import numpy as np
from playwright.sync_api import Page, sync_playwright

from demo_app.benchmarks.pose import moving_frames
from demo_app.benchmarks.timing import machine, p50_p95
from demo_app.config import child_environment
from models.weights import REPOSITORY_ROOT

BROWSER_FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WEBCAM_FLAGS = (
    "--disable-gpu",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)
WARM_UP_S, MEASURE_S, START_LIMIT_S = 6.0, 20.0, 120.0
MESHES = {"shaded": "Shaded", "head": "Full head"}
"""Switches of the page under which it is measured again, and their names there."""
MESH_WARM_UP_S, MESH_MEASURE_S = 4.0, 10.0

RECORD_FRAMES = """() => {
  const live = document.querySelector('.live');
  window.liveTimes = []; window.liveDelays = []; window.liveFaces = []; window.liveServer = [];
  window.liveWatch?.disconnect();
  window.liveWatch = new MutationObserver(() => {
    window.liveTimes.push(performance.now());
    window.liveDelays.push(Number(live.dataset.latencyMs || 0));
    window.liveFaces.push(Number(live.dataset.faces || 0));
    window.liveServer.push(Number(live.dataset.serverMs));
  });
  window.liveWatch.observe(live, { attributes: true, attributeFilter: ['data-frames'] });
}"""


class BenchmarkError(RuntimeError):
    """The benchmark cannot run here; the message says what is missing."""


def run_live_benchmark(threads: int = 2) -> dict[str, object]:
    """Measure for about a minute; returns what the last line says. Raises: BenchmarkError."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise BenchmarkError("Chromium is not installed: apt-get install chromium.")
    with tempfile.TemporaryDirectory() as folder:
        webcam = Path(folder) / "webcam.mjpeg"
        write_fake_webcam(webcam, moving_frames(90))
        with running_server(threads, Path(folder) / "server.log") as address:
            measured = _watch(chromium, webcam, address)
    return {"benchmark": "live", "machine": machine(), "threads": threads} | measured


def write_fake_webcam(path: Path, frames_rgb: list[np.ndarray]) -> None:
    """JPEGs one after the other, which Chromium plays in a loop as its camera."""
    with path.open("wb") as file:
        for frame in frames_rgb:
            _, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            file.write(data.tobytes())


@contextmanager
def running_server(threads: int, log: Path) -> Iterator[str]:
    """The app in a process of its own, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "demo_app", "demo", "--port", str(port)]
    environment = child_environment(OMP_NUM_THREADS=str(threads), GRADIO_ANALYTICS_ENABLED="False")
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=REPOSITORY_ROOT, env=environment, stdout=output, stderr=output
        )
        try:
            _wait_for_page(address, process, log)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for_page(address: str, process: subprocess.Popen, log: Path) -> None:
    end_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end_s:
        if process.poll() is not None:
            raise BenchmarkError(f"The app did not start: {log.read_text()[-2000:]}")
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except (URLError, OSError):
            time.sleep(0.5)
    raise BenchmarkError(f"The page did not answer within {START_LIMIT_S:.0f} s.")


def _watch(chromium: str, webcam: Path, address: str) -> dict[str, object]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[*BROWSER_FLAGS, *WEBCAM_FLAGS, f"--use-file-for-fake-video-capture={webcam}"],
        )
        context = browser.new_context(
            viewport={"width": 1280, "height": 900}, permissions=["camera"]
        )
        page = context.new_page()
        page.goto(address)
        page.get_by_role("tab", name="Live").click()
        page.locator(".live-toggle").click()
        page.wait_for_function(
            "() => Number(document.querySelector('.live').dataset.frames) > 5", timeout=60_000
        )
        page.wait_for_timeout(WARM_UP_S * 1000)
        measured = _measure(page, MEASURE_S)
        for mesh, label in MESHES.items():
            page.get_by_label(label, exact=True).check()
            page.wait_for_timeout(MESH_WARM_UP_S * 1000)
            again = _measure(page, MESH_MEASURE_S)
            measured |= {f"{mesh}_{name}": again[name] for name in MESH_FIGURES}
        page.locator(".live-toggle").click()
        page.wait_for_function("() => document.querySelector('.live').dataset.state === 'idle'")
        browser.close()
    return measured


MESH_FIGURES = ("frames_per_s", "latency_p50_ms", "server_p50_ms")


def _measure(page: Page, seconds: float) -> dict[str, object]:
    page.evaluate(RECORD_FRAMES)
    page.wait_for_timeout(seconds * 1000)
    times_ms = np.array(page.evaluate("() => window.liveTimes"))
    delays_ms = np.array(page.evaluate("() => window.liveDelays"))
    faces = np.array(page.evaluate("() => window.liveFaces"))
    if len(times_ms) < 10:
        raise BenchmarkError("The page drew fewer than ten overlays: see the server's log.")
    in_flight = page.locator(".live").get_attribute("data-in-flight-max")
    interval = p50_p95(np.diff(times_ms))
    return {
        "frames_per_s": round((len(times_ms) - 1) / (times_ms[-1] - times_ms[0]) * 1000.0, 1),
        "interval_p50_ms": interval[0],
        "interval_p95_ms": interval[1],
        "latency_p50_ms": p50_p95(delays_ms)[0],
        "server_p50_ms": p50_p95(np.array(page.evaluate("() => window.liveServer")))[0],
        "frames": len(times_ms),
        "frames_with_one_face": int((faces == 1).sum()),
        "most_frames_in_flight": int(in_flight or 0),
    }
