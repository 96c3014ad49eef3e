"""Public Google Drive folders without an account: what is in them, what their pages say."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urlsplit

from demo_app.fetch.download import DownloadError

MAX_FOLDERS = 40
MAX_DEPTH = 4

_ID = re.compile(r"[A-Za-z0-9_-]{10,128}")
_NAME = re.compile(r"[^/\\\x00-\x1f]{1,255}")


@dataclass(frozen=True)
class DriveEntry:
    """A line of a folder's page. name: for comparison only; it is never used as a path."""

    id: str
    name: str
    is_folder: bool


def parse_folder_page(html: str) -> tuple[DriveEntry, ...]:
    """The entries of an embedded folder view.

    An entry whose id or link is malformed, or whose name could be a path, is left out.
    """
    parser = _FolderPage()
    parser.feed(html)
    parser.close()
    return tuple(parser.entries)


class _FolderPage(HTMLParser):
    """Each entry: <div class="flip-entry" id="entry-ID">, a link, an element "flip-entry-title"."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.entries: list[DriveEntry] = []
        self._id = self._link = ""
        self._title: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        classes = values.get("class", "").split()
        if "flip-entry" in classes:
            self._id = values.get("id", "").removeprefix("entry-")
            self._link, self._title = "", None
        elif tag == "a" and self._id and not self._link:
            self._link = urlsplit(values.get("href", "")).path
        elif "flip-entry-title" in classes and self._id:
            self._title = []

    def handle_data(self, data: str) -> None:
        if self._title is not None:
            self._title.append(data)

    def handle_endtag(self, tag: str) -> None:
        if self._title is None:
            return
        name = "".join(self._title).strip()
        target = re.search(r"/(?:drive/folders|(file)/d)/([^/]+)", self._link)
        if (
            target
            and target[2] == self._id
            and _ID.fullmatch(self._id)
            and _NAME.fullmatch(name)
            and name not in (".", "..")
        ):
            self.entries.append(DriveEntry(self._id, name, is_folder=target[1] is None))
        self._id, self._title = "", None


def find_checkpoint(
    read_folder: Callable[[str], str], folder_id: str, run: str, checkpoint: str, file_name: str
) -> DriveEntry:
    """The one file `file_name` of `checkpoint` in a shared folder, whatever lies around it.

    read_folder: from a folder's id to the text of its page. run: the training run's name, asked for
    only if several files fit. Folders of other checkpoints ("checkpoint-29") are not opened.

    Raises: DownloadError when none or several fit, and what `read_folder` raises.
    """
    queue = deque([(folder_id, ())])
    seen = {folder_id}
    found: list[tuple[tuple[str, ...], DriveEntry]] = []
    while queue:
        current, above = queue.popleft()
        page = read_folder(current)
        entries = parse_folder_page(page)
        if not entries and not above:
            raise DownloadError(explain_page(page, "The shared folder"))
        for entry in entries:
            if not entry.is_folder:
                if entry.name == file_name:
                    found.append((above, entry))
            elif (
                entry.id not in seen
                and len(above) < MAX_DEPTH
                and len(seen) < MAX_FOLDERS
                and (entry.name == checkpoint or not re.fullmatch(r"checkpoint-\d+", entry.name))
            ):
                seen.add(entry.id)
                queue.append((entry.id, (*above, entry.name)))
    in_checkpoint = [hit for hit in found if hit[0][-1:] == (checkpoint,)]
    choice = in_checkpoint or [hit for hit in found if not hit[0]]
    if len(choice) > 1:
        choice = [hit for hit in choice if run in hit[0]]
    if len(choice) != 1:
        how_many = "several files" if len(choice) > 1 else "no file"
        raise DownloadError(f"The shared folder has {how_many} {checkpoint}/{file_name} of {run}.")
    return choice[0][1]


def confirm_parameters(html: str) -> dict[str, str]:
    """The hidden fields by which Drive's "cannot scan for viruses" page lets a large file through.

    Empty if it is another page. The form's own address is not followed, only these values.
    """
    parser = _ConfirmForm()
    parser.feed(html)
    parser.close()
    wanted = {key: parser.fields[key] for key in ("confirm", "uuid", "at") if key in parser.fields}
    safe = all(re.fullmatch(r"[A-Za-z0-9_.:-]{1,256}", value) for value in wanted.values())
    return wanted if safe and "confirm" in wanted else {}


class _ConfirmForm(HTMLParser):
    """Collects the fields of <form id="download-form">."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.fields: dict[str, str] = {}
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        if tag == "form":
            self._inside = values.get("id") == "download-form"
        elif tag == "input" and self._inside and values.get("name"):
            self.fields[values["name"]] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False


def explain_page(html: str, what: str) -> str:
    """One sentence about a page that came in place of `what`."""
    text = html.casefold()
    if "quota" in text or "too many users" in text:
        return (
            f"{what} was downloaded too often today and Google Drive holds it back: try again in "
            "24 hours, or download it by hand with a Google account."
        )
    if "servicelogin" in text or "accounts.google.com" in text or "you need access" in text:
        return f"{what} asks for a Google login: download it by hand with a Google account."
    return (
        f"{what} is not what Google Drive sent (a web page came instead, perhaps because the page "
        "has changed): download it by hand."
    )
