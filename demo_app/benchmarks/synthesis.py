"""`benchmark synthesis`: heads rendered and written in a second, with depth maps and without.

Two portraits, the bundled one and its mirror image; 256 px, as `synthesize` makes them, with as
many processes as threads were given. Counted from when every process has finished its first shard,
so starting, compiling and reading portraits are left out. With depth and without take turns.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import cv2

from demo_app.benchmarks.timing import machine
from models.weights import REPOSITORY_ROOT
from viewer.synthesis.generate import GenerateConfig, fit_people, one_thread_each, render_split
from viewer.synthesis.portrait_wear import Wear
from viewer.synthesis.portraits import find_portraits

PORTRAIT = REPOSITORY_ROOT / "assets" / "examples" / "astronaut.jpg"
SHARD_ROWS, SHARDS_EACH, ROUNDS = 200, 5, 3


def run_synthesis_benchmark(
    processes: int = 2, shard_rows: int = SHARD_ROWS, rounds: int = ROUNDS
) -> dict[str, object]:
    """What the last line says: pictures a second, median of the rounds and each of them."""
    one_thread_each()
    rates: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory(prefix="synthesis-benchmark-") as name:
        root = Path(name)
        (root / "portraits").mkdir()
        picture = cv2.imread(str(PORTRAIT))
        cv2.imwrite(str(root / "portraits" / "1.png"), picture)
        cv2.imwrite(str(root / "portraits" / "2.png"), picture[:, ::-1].copy())
        wears = dict.fromkeys(
            fit_people(find_portraits(root / "portraits"), root / "people", 0, _silent),
            Wear(False, False),
        )
        config = GenerateConfig(
            count=shard_rows * SHARDS_EACH * processes, workers=processes, shard_rows=shard_rows
        )
        for number in range(rounds):
            for depth in rates:
                out = root / f"{number}-{depth}"
                out.mkdir()
                (out / "people").symlink_to(root / "people")
                rates[depth].append(_rate(out, wears, replace(config, depth=depth, seed=number)))
    return {
        "benchmark": "synthesis",
        "machine": machine(),
        "processes": processes,
        "size_px": config.size_px,
        "pictures_a_round": config.count,
        "with_depth_per_s": sorted(rates[True])[rounds // 2],
        "without_depth_per_s": sorted(rates[False])[rounds // 2],
        "with_depth_rounds_per_s": rates[True],
        "without_depth_rounds_per_s": rates[False],
    }


def _rate(out: Path, wears: dict[str, Wear], config: GenerateConfig) -> float:
    """Pictures a second from the moment when each process has written its first shard."""
    finished_s: list[float] = []
    render_split(
        out, "train", wears, config.count, config, lambda _: finished_s.append(time.perf_counter())
    )
    first = config.workers - 1
    pictures = config.shard_rows * (len(finished_s) - 1 - first)
    return round(pictures / (finished_s[-1] - finished_s[first]), 1)


def _silent(_: str) -> None:
    """The fits' progress is not wanted here."""
