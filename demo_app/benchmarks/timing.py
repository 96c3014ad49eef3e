"""Timing calls, and saying on which machine."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch


def time_calls_ms(call: Callable[[], object], repeats: int, budget_s: float) -> np.ndarray:
    """Milliseconds of each call after three that do not count; stops early at the budget."""
    for _ in range(3):
        call()
    times_ms: list[float] = []
    end_s = time.perf_counter() + budget_s
    while len(times_ms) < repeats and (len(times_ms) < 5 or time.perf_counter() < end_s):
        start_s = time.perf_counter()
        call()
        times_ms.append((time.perf_counter() - start_s) * 1000.0)
    return np.array(times_ms)


def p50_p95(times_ms: np.ndarray) -> tuple[float, float]:
    """Median and 95th percentile, rounded to 0.01 ms."""
    return tuple(round(float(value), 2) for value in np.percentile(times_ms, [50, 95]))


def machine() -> str:
    """Processor, cores, GPU and versions, in one line."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    return f"{name}, {os.cpu_count()} cores, {gpu}, torch {torch.__version__}"
