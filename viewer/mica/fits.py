"""MICA's own files of each actor, copied into the prepared set: parameters and registrations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from viewer.datasets.mica_files import SHAPE_COUNT, read_parameters
from viewer.datasets.mica_layout import PARAMETERS, REGISTRATIONS, folders_in
from viewer.datasets.source import DatasetError, Problem
from viewer.mica.output_files import OutputFiles
from viewer.mica.wanted import Wanted


@dataclass(frozen=True)
class CopiedFits:
    """By actor; an actor without is not in it. problems: files that are not there or no fits."""

    parameters: dict[str, tuple[str, ...]]
    registrations: dict[str, int]
    problems: tuple[Problem, ...]
    kept: tuple[str, ...]


def copy_fits(
    wanted: Wanted, parameters: Path, registrations: Path | None, folder: Path, overwrite: bool
) -> CopiedFits:
    """The actors' parameters, the one of the list where there is one, and all registrations.

    Every .npz is opened through the allow-list before it is copied. Raises: OSError.
    """
    files = OutputFiles(folder, overwrite)
    fits: dict[str, tuple[str, ...]] = {}
    meshes: dict[str, int] = {}
    problems: list[Problem] = []
    for actor in wanted.actors:
        there = _files(parameters / actor, ".npz")
        listed = wanted.parameters.get(actor)
        taken = [p for p in there if listed is None or p.name.casefold() == listed.casefold()]
        if not taken:
            what = f"{PARAMETERS}/{actor}/{listed or '*.npz'}"
            problems.append(Problem(what, "The FLAME parameters are not there."))
        copied = [path.name for path in taken if _copy_fit(path, actor, files, problems)]
        if copied:
            fits[actor] = tuple(copied)
        if registrations is not None:
            objs = _files(registrations / actor, ".obj")
            for path in objs:
                files.copy(f"{REGISTRATIONS}/{actor}/{path.name}", path)
            meshes[actor] = len(objs)
    return CopiedFits(fits, meshes, tuple(problems), tuple(files.kept))


def inner_folder(folder: Path, name: str) -> Path:
    """The folder of this name in it, as in MICA's zip files; else the folder itself."""
    return folder / name if (folder / name).is_dir() else folder


def find_registrations(parameters: Path) -> Path | None:
    """Beside the parameters, as MICA's zip files have them."""
    beside = parameters.parent / REGISTRATIONS
    return beside if folders_in(beside) else None


def _copy_fit(path: Path, actor: str, files: OutputFiles, problems: list[Problem]) -> bool:
    name = f"{PARAMETERS}/{actor}/{path.name}"
    try:
        betas = read_parameters(path).betas
    except DatasetError as error:
        problems.append(Problem(name, str(error)))
        return False
    if betas is None or len(betas) < SHAPE_COUNT:
        count = 0 if betas is None else len(betas)
        problems.append(Problem(name, f"It has {count} betas, {SHAPE_COUNT} are needed."))
        return False
    files.copy(name, path)
    return True


def _files(folder: Path, ending: str) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() == ending and path.name[0] != "." and path.is_file()
    )
