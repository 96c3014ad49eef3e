"""Evaluation protocols by name: which frames of a data set a published figure is about.

The numbers of BIWI's frames are those of Biwi+, which looked at every frame by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from viewer.datasets.source import DatasetError

MAX_LIST_BYTES = 1 << 22

_BIWI_SEQUENCES = """
    1 F01 499, 2 F02 511, 3 F03 730, 4 F04 744, 5 F05 946, 6 F06 542,
    7 M01 745, 8 M02 772, 9 M03 882, 10 M04 726, 11 M05 572, 12 M06 732,
    13 M07 485, 14 M08 797, 15 F03 654, 16 M09 914, 17 M10 395, 18 F05 614,
    19 M11 502, 20 M12 556, 21 F02 634, 22 M01 665, 23 M13 569, 24 M14 492
"""
_ROWS = [row.split() for row in _BIWI_SEQUENCES.split(",")]

BIWI_FRAMES = {int(number): int(frames) for number, _, frames in _ROWS}
"""Sequence -> its frames that have picture and pose."""

BIWI_PERSONS = {int(number): person for number, person, _ in _ROWS}
"""Sequence -> person: 20 people, and 15, 18, 21 and 22 show one of them again."""


@dataclass(frozen=True)
class Protocol:
    """A set of frames with a name.

    frames: how many it has. needs_list: the frames follow from nothing that is public, so a file
    with their names must be given. uses_calibration: poses are taken to the RGB camera.
    meaning: sentences for the screen.
    """

    name: str
    title: str
    dataset: str
    frames: int
    needs_list: bool
    uses_calibration: bool
    meaning: str


@dataclass(frozen=True)
class Subset:
    """The frames of a protocol that are here.

    dropped: frames that are here and not in the protocol. absent: the reverse, as far as known.
    notes: what differs from the published subset.
    """

    protocol: Protocol
    keys: tuple[str, ...]
    dropped: tuple[str, ...]
    absent: tuple[str, ...]
    notes: tuple[str, ...]


_ALL = (
    Protocol(
        name="biwi-15678",
        title="BIWI, every frame (15,678)",
        dataset="biwi",
        frames=sum(BIWI_FRAMES.values()),
        needs_list=False,
        uses_calibration=True,
        meaning="All 24 sequences as a test set, poses in the RGB camera: the frames of Biwi+, of "
        "TRG and of PerspNet.",
    ),
    Protocol(
        name="biwi-13219",
        title="BIWI, FSA-Net's frames (13,219)",
        dataset="biwi",
        frames=13_219,
        needs_list=True,
        uses_calibration=False,
        meaning="The frames in which FSA-Net's MTCNN found a face (confidence above 0.9, less than "
        "80 px from the frame before), rotations of the depth camera. The 2,459 frames that are "
        "left out are those where a face is hard to find, so figures do not compare with others.",
    ),
)

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _ALL}


def biwi_person(sequence: str) -> str:
    """Such as "F01" or "M14"; a sequence that is not one of BIWI's is a person of its own."""
    number = int(sequence) if sequence.isascii() and sequence.isdigit() else 0
    return BIWI_PERSONS.get(number, f"sequence {sequence}")


def read_frame_list(path: Path) -> tuple[str, ...]:
    """Keys of a text file with one frame a line: "01/frame_00003", with or without "_rgb.png".

    Raises: DatasetError.
    """
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise DatasetError(f"{path} is larger than a list of frames is.")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is no readable list of frames: {error}.") from error
    keys = [key_of_picture(line.strip().removeprefix("./")) for line in lines if line.strip()]
    if not keys:
        raise DatasetError(f"{path} names no frame.")
    return tuple(keys)


def key_of_picture(path: str) -> str:
    """ "01/frame_00003_rgb.png" and "01/frame_00003" -> "01/frame_00003"."""
    return path.removesuffix(".png").removesuffix(".jpg").removesuffix("_rgb")


def protocol_subset(name: str, keys: Sequence[str], list_file: Path | None = None) -> Subset:
    """A protocol's frames among those that are here, in their order.

    list_file: the names of the frames, where the protocol needs them (see `read_frame_list`).
    Raises: DatasetError for an unknown protocol, and where a list is needed and not given.
    """
    if name not in PROTOCOLS:
        raise DatasetError(f"There is no protocol {name!r}; known are {', '.join(PROTOCOLS)}.")
    protocol = PROTOCOLS[name]
    if protocol.needs_list and list_file is None:
        raise DatasetError(
            f"{protocol.title}: which frames these are is not part of any public file that this "
            f"program has. Give a text file with its {protocol.frames:,} frames, one a line, such "
            "as 01/frame_00003."
        )
    wanted = tuple(keys) if list_file is None else read_frame_list(list_file)
    chosen, here = frozenset(wanted), frozenset(keys)
    inside = tuple(key for key in keys if key in chosen)
    absent = tuple(key for key in wanted if key not in here)
    notes = []
    if len(chosen) != protocol.frames:
        what = "here" if list_file is None else "in the list"
        notes.append(f"{len(chosen):,} frames are {what}; the protocol has {protocol.frames:,}.")
    if absent:
        notes.append(f"{len(absent):,} frames of the list are not here.")
    dropped = tuple(key for key in keys if key not in chosen)
    return Subset(protocol, inside, dropped, absent, tuple(notes))
