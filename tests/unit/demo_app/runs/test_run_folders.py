"""Runs by their names: nothing outside of their folder is ever read, copied or deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo_app.run_config import default_config
from demo_app.runs.folders import RunError, RunFolders

BAD_NAMES = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/etc",
    "a\\b",
    ".hidden",
    "-x",
    "a\n",
    "a b",
    "x" * 65,
    "ü",
]


@pytest.fixture
def folders(tmp_path: Path) -> RunFolders:
    made = RunFolders(tmp_path / "runs")
    made.create("one", default_config("trg-mini"))
    return made


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_path_is_no_name(folders: RunFolders, name: str) -> None:
    for act in (folders.path, folders.delete, folders.new_path, folders.is_taken):
        with pytest.raises(RunError, match="begins with a letter"):
            act(name)
    with pytest.raises(RunError):
        folders.create(name, default_config("trg-mini"))


def test_only_runs_are_deleted_and_links_are_not_followed(
    folders: RunFolders, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "config.json").write_text("{}")
    (folders.root / "link").symlink_to(precious)
    (folders.root / "no-run").mkdir()
    for name in ("link", "no-run", "gone"):
        with pytest.raises(RunError, match="There is no run"):
            folders.delete(name)
    (folders.path("one") / "inner").symlink_to(precious)
    folders.delete("one")
    assert (precious / "config.json").is_file() and folders.names() == []
    assert not (folders.root / "one").exists()


def test_names_are_free_or_refused(folders: RunFolders) -> None:
    assert folders.free_name("one") == "one-2" and folders.free_name("../ü x") == "x"
    with pytest.raises(RunError, match="already"):
        folders.create("one", default_config("trg-mini"))
    assert folders.names() == ["one"]


def test_a_copy_holds_one_moment_and_the_best_before_it(folders: RunFolders) -> None:
    run = folders.path("one")
    (run / "checkpoints").mkdir()
    for step in (5, 10, 15):
        for ending in ("pt", "safetensors"):
            (run / "checkpoints" / f"step-{step:08d}.{ending}").write_text(str(step))
    best = '{"checkpoint": "step-00000005.pt", "step": 5, "metric": "m", "value": 1.0}'
    (run / "checkpoints" / "best.json").write_text(best)
    for name in ("metrics.jsonl", "face_basis.npz", "mirror_vertex_ids.npy"):
        (run / name).write_text(name)
    for name in ("state.json", "STOP", "bad_batch_rank0.npz", "output.log"):
        (run / name).write_text("{}")
    copied = folders.copy("one", "two", 10)
    kept = {path.relative_to(copied).as_posix() for path in copied.rglob("*") if path.is_file()}
    steps = {f"checkpoints/step-{s:08d}.{e}" for s in (5, 10) for e in ("pt", "safetensors")}
    own = {"config.json", "metrics.jsonl", "face_basis.npz", "mirror_vertex_ids.npy"}
    assert kept == steps | own | {"checkpoints/best.json"}
    with pytest.raises(RunError, match="no checkpoint of step 7"):
        folders.copy("one", "three", 7)
    assert not any(path.name.startswith(".") for path in folders.root.iterdir())
