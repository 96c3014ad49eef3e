"""What became of each picture, a line of JSON each: an interrupted run goes on from it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from viewer.mica.picture import Job, PictureResult, PictureTask, State, output_names


class ResultsFile:
    """Lines are only ever added; the last one of a picture counts."""

    def __init__(self, path: Path, settings: str) -> None:
        self.path, self.settings = path, settings

    def read(self) -> dict[tuple[str, str], PictureResult]:
        """Of these settings. A line that a killed run left half written is passed over."""
        found: dict[tuple[str, str], PictureResult] = {}
        if not self.path.is_file():
            return found
        for line in self.path.read_text(encoding="ascii", errors="replace").splitlines():
            result = _result_of(line, self.settings)
            if result is not None:
                found[result.actor, result.name] = result
        return found

    def clear(self) -> None:
        """Raises: OSError."""
        self.path.unlink(missing_ok=True)

    def add(self, results: Iterable[PictureResult]) -> None:
        """After a line's end, as the last line may be half written. Raises: OSError."""
        lines = [json.dumps({"settings": self.settings} | asdict(result)) for result in results]
        with self.path.open("a", encoding="ascii") as file:
            file.write("\n".join(["", *lines, ""]))


def is_done(known: PictureResult | None, task: PictureTask, job: Job) -> bool:
    """Whether the picture need not be looked at again, and its files are still there."""
    if known is None or known.signature != task.signature or known.source != str(task.source):
        return False
    count = {"ready": 3, "no face": 1}.get(known.state, 0)
    names = output_names(task.actor, task.name)[:count]
    return all((job.folder / name).is_file() for name in names)


def _result_of(line: str, settings: str) -> PictureResult | None:
    try:
        fields = json.loads(line)
        if fields.pop("settings") != settings or fields["state"] not in get_args(State):
            return None
        fields["kept"] = tuple(fields["kept"])
        return PictureResult(**fields)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
