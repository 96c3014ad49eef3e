"""What the persons of portraits have on their heads and noses, so that renders leave it there.

Nothing in a picture says for certain whether what is on a head is hair, so somebody looks: the
bundled list knows the portraits that this project was made with, by their files' SHA-256; for
others a folder of portraits may hold `wears.tsv`. Who is in neither may wear anything.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from viewer.synthesis.portraits import PortraitError, picture_sha256

LIST_NAME = "wears.tsv"
BUNDLED_LIST = Path(__file__).resolve().parents[2] / "assets" / "portrait_wear.tsv"
KINDS = ("nothing", "headwear", "glasses", "headwear and glasses")


@dataclass(frozen=True)
class Wear:
    """headwear: a hat, a scarf, a hood, anything but hair. glasses: of any kind."""

    headwear: bool
    glasses: bool


UNKNOWN_WEAR = Wear(True, True)
"""Of a person in no list: whatever it is, it stays, and nothing is put over it."""


def read_wears(folder: Path | str, pictures: Mapping[str, Path]) -> dict[str, Wear]:
    """What each person wears who is in the folder's `wears.tsv` or in the bundled list.

    The folder's list has the columns `person` (the picture's path without its suffix) and `wears`
    (one of `KINDS`), parted by a tab. Raises: PortraitError for a line that says something else.
    """
    path = Path(folder) / LIST_NAME
    own = dict(_rows(path, "person")) if path.is_file() else {}
    strangers = sorted(own.keys() - pictures.keys())
    if strangers:
        raise PortraitError(f"{path} names {strangers[0]}, of whom there is no picture.")
    bundled = dict(_rows(BUNDLED_LIST, "sha256"))
    found = {
        person: own.get(person) or bundled.get(picture_sha256(picture))
        for person, picture in pictures.items()
    }
    return {person: wear for person, wear in found.items() if wear is not None}


def _rows(path: Path, key: str) -> Iterator[tuple[str, Wear]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                if row.get("wears") not in KINDS or not row.get(key):
                    raise PortraitError(
                        f"{path}: {row} is no line of it. A line is {key}, a tab, and one of "
                        f"{', '.join(KINDS)}; the first is {key}, a tab, wears."
                    )
                yield row[key], Wear("headwear" in row["wears"], "glasses" in row["wears"])
    except UnicodeDecodeError as error:
        raise PortraitError(f"{path} is no text: {error}.") from error
