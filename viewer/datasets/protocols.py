"""Evaluation protocols by name: which samples of a data set a published figure is about.

The numbers of BIWI's frames are those of Biwi+, which looked at every frame by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from viewer.datasets.file_lists import within_limit
from viewer.datasets.source import AnnotatedDataset, DatasetError
from viewer.datasets.weak_perspective import Pair

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
    """Samples of a data set with a name.

    samples: how many it has; None where that depends on what was made. rule: how they are told.
    uses_calibration: BIWI's poses are taken to the RGB camera. meaning: sentences for the screen.
    euler: whose yaw, pitch and roll the published figures are: TRG's (SciPy's extrinsic yxz) or
        300W-LP's (intrinsic XYZ with -pitch, yaw, roll).
    takes_nearer_angles: of the two triples of angles of a predicted rotation the one nearer to the
        label counts; published figures take the one that comes out.
    aligns_sequences: a constant turn of the head's frame is taken out of each sequence.
    """

    name: str
    title: str
    dataset: str
    samples: int | None
    rule: Literal["all", "list", "persons", "angles", "split"]
    meaning: str
    uses_calibration: bool = True
    euler: Literal["trg", "300w-lp"] = "300w-lp"
    takes_nearer_angles: bool = False
    aligns_sequences: bool = False

    @property
    def needs_list(self) -> bool:
        """The samples follow from nothing that is public, so a file with their names is needed."""
        return self.rule == "list"


@dataclass(frozen=True)
class Subset:
    """A protocol's samples in a folder.

    dropped: samples that are here and not in the protocol. absent: names of the list that are not
    here. notes: sentences, where a count is not the published one.
    """

    protocol: Protocol
    keys: tuple[str, ...]
    dropped: tuple[str, ...]
    absent: tuple[str, ...]
    notes: tuple[str, ...]


BIWI_TEST_PERSONS = frozenset({"F02", "F06", "M01", "M11", "M13", "M14"})
"""30 % of the people with 30 % of the frames, two of the people who sit twice among them."""

HELD_OUT_SPLITS = frozenset({"validation", "test"})

_LISTED = (
    "The list of frames is not public, so a file with their names must be given. Poses are those "
    "of the depth camera."
)

_ALL = (
    Protocol(
        name="biwi-15678",
        title="BIWI, every frame (15,678)",
        dataset="biwi",
        samples=sum(BIWI_FRAMES.values()),
        rule="all",
        euler="trg",
        meaning="All 24 sequences as a test set, poses in the RGB camera: the frames of Biwi+, of "
        "TRG and of PerspNet.",
    ),
    Protocol(
        name="biwi-15678-aligned",
        title="BIWI, every frame, head frames aligned (15,678)",
        dataset="biwi",
        samples=sum(BIWI_FRAMES.values()),
        rule="all",
        aligns_sequences=True,
        meaning="The same frames; of each sequence the mean turn from prediction to label is taken "
        "out (Cobo et al. 2024), so what differs is not where the head's frame was put. It is "
        "found from the test's own labels: figures do not compare with those without it.",
    ),
    Protocol(
        name="biwi-15667",
        title="BIWI, Hopenet's frames (15,667)",
        dataset="biwi",
        samples=15_667,
        rule="list",
        uses_calibration=False,
        meaning=f"The frames in which Hopenet's Dockerface found a face. {_LISTED}",
    ),
    Protocol(
        name="biwi-15636",
        title="BIWI, WHENet's frames (15,636)",
        dataset="biwi",
        samples=15_636,
        rule="list",
        uses_calibration=False,
        meaning="WHENet's frames; those left out are turned further than the others (46 against 20 "
        f"degrees of yaw in the median). {_LISTED}",
    ),
    Protocol(
        name="biwi-13219",
        title="BIWI, FSA-Net's frames (13,219)",
        dataset="biwi",
        samples=13_219,
        rule="list",
        uses_calibration=False,
        meaning="The frames in which FSA-Net's MTCNN found a face (confidence above 0.9, less than "
        "80 px from the frame before), rotations of the depth camera. The 2,459 frames that are "
        "left out are those where a face is hard to find, so figures do not compare with others.",
    ),
    Protocol(
        name="biwi-70-30",
        title="BIWI, 70/30 by person: the test part",
        dataset="biwi",
        samples=sum(n for s, n in BIWI_FRAMES.items() if BIWI_PERSONS[s] in BIWI_TEST_PERSONS),
        rule="persons",
        meaning="Eight sequences of six people (" + ", ".join(sorted(BIWI_TEST_PERSONS)) + "); "
        "train on the dropped ones. Published 70/30 figures draw 16 of the 24 sequences without a "
        "fixed seed and may have the same person on both sides, so they do not compare with this.",
    ),
    Protocol(
        name="aflw2000-99",
        title="AFLW2000, angles to 99 degrees (1,969)",
        dataset="aflw2000",
        samples=1_969,
        rule="angles",
        meaning="The pictures whose yaw, pitch and roll as stored are at most 99 degrees; a stored "
        "-351 is left out though it is a turn of 9 degrees. As Hopenet, FSA-Net and 6DRepNet do.",
    ),
    Protocol(
        name="arkitface-test",
        title="ARKitFace, the test list (184,884)",
        dataset="arkitface",
        samples=184_884,
        rule="split",
        euler="trg",
        meaning="The rows of ARKitFace_test.csv: 100 people that are not in the training list.",
    ),
    Protocol(
        name="synthetic-held-out",
        title="Synthetic heads, people held out",
        dataset="synthetic",
        samples=None,
        rule="split",
        takes_nearer_angles=True,
        meaning="Renders of people that are in no training picture; labels are exact.",
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


def protocol_subset(
    name: str, dataset: AnnotatedDataset, keys: Sequence[str], list_file: Path | None = None
) -> Subset:
    """A protocol's samples among those that are here, in their order.

    keys: of the listing of the data set. list_file: the names of the samples, where the protocol
        needs them (see `read_frame_list`).
    Raises: DatasetError for an unknown protocol or one of another data set, and where a list is
        needed and not given.
    """
    protocol = _protocol_of(name, dataset)
    if list_file is None:
        if protocol.needs_list:
            raise DatasetError(
                f"{protocol.title}: which frames these are is not part of any public file that "
                f"this program has. Give a text file with its {protocol.samples:,} frames, one a "
                "line, such as 01/frame_00003."
            )
        wanted = _RULES[protocol.rule](dataset, keys)
    else:
        wanted = read_frame_list(list_file)
    chosen, here = frozenset(wanted), frozenset(keys)
    absent = tuple(key for key in wanted if key not in here)
    notes = []
    if protocol.samples is not None and len(chosen) != protocol.samples:
        what = "here" if list_file is None else "in the list"
        notes.append(f"{len(chosen):,} samples are {what}; the protocol has {protocol.samples:,}.")
    if absent:
        notes.append(f"{len(absent):,} samples of the list are not here.")
    return Subset(
        protocol,
        tuple(key for key in keys if key in chosen),
        tuple(key for key in keys if key not in chosen),
        absent,
        tuple(notes),
    )


def _protocol_of(name: str, dataset: AnnotatedDataset) -> Protocol:
    if name not in PROTOCOLS:
        raise DatasetError(f"There is no protocol {name!r}; known are {', '.join(PROTOCOLS)}.")
    protocol = PROTOCOLS[name]
    if protocol.dataset != dataset.info.name:
        title = dataset.info.title
        raise DatasetError(f"The protocol {name} is of {protocol.dataset}, not of {title}.")
    return protocol


def _of_persons(_dataset: AnnotatedDataset, keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(k for k in keys if biwi_person(k.split("/")[0]) in BIWI_TEST_PERSONS)


def _within_angles(dataset: AnnotatedDataset, keys: Sequence[str]) -> tuple[str, ...]:
    """Opens every label file; one that cannot be read is not in the protocol."""
    pairs = (Pair(key, has_picture=True, has_labels=True) for key in keys)
    return tuple(p.key for p in within_limit(dataset.root, pairs) if isinstance(p, Pair))


def _of_split(_dataset: AnnotatedDataset, keys: Sequence[str]) -> tuple[str, ...]:
    """Keys of both data sets start with the split."""
    return tuple(key for key in keys if key.split("/")[0] in HELD_OUT_SPLITS)


_RULES: Mapping[str, Callable[[AnnotatedDataset, Sequence[str]], tuple[str, ...]]] = {
    "all": lambda _dataset, keys: tuple(keys),
    "persons": _of_persons,
    "angles": _within_angles,
    "split": _of_split,
}
