"""`benchmark synthesis`: a rate is the pictures over the time that they took."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo_app.benchmarks import synthesis as module
from demo_app.benchmarks.synthesis import run_synthesis_benchmark
from viewer.synthesis.generate import GenerateConfig


def test_the_first_shard_of_each_process_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([10.0, 11.0, 12.5, 15.0, 16.0])

    def five_shards(_out, _split, _wears, _count, _config, say) -> None:
        for _ in range(5):
            say("one more")

    monkeypatch.setattr(module, "render_split", five_shards)
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    config = GenerateConfig(count=500, workers=2, shard_rows=100)
    assert module._rate(tmp_path, {}, config) == pytest.approx(300 / 5.0)


@pytest.mark.slow
def test_both_rates_are_there() -> None:
    found = run_synthesis_benchmark(processes=1, shard_rows=2, rounds=1)
    assert found["with_depth_per_s"] > 0 and found["without_depth_per_s"] > 0
    assert found["pictures_a_round"] == 10 and found["size_px"] == 256
