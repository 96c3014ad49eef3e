"""What the README says is true: its commands exist, its links lead somewhere, its code runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from demo_app.cli import VERBS, main

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
HEADER, BODY = README.removeprefix("---\n").split("\n---\n", 1)


def _blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", BODY, re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def _code() -> str:
    return "\n".join([*_blocks("bash"), *re.findall(r"`([^`\n]+)`", BODY)])


MAKE_TARGETS = sorted(set(re.findall(r"\bmake ([a-z]+)", _code())))
COMMANDS = sorted(set(re.findall(r"^python -m demo_app .+$", _code(), re.MULTILINE)))


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_header_makes_it_a_space() -> None:
    header = yaml.safe_load(HEADER)
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "requirements.txt").read_text(), re.M))
    assert header["sdk"] == "gradio"
    assert header["sdk_version"] == pins["gradio"]
    assert (ROOT / header["app_file"]).is_file()
    assert len(header["short_description"]) <= 60
    assert header["license"] == "mit"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_it_starts_with_one_picture_and_the_two_commands() -> None:
    picture, commands = BODY.index("!["), BODY.index("make run")
    assert BODY.strip().startswith("![") and picture < commands < BODY.index("make test")
    assert commands < BODY.index("\n## ")
    assert BODY.count("![") == 1


@pytest.mark.parametrize("target", MAKE_TARGETS)
def test_make_target_exists(target: str) -> None:
    run = _run("make", "--dry-run", target)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_verb_and_options_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` of the verb parses and names every option that the README uses."""
    words = shlex.split(command)[3:]
    options = [word for word in words if word.startswith("--") and word != "--help"]
    with pytest.raises(SystemExit) as stopped:
        main([words[0], "--help"])
    shown = capsys.readouterr().out
    assert stopped.value.code == 0 and f"demo_app {words[0]}" in shown
    assert all(option in shown for option in options), shown


def test_the_program_names_its_verbs() -> None:
    run = _run(sys.executable, "-m", "demo_app", "--help")
    assert run.returncode == 0, run.stderr
    assert not [name for name in VERBS if name not in run.stdout]


def test_a_verb_that_needs_no_network_starts_without_torch() -> None:
    code = "import sys, demo_app.cli as c; c._verb('benchmark'); sys.exit('torch' in sys.modules)"
    assert _run(sys.executable, "-c", code).returncode == 0


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", BODY))))
def test_link_leads_to_a_file(target: str) -> None:
    assert target.startswith("https://") or (ROOT / target).is_file()


def test_the_layout_is_that_of_the_folders() -> None:
    tree = next(block for block in _blocks("") if "app.py" in block)
    listed, folder = set(), ""
    for line in tree.splitlines():
        indent = len(line) - len(line.lstrip())
        names = re.match(r"(?:\s*[\w.]+(?:/|\.py))+", line).group().split()
        folder = names[0] if indent == 0 else folder
        listed.update(name if indent == 0 else folder + name for name in names)
    assert not [name for name in listed if not (ROOT / name).exists()]
    rooms = [ROOT / room for room in ("models", "viewer", "demo_app")]
    packages = {p.parent.relative_to(ROOT) for room in rooms for p in room.glob("*/__init__.py")}
    assert not [package for package in packages if f"{package.as_posix()}/" not in listed]


@pytest.mark.parametrize("block", _blocks("python"))
def test_python_example_runs(block: str) -> None:
    run = _run(sys.executable, "-c", block)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()


def test_there_is_something_to_test() -> None:
    assert {"run", "test"} <= set(MAKE_TARGETS)
    assert {shlex.split(c)[3] for c in COMMANDS} >= {"predict", "demo", "benchmark", "fetch"}
    assert _blocks("python")
