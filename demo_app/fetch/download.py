"""One file from a web address to disk: resumable, verified, never half-written at its name."""

from __future__ import annotations

import functools
import hashlib
import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 30.0
CHUNK_BYTES = 256 * 1024
MAX_PAGE_BYTES = 4 * 1024**2


_HTML_START = re.compile(
    rb"(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)*<(!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL
)


class DownloadError(RuntimeError):
    """The file did not come; the message is a sentence for the user."""


class NoNetworkError(DownloadError):
    """The host cannot be reached at all."""


class WebPageError(DownloadError):
    """A web page came in place of the file. html: its text."""

    def __init__(self, message: str, html: str) -> None:
        super().__init__(message)
        self.html = html


class _StartOverError(Exception):
    """What is on disk belongs to another version of the file."""


@dataclass(frozen=True)
class Progress:
    """Told after every piece. total_bytes: None where the server does not say."""

    name: str
    done_bytes: int
    total_bytes: int | None


Report = Callable[[Progress], None]


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch.

    url: also its identity; what is left of an interrupted download is used for the same url only.
    path: final place; `path`.part and `path`.part.json stand beside it meanwhile.
    sha256: hex, None where nobody has published it.
    starts: what the content may begin with; empty for anything that is no web page.
    check: looks at the whole file and returns what is wrong with it, "" if nothing.
    """

    url: str
    path: Path
    max_bytes: int
    sha256: str | None = None
    starts: tuple[bytes, ...] = ()
    check: Callable[[Path], str] | None = None

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def part(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def part_note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part.json")


@dataclass(frozen=True)
class _PartNote:
    """Which version of which file the .part belongs to."""

    url: str
    etag: str | None
    last_modified: str | None
    total_bytes: int | None

    def if_range(self) -> str | None:
        """What the server can compare; RFC 9110 wants a strong ETag there or a date."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified

    def is_same_version(self, other: _PartNote) -> bool:
        """True when some mark is known of both and every such mark agrees."""
        pairs = [
            (mine, theirs)
            for mine, theirs in (
                (self.etag, other.etag),
                (self.last_modified, other.last_modified),
                (self.total_bytes, other.total_bytes),
            )
            if mine is not None and theirs is not None
        ]
        return bool(pairs) and all(mine == theirs for mine, theirs in pairs)


def download(remote: RemoteFile, report: Report, address: str | None = None) -> str:
    """Fetch a file, going on where an earlier try stopped. Returns its sha256.

    address: where to ask, if it is not `remote.url` itself (a confirmed link, say).

    Raises: WebPageError, NoNetworkError, DownloadError. A connection that breaks leaves the .part
    for the next try; content that is wrong is removed. The final name appears only when all checks
    have passed.
    """
    try:
        remote.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _transfer(remote, report, address or remote.url)
        except _StartOverError:
            _discard_part(remote)
            _transfer(remote, report, address or remote.url)
        digest = _verified_sha256(remote)
        remote.part.replace(remote.path)
        remote.part_note.unlink(missing_ok=True)
    except _StartOverError:
        raise DownloadError(f"{remote.name} changes on the server: try again later.") from None
    except OSError as error:
        raise DownloadError(
            f"{remote.name} cannot be written in {remote.path.parent} ({error.strerror}): make "
            "room or check the permissions, then run the command again."
        ) from error
    return digest


def _transfer(remote: RemoteFile, report: Report, address: str) -> None:
    """Bring the .part to its full length."""
    note = _read_note(remote)
    have = remote.part.stat().st_size if note and remote.part.exists() else 0
    headers = {}
    if have and note:
        if have == note.total_bytes:
            return
        headers["Range"] = f"bytes={have}-"
        if note.if_range():
            headers["If-Range"] = note.if_range()
    with open_url(address, headers) as response:
        if response.status == 416:
            # Asked beyond the end: complete if the lengths agree, else another file.
            if note and _content_range(response)[1] == have:
                return
            raise _StartOverError
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise DownloadError(f"{remote.name} comes in an unexpected encoding: try later.")
        start, total = 0, _int_or_none(response.headers.get("Content-Length"))
        if response.status == 206:
            start, total = _content_range(response)
        fresh = _PartNote(
            remote.url, response.headers.get("ETag"), response.headers.get("Last-Modified"), total
        )
        if start != (have if response.status == 206 else 0):
            raise _StartOverError
        if start and not (note and note.is_same_version(fresh)):
            raise _StartOverError
        if total is not None and total > remote.max_bytes:
            raise _too_long(remote)
        first = _read(remote, response, start, total)
        _refuse_web_page(remote, response, first, start)
        if not start:
            _begin_part(remote, fresh)
        _append(remote, report, response, first, start, total)


def _append(
    remote: RemoteFile, report: Report, response: Any, first: bytes, start: int, total: int | None
) -> None:
    done, chunk = start, first
    with remote.part.open("ab") as file:
        while chunk:
            done += len(chunk)
            if done > remote.max_bytes:
                file.close()
                _discard_part(remote)
                raise _too_long(remote)
            file.write(chunk)
            report(Progress(remote.name, done, total))
            file.flush()
            chunk = _read(remote, response, done, total)
    if total is not None and done < total:
        raise _broke_off(remote, done, total)


def _read(remote: RemoteFile, response: Any, done: int, total: int | None) -> bytes:
    try:
        return response.read(CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _broke_off(remote, done, total) from error


def _broke_off(remote: RemoteFile, done: int, total: int | None) -> DownloadError:
    of_total = f" of {total}" if total is not None else ""
    return DownloadError(
        f"{remote.name}: the connection ended after {done}{of_total} bytes: run the command again, "
        "it goes on from there."
    )


def _too_long(remote: RemoteFile) -> DownloadError:
    return DownloadError(
        f"{remote.name} on the server is larger than {remote.max_bytes} bytes and was refused: it "
        "is not the file that was published."
    )


def _refuse_web_page(remote: RemoteFile, response: Any, first: bytes, start: int) -> None:
    """Raises: WebPageError or DownloadError, before anything on disk is touched."""
    is_page = response.headers.get_content_type() in ("text/html", "application/xhtml+xml")
    if is_page or (not start and looks_like_html(first)):
        rest = _read(remote, response, 0, None) if len(first) == CHUNK_BYTES else b""
        raise WebPageError(
            f"A web page came in place of {remote.name}.", (first + rest).decode("utf-8", "replace")
        )
    if not start and remote.starts and not first.startswith(remote.starts):
        raise DownloadError(
            f"What the server sends as {remote.name} begins like no such file and was refused."
        )


def looks_like_html(head: bytes) -> bool:
    """True for the beginning of a web page, whatever the server calls it."""
    return _HTML_START.match(head[:4096]) is not None


def _verified_sha256(remote: RemoteFile) -> str:
    digest = sha256_of(remote.part)
    problem = ""
    if remote.sha256 is not None and digest != remote.sha256:
        problem = f"its sha256 is {digest}, expected {remote.sha256}"
    elif remote.check is not None:
        problem = remote.check(remote.part)
    if problem:
        _discard_part(remote)
        raise DownloadError(
            f"{remote.name} came in full but is not the published file ({problem}): it was "
            "removed; run the command again, and if that does not help download it by hand."
        )
    return digest


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_note(remote: RemoteFile) -> _PartNote | None:
    """The note beside the .part, or None if there is none for this url."""
    try:
        note = _PartNote(**json.loads(remote.part_note.read_text("utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return note if note.url == remote.url else None


def _begin_part(remote: RemoteFile, note: _PartNote) -> None:
    """An empty .part, then its note: without a note a .part is not trusted."""
    _discard_part(remote)
    remote.part.touch()
    remote.part_note.write_text(json.dumps(asdict(note)), "utf-8")


def _discard_part(remote: RemoteFile) -> None:
    remote.part_note.unlink(missing_ok=True)
    remote.part.unlink(missing_ok=True)


def _content_range(response: Any) -> tuple[int, int | None]:
    """Start and total of "bytes 5-9/10" or "bytes */10" (start -1)."""
    match = re.fullmatch(
        r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", "").strip()
    )
    if not match:
        return -1, None
    return int(match[1]) if match[1] else -1, _int_or_none(match[2])


def _int_or_none(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


class HttpOnlyRedirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https only, and never from https down to http."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        old, new = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if new not in ("http", "https") or (old == "https" and new != "https"):
            raise DownloadError(_refusal(urlsplit(req.full_url).hostname, code))
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@functools.cache
def _opener() -> urllib.request.OpenerDirector:
    """http and https (and the proxy of the environment), no ftp:, file: or data: addresses.

    One for the process: Google Drive's confirmation page sets a cookie for the next request.
    """
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPCookieProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        HttpOnlyRedirects(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def open_url(url: str, headers: dict[str, str] | None = None) -> Any:
    """A response with status 200, 206 or 416. Raises: NoNetworkError, DownloadError."""
    host = urlsplit(url).hostname or url
    request = urllib.request.Request(
        url,
        headers={"User-Agent": "Mozilla/5.0", "Accept-Encoding": "identity"} | (headers or {}),
    )
    try:
        return _opener().open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            return error
        error.close()
        raise DownloadError(_refusal(host, error.code)) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise NoNetworkError(
            f"{host} cannot be reached ({reason}): check the network, or download by hand."
        ) from error


def _refusal(host: str, code: int) -> str:
    if 300 <= code < 400:
        return f"{host} leads to an unsafe address: download by hand."
    if code in (404, 410):
        return f"{host} no longer has the file (HTTP {code}): it has moved or was taken down."
    if code in (401, 403, 429):
        return f"{host} refuses the download now (HTTP {code}): try later or by hand."
    return f"{host} answers with an error (HTTP {code}): try again later."


def read_page(url: str) -> str:
    """The text of a web page, at most `MAX_PAGE_BYTES` of it. Raises: as `open_url`."""
    with open_url(url) as response:
        try:
            return response.read(MAX_PAGE_BYTES).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            host = urlsplit(url).hostname
            raise DownloadError(f"The page from {host} broke off: try again.") from error
