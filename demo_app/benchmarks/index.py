"""`benchmark index`: a million made-up annotations, then questions as the Datasets tab asks them.

`build_rows_per_s` is the way from rows in memory to a finished index; reading a data set's files
comes before it and depends on them.

The questions run in a process of their own that has neither torch nor cv2, as its peak memory is
measured; building the index is another process's work. Times are of the whole call: filter, count,
sort, page, and the page's rows read with all their columns.
"""

from __future__ import annotations

import itertools
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from demo_app.config import child_environment
from viewer.index.check_table import CHECKS
from viewer.index.made_up import made_up_rows
from viewer.index.query import Filters, Index, Sort
from viewer.index.schema import COLUMNS, INDEX_FILE
from viewer.index.stats import histogram, yaw_pitch_density

SEED = 1
ROWS = 1_000_000
QUERIES = 200
PAGE_ROWS = 24
TABLE_ROWS = 100_000
ANGLES = ("yaw_deg", "pitch_deg", "roll_deg", "distance_mm")
REPOSITORY = Path(__file__).resolve().parents[2]


class BenchmarkError(RuntimeError):
    """A process of the benchmark failed; the message is what it said."""


@dataclass(frozen=True)
class Query:
    """place: of the page, 0 the first, 0.5 the middle, 1 the last."""

    filters: Filters
    sort: Sort
    place: float


def run_index_benchmark(threads: int = 2, rows: int = ROWS, queries: int = QUERIES) -> dict:
    """Build in one process, ask in another; returns what the last line says."""
    folder = Path(tempfile.mkdtemp(prefix="index-benchmark-"))
    try:
        built = _run("build", folder, threads, rows, queries)
        asked = _run("ask", folder, threads, rows, queries)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"benchmark": "index", "rows": rows, **built, **asked}


def _run(part: str, folder: Path, threads: int, rows: int, queries: int) -> dict:
    """A part in a process of its own; its last line is JSON."""
    numbers = [str(n) for n in (threads, rows, queries)]
    command = [sys.executable, "-m", "demo_app.benchmarks.index", part, str(folder), *numbers]
    run = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=child_environment(OMP_NUM_THREADS=str(threads)),
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        raise BenchmarkError(run.stderr.strip() or f"The process ended with {run.returncode}.")
    return json.loads(run.stdout.strip().splitlines()[-1])


def build(folder: Path, rows: int) -> dict[str, object]:
    """From rows in memory to a finished index: findings, order, Parquet, file of rows."""
    from viewer.index.build_table import publish, with_findings

    parts = [
        made_up_rows(first, min(TABLE_ROWS, rows - first), SEED)
        for first in range(0, rows, TABLE_ROWS)
    ]
    start_s = time.perf_counter()
    table = with_findings(pa.concat_tables(parts).sort_by("key").combine_chunks())
    publish(table, folder, {"dataset": "made-up"}, [], [])
    seconds = time.perf_counter() - start_s
    return {
        "build_rows_per_s": round(rows / seconds),
        "index_mb": round((folder / INDEX_FILE).stat().st_size / 1e6),
    }


def ask(folder: Path, threads: int, queries: int) -> dict[str, object]:
    """Open the index and ask."""
    start_s = time.perf_counter()
    index = Index(folder, threads)
    open_s = time.perf_counter() - start_s
    asked = made_up_queries(index, queries, SEED)
    pages = [_timed(lambda q=query: _page(index, q)) for query in asked]
    charted = list(zip(asked, itertools.cycle(ANGLES), strict=False))
    histograms = [_timed(lambda q=q, c=c: histogram(index, c, q.filters)) for q, c in charted]
    densities = [_timed(lambda q=q: yaw_pitch_density(index, q.filters)) for q in asked[:50]]
    return {
        "queries": queries,
        "threads": threads,
        "open_s": round(open_s, 2),
        **_percentiles("page", pages),
        **_percentiles("histogram", histograms),
        **_percentiles("density", densities),
        "peak_mb": peak_mb(),
        "torch_imported": "torch" in sys.modules,
    }


def peak_mb() -> int:
    """The most memory that this process ever had. Linux's getrusage would also count the process
    that started it, which has torch."""
    status = Path("/proc/self/status")
    if not status.exists():
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return round(int(line.split()[1]) / 1024)


def _page(index: Index, query: Query) -> int:
    """The page as the grid shows it, with the number of samples above it."""
    count = index.count(query.filters)
    offset = round(query.place * max(0, count - PAGE_ROWS))
    rows = index.page(query.filters, query.sort, offset=offset, limit=PAGE_ROWS)
    if len(rows) != min(PAGE_ROWS, count):
        raise BenchmarkError(f"A page of {len(rows)} rows where there are {count}: {query}.")
    return len(rows)


def made_up_queries(index: Index, count: int, seed: int) -> list[Query]:
    """1 to 3 ranges, now and then a split, a subject, sequences, a check or text; any order."""
    rng = np.random.default_rng(seed)
    extents = index.tables().extents
    columns = [c.name for c in COLUMNS if c.is_numeric and extents[c.name].count]
    subjects = [name for name, _ in index.distinct("subject")]
    queries = []
    for number in range(count):
        ranges = {}
        chosen = rng.choice(columns, rng.integers(1, 4), replace=False)
        for column in [ANGLES[number % len(ANGLES)], *chosen[1:]]:
            extent = extents[str(column)]
            low, high = sorted(rng.uniform(extent.low, extent.high, 2).tolist())
            ranges[str(column)] = (low, high)
        queries.append(
            Query(
                Filters(
                    ranges,
                    _values(rng, subjects),
                    (CHECKS[int(rng.integers(len(CHECKS)))].name,) if rng.random() < 0.1 else (),
                    None,
                    str(rng.choice(["lefttoright", "S000", "/03_", "99"]))
                    if rng.random() < 0.25
                    else "",
                ),
                Sort(str(rng.choice(columns)), bool(rng.random() < 0.5)),
                (0.0, 0.5, 1.0)[number % 3],
            )
        )
    return queries


def _values(rng: np.random.Generator, subjects: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    choice = rng.random()
    if choice < 0.25:
        return {"split": (str(rng.choice(["train", "test"])),)}
    if choice < 0.35:
        return {"subject": tuple(map(str, rng.choice(subjects, 3)))}
    if choice < 0.45:
        return {"sequence": ("01_LeftToRight", "04_LeftToRight")}
    return {}


def _timed(call: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds on the clock, and of the processor: all threads of this process."""
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    call()
    return (time.perf_counter() - start_s) * 1e3, (time.process_time() - start_cpu_s) * 1e3


def _percentiles(name: str, times_ms: list[tuple[float, float]]) -> dict[str, float]:
    wall, cpu = np.array(times_ms).T
    found = {f"{name}_p{p}_ms": round(float(np.percentile(wall, p)), 1) for p in (50, 95)}
    return found | {f"{name}_cpu_p95_ms": round(float(np.percentile(cpu, 95)), 1)}


def main(arguments: Sequence[str]) -> None:
    """A process of the benchmark: part, folder, threads, rows, queries."""
    part, folder = arguments[0], Path(arguments[1])
    threads, rows, queries = map(int, arguments[2:])
    result = build(folder, rows) if part == "build" else ask(folder, threads, queries)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
