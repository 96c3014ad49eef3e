"""Which files of a folder make which MICA sample; only names are looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from viewer.datasets.source import Problem

PARAMETERS, REGISTRATIONS, IMAGES, ARCFACE, IMAGE_LISTS = (
    "FLAME_parameters",
    "registrations",
    "images",
    "arcface_input",
    "image_paths",
)
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp")
FLAME_FOLDERS = ("FLAME2020", "data/FLAME2020", "FLAME")
FLAME_FILES = ("generic_model.pkl", "generic_model.npz")


@dataclass(frozen=True)
class SubsetFolder:
    """One subset. prefix: of its keys, "" where the root is the subset. name: for the screen."""

    prefix: str
    name: str
    path: Path

    def actors(self) -> list[str]:
        """Everybody with parameters or a registration, in order."""
        kinds = (self.path / PARAMETERS, self.path / REGISTRATIONS)
        return sorted({folder.name for kind in kinds for folder in folders_in(kind)})

    def key(self, *parts: str) -> str:
        """A key, or a path relative to the root."""
        return "/".join(part for part in (self.prefix, *parts) if part)


@dataclass(frozen=True)
class Fit:
    """One sample's files. One of parameters and registration may be missing."""

    key: str
    subset: SubsetFolder
    actor: str
    parameters: Path | None
    registration: Path | None

    def pictures(self) -> list[Path]:
        """Of the actor, where the user has put them, in order."""
        return _files(self.subset.path / IMAGES / self.actor, IMAGE_ENDINGS)

    def files(self) -> tuple[Path, ...]:
        """What the sample is made of."""
        paths = (self.parameters, self.registration, *self.pictures()[:1])
        return tuple(path for path in paths if path is not None)


def subset_folders(root: Path) -> Iterator[SubsetFolder]:
    """The root if it is one subset, else the subsets one or two folders below."""
    if _is_subset(root):
        yield SubsetFolder("", root.resolve().name, root)
        return
    for child in folders_in(root):
        if _is_subset(child):
            yield SubsetFolder(child.name, child.name, child)
            continue
        for inner in filter(_is_subset, folders_in(child)):
            yield SubsetFolder(f"{child.name}/{inner.name}", inner.name, inner)


def fits_of(subset: SubsetFolder, actor: str) -> tuple[list[Fit], list[Problem]]:
    """An actor's samples, in order, and what is wrong with the actor's files.

    Files of the same stem belong together, and so do a lone .npz and a lone .obj.
    """
    problems: list[Problem] = []
    found: dict[str, dict[str, Path]] = {}
    for kind, ending in ((PARAMETERS, ".npz"), (REGISTRATIONS, ".obj")):
        found[kind] = {}
        for path in _files(subset.path / kind / actor, None):
            if path.suffix.lower() == ending:
                found[kind][path.stem] = path
            else:
                name = subset.key(kind, actor, path.name)
                problems.append(Problem(name, f"not an {ending} file, and not read"))
    npz, obj = found[PARAMETERS], found[REGISTRATIONS]
    if len(npz) == len(obj) == 1:
        obj = dict(zip(npz, obj.values(), strict=True))
    if not npz and not obj:
        problems.append(Problem(subset.key(actor), "neither parameters nor a registration"))
    fits = [
        Fit(subset.key(actor, stem), subset, actor, npz.get(stem), obj.get(stem))
        for stem in sorted(npz.keys() | obj.keys())
    ]
    for fit in fits:
        if fit.parameters is None:
            name = subset.key(REGISTRATIONS, actor, fit.registration.name)
            problems.append(Problem(name, "no FLAME parameters of this name"))
        elif fit.registration is None:
            name = subset.key(PARAMETERS, actor, fit.parameters.name)
            problems.append(Problem(name, "no registration of this name"))
    return fits, problems


def pictures_without_arcface(fit: Fit) -> int | None:
    """Pictures of the actor for which MICA's preparation has no .npy; None: it was not run."""
    folder = fit.subset.path / ARCFACE
    if not folder.is_dir():
        return None
    ready = {path.stem for path in _files(folder / fit.actor, (".npy",))}
    return sum(path.stem not in ready for path in fit.pictures())


def find_image_list(root: Path, subset: str) -> Path | None:
    """image_paths/SUBSET.npy in the root or beside it."""
    places = (folder / IMAGE_LISTS / f"{subset}.npy" for folder in (root, root.parent))
    return next((path for path in places if path.is_file()), None)


def find_flame_model(root: Path) -> Path | None:
    """The user's FLAME 2020 in the root or up to two folders above it."""
    for base in (root, *root.resolve().parents[:2]):
        for place in FLAME_FOLDERS:
            for name in FLAME_FILES:
                if (base / place / name).is_file():
                    return base / place / name
    return None


def folders_in(path: Path) -> list[Path]:
    """Its folders by name; none where it is no folder. Hidden ones are left out."""
    if not path.is_dir():
        return []
    return sorted(child for child in path.iterdir() if child.is_dir() and child.name[0] != ".")


def _files(path: Path, endings: tuple[str, ...] | None) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(
        child
        for child in path.iterdir()
        if child.name[0] != "."
        and (endings is None or child.suffix.lower() in endings)
        and child.is_file()
    )


def _is_subset(path: Path) -> bool:
    return any((path / kind).is_dir() for kind in (PARAMETERS, REGISTRATIONS))
