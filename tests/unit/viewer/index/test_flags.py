"""Flags of several writers at once, and their way through a CSV."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from viewer.index.flags import Flag, FlagError, FlagStore


@pytest.fixture
def store(tmp_path: Path) -> FlagStore:
    return FlagStore(tmp_path / "deep" / "flags.sqlite")


def test_what_is_set_is_kept(store: FlagStore) -> None:
    store.set_flag("a/1", True)
    store.set_tags("a/1", (" blurred", "blurred", "", "why?"))
    store.set_note("b", "line one\nline two; 'quoted' \U0001f642")
    flag = FlagStore(store.path).get("a/1")
    assert (flag.is_flagged, flag.tags, flag.note) == (True, ("blurred", "why?"), "")
    assert flag.changed_s > 1e9
    assert store.get("nobody") == Flag("nobody")
    store.set_flag("a/1", False)
    assert store.flagged_keys() == [] and [flag.key for flag in store.all()] == ["a/1", "b"]
    store.set_tags("a/1", ())
    assert [flag.key for flag in store.all()] == ["b"]


def _write(path: Path, writer: int, count: int) -> None:
    store = FlagStore(path)
    for n in range(count):
        store.set_flag(f"{writer}/{n}", True)
        if writer % 2:
            store.set_tags(f"shared/{n}", ("odd",))
        else:
            store.set_flag(f"shared/{n}", True)
            store.set_note(f"shared/{n}", "even")


def test_two_tabs_and_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    path, count = tmp_path / "flags.sqlite", 60
    tabs = [threading.Thread(target=_write, args=(path, writer, count)) for writer in (0, 1)]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        jobs = [pool.submit(_write, path, writer, count) for writer in (2, 3)]
        for tab in tabs:
            tab.start()
        for tab in tabs:
            tab.join()
        for job in jobs:
            job.result()
    store = FlagStore(path)
    assert len(store.flagged_keys()) == 5 * count
    for n in range(count):
        flag = store.get(f"shared/{n}")
        assert (flag.is_flagged, flag.tags, flag.note) == (True, ("odd",), "even")


def test_a_csv_brings_everything_back(store: FlagStore, tmp_path: Path) -> None:
    store.set_flag("a", True)
    store.set_note("a", 'comma, "quote"\nnew line')
    store.set_tags("b", ("x,y", "ü"))
    assert store.export_csv(tmp_path / "flags.csv") == 2
    other = FlagStore(tmp_path / "other.sqlite")
    report = other.import_csv(tmp_path / "flags.csv")
    assert (report.taken, report.kept, report.problems) == (2, 0, ())
    assert other.all() == store.all()
    store.set_note("a", "newer")
    again = store.import_csv(tmp_path / "flags.csv")
    assert (again.taken, again.kept) == (0, 2) and store.get("a").note == "newer"


HEAD = "key,flagged,tags,note,changed_s\n"


@pytest.mark.parametrize(
    "row",
    [
        "a,2,[],,1",
        "a,1,{},,1",
        "a,1,[1],,1",
        "a,1,nonsense,,1",
        "a,1,[],,nan",
        "a,1,[],,1e300",
        "a,1,[],,-5",
        ",1,[],,1",
        "a,1",
        "a\x07,1,[],,1",
        f"{'a' * 1001},1,[],,1",
        f"a,1,[],{'n' * 10_001},1",
    ],
)
def test_a_bad_row_is_told_and_the_others_are_taken(
    store: FlagStore, tmp_path: Path, row: str
) -> None:
    (tmp_path / "in.csv").write_text(HEAD + row + "\ngood,1,[],,1\n")
    report = store.import_csv(tmp_path / "in.csv")
    assert report.taken == 1 and len(report.problems) == 1
    assert report.problems[0].startswith("line 2: ") and store.flagged_keys() == ["good"]


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b"key\0"])
def test_a_file_that_is_no_list_of_flags_is_refused(
    store: FlagStore, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "in.csv").write_bytes(content)
    with pytest.raises(FlagError):
        store.import_csv(tmp_path / "in.csv")
    assert store.all() == []


def test_hostile_keys_and_long_texts_are_refused(store: FlagStore) -> None:
    for key in ("", "a\0", "a\nb", "k" * 1001):
        with pytest.raises(FlagError):
            store.set_flag(key, True)
    store.set_flag("x'); drop table flags;--", True)
    assert store.flagged_keys() == ["x'); drop table flags;--"]
    with pytest.raises(FlagError):
        store.set_note("a", "n" * 10_001)
    with pytest.raises(FlagError):
        store.set_tags("a", tuple(f"t{n}" for n in range(51)))


def test_a_damaged_store_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "flags.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(FlagError, match="cannot be used"):
        FlagStore(tmp_path / "flags.sqlite")


def test_a_writer_waits_for_another_one(store: FlagStore) -> None:
    other = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)
    other.execute("begin immediate")
    timer = threading.Timer(0.5, lambda: other.execute("commit"))
    timer.start()
    store.set_flag("a", True)
    timer.join()
    other.close()
    assert store.flagged_keys() == ["a"]
