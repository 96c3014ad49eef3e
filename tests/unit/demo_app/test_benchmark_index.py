"""The benchmark of the index, small: its processes run, and the last line has what it should."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from demo_app.benchmarks.index import BenchmarkError, made_up_queries, run_index_benchmark
from viewer.index.build_table import publish, with_findings
from viewer.index.made_up import made_up_rows
from viewer.index.query import Index


def test_it_measures_in_a_process_without_torch() -> None:
    result = run_index_benchmark(threads=1, rows=3000, queries=12)
    assert result["rows"] == 3000 and result["queries"] == 12
    assert result["torch_imported"] is False
    for name in ("build_rows_per_s", "page_p95_ms", "histogram_p95_ms", "peak_mb"):
        assert result[name] > 0
    assert 60 < result["peak_mb"] < 300


def test_a_part_that_fails_is_an_error() -> None:
    with pytest.raises(BenchmarkError):
        run_index_benchmark(threads=1, rows=-1, queries=1)


def test_the_same_seed_asks_the_same_and_of_every_kind(tmp_path: Path) -> None:
    table = with_findings(made_up_rows(0, 6000, 1).sort_by("key"))
    publish(table, tmp_path, {}, [], [])
    index = Index(tmp_path)
    queries = made_up_queries(index, 200, 1)
    assert queries == made_up_queries(index, 200, 1) != made_up_queries(index, 200, 2)
    assert {len(query.filters.ranges) for query in queries} == {1, 2, 3}
    assert {query.place for query in queries} == {0.0, 0.5, 1.0}
    assert any(query.filters.text for query in queries)
    assert {name for query in queries for name in query.filters.values} == {
        "split",
        "subject",
        "sequence",
    }


def test_the_process_says_json_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "demo_app.benchmarks.index", "build", str(tmp_path)]
    run = subprocess.run(
        [*command, "1", "500", "1"],
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(run.stdout)["build_rows_per_s"] > 0
