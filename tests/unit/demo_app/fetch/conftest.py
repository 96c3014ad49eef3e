"""A web server of the test for what is fetched: ranges, marks, pages, broken connections."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Served:
    """How a path answers. cut_after: the connection ends after so many bytes of the body."""

    body: bytes
    status: int = 200
    content_type: str = "application/octet-stream"
    etag: str | None = '"v1"'
    last_modified: str | None = None
    ranges: bool = True
    says_length: bool = True
    cut_after: int | None = None
    location: str | None = None
    encoding: str | None = None


@dataclass
class Site:
    """The web server. served: answers by path and query; asked: what came in."""

    url: str = ""
    served: dict[str, Served] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def serve(self, path: str, body: bytes, **options: object) -> Served:
        """Answer `path` with `body`; options are the fields of `Served`."""
        self.served[path] = Served(body, **options)
        return self.served[path]

    def last_range(self) -> str | None:
        return self.asked[-1][1].get("Range")


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        site = self.site
        site.asked.append((self.path, dict(self.headers)))
        page = site.served.get(self.path)
        if page is None:
            self.send_error(404)
            return
        start, status = 0, page.status
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        mark = self.headers.get("If-Range")
        if (
            asked
            and page.ranges
            and status == 200
            and mark in (None, page.etag, page.last_modified)
        ):
            start, status = int(asked[1]), 206
            if start >= len(page.body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(page.body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        body = page.body[start:]
        sent = f"bytes {start}-{len(page.body) - 1}/{len(page.body)}"
        self.send_response(status)
        headers = {
            "Content-Type": page.content_type,
            "Content-Length": str(len(body)) if page.says_length else None,
            "Content-Range": sent if status == 206 else None,
            "ETag": page.etag,
            "Last-Modified": page.last_modified,
            "Location": page.location,
            "Content-Encoding": page.encoding,
        }
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if page.cut_after is None else body[: page.cut_after])


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": site}))
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()
