"""Imitations of the eight original data sets with one public-domain face, and MICA's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.weights import REPOSITORY_ROOT
from viewer.mica.prepare import Inputs

ListRows = Mapping[str, tuple[list[str], str]]


@pytest.fixture(scope="session")
def face_bgr() -> np.ndarray:
    """The astronaut's head, 200 px."""
    photo = cv2.imread(str(REPOSITORY_ROOT / "assets" / "examples" / "astronaut.jpg"))
    scale = photo.shape[0] / 512
    left, top, side = (round(scale * x) for x in (124, 10, 200))
    return cv2.resize(photo[top : top + side, left : left + side], (200, 200))


@pytest.fixture(scope="session")
def write_picture(face_bgr: np.ndarray) -> Callable[..., Path]:
    """write_picture(path, faces=1, shift=0) -> path; faces beside each other, the first bright."""

    def write(path: Path, faces: int = 1, shift: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [np.roll(face_bgr, shift, 1)] + [face_bgr // 2] * (faces - 1)
        picture = np.hstack(rows) if faces else np.full((120, 90, 3), 90, np.uint8)
        assert cv2.imwrite(str(path), picture)
        return path

    return write


def write_fit(path: Path, first_beta: float, betas: int = 400) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros(betas)
    values[0] = first_beta
    np.savez(path, pose=np.zeros(15), betas=values)


def write_list(path: Path, table: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.array(None, object)
    array[()] = table
    np.save(path, array, allow_pickle=True)
    return path


@dataclass(frozen=True)
class Imitation:
    """source: picture files by their path in the original data set. rows: MICA's list."""

    subset: str
    source: tuple[str, ...]
    rows: ListRows


IMITATIONS = (
    Imitation(
        "STIRLING",
        (
            "Real_images__Subset_2D_FG2018/HQ/f1001_003.jpg",
            "Real_images__Subset_2D_FG2018/HQ/M1002_001.jpg",
            "Real_images__Subset_2D_FG2018/LQ/F1001_003.jpg",
        ),
        {
            "F1001": (["F1001/F1001_003.jpg"], "F1001/F1001_N.npz"),
            "M1002": (["M1002/M1002_001.jpg"], "M1002/M1002_N.npz"),
        },
    ),
    Imitation(
        "D3DFACS",
        ("processed/images/Adrian/texture_2C_061.jpg", "processed/images/Joe/texture_1.jpg"),
        {
            "Adrian": (["Adrian/texture_2C_061.jpg"], "Adrian/Adrian.npz"),
            "Joe": (["Joe/texture_1.jpg"], "Joe/Joe.npz"),
        },
    ),
    Imitation(
        "FLORENCE",
        (
            "images/subject_01/Cooperative/frame_2300.jpg",
            "images/subject_01/PTZ-Indoor/frame_2300.jpg",
            "images/subject_01/PTZ-Outdoor/frame_0001.jpg",
        ),
        {
            "subject_01": (
                ["subject_01/frame_2300.jpg", "subject_01/frame_0001.jpg"],
                "subject_01/110920150452.npz",
            )
        },
    ),
    Imitation(
        "BU3DFE",
        ("images/F0001/F0001_FE03WH_RAW_0.jpg", "images/F0001/F0001_FE03WH_RAW_1.jpg"),
        {
            "F0001": (
                ["F0001/F0001_FE03WH_RAW_1.jpg", "F0001/F0001_FE03WH_RAW_0.jpg"],
                "F0001/F0001_NE00WH_RAW.npz",
            )
        },
    ),
    Imitation(
        "LYHM",
        ("00001/2C.png", "00001/1C.png", "00002/2C.png"),
        {
            "00001": (["00001/2C.png", "00001/1C.png"], "00001/130925161618.npz"),
            "00002": (["00002/2C.png"], "00002/130925161619.npz"),
        },
    ),
    Imitation(
        "FACEWAREHOUSE",
        ("Images/Tester_1/pose_11.png", "Images/Tester_2/TrainingPose/pose_0.png"),
        {
            "Tester_1": (["Tester_1/pose_11.png"], "Tester_1/pose_0.npz"),
            "Tester_2": (["Tester_2/pose_0.png"], "Tester_2/pose_0.npz"),
        },
    ),
    Imitation(
        "FRGC",
        (
            "nd1/Fall2003/02463d567.jpg",
            "nd1/Spring2003range/02463d100.jpg",
            "images/04200/Fall2002/04200d10.jpg",
        ),
        {
            "02463": (["02463/02463d567.jpg", "02463/02463d100.jpg"], "02463/02463d546.npz"),
            "04200": (["04200/04200d10.jpg"], "04200/04200d11.npz"),
        },
    ),
    Imitation(
        "BP4D",
        ("images/F001/0491.jpg", "M002/T1/0007.jpg"),
        {
            "F001": (["F001/0491.jpg"], "F001/F001.npz"),
            "M002": (["M002/0007.jpg"], "M002/M002.npz"),
        },
    ),
)


@pytest.fixture
def write_subset(tmp_path: Path, write_picture: Callable[..., Path]) -> Callable[..., Inputs]:
    """write_subset(imitation, has_list=True) -> where the original, MICA's files and root are."""

    def write(imitation: Imitation, has_list: bool = True) -> Inputs:
        base = tmp_path / imitation.subset
        for number, name in enumerate(imitation.source):
            write_picture(base / "original" / name, shift=4 * number)
        for number, (actor, (_, fit)) in enumerate(imitation.rows.items()):
            write_fit(base / "zip" / "FLAME_parameters" / fit, 0.5 + number)
            mesh = base / "zip" / "registrations" / actor / f"{Path(fit).stem}.obj"
            mesh.parent.mkdir(parents=True)
            mesh.write_text("v 0 0 0\nv 0.2 0 0\nv 0 0.3 0.2\nf 1 2 3\n")
        image_list = base / "lists" / f"{imitation.subset}.npy"
        write_list(image_list, dict(imitation.rows))
        return Inputs(
            imitation.subset,
            base / "original",
            base / "zip" / "FLAME_parameters",
            tmp_path / "MICA",
            image_list if has_list else None,
        )

    return write


@pytest.fixture(params=IMITATIONS, ids=lambda imitation: imitation.subset)
def imitation(request: pytest.FixtureRequest) -> Imitation:
    return request.param


@pytest.fixture
def inputs_of(write_subset: Callable[..., Inputs]) -> Callable[..., Inputs]:
    """inputs_of("LYHM", has_list=True)"""

    def written(subset: str, has_list: bool = True) -> Inputs:
        return write_subset(next(i for i in IMITATIONS if i.subset == subset), has_list)

    return written


@pytest.fixture
def lyhm(inputs_of: Callable[..., Inputs]) -> Inputs:
    return inputs_of("LYHM")


@pytest.fixture
def save_fit() -> Callable[..., None]:
    return write_fit


@pytest.fixture
def save_list() -> Callable[..., Path]:
    return write_list
