"""What a user still has to request, and where, before a subset can be prepared."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from viewer.datasets.mica_files import SUBSETS, Subset
from viewer.mica.adapters import ADAPTERS

LISTS_LINK = "https://github.com/Zielon/MICA/tree/master/datasets/image_paths"
CONTACT = "mica@tue.mpg.de"
GENERAL = (
    "Each subset is requested separately at its source: the pictures are the original data set's, "
    "the registrations and FLAME parameters are MICA's.",
    f"The lists of pictures, SUBSET.npy, are at {LISTS_LINK} .",
    "Both licences hold, the original data set's and MICA's: academic and non-commercial. Read the "
    "original one also for what it says on privacy.",
    "Some subsets have fewer subjects than the original data set: registrations that failed were "
    "left out.",
    f"Questions go to {CONTACT}.",
)
_NOTES = {
    "FRGC": (
        "1. License FRGC 2.0 from CVRL by the procedure at http://cvrl.nd.edu .",
        "2. When CVRL has approved the form, Globus sends an e-mail that you may retrieve FRGC "
        "2.0.",
        f"3. That e-mail also authorises you to get derived work: send it as confirmation to "
        f"{CONTACT} to receive MICA's files.",
    ),
    "BP4D": (
        "The original has 140 subjects; for 127 of them a scan in neutral pose was registered.",
    ),
}


@dataclass(frozen=True)
class SubsetRequest:
    """One row of the table. notes: what is particular to this source."""

    subset: Subset
    notes: tuple[str, ...]


def requests_for(folders: Iterable[str] | None = None) -> tuple[SubsetRequest, ...]:
    """A row for each of the subsets named ("STIRLING", ...); None: for all eight."""
    wanted = None if folders is None else set(folders)
    return tuple(
        SubsetRequest(subset, (*_NOTES.get(subset.folder, ()), *_adapter_notes(subset)))
        for subset in SUBSETS
        if wanted is None or subset.folder in wanted
    )


def requests_text(rows: Iterable[SubsetRequest]) -> str:
    """The table for a terminal."""
    lines = ["What you still have to request, and where:", ""]
    for row in rows:
        subset = row.subset
        lines.append(
            f"{subset.folder:14} {subset.title}: {subset.subjects} subjects; MICA's list has "
            f"{subset.listed_images} pictures of {subset.listed_actors}."
        )
        lines.append(f"{'':14} {subset.link}")
        lines += _wrapped(row.notes, " " * 15)
    return "\n".join([*lines, "", *_wrapped(GENERAL, "")])


def requests_html(rows: Iterable[SubsetRequest]) -> str:
    """The table for a page; links are text, as a report opens no other site by itself."""
    body = "".join(
        f"<tr><td class=name>{escape(row.subset.title)}<td class=n>{row.subset.subjects}"
        f"<td class=n>{row.subset.listed_actors}<td class=n>{row.subset.listed_images:,}"
        f"<td><a href='{escape(row.subset.link)}' rel='noreferrer noopener'>"
        f"<span class=mono>{escape(row.subset.link)}</span></a>"
        f"{''.join(f'<div class=soft>{escape(note)}</div>' for note in row.notes)}</tr>"
        for row in rows
    )
    notes = "".join(f"<li>{escape(note)}" for note in GENERAL)
    return (
        "<div class=panel><table><thead><tr><th>Subset<th class=n>Subjects<th class=n>In the list"
        f"<th class=n>Pictures<th>Where</tr></thead><tbody>{body}</tbody></table></div>"
        f"<ul class=notes>{notes}</ul>"
    )


def _adapter_notes(subset: Subset) -> tuple[str, ...]:
    return tuple(a.note for a in ADAPTERS if a.folder == subset.folder and a.note)


def _wrapped(sentences: Iterable[str], indent: str) -> list[str]:
    return [
        line
        for sentence in sentences
        for line in textwrap.wrap(
            sentence, 96, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        )
    ]
