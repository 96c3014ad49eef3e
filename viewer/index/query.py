"""Index: questions to the index of one data set, answered without torch and cv2."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from viewer.index.check_table import CHECKS
from viewer.index.export_rows import ExportedRows, write_csv, write_parquet
from viewer.index.filters import FilterError, Filters, Sort
from viewer.index.predictions import predictions_path
from viewer.index.schema import (
    CATEGORY_COLUMNS,
    INDEX_FILE,
    PREDICTION_COLUMNS,
    PROBLEMS_FILE,
    IndexMissingError,
    index_folder,
)
from viewer.index.selection import Selection
from viewer.index.tables import FINDING_BIT, THREADS, Extent, IndexTables

__all__ = [
    "FilterError",
    "Filters",
    "Index",
    "IndexMissingError",
    "Sort",
    "Summary",
    "index_folder",
]

Row = dict[str, object]

MOST_ROWS = 5000
"""Of one page."""
MOST_SHOWN = 500
TRIES = 5


@dataclass(frozen=True)
class Summary:
    """What an index holds. by_*: name -> rows, the first 500 in the order of the names.

    findings: check -> rows beyond its limit. extents: numeric column -> its range.
    problems: (file, reason) of the first 500. is_limited: the data set has more samples than were
    asked for.
    """

    dataset: str
    rows: int
    made_s: float
    is_limited: bool
    by_split: dict[str, int]
    by_subject: dict[str, int]
    by_sequence: dict[str, int]
    findings: dict[str, int]
    extents: dict[str, Extent]
    problem_count: int
    problems: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


class Index:
    """The index in one folder. Threads may share it; it notices when it was built anew.

    Rows are dicts by the names of COLUMNS. Raises: IndexMissingError, here and from every method.
    """

    def __init__(self, folder: Path, threads: int = THREADS) -> None:
        self.folder, self._threads = folder, threads
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._loaded: Selection | None = None
        self.tables()

    def tables(self) -> IndexTables:
        """The columns as the file has them now."""
        return self._selection().tables

    def _selection(self) -> Selection:
        for _ in range(TRIES):
            stamp = self._file_stamp()
            with self._lock:
                if stamp == self._stamp and self._loaded is not None:
                    return self._loaded
                try:
                    loaded = Selection(IndexTables(self.folder, self._threads))
                except FileNotFoundError:
                    continue  # a build put other files there between two steps
                except IndexMissingError:
                    if stamp == self._file_stamp():
                        raise
                    continue
                if stamp == self._file_stamp():
                    self._loaded, self._stamp = loaded, stamp
                    return loaded
        raise IndexMissingError("The index is incomplete: build it again.")

    def count(self, filters: Filters, flagged_keys: Sequence[str] = (), model: str = "") -> int:
        """Raises: FilterError."""
        return len(self._selection().matching(filters, flagged_keys, model))

    def page(
        self,
        filters: Filters,
        sort: Sort,
        *,
        offset: int,
        limit: int,
        flagged_keys: Sequence[str] = (),
        model: str = "",
    ) -> list[Row]:
        """Some rows of the order that `sort` gives; with a model also its errors.

        The order is total: by the column in single precision, rows without the number last, then by
        key. Raises: FilterError.
        """
        if offset < 0 or not 0 < limit <= MOST_ROWS:
            raise FilterError(f"A page has 1 to {MOST_ROWS} rows from 0 on.")
        selection = self._selection()
        numbers = selection.rows(filters, sort, (offset, limit), flagged_keys, model)
        rows = selection.tables.rows_file.read(numbers)
        return _with_errors(selection.tables, rows, numbers, model)

    def keys(
        self, filters: Filters, sort: Sort, flagged_keys: Sequence[str] = (), model: str = ""
    ) -> list[str]:
        """The keys of all rows in order. Raises: FilterError."""
        selection = self._selection()
        everything = (0, selection.tables.count)
        numbers = selection.rows(filters, sort, everything, flagged_keys, model)
        return [row["key"] for row in selection.tables.rows_file.read(numbers, ("key",))]

    def row(self, key: str, model: str = "") -> Row | None:
        """None for a key that the index does not have."""
        tables = self.tables()
        number = tables.number_of(key)
        if number is None:
            return None
        return _with_errors(tables, tables.rows_file.read([number]), [number], model)[0]

    def sequence_keys(self, key: str) -> list[str]:
        """The samples of its sequence by frame and key; itself alone where it is in none."""
        tables = self.tables()
        numbers = _sequence(tables, tables.number_of(key))
        return [row["key"] for row in tables.rows_file.read(numbers, ("key",))]

    def neighbours(self, key: str) -> tuple[str | None, str | None]:
        """The samples before and after it in its sequence."""
        tables = self.tables()
        number = tables.number_of(key)
        numbers = _sequence(tables, number)
        if number is None:
            return None, None
        place = numbers.index(number)
        beside = [numbers[i] if 0 <= i < len(numbers) else None for i in (place - 1, place + 1)]
        found = [
            None if n is None else str(tables.rows_file.read([n], ("key",))[0]["key"])
            for n in beside
        ]
        return found[0], found[1]

    def distinct(self, column: str, limit: int = MOST_SHOWN) -> list[tuple[str, int]]:
        """Names of split, subject or sequence with their rows, by name. Raises: FilterError."""
        if column not in CATEGORY_COLUMNS:
            raise FilterError(f"Names can be listed of {', '.join(CATEGORY_COLUMNS)} only.")
        return _distinct(self.tables(), column)[:limit]

    def summary(self) -> Summary:
        tables = self.tables()
        listed = _read_problems(self.folder)
        bits = ", ".join(f"count(*) filter (finding_bits & {b} <> 0)" for b in FINDING_BIT.values())
        counts = tables.ask(f"select {bits} from hot").fetchone()
        problems = listed["problems"]
        return Summary(
            dataset=tables.said.get("dataset", ""),
            rows=tables.count,
            made_s=float(tables.said.get("made_s", 0.0)),
            is_limited=tables.said.get("limit", "") != "",
            **{f"by_{c}": dict(_distinct(tables, c)[:MOST_SHOWN]) for c in CATEGORY_COLUMNS},
            findings={check.name: n for check, n in zip(CHECKS, counts, strict=True) if n},
            extents={name: e for name, e in tables.extents.items() if e.count},
            problem_count=len(problems),
            problems=tuple((str(p["file"]), str(p["reason"])) for p in problems[:MOST_SHOWN]),
            notes=tuple(map(str, listed["notes"])),
        )

    def export_parquet(
        self, filters: Filters, path: Path, flagged_keys: Sequence[str] = (), model: str = ""
    ) -> int:
        """Write the rows with all columns by key, and with the errors of a model that has results;
        returns how many. Raises: FilterError, PredictionError."""
        parts = self._exported(filters, flagged_keys, model)
        return write_parquet(parts, path)

    def export_csv(
        self, filters: Filters, path: Path, flagged_keys: Sequence[str] = (), model: str = ""
    ) -> int:
        """As `export_parquet`; findings are joined by ";"."""
        parts = self._exported(filters, flagged_keys, model)
        return write_csv(parts, path)

    def _exported(self, filters: Filters, flagged_keys: Sequence[str], model: str) -> ExportedRows:
        selection = self._selection()
        numbers = selection.matching(filters, flagged_keys, model)
        return ExportedRows(selection.tables.rows_file.tables(numbers), self.folder, model)

    def _file_stamp(self) -> tuple[int, int, int]:
        """Another one after every build."""
        try:
            facts = (self.folder / INDEX_FILE).stat()
        except OSError as error:
            sentence = "There is no index of this data set yet: build it first."
            raise IndexMissingError(sentence) from error
        return facts.st_mtime_ns, facts.st_size, facts.st_ino


def _with_errors(
    tables: IndexTables, rows: list[Row], numbers: Sequence[int], model: str
) -> list[Row]:
    """The rows with the columns of a model's errors, where there is a model with results."""
    if not model or not predictions_path(tables.folder, model).is_file():
        return rows
    source = tables.source(model, set(PREDICTION_COLUMNS))
    sql = f"select n, {', '.join(PREDICTION_COLUMNS)} from {source} where n in (select unnest(?))"
    found = {n: errors for n, *errors in tables.ask(sql, (list(numbers),)).fetchall()}
    for row, number in zip(rows, numbers, strict=True):
        row |= dict(zip(PREDICTION_COLUMNS, found[number], strict=True))
    return rows


def _sequence(tables: IndexTables, number: int | None) -> list[int]:
    """Numbers of the rows of a row's sequence, in order."""
    if number is None:
        return []
    same = " and ".join(f"a.{column} = hot.{column}" for column in CATEGORY_COLUMNS)
    by_frame = "" if tables.is_empty("frame") else "hot.frame nulls last, "
    sql = (
        f"select hot.n, hot.sequence from hot join hot as a on {same} where a.n = ?"
        f" order by {by_frame}hot.n"
    )
    found = tables.ask(sql, (number,)).fetchall()
    has_name = found and tables.names["sequence"][found[0][1]] != ""
    return [n for n, _ in found] if has_name else [number]


def _distinct(tables: IndexTables, column: str) -> list[tuple[str, int]]:
    """column: of CATEGORY_COLUMNS. Rows without a name are not counted."""
    found = tables.ask(f"select {column}, count(*) from hot group by {column}").fetchall()
    names = tables.names[column]
    return sorted((names[code], count) for code, count in found if names[code])


def _read_problems(folder: Path) -> dict[str, list]:
    """What the build wrote beside the index; nothing where it is damaged."""
    try:
        read = json.loads((folder / PROBLEMS_FILE).read_text(encoding="utf-8"))
        return {"problems": list(read["problems"]), "notes": list(read["notes"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"problems": [], "notes": ["The list of problems is missing: build it again."]}
