"""How busy the machine is: numbers for the log of a run. Only what the system tells is there."""

from __future__ import annotations

import os
import resource
import sys

import torch

_MB = 1024.0**2


def machine_numbers(device: torch.device) -> dict[str, float]:
    """Load of the last minute per processor, memory in MB; of a GPU its memory too.

    process_ram_mb is the most that this process ever used.
    """
    numbers = {"process_ram_mb": _peak_memory_mb(), **_memory_mb()}
    if hasattr(os, "getloadavg"):
        numbers["cpu_load"] = os.getloadavg()[0] / (os.cpu_count() or 1)
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        numbers |= {
            "gpu_used_mb": (total - free) / _MB,
            "gpu_total_mb": total / _MB,
            "gpu_process_mb": torch.cuda.max_memory_allocated(device) / _MB,
        }
    return {name: round(value, 3) for name, value in numbers.items()}


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
