"""The whole TRG recipe on imitations of ARKitFace and 300W-LP, and its weights as released."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from demo_app.cli import main
from demo_app.runs.exports import export_file
from models.training.checkpoints import checkpoint_paths
from models.training.initialisation import read_face_basis
from models.trg.checkpoints import read_state_dict
from models.trg.config import TrgConfig
from models.weights import load_pose_model
from tests.integration.released_layout import LP, N_VERTICES, write_arkitface_1220

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


SMALL = [
    *("--train.steps", "2", "--train.batch-size", "3", "--train.threads", "1"),
    *("--train.log-every", "1", "--train.validate-every", "9", "--workers", "0"),
]


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where users of the released code have their data sets; the tests' working folder."""
    write_arkitface_1220(tmp_path / "dataset" / "ARKitFace")
    shutil.copytree(LP, tmp_path / "dataset" / "300W_LP")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _command_of_the_readme() -> list[str]:
    """Arguments of the README's training of both sets."""
    (line,) = re.findall(r"^python -m demo_app (train --recipe trg-multi .+)$", README, re.M)
    return shlex.split(line)


def test_trg_trains_from_a_backbone_and_is_loaded_as_released(folders: Path) -> None:
    out = folders / "runs" / "trg-multi"
    torch.save(_resnet18(), folders / "resnet18.pth")
    assert main([*_command_of_the_readme(), *SMALL]) == 0
    log = (out / "train.log").read_text()
    assert "backbone from" in log and "WARNING" not in log
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    losses = [line for line in lines if line["kind"] == "train"]
    assert len(losses) == 2 and all(np.isfinite(line["loss_total"]) for line in losses)
    assert "arkitface_validation_geodesic_mean_deg" in lines[0]

    (weights,) = out.rglob("state_dict.bin")
    assert weights.relative_to(out).as_posix() == (
        "checkpoint/trg_240717/checkpoint-30/state_dict.bin"
    )
    model = load_pose_model("trg-multi", device="cpu", path=weights)
    assert model.config == TrgConfig.released()
    state = read_state_dict(weights)
    mean = read_face_basis(out / "face_basis.npz").mean_vertices_m
    assert mean.shape == (N_VERTICES, 3) and 0.1 < np.ptp(mean, 0).max() < 0.4
    assert np.allclose(state["regressor.0.init_face"][0].numpy(), mean, atol=1e-6)

    with zipfile.ZipFile(export_file(out, 2, "released")) as archive:
        inside = "checkpoint/trg_240717/checkpoint-30/state_dict.bin"
        archive.extract(inside, folders / "unpacked")
    unpacked = read_state_dict(folders / "unpacked" / inside)
    assert all(value.equal(state[name]) for name, value in unpacked.items())

    again = folders / "again"
    (checkpoint,) = checkpoint_paths(out / "checkpoints")
    assert main(["export", "--checkpoint", str(checkpoint), "--out", str(again)]) == 0
    (exported,) = again.rglob("state_dict.bin")
    assert all(value.equal(state[name]) for name, value in read_state_dict(exported).items())


def test_a_file_that_is_no_backbone_is_refused(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, folders / "resnet18.pth")
    assert main([*_command_of_the_readme(), *SMALL]) == 2
    assert "no ResNet-18 in torchvision's layout" in capsys.readouterr().err


def test_without_a_backbone_file_random_weights_are_said(folders: Path) -> None:
    given = _command_of_the_readme()
    at = given.index("--backbone-file")
    assert main([*given[:at], *given[at + 2 :], *SMALL]) == 0
    log = (folders / "runs" / "trg-multi" / "train.log").read_text()
    assert "starts from random weights" in log.replace("\n", " ")


def _resnet18() -> dict[str, torch.Tensor]:
    from torchvision.models import resnet18

    return resnet18(weights=None).state_dict()
