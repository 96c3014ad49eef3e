"""Flags, tags and notes on samples: one SQLite file, safe for several tabs and processes."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from viewer.index.schema import AnnotationIndexError

BUSY_S = 20.0
LONGEST_KEY = 1000
LONGEST_NOTE = 10_000
LONGEST_TAG = 100
MOST_TAGS = 50
LARGEST_CSV_BYTES = 200_000_000
CSV_COLUMNS = ("key", "flagged", "tags", "note", "changed_s")

_TABLE = """create table if not exists flags (
    key text primary key, is_flagged integer not null default 0, tags text not null default '[]',
    note text not null default '', changed_s real not null) without rowid"""


class FlagError(AnnotationIndexError):
    """A flag cannot be stored or read; the message says why."""


@dataclass(frozen=True)
class Flag:
    """What people said of a sample. changed_s: seconds since 1970, 0 where nobody said anything."""

    key: str
    is_flagged: bool = False
    tags: tuple[str, ...] = ()
    note: str = ""
    changed_s: float = 0.0


@dataclass(frozen=True)
class ImportReport:
    """taken: rows stored. kept: rows whose flag here is newer. problems: "line 3: ..."."""

    taken: int
    kept: int
    problems: tuple[str, ...]


class FlagStore:
    """The flags of one data set. Each call is one transaction that changes one field of one sample,
    so two writers never undo each other.

    Raises, from every method: FlagError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as db:
            db.execute("pragma journal_mode = wal")
            db.execute(_TABLE)

    def set_flag(self, key: str, is_flagged: bool) -> None:
        self._set(key, "is_flagged", int(is_flagged))

    def set_tags(self, key: str, tags: tuple[str, ...]) -> None:
        """Trimmed, each once, in this order."""
        self._set(key, "tags", json.dumps(_clean_tags(tags), ensure_ascii=False))

    def set_note(self, key: str, note: str) -> None:
        self._set(key, "note", _clean_note(note))

    def get(self, key: str) -> Flag:
        """An empty one where nothing was said."""
        with self._open() as db:
            row = db.execute("select * from flags where key = ?", (key,)).fetchone()
        return Flag(key) if row is None else _flag_of(row)

    def all(self) -> list[Flag]:
        """In the order of the keys; none that is empty."""
        with self._open() as db:
            flags = [_flag_of(row) for row in db.execute("select * from flags order by key")]
        return [flag for flag in flags if flag.is_flagged or flag.tags or flag.note]

    def flagged_keys(self) -> list[str]:
        with self._open() as db:
            found = db.execute("select key from flags where is_flagged order by key").fetchall()
        return [key for (key,) in found]

    def export_csv(self, path: Path) -> int:
        """Write every flag; returns how many. The file appears when it is whole."""
        flags = self.all()
        partial = path.with_name(path.name + ".partial")
        with partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(CSV_COLUMNS)
            for flag in flags:
                tags = json.dumps(flag.tags, ensure_ascii=False)
                writer.writerow(
                    (flag.key, int(flag.is_flagged), tags, flag.note, repr(flag.changed_s))
                )
        partial.replace(path)
        return len(flags)

    def import_csv(self, path: Path) -> ImportReport:
        """Take the rows of such a file that are newer than what is here; all of it or nothing."""
        taken = kept = 0
        problems: list[str] = []
        with self._open() as db:
            db.execute("begin immediate")
            for line, row in _csv_rows(path):
                try:
                    flag = _flag_of_csv(row)
                except (FlagError, ValueError) as error:
                    problems.append(f"line {line}: {error}")
                    continue
                changed = db.execute(_TAKE_NEWER, _values(flag)).rowcount
                taken, kept = taken + (changed > 0), kept + (changed == 0)
            db.execute("commit")
        return ImportReport(taken, kept, tuple(problems))

    def _set(self, key: str, column: str, value: object) -> None:
        """column: one of this file's own names."""
        _require_key(key)
        with self._open() as db:
            db.execute(
                f"insert into flags (key, {column}, changed_s) values (?, ?, ?) on conflict (key)"
                f" do update set {column} = excluded.{column}, changed_s = excluded.changed_s",
                (key, value, time.time()),
            )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one call: cheap, and free of threads. Statements commit themselves."""
        db = None
        try:
            db = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)
            yield db
        except sqlite3.Error as error:
            raise FlagError(f"Flags in {self.path.name} cannot be used: {error}.") from error
        finally:
            if db is not None:
                db.close()


_TAKE_NEWER = """insert into flags (key, is_flagged, tags, note, changed_s) values (?, ?, ?, ?, ?)
    on conflict (key) do update set is_flagged = excluded.is_flagged, tags = excluded.tags,
    note = excluded.note, changed_s = excluded.changed_s
    where excluded.changed_s > flags.changed_s"""


def _values(flag: Flag) -> tuple[object, ...]:
    tags = json.dumps(flag.tags, ensure_ascii=False)
    return (flag.key, int(flag.is_flagged), tags, flag.note, flag.changed_s)


def _flag_of(row: tuple[str, int, str, str, float]) -> Flag:
    key, is_flagged, tags, note, changed_s = row
    return Flag(key, bool(is_flagged), tuple(json.loads(tags)), note, float(changed_s))


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line and fields of each row. Raises: FlagError where it is no such file."""
    try:
        if path.stat().st_size > LARGEST_CSV_BYTES:
            raise FlagError(f"{path.name} is larger than 200 MB, no list of flags.")
        text = path.read_text(encoding="utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        if not set(CSV_COLUMNS) <= set(reader.fieldnames or ()):
            raise FlagError(f"{path.name} has no columns {', '.join(CSV_COLUMNS)}.")
        for row in reader:
            yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FlagError(f"{path.name} is no readable CSV: {error}.") from error


def _flag_of_csv(row: dict[str, str]) -> Flag:
    if any(row[column] is None for column in CSV_COLUMNS):
        raise FlagError("fields are missing.")
    _require_key(row["key"])
    if row["flagged"] not in ("0", "1"):
        raise FlagError(f"flagged must be 0 or 1, not {row['flagged']!r:.40}.")
    tags = json.loads(row["tags"])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise FlagError("tags must be a JSON list of texts.")
    changed_s = float(row["changed_s"])
    if not 0.0 <= changed_s <= time.time() + 86_400.0:
        raise FlagError("changed_s is no time in the past.")
    return Flag(
        row["key"],
        row["flagged"] == "1",
        _clean_tags(tuple(tags)),
        _clean_note(row["note"]),
        changed_s,
    )


def _require_key(key: str) -> None:
    if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        raise FlagError("A key has 1 to 1000 printable characters.")


def _clean_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    cleaned = tuple(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    if len(cleaned) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in cleaned):
        raise FlagError(f"At most {MOST_TAGS} tags of {LONGEST_TAG} characters.")
    return cleaned


def _clean_note(note: str) -> str:
    if len(note) > LONGEST_NOTE:
        raise FlagError(f"A note has at most {LONGEST_NOTE} characters.")
    return note.encode("utf-8", "replace").decode()
