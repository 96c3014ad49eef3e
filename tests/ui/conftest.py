"""A running app and a browser with a fake webcam, for tests that do what a person does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
ASTRONAUT = ROOT / "assets" / "examples" / "astronaut.jpg"
START_S = 120.0

QUIET_FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WEBGL_FLAGS = (
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-gpu-compositing",
)
WEBCAM_FLAGS = (
    "--disable-gpu",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)

SIZE_WH_PX = (640, 480)
BITS, BIT_PX = 8, 20
"""The number of a webcam frame is painted along its lower edge, one square a bit."""


@dataclass(frozen=True)
class RunningApp:
    """app.py in a process of its own. uploads: where it may write."""

    address: str
    uploads: Path
    log: Path


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """The app as `python app.py` starts it, with room for one webcam."""
    with _started(tmp_path_factory.mktemp("app")) as running:
        yield running


@pytest.fixture(scope="session")
def public_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """The same where other computers can reach the page."""
    with _started(tmp_path_factory.mktemp("public"), GRADIO_SERVER_NAME="0.0.0.0") as running:
        yield running


@contextmanager
def _started(folder: Path, **variables: str) -> Iterator[RunningApp]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = RunningApp(f"http://127.0.0.1:{port}/", folder / "uploads", folder / "log.txt")
    environment = os.environ | {
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(running.uploads),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "OMP_NUM_THREADS": "2",
        "TRG_MAX_LIVE": "1",
        "TRG_DATA_DIR": str(folder / "data"),
        **variables,
    }
    with running.log.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        end_s = time.monotonic() + START_S
        while not _answers(running.address):
            if process.poll() is not None or time.monotonic() > end_s:
                pytest.fail("The app did not start:\n" + running.log.read_text())
            time.sleep(0.3)
        yield running
    finally:
        process.terminate()  # workers of the tests pass on that they ignore SIGINT
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(15)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browser(playwright: Playwright, chromium_path: str) -> Iterator[Browser]:
    """Chromium with software WebGL, for the 3D view."""
    started = playwright.chromium.launch(
        executable_path=chromium_path, args=[*QUIET_FLAGS, *WEBGL_FLAGS]
    )
    yield started
    started.close()


@pytest.fixture
def page(browser: Browser, app: RunningApp) -> Iterator[Page]:
    """The open app; a script error fails the test."""
    yield from _open_page(browser, app.address, {"width": 1280, "height": 900})


def _open_page(browser: Browser, address: str, viewport: dict[str, int]) -> Iterator[Page]:
    errors: list[str] = []
    context = browser.new_context(viewport=viewport, permissions=["camera"], accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(address)
    opened.wait_for_selector("#pose-photo")
    yield opened
    context.close()
    assert not errors, errors


@pytest.fixture
def public_page(browser: Browser, public_app: RunningApp) -> Iterator[Page]:
    """The open page that others can reach."""
    yield from _open_page(browser, public_app.address, {"width": 1280, "height": 900})


@pytest.fixture(scope="session")
def webcam_frames() -> int:
    """Frames of the fake webcam before it starts anew."""
    return 120


@pytest.fixture(scope="session")
def centre_of_face(webcam_frames: int) -> Callable[[int], tuple[float, float]]:
    """Where the face of a webcam frame is, by the frame's number."""

    def centre_px(number: int) -> tuple[float, float]:
        turn = 2 * np.pi * number / webcam_frames
        return 320.0 + 90.0 * np.sin(turn), 240.0 + 30.0 * np.sin(2 * turn)

    return centre_px


@pytest.fixture(scope="session")
def webcam_file(
    tmp_path_factory: pytest.TempPathFactory,
    webcam_frames: int,
    centre_of_face: Callable[[int], tuple[float, float]],
) -> Path:
    """The astronaut's face swaying, each frame with its number painted along the lower edge."""
    photo = cv2.imread(str(ASTRONAUT))
    scale = photo.shape[1] / 512
    path = tmp_path_factory.mktemp("webcam") / "webcam.mjpeg"
    with path.open("wb") as file:
        for number in range(webcam_frames):
            x, y = centre_of_face(number)
            tilt_deg = 12 * np.sin(4 * np.pi * number / webcam_frames)
            M = cv2.getRotationMatrix2D((224 * scale, 118 * scale), tilt_deg, 1.6 / scale)
            M[:, 2] += (x - 224 * scale, y - 118 * scale)
            frame = cv2.warpAffine(photo, M, SIZE_WH_PX, borderMode=cv2.BORDER_REPLICATE)
            for bit in range(BITS):
                level = 255 if number >> bit & 1 else 0
                frame[-BIT_PX:, bit * BIT_PX : (bit + 1) * BIT_PX] = level
            file.write(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())
    return path


@pytest.fixture
def open_live_page(
    playwright: Playwright, chromium_path: str, app: RunningApp, webcam_file: Path
) -> Iterator[Callable[[], Page]]:
    """Opens pages of a browser that has the fake webcam."""
    started = playwright.chromium.launch(
        executable_path=chromium_path,
        args=[*QUIET_FLAGS, *WEBCAM_FLAGS, f"--use-file-for-fake-video-capture={webcam_file}"],
    )
    pages: list[Iterator[Page]] = []

    def open_page() -> Page:
        pages.append(_open_page(started, app.address, {"width": 1280, "height": 900}))
        return next(pages[-1])

    yield open_page
    for opened in pages:
        next(opened, None)
    started.close()
