"""Names for what is written: safe on every file system, and never two alike."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

MAX_STEM_BYTES = 120
"""In UTF-8; leaves room for suffixes and extensions below the 255 of common file systems."""

_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"]
)


def safe_stem(name: str) -> str:
    """A stem that any file system takes, made of a file name that a stranger may have chosen.

    Only the last part of a path counts, without its extension. Letters of all scripts stay;
    control, format and reserved characters, leading dots and dashes, trailing dots and blanks do
    not. A name that Windows keeps for devices gets an underscore. Nothing left gives "input".
    """
    return _safe(_last_part(name)[0])


def output_names(inputs: Sequence[str | os.PathLike[str]]) -> list[str]:
    """One stem for each input, all different even where upper and lower case are one.

    The stem of the file where that is enough (x); its extension behind it where it is not (x_jpg,
    x_png); the folders before it where that is not enough (a_x_jpg, b_x_jpg); a number where even
    the paths are alike (x_jpg_2). The same inputs in the same order give the same names.
    """
    choices = [_candidates(os.fspath(path)) for path in inputs]
    levels = [0] * len(choices)
    while True:
        names = [choice[level] for choice, level in zip(choices, levels, strict=True)]
        counts = Counter(map(_identity, names))
        clashing = [
            i
            for i, name in enumerate(names)
            if counts[_identity(name)] > 1 and levels[i] + 1 < len(choices[i])
        ]
        if not clashing:
            return _numbered(names)
        for i in clashing:
            levels[i] += 1


def _last_part(path: str) -> tuple[str, str, list[str]]:
    """Stem, extension without dot, and folders from the nearest outwards."""
    parts = [part for part in re.split(r"[/\\]", path) if part not in ("", ".", "..")]
    if not parts:
        return "", "", []
    stem, dot, extension = parts[-1].rpartition(".")
    if not dot or not stem.strip("."):
        stem, extension = parts[-1], ""
    return stem, extension, parts[-2::-1]


def _candidates(path: str) -> list[str]:
    """Names from the shortest to the most telling."""
    stem, extension, folders = _last_part(path)
    full = f"{stem}_{extension}" if extension else stem
    names = [_safe(stem), _safe(full)]
    for depth in range(1, min(len(folders), 8) + 1):
        names.append(_safe("_".join([*reversed(folders[:depth]), full])))
    return names


def _safe(text: str) -> str:
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))
    kept = "".join("_" if _is_unsafe(character) else character for character in text)
    kept = kept.lstrip(".- ").rstrip(". ")
    while len(kept.encode()) > MAX_STEM_BYTES:
        kept = kept[:-1].rstrip(". ")
    if kept.split(".")[0].rstrip(" ").casefold() in _RESERVED:
        kept = f"_{kept}"
    return kept or "input"


def _is_unsafe(character: str) -> bool:
    return character in '<>:"/\\|?*' or unicodedata.category(character) in (
        "Cc",
        "Cf",
        "Cs",
        "Co",
        "Cn",
        "Zl",
        "Zp",
    )


def _identity(name: str) -> str:
    """Equal for names that some file system holds for one."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _numbered(names: list[str]) -> list[str]:
    """Numbers behind what is still alike, the first kept as it is."""
    taken = {_identity(name) for name in names}
    used: set[str] = set()
    unique: list[str] = []
    for name in names:
        candidate, number = name, 1
        while _identity(candidate) in used or (number > 1 and _identity(candidate) in taken):
            number += 1
            candidate = f"{name}_{number}"
        used.add(_identity(candidate))
        unique.append(candidate)
    return unique
