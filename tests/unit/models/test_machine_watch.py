"""The machine's numbers against what this process does itself."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from models.training.machine import MachineWatch

needs_proc = pytest.mark.skipif(
    not Path("/proc/stat").is_file(), reason="the system has no /proc/stat"
)


def _busy(ticks: int, idle: int) -> str:
    return f"cpu  {ticks - idle} 0 0 {idle - 5} 5 0 0 0 0 0\n"


def test_the_share_is_of_the_time_between_two_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = tmp_path / "stat"
    real_open = open

    def opened(path: str, **kinds: str) -> object:
        return real_open(stat if path == "/proc/stat" else path, **kinds)

    monkeypatch.setattr("builtins.open", opened)
    stat.write_text(_busy(10_000, 9_000))
    watch = MachineWatch(torch.device("cpu"))
    stat.write_text(_busy(10_400, 9_100))
    assert watch.numbers()["cpu_busy"] == 0.75
    assert "cpu_busy" not in watch.numbers(), "no time has passed"
    stat.unlink()
    assert "cpu_busy" not in watch.numbers()


@needs_proc
def test_a_busy_process_is_seen() -> None:
    watch = MachineWatch(torch.device("cpu"))
    end_s = time.monotonic() + 0.5
    while time.monotonic() < end_s:
        pass
    numbers = watch.numbers()
    assert 0.0 < numbers["cpu_busy"] <= 1.0
    assert 50 < numbers["process_ram_mb"] < numbers["ram_total_mb"]
