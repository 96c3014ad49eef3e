"""`prepare-mica` from the command line."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from demo_app.cli import main
from models.weights import REPOSITORY_ROOT
from viewer.datasets.registry import open_dataset
from viewer.mica.actors_dataset import PreparedActors


def write_original(base: Path, actors: int) -> list[str]:
    """LYHM as its owners have it, with MICA's parameters; the command line for it."""
    photo = cv2.imread(str(REPOSITORY_ROOT / "assets" / "examples" / "astronaut.jpg"))
    scale = photo.shape[0] / 512
    left, top, side = (round(scale * x) for x in (124, 10, 200))
    face = cv2.resize(photo[top : top + side, left : left + side], (200, 200))
    for number in range(1, actors + 1):
        folder = base / "original" / f"{number:05d}"
        folder.mkdir(parents=True)
        for name in ("1C.png", "2C.png"):
            cv2.imwrite(str(folder / name), face)
        fit = base / "zip" / "FLAME_parameters" / folder.name
        fit.mkdir(parents=True)
        np.savez(fit / "fit.npz", betas=np.zeros(400), pose=np.zeros(15))
    return [
        *("prepare-mica", "--subset", "LYHM", "--source", str(base / "original")),
        *("--flame-parameters", str(base / "zip"), "--out", str(base / "MICA")),
    ]


def test_what_has_to_be_requested(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["prepare-mica"]) == 0
    said = capsys.readouterr().out
    for title in ("Stirling", "D3DFACS", "Florence", "BU-3DFE", "LYHM", "FaceWarehouse", "FRGC"):
        assert f"{title}" in said
    assert "BP4D+: 127 subjects" in said and "140 subjects" in said
    assert "License FRGC 2.0 from CVRL" in said and "mica@tue.mpg.de" in said
    absent = ["--source", str(tmp_path / "no"), "--flame-parameters", str(tmp_path)]
    assert main(["prepare-mica", "--subset", "FRGC", *absent]) == 2
    said = capsys.readouterr()
    assert "send it as confirmation" in said.out and "BP4D" not in said.out
    assert "no is no folder" in said.err
    assert main(["prepare-mica", "--subset", "BP4D"]) == 2


def test_the_verb(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = write_original(tmp_path, actors=2)
    assert main([*command, "--workers", "0"]) == 0
    assert "2 actors, 4 pictures" in capsys.readouterr().out
    assert main([*command, "--workers", "0"]) == 0
    assert "4 ready; 0 looked at by this run" in capsys.readouterr().out
    assert main([*command, "--workers", "0", "--overwrite"]) == 0
    assert "4 looked at by this run" in capsys.readouterr().out
    assert len(open_dataset("mica", tmp_path / "MICA").list_samples().keys) == 2
    assert PreparedActors(tmp_path / "MICA")[0].images.shape == (2, 3, 224, 224)
    missing = ["--image-paths", str(tmp_path / "none.npy")]
    assert main([*command, *missing, "--workers", "0"]) == 2
    assert "none.npy cannot be read" in capsys.readouterr().err
