"""`download` against a web server of the test: resuming, damage, pages in place of files."""

from __future__ import annotations

import hashlib
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo_app.fetch.download import (
    DownloadError,
    HttpOnlyRedirects,
    NoNetworkError,
    Progress,
    RemoteFile,
    WebPageError,
    download,
    looks_like_html,
)

CONTENT = bytes(range(256)) * 2048  # 512 KiB: two pieces of a download
PAGE = b"<!DOCTYPE html><html><head><title>Google Drive</title></head><body>%s</body></html>"
QUOTA_PAGE = PAGE % b"Sorry, you can't view or download this file at this time. Quota exceeded."

Site = Any  # of conftest.py, which cannot be imported


@pytest.fixture
def remote(site: Site, tmp_path: Path) -> RemoteFile:
    """A file of known hash on the site, and where it goes."""
    site.serve("/file.bin", CONTENT)
    digest = hashlib.sha256(CONTENT).hexdigest()
    return RemoteFile(f"{site.url}/file.bin", tmp_path / "in" / "file.bin", 10**6, digest)


def _ignore(_: Progress) -> None:
    pass


def _left(remote: RemoteFile) -> list[str]:
    return sorted(path.name for path in remote.path.parent.iterdir())


def _interrupt(site: Site, remote: RemoteFile, after: int = 300_000) -> None:
    """A first try that breaks off."""
    site.served["/file.bin"].cut_after = after
    with pytest.raises(DownloadError, match=r"after \d+ of 524288 bytes: run the command again"):
        download(remote, _ignore)
    assert _left(remote) == ["file.bin.part", "file.bin.part.json"]
    site.served["/file.bin"].cut_after = None


def test_a_download_arrives_and_tells_of_its_progress(site: Site, remote: RemoteFile) -> None:
    told: list[Progress] = []
    assert download(remote, told.append) == remote.sha256
    assert remote.path.read_bytes() == CONTENT and _left(remote) == ["file.bin"]
    done = [progress.done_bytes for progress in told]
    assert done == sorted(done) and len(done) >= 2 and done[-1] == len(CONTENT)
    assert {(p.name, p.total_bytes) for p in told} == {("file.bin", len(CONTENT))}


def test_it_goes_on_where_it_stopped(site: Site, remote: RemoteFile) -> None:
    _interrupt(site, remote)
    have = remote.part.stat().st_size
    assert 0 < have <= 300_000
    told: list[Progress] = []
    assert download(remote, told.append) == remote.sha256
    assert site.last_range() == f"bytes={have}-" and site.asked[-1][1]["If-Range"] == '"v1"'
    assert remote.path.read_bytes() == CONTENT and _left(remote) == ["file.bin"]
    assert told[0].done_bytes > have


def test_it_goes_on_by_date_when_there_is_no_strong_mark(site: Site, remote: RemoteFile) -> None:
    page = site.served["/file.bin"]
    page.etag, page.last_modified = 'W/"weak"', "Mon, 01 Jan 2024 00:00:00 GMT"
    _interrupt(site, remote)
    assert download(remote, _ignore) == remote.sha256
    assert site.last_range() and site.asked[-1][1]["If-Range"] == page.last_modified


def test_a_server_without_ranges_starts_over(site: Site, remote: RemoteFile) -> None:
    site.served["/file.bin"].ranges = False
    _interrupt(site, remote)
    assert download(remote, _ignore) == remote.sha256
    assert site.last_range() and remote.path.read_bytes() == CONTENT


@pytest.mark.parametrize("if_range_works", [True, False])
def test_a_file_that_changed_meanwhile_starts_over(
    if_range_works: bool, site: Site, remote: RemoteFile
) -> None:
    _interrupt(site, remote)
    newer = bytes(len(CONTENT))
    page = site.served["/file.bin"]
    page.body, page.etag = newer, '"v2"'
    if not if_range_works:  # a server that ignores If-Range and sends the rest of the new file
        page.last_modified = '"v1"'
    expected = replace(remote, sha256=hashlib.sha256(newer).hexdigest())
    assert download(expected, _ignore) == expected.sha256
    assert remote.path.read_bytes() == newer


def test_without_any_mark_the_length_decides(site: Site, remote: RemoteFile) -> None:
    page = site.served["/file.bin"]
    page.etag = None
    _interrupt(site, remote)
    assert download(remote, _ignore) == remote.sha256 and site.last_range()
    remote.path.unlink()
    _interrupt(site, remote)
    page.body = longer = CONTENT + b"more"
    expected = replace(remote, sha256=hashlib.sha256(longer).hexdigest())
    assert download(expected, _ignore) == expected.sha256


def test_a_part_of_full_length_needs_no_network(site: Site, remote: RemoteFile) -> None:
    _interrupt(site, remote)
    remote.part.write_bytes(CONTENT)
    requests = len(site.asked)
    assert download(remote, _ignore) == remote.sha256 and len(site.asked) == requests


def test_416_is_the_end_or_another_file(site: Site, remote: RemoteFile) -> None:
    page = site.served["/file.bin"]
    _interrupt(site, remote)
    note = remote.part_note.read_text()
    remote.part.write_bytes(CONTENT)
    remote.part_note.write_text(note.replace("524288", "null"))  # the length was not known
    assert download(remote, _ignore) == remote.sha256
    assert site.last_range() == "bytes=524288-"
    remote.path.unlink()
    remote.part.write_bytes(CONTENT + b"too much")
    remote.part_note.write_text(note.replace("524288", "null"))
    assert download(remote, _ignore) == remote.sha256 and page.body == remote.path.read_bytes()


def test_a_part_without_note_or_of_another_address_is_not_used(
    site: Site, remote: RemoteFile
) -> None:
    remote.path.parent.mkdir()
    remote.part.write_bytes(b"wrong" * 100)
    assert download(remote, _ignore) == remote.sha256 and site.last_range() is None
    remote.path.unlink()
    _interrupt(site, remote)
    site.serve("/other.bin", CONTENT)
    moved = replace(remote, url=f"{site.url}/other.bin")
    assert download(moved, _ignore) == remote.sha256 and site.last_range() is None
    for text in ("not json", "[]", '{"url": 1}'):
        remote.path.unlink()
        remote.part.write_bytes(b"wrong")
        remote.part_note.write_text(text)
        assert download(remote, _ignore) == remote.sha256


def test_a_wrong_hash_is_removed(site: Site, remote: RemoteFile) -> None:
    site.served["/file.bin"].body = CONTENT[:-1] + b"x"
    with pytest.raises(DownloadError, match=r"file\.bin came in full .* sha256 is .* removed"):
        download(remote, _ignore)
    assert _left(remote) == []


def test_a_body_without_length_is_accepted_by_its_hash(site: Site, remote: RemoteFile) -> None:
    site.served["/file.bin"].says_length = False
    assert download(remote, _ignore) == remote.sha256


def test_sizes_have_a_limit(site: Site, remote: RemoteFile) -> None:
    small = replace(remote, max_bytes=300_000)
    told: list[Progress] = []
    with pytest.raises(DownloadError, match="larger than 300000 bytes"):
        download(small, told.append)
    assert _left(small) == [] and told == []
    site.served["/file.bin"].says_length = False
    with pytest.raises(DownloadError, match="larger than 300000 bytes"):
        download(small, _ignore)
    assert _left(small) == []


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_page_in_place_of_the_file_is_no_file(
    content_type: str, site: Site, remote: RemoteFile
) -> None:
    site.serve("/file.bin", QUOTA_PAGE, content_type=content_type)
    with pytest.raises(WebPageError, match=r"A web page came in place of file\.bin") as caught:
        download(replace(remote, sha256=None), _ignore)
    assert "Quota exceeded" in caught.value.html and _left(remote) == []
    site.serve("/file.bin", b"<p>only a piece of a page</p>", content_type="text/html")
    with pytest.raises(WebPageError):
        download(replace(remote, sha256=None), _ignore)


def test_a_page_does_not_destroy_what_was_there(site: Site, remote: RemoteFile) -> None:
    good = site.served["/file.bin"]
    _interrupt(site, remote)
    have = remote.part.read_bytes()
    site.serve("/file.bin", QUOTA_PAGE, content_type="text/html", ranges=False)
    with pytest.raises(WebPageError):
        download(remote, _ignore)
    assert remote.part.read_bytes() == have
    site.served["/file.bin"] = good
    assert download(remote, _ignore) == remote.sha256 and site.last_range()


def test_what_pages_look_like() -> None:
    for page in (PAGE, b"\xef\xbb\xbf\n <HTML lang=en>", b"<!-- hello -->\n<html>"):
        assert looks_like_html(page)
    for no_page in (b"", b"PK\3\4", b"\x93NUMPY", b"<x>html</x>", b"htmlx"):
        assert not looks_like_html(no_page)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(404, "no longer has the file"), (403, "refuses"), (429, "refuses"), (503, "answers with an")],
)
def test_errors_of_the_server_are_told(
    status: int, expected: str, site: Site, remote: RemoteFile
) -> None:
    site.serve("/file.bin", b"", status=status)
    with pytest.raises(DownloadError, match=expected):
        download(remote, _ignore)
    assert _left(remote) == []


def test_redirects_are_followed_to_the_web_only(
    site: Site, remote: RemoteFile, tmp_path: Path
) -> None:
    site.serve("/moved", b"", status=302, location=f"{site.url}/file.bin")
    assert download(replace(remote, url=f"{site.url}/moved"), _ignore) == remote.sha256
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    remote.path.unlink()
    for target in (secret.as_uri(), "ftp://127.0.0.1/x", "data:,x"):
        site.served["/moved"].location = target
        with pytest.raises(DownloadError, match="unsafe address"):
            download(replace(remote, url=f"{site.url}/moved"), _ignore)
        with pytest.raises(DownloadError):
            download(replace(remote, url=target), _ignore)
    assert _left(remote) == []


def test_a_redirect_never_leaves_https() -> None:
    request = urllib.request.Request("https://a.example/x")
    for target in ("http://a.example/x", "ftp://a.example/x"):
        with pytest.raises(DownloadError, match="unsafe address"):
            HttpOnlyRedirects().redirect_request(request, None, 302, "", {}, target)
    on = HttpOnlyRedirects().redirect_request(request, None, 302, "", {}, "https://b.example/y")
    assert on.full_url == "https://b.example/y"


def test_a_compressed_answer_and_a_wrong_beginning_are_refused(
    site: Site, remote: RemoteFile
) -> None:
    site.served["/file.bin"].encoding = "gzip"
    with pytest.raises(DownloadError, match="unexpected encoding"):
        download(remote, _ignore)
    site.served["/file.bin"].encoding = None
    with pytest.raises(DownloadError, match="begins like no such file"):
        download(replace(remote, starts=(b"PK\3\4",)), _ignore)
    assert _left(remote) == []


def test_no_network_and_no_room_are_told_apart(tmp_path: Path, site: Site) -> None:
    gone = RemoteFile("http://127.0.0.1:9/x.bin", tmp_path / "x.bin", 10)
    with pytest.raises(NoNetworkError, match=r"127\.0\.0\.1 cannot be reached"):
        download(gone, _ignore)
    (tmp_path / "a_file").write_text("")
    site.serve("/x.bin", b"x")
    nowhere = RemoteFile(f"{site.url}/x.bin", tmp_path / "a_file" / "x.bin", 10)
    with pytest.raises(DownloadError, match="cannot be written"):
        download(nowhere, _ignore)
