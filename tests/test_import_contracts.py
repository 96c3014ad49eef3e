"""The contracts of pyproject.toml hold, and each one is seen failing on a planted violation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("models", "viewer", "demo_app")

PLANTED = [
    ("rooms", "models/trg/planted.py", "import viewer.render"),
    ("rooms", "viewer/render/planted.py", "import demo_app.inference"),
    ("inside-models", "models/geometry/planted.py", "import models.trg"),
    ("inside-models", "models/trg/planted.py", "import models.face_detection"),
    ("inside-models", "models/planted.py", ""),
    ("inside-viewer", "viewer/render/planted.py", "import viewer.datasets"),
    ("inside-viewer", "viewer/datasets/planted.py", "import viewer.index"),
    ("inside-demo-app", "demo_app/inference/planted.py", "import demo_app.tabs"),
    ("inside-demo-app", "demo_app/actions/planted.py", "import demo_app.ui"),
    ("inside-demo-app", "demo_app/planted.py", ""),
    ("gradio", "demo_app/actions/planted.py", "import gradio"),
    ("gradio", "viewer/render/planted.py", "import gradio"),
    ("asking", "viewer/index/check_table.py", "import torch"),
    ("asking", "viewer/index/flags.py", "import viewer.datasets.sample"),
    ("plain-models", "models/geometry/planted.py", "import scipy.spatial"),
]


def _lint_imports(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = "from importlinter.cli import lint_imports_command as run; run()"
    command = [sys.executable, "-c", program, "--no-cache", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def copy_of_rooms(tmp_path: Path) -> Path:
    """The rooms' Python files and nothing else, with a package for data sets."""
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            target = tmp_path / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    (tmp_path / "viewer" / "datasets").mkdir(exist_ok=True)
    (tmp_path / "viewer" / "datasets" / "__init__.py").touch()
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    return tmp_path


def test_every_contract_is_kept() -> None:
    run = _lint_imports(ROOT)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(("contract", "path", "line"), PLANTED)
def test_a_planted_violation_breaks_the_contract(
    copy_of_rooms: Path, contract: str, path: str, line: str
) -> None:
    clean = _lint_imports(copy_of_rooms, "--contract", contract)
    (copy_of_rooms / path).write_text(line + "\n", encoding="utf-8")
    planted = _lint_imports(copy_of_rooms, "--contract", contract)
    assert (clean.returncode, planted.returncode) == (0, 1), clean.stdout + planted.stdout
    assert Path(path).stem in planted.stdout


def test_every_contract_has_a_planted_violation() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {c["id"] for c in settings["tool"]["importlinter"]["contracts"]}
    assert contracts == {contract for contract, _, _ in PLANTED}
