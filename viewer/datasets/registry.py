"""The data sets by name: what they are, where they are looked for, how they are opened."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from viewer.datasets.source import AnnotatedDataset, DatasetError, DatasetInfo

REPOSITORY_ROOT = Path(__file__).resolve().parents[2]
SAMPLES_ROOT = REPOSITORY_ROOT / "assets" / "samples"

_WEAK_PERSPECTIVE = (
    "The labels have no camera: translation and scale are in pixels of the picture, so there is no "
    "distance and nothing in metres."
)

_INFOS = (
    DatasetInfo(
        name="arkitface",
        title="ARKitFace",
        licence="Research only, after a signed agreement; it may not be passed on.",
        link="https://github.com/cbsropenproject/6dof_face",
        places=("dataset/ARKitFace",),
        facts=(
            "Translations are of ARKit's face anchor, the project's own origin.",
            "One camera for every picture: fx = fy = 629.775 px at 800 x 800 px.",
        ),
    ),
    DatasetInfo(
        name="300w-lp",
        title="300W-LP",
        licence="Research only; pictures of 300-W with fits of the Basel face model, no open "
        "licence.",
        link="http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm",
        places=("dataset/300W_LP", "dataset/300W-LP"),
        facts=(
            _WEAK_PERSPECTIVE,
            "View 0 of a photo is the photo; the other views were turned further by a program.",
        ),
    ),
    DatasetInfo(
        name="aflw2000",
        title="AFLW2000",
        licence="Research only; pictures of AFLW with fits of the Basel face model, no open "
        "licence.",
        link="http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm",
        places=("dataset/AFLW2000", "dataset/AFLW2000-3D"),
        facts=(
            _WEAK_PERSPECTIVE,
            "Published tables leave out the pictures with an angle beyond 99 degrees.",
        ),
    ),
    DatasetInfo(
        name="biwi",
        title="BIWI",
        licence="Non-commercial use such as university research and education.",
        link="https://www.kaggle.com/datasets/kmader/biwi-kinect-head-pose-database",
        places=(
            "dataset/BIWI/download_from_official_site/kinect_head_pose_db/hpdb",
            "dataset/BIWI",
        ),
        facts=(
            "24 sequences of 20 people: 15, 18, 21 and 22 show somebody again.",
            "The pose was measured in the depth camera; each sequence's rgb.cal takes it to RGB.",
        ),
    ),
    DatasetInfo(
        name="mica",
        title="MICA",
        licence="Academic, non-commercial; the licence of each original data set holds too.",
        link="https://github.com/Zielon/MICA/tree/master/datasets",
        places=("dataset/MICA",),
        facts=(
            "Meshes of neutral faces without pictures; ask each original data set for those.",
            "FLAME parameters are of FLAME 2020 and of no other version.",
        ),
    ),
    DatasetInfo(
        name="synthetic",
        title="Synthetic heads",
        licence="CC0 1.0 where they were made from material in the public domain, as the samples "
        "were.",
        link="https://github.com/makehumancommunity/makehuman",
        places=("dataset/synthetic",),
        facts=("Rendered by `synthesize`: pose, camera and landmarks are exact.",),
    ),
)

DATASET_INFOS: dict[str, DatasetInfo] = {info.name: info for info in _INFOS}

_CLASSES = {
    "arkitface": ("viewer.datasets.arkitface", "ArkitFace"),
    "300w-lp": ("viewer.datasets.three_hundred_w_lp", "ThreeHundredWLp"),
    "aflw2000": ("viewer.datasets.aflw2000", "Aflw2000"),
    "biwi": ("viewer.datasets.biwi", "Biwi"),
    "mica": ("viewer.datasets.mica", "Mica"),
    "synthetic": ("viewer.datasets.synthetic_heads", "SyntheticHeads"),
}


@dataclass(frozen=True)
class FoundDataset:
    """A data set, and the folder that holds it. root: None where nothing was found.

    is_bundled: the folder is the program's own sample set in this data set's format.
    missing: what to do where the real one is not there, with its link; else "".
    """

    info: DatasetInfo
    root: Path | None
    is_bundled: bool
    missing: str


def dataset_info(name: str) -> DatasetInfo:
    """Raises: DatasetError for an unknown name; the message lists the known ones."""
    if name not in DATASET_INFOS:
        raise DatasetError(f"There is no data set {name!r}; known are {', '.join(DATASET_INFOS)}.")
    return DATASET_INFOS[name]


def find_root(name: str, base: Path = REPOSITORY_ROOT) -> Path | None:
    """The first of the data set's places that is a folder with something in it.

    base: the folder that holds `dataset/`. Raises: DatasetError for an unknown name.
    """
    places = (base / place for place in dataset_info(name).places)
    return next((place for place in places if place.is_dir() and any(place.iterdir())), None)


def open_dataset(name: str, root: Path) -> AnnotatedDataset:
    """The data set in a folder. Raises: DatasetError for an unknown name or an absent folder."""
    info, root = dataset_info(name), Path(root)
    if not root.is_dir():
        raise DatasetError(f"{root} is no folder; {info.title} is at {info.link} .")
    module, class_name = _CLASSES[name]
    return getattr(import_module(module), class_name)(root)


def bundled_root(name: str) -> Path | None:
    """The program's own sample set in the format of a data set, if there is one."""
    root = SAMPLES_ROOT / dataset_info(name).name
    return root if root.is_dir() else None


def find_datasets(base: Path = REPOSITORY_ROOT) -> tuple[FoundDataset, ...]:
    """Every data set: those found below `base` first, then the others, with the sample sets."""
    found = [_found(info, base) for info in DATASET_INFOS.values()]
    return tuple(sorted(found, key=lambda one: bool(one.missing)))


def _found(info: DatasetInfo, base: Path) -> FoundDataset:
    root = find_root(info.name, base)
    if root is not None:
        return FoundDataset(info, root, is_bundled=False, missing="")
    missing = f"Get {info.title} from {info.link} and put it in {base / info.places[0]}."
    if info.name == "synthetic":
        missing = f"Make them: python -m demo_app synthesize, into {base / info.places[0]}."
    bundled = bundled_root(info.name)
    return FoundDataset(info, bundled, is_bundled=bundled is not None, missing=missing)
