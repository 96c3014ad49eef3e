"""How busy the machine is: numbers for the log of a run. Only what the system tells is there."""

from __future__ import annotations

import resource
import sys

import torch

_MB = 1024.0**2


class MachineWatch:
    """Numbers of this machine and this process; the processors' since they were asked for last."""

    def __init__(self, device: torch.device) -> None:
        """device: what the run computes on."""
        self._device, self._ticks = device, _processor_ticks()

    def numbers(self) -> dict[str, float]:
        """cpu_busy: share of all processors' time that was used, by whomever, 0 to 1. Memory in MB;
        of a GPU its memory too. process_ram_mb is the most that this process ever used."""
        numbers = {"process_ram_mb": _peak_memory_mb(), **_memory_mb()}
        before, self._ticks = self._ticks, _processor_ticks()
        passed, idle = (now - then for now, then in zip(self._ticks, before, strict=True))
        if passed > 0:
            numbers["cpu_busy"] = 1.0 - idle / passed
        if self._device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self._device)
            numbers |= {
                "gpu_used_mb": (total - free) / _MB,
                "gpu_total_mb": total / _MB,
                "gpu_process_mb": torch.cuda.max_memory_allocated(self._device) / _MB,
            }
        return {name: round(value, 3) for name, value in numbers.items()}


def _processor_ticks() -> tuple[int, int]:
    """Of all processors since the start: in all, and idle or waiting for a disk; zeros where the
    system does not tell."""
    try:
        with open("/proc/stat", encoding="ascii") as file:  # noqa: PTH123
            ticks = [int(text) for text in file.readline().split()[1:9]]
        return sum(ticks), ticks[3] + ticks[4]
    except (OSError, ValueError, IndexError):
        return 0, 0


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _MB if sys.platform == "darwin" else peak / 1024.0


def _memory_mb() -> dict[str, float]:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123
            lines = dict(line.split(":", 1) for line in file)
    except (OSError, ValueError):
        return {}
    total, free = (float(lines[name].split()[0]) / 1024 for name in ("MemTotal", "MemAvailable"))
    return {"ram_used_mb": total - free, "ram_total_mb": total}
