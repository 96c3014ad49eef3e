"""Numbers of a run: read on from where it ended, whole lines only, extremes kept when drawn."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from demo_app.runs.metrics import RunMetrics, thinned
from models.training.run_log import append_record, drop_later_records


def _line(step: int, **numbers: float | None) -> str:
    return json.dumps({"kind": "train", "step": step, "time_s": 100.0 + 2 * step, **numbers}) + "\n"


def test_a_torn_last_line_waits_for_its_rest(tmp_path: Path) -> None:
    path, metrics = tmp_path / "metrics.jsonl", RunMetrics(tmp_path)
    metrics.refresh()
    assert metrics.series == {}
    whole = _line(1, loss=3.0) + _line(2, loss=2.0)
    path.write_text(whole[:-10])
    metrics.refresh()
    assert list(metrics.series["train/loss"].values) == [3.0]
    seen = metrics.version
    metrics.refresh()
    assert metrics.version == seen, "nothing new, yet it says so"
    path.write_text(whole)
    metrics.refresh()
    assert list(metrics.series["train/loss"].values) == [3.0, 2.0]
    assert metrics.left_s(12) == pytest.approx(20.0)


def test_a_pause_does_not_change_the_time_left(tmp_path: Path) -> None:
    lines = [_line(step, loss=1.0) for step in range(1, 31)]
    later = {"kind": "train", "step": 31, "time_s": 5000.0}
    (tmp_path / "metrics.jsonl").write_text("".join(lines) + json.dumps(later) + "\n")
    metrics = RunMetrics(tmp_path)
    metrics.refresh()
    assert metrics.left_s(41) == pytest.approx(20.0)
    assert RunMetrics(tmp_path / "nothing").left_s(41) is None


def test_garbage_and_nan_are_passed_over(tmp_path: Path) -> None:
    lines = ["{\n", "[1]\n", '{"kind": "x", "step": 1, "time_s": 1}\n', _line(1, loss=None, lr=0.1)]
    lines += ['{"kind": "train", "step": "a", "time_s": 1}\n', "[" * 5000 + "\n"]
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    metrics = RunMetrics(tmp_path)
    metrics.refresh()
    assert list(metrics.series["train/lr"].values) == [0.1]
    assert np.isnan(metrics.last["train"]["loss"])
    assert len(metrics.series["train/loss"].thinned(10)[0]) == 0


def test_a_resumed_run_is_read_anew(tmp_path: Path) -> None:
    metrics = RunMetrics(tmp_path)
    for step in range(1, 7):
        append_record(tmp_path, "train", step, {"loss_total": float(step)})
    metrics.refresh()
    drop_later_records(tmp_path, 4)
    append_record(tmp_path, "train", 5, {"loss_total": 50.0})
    append_record(tmp_path, "train", 6, {"loss_total": 60.0})
    metrics.refresh()
    assert list(metrics.series["train/loss_total"].values) == [1.0, 2.0, 3.0, 4.0, 50.0, 60.0]


def test_thinning_keeps_the_extremes_and_both_ends() -> None:
    rng = np.random.default_rng(3)
    for n in (12, 401, 1000, 10_007):
        steps, values = np.arange(n, dtype=float), rng.normal(size=n)
        values[n // 3], values[n // 2], values[n // 4] = 99.0, -99.0, np.nan
        values[5 * n // 6] = -50.0
        few_steps, few = thinned(steps, values, 200)
        assert len(few) <= 204 or n <= 401
        assert few.max() == 99.0 and few.min() == -99.0 and np.isfinite(few).all()
        assert few_steps[0] == 0 and few_steps[-1] == n - 1 and (np.diff(few_steps) > 0).all()
        assert -50.0 in few, "a dip that is not the lowest of all is lost"


def test_many_long_runs_are_read_fast_and_then_not_again(tmp_path: Path) -> None:
    numbers = {f"loss_{i}": 0.123456 + i for i in range(12)}
    text = "".join(_line(step, **numbers) for step in range(10_000))
    folders = [tmp_path / str(i) for i in range(5)]
    for folder in folders:
        folder.mkdir()
        (folder / "metrics.jsonl").write_text(text)
    readers = [RunMetrics(folder) for folder in folders]
    for one in readers:
        one.refresh()
    began_s = time.perf_counter()
    for one in readers:
        one.refresh()
        for series in one.series.values():
            assert len(series.thinned(240)[0]) <= 244
    assert time.perf_counter() - began_s < 2.0
    assert len(readers[0].series["train/loss_3"].values) == 10_000
