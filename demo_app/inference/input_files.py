"""Which files an input names: kinds told by content, folders listed in natural order."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FileKind = Literal["image", "video", "heic", "text", "empty", "other"]

HEAD_BYTES = 512
"""How much of a file `kind_of` wants to see."""

_PICTURE_STARTS = (
    b"\xff\xd8\xff",  # JPEG, MPO
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\x00",  # TIFF
    b"MM\x00*",
    b"II+\x00",  # BigTIFF
    b"MM\x00+",
    b"\x00\x00\x00\x0cjP  \r\n\x87\n",  # JPEG 2000
    b"\xff\x4f\xff\x51",
)
_VIDEO_STARTS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",
    b"FLV\x01",
    b"OggS",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
)
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def kind_of(head: bytes) -> FileKind:
    """What a file is by its first `HEAD_BYTES` bytes, whatever its name says."""
    if not head:
        return "empty"
    if head.startswith(_PICTURE_STARTS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return "image"
    if re.match(rb"P[1-6][\s#]", head) or (head[:2] == b"BM" and head[14:18] in _BMP_HEADERS):
        return "image"
    if head[4:8] == b"ftyp":
        brands = head[8 : max(12, int.from_bytes(head[:4], "big"))]
        if b"avif" in brands or b"avis" in brands:
            return "image"
        return "heic" if brands[:4] in _HEIC_BRANDS else "video"
    if head.startswith(_VIDEO_STARTS) or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        return "video"
    if head[4:8] in (b"moov", b"mdat") or (head[:1] == b"\x47" and head[188:189] == b"\x47"):
        return "video"
    return "other" if _BINARY.search(head) else "text"


_BMP_HEADERS = tuple(size.to_bytes(4, "little") for size in (12, 16, 40, 52, 56, 64, 108, 124))

WHAT_IT_IS = {
    "image": "a picture",
    "video": "a video",
    "heic": "a HEIC photo, which cannot be read here: export it as JPEG",
    "text": "text, not a picture",
    "empty": "empty",
    "other": "neither a picture nor a video that can be read here",
}
"""The end of a sentence that begins with the file's name and "is"."""


@dataclass(frozen=True)
class InputFile:
    """path: as the user gave it, or the folder as given with the rest behind it."""

    path: str
    kind: FileKind


@dataclass(frozen=True)
class SkippedFile:
    """why: the end of a sentence, such as "is empty"."""

    path: str
    why: str


@dataclass(frozen=True)
class InputListing:
    """What will be worked on, in order, and what was left out."""

    files: tuple[InputFile, ...]
    skipped: tuple[SkippedFile, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(file.path for file in self.files)

    def skipped_text(self, at_most: int = 10) -> str:
        """One line for each skipped file, the rest counted; "" if nothing was skipped."""
        lines = [f"{printable(skip.path)} {skip.why}." for skip in self.skipped[:at_most]]
        rest = len(self.skipped) - at_most
        if rest > 0:
            lines.append(f"And {rest} more.")
        return "\n".join(lines)


def printable(name: str, at_most: int = 120) -> str:
    """A file name fit for a message: no control characters or lone surrogates, long ones cut."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    half = at_most // 2
    return clean if len(clean) <= at_most else f"{clean[:half]}...{clean[-half:]}"


def natural_key(text: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Sort key in which frame2 stands before frame10; upper and lower case together."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text.casefold())
    return tuple((0, int(p), "") if p.isascii() and p.isdigit() else (1, 0, p) for p in parts), text


def list_inputs(
    inputs: Sequence[str | os.PathLike[str]],
    recursive: bool = False,
    kinds: Iterable[FileKind] = ("image", "video"),
) -> InputListing:
    """The files that `inputs` (files and folders) stand for, each once.

    A file that was named itself is always listed, so that reading it gives its own message. From a
    folder only files of `kinds` are taken, judged by content, in natural order, its sub folders'
    after its own. Hidden files, unreadable ones and other kinds are reported in `skipped`; nothing
    is raised. Links to folders are not followed.
    """
    wanted = frozenset(kinds)
    files: list[InputFile] = []
    skipped: list[SkippedFile] = []
    seen: set[str] = set()
    for given in inputs:
        text = os.fspath(given)
        found, left_out = _list_one(text, recursive, wanted)
        skipped.extend(left_out)
        for file in found:
            identity = os.path.realpath(file.path)
            if identity in seen:
                skipped.append(SkippedFile(file.path, "was given twice and is read once"))
            else:
                seen.add(identity)
                files.append(file)
    return InputListing(tuple(files), tuple(skipped))


def list_images(inputs: Sequence[str | os.PathLike[str]], recursive: bool = False) -> InputListing:
    """`list_inputs` for pictures only; videos of a folder are reported as skipped."""
    return list_inputs(inputs, recursive, ("image",))


def _list_one(
    text: str, recursive: bool, wanted: frozenset[FileKind]
) -> tuple[list[InputFile], list[SkippedFile]]:
    path = Path(text)
    try:
        if path.is_dir():
            return _list_folder(path, recursive, wanted)
        if not path.is_file():
            why = "is no ordinary file" if path.exists() else "does not exist: check the path"
            return [], [SkippedFile(text, why)]
        return [InputFile(text, _kind_of_file(path))], []
    except OSError as error:
        return [], [SkippedFile(text, f"cannot be opened ({error.strerror})")]
    except ValueError as error:  # a NUL in the path
        return [], [SkippedFile(text, f"is no path ({error})")]


def _list_folder(
    folder: Path, recursive: bool, wanted: frozenset[FileKind]
) -> tuple[list[InputFile], list[SkippedFile]]:
    files: list[InputFile] = []
    skipped: list[SkippedFile] = []
    sub_folders: list[Path] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: natural_key(entry.name)):
        if entry.name.startswith("."):
            skipped.append(SkippedFile(str(entry), "is hidden"))
        elif entry.is_dir():
            if not recursive:
                skipped.append(SkippedFile(str(entry), "is a folder, and sub folders are off"))
            elif entry.is_symlink():
                skipped.append(SkippedFile(str(entry), "is a link to a folder"))
            else:
                sub_folders.append(entry)
        else:
            found, left_out = _list_one(str(entry), recursive, wanted)
            skipped.extend(left_out)
            files.extend(file for file in found if file.kind in wanted)
            skipped.extend(
                SkippedFile(file.path, f"is {WHAT_IT_IS[file.kind]}")
                for file in found
                if file.kind not in wanted
            )
    for sub_folder in sub_folders:
        found, left_out = _list_one(str(sub_folder), recursive, wanted)
        files.extend(found)
        skipped.extend(left_out)
    return files, skipped


def _kind_of_file(path: Path) -> FileKind:
    with path.open("rb") as file:
        return kind_of(file.read(HEAD_BYTES))
