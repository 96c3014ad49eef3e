"""The Training tab in a real browser: a click trains, nothing that happens to page or server stops
it, Stop leaves a checkpoint, the Pose tab uses it and says so."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from demo_app.run_state import is_alive, read_state

pytestmark = [pytest.mark.ui, pytest.mark.slow, pytest.mark.timeout(420)]

ROOT = Path(__file__).resolve().parents[2]
ASTRONAUT = ROOT / "assets" / "examples" / "astronaut.jpg"
POINTS = "() => Number(document.querySelector('.tr-chart')?.dataset.points || 0)"
OPEN = "#training-desk .tr-run"
START_S = 120.0


@dataclass
class Server:
    """The app on one port and one fresh data folder, to be killed and started again."""

    folder: Path
    port: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/?tab=training"

    @property
    def run(self) -> Path:
        return self.folder / "data" / "runs" / "first-try"

    def start(self) -> None:
        environment = os.environ | {
            "GRADIO_SERVER_PORT": str(self.port),
            "GRADIO_TEMP_DIR": str(self.folder / "uploads"),
            "TRG_DATA_DIR": str(self.folder / "data"),
            "OMP_NUM_THREADS": "1",
        }
        with (self.folder / "log.txt").open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=log, stderr=log
                )
            )
        end_s = time.monotonic() + START_S
        while not self._answers():
            if self.processes[-1].poll() is not None or time.monotonic() > end_s:
                pytest.fail("The app did not start:\n" + (self.folder / "log.txt").read_text())
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.address, timeout=5):
                return True
        except OSError:
            return False

    def kill(self) -> None:
        self.processes[-1].kill()
        self.processes[-1].wait(15)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = Server(tmp_path, port)
    started.start()
    yield started
    started.kill()
    state = read_state(started.run)
    if state is not None and not state.is_over and is_alive(state):  # the test failed on the way
        os.kill(state.pid, signal.SIGKILL)


@contextmanager
def _opened(browser: Browser, server: Server) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(server.address)
    yield page
    context.close()


def _wait_for_points(page: Page, more_than: int) -> int:
    page.wait_for_function(f"least => ({POINTS})() > least", arg=more_than)
    return page.evaluate(POINTS)


def _start_short_run(page: Page) -> None:
    """What the form offers on a fresh machine, with more steps than the test waits for."""
    page.wait_for_selector("#training-desk .tr-none")
    assert page.is_checked("#tr-set-synthetic-0"), "the bundled samples are chosen"
    page.fill("#tr-name", "first-try")
    page.fill("#tr-limit", "6")
    for name, value in (("steps", "2000"), ("batch-size", "2"), ("validate-every", "1000")):
        page.fill(f"#tr-train-{name}", value)
    page.fill("#tr-train-checkpoint-every", "1000")
    page.wait_for_function(
        "() => document.querySelector('.tr-command code').textContent.includes('first-try')"
    )
    assert "first-try" in page.inner_text(".tr-command code")
    page.click("#tr-begin")


def test_a_click_trains_and_survives_the_page_and_the_server(
    browser: Browser, server: Server
) -> None:
    with _opened(browser, server) as page:
        _start_short_run(page)
        page.wait_for_selector(f"{OPEN}[data-kind=running]", timeout=150_000)
        first = _wait_for_points(page, 2)
        page.reload()
        page.wait_for_selector(f'{OPEN}[data-run="first-try"][data-kind=running]')
        before = _wait_for_points(page, first)

        server.kill()
        page.wait_for_selector("#training-desk .tr-desk[data-lost]")
        state = read_state(server.run)
        assert state is not None and is_alive(state), "the run goes on without the server"
        server.start()
        page.wait_for_selector("#training-desk .tr-desk:not([data-lost])")
        _wait_for_points(page, before)

        with _opened(browser, server) as other:
            other.wait_for_selector('.tr-row[data-run="first-try"][data-kind=running]')
        page.click(f"{OPEN} [data-do=stop]")
        page.wait_for_selector(f"{OPEN}[data-kind=stopped]")
        assert "stopped on request" in page.inner_text(".tr-log")
        end_s = time.monotonic() + 30.0
        while is_alive(state):
            assert time.monotonic() < end_s, "it has said that it stopped, and goes on"
            time.sleep(0.1)
        _use_in_pose_tab(page, server)


def _use_in_pose_tab(page: Page, server: Server) -> None:
    step = page.locator(".tr-points tr").first.get_attribute("data-step")
    assert (server.run / "checkpoints" / f"step-{int(step):08d}.pt").is_file()
    page.locator(".tr-points [data-do=use]").first.click()
    said = f"your own training: first-try, step {step}"
    page.wait_for_function(
        "said => document.querySelector('#banner').innerText.includes(said)", arg=said
    )
    page.set_input_files("#pose-photo input[type=file]", ASTRONAUT)
    page.wait_for_selector("#pose-status .status b")
    status = page.inner_text("#pose-status")
    assert said in status and "trg-mini" not in status, status
    config = json.loads((server.run / "config.json").read_text())
    assert config["recipe"] == "trg-mini"
