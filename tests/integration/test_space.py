"""What a Space does: with requirements.txt alone, start app.py, answer pages and sockets."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parents[2]
SPACE_PORT = 7860
START_S = 120.0
LOCAL_PATH_ID = "local-path-"
"""The elem_id of every component that takes a path on the server starts with this."""


@dataclass(frozen=True)
class Server:
    """A running app.py; only its loopback address is talked to."""

    port: int
    log: Path

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def local_path_components(self) -> list[str]:
        config = json.loads(self.get("/config")[1])
        ids = [str(c["props"].get("elem_id") or "") for c in config["components"]]
        return [name for name in ids if name.startswith(LOCAL_PATH_ID)]


def _needed_distributions(requirements: Path) -> dict[str, Distribution]:
    """What a file of requirements asks for, and what that asks for, by name; extras included."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    lines = requirements.read_text(encoding="utf-8").splitlines()
    wanted = [(Requirement(line), "") for line in lines if line and not line.startswith("#")]
    while wanted:
        asked, extra = wanted.pop()
        if asked.marker is not None and not asked.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(asked.name)
        found[name] = distribution(name)
        for one in {"", *asked.extras}:
            if (name, one) not in seen:
                seen.add((name, one))
                wanted += [(Requirement(text), one) for text in found[name].requires or ()]
    return found


def _link(one: Distribution, site_packages: Path) -> None:
    """The files of a distribution, but for its programs, in another environment."""
    for file in one.files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            place = site_packages / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(Path(one.locate_file(file)))


@pytest.fixture(scope="module")
def python_of_the_space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has what requirements.txt asks for and nothing else, linked from here."""
    folder = tmp_path_factory.mktemp("space")
    venv.create(folder, with_pip=False, symlinks=True)
    paths = {"base": str(folder), "platbase": str(folder)}
    site_packages = Path(sysconfig.get_path("purelib", vars=paths))
    for one in _needed_distributions(ROOT / "requirements.txt").values():
        _link(one, site_packages)
    return folder / "bin" / "python"


def _free_port(preferred: int) -> int:
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            return probe.getsockname()[1]
    raise AssertionError("no free port")


def _wait_for_page(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if server.get("/")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.3)
    log = server.log.read_text(encoding="utf-8", errors="replace")
    raise AssertionError(f"no page after {START_S:.0f} s, exit code {process.poll()}:\n{log}")


@pytest.fixture(scope="module")
def space(python_of_the_space: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """app.py as a Space starts it: on every address, and told that it is a Space."""
    folder = tmp_path_factory.mktemp("run")
    server = Server(_free_port(SPACE_PORT), folder / "log.txt")
    environment = {
        **os.environ,
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(server.port),
        "GRADIO_TEMP_DIR": str(folder / "uploads"),
        "SPACE_ID": "someone/trg-studio",
    }
    with server.log.open("wb") as log:
        process = subprocess.Popen(
            [python_of_the_space, "app.py"],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        _wait_for_page(server, process)
        yield server
    finally:
        process.terminate()  # workers of the tests pass on that they ignore SIGINT
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


@pytest.mark.slow
@pytest.mark.timeout(1200)
class TestSpace:
    def test_the_page_answers(self, space: Server) -> None:
        status, body = space.get("/")
        assert status == 200
        assert b"<gradio-app" in body or b"gradio" in body.lower()

    def test_the_live_websocket_accepts(self, space: Server) -> None:
        origin = f"http://127.0.0.1:{space.port}"
        with connect(f"ws://127.0.0.1:{space.port}/live/ws", origin=origin) as channel:
            assert channel.response.status_code == 101

    def test_no_box_takes_a_path_on_the_server(self, space: Server) -> None:
        assert not space.local_path_components()

    def test_files_of_the_server_are_refused(self, space: Server) -> None:
        for path in (ROOT / "requirements.txt", Path("/etc/passwd")):
            status, body = space.get(f"/gradio_api/file={path}")
            assert status in (403, 404) and b"torch" not in body and b"root:" not in body
