"""`benchmark flame`: our FLAME layer beside that of the `smplx` package, on a made-up model.

Both read the same random model of FLAME's exact sizes, take the same random parameters and give
vertices and 68 landmarks, without gradients; they take turns, and their results are compared first.
Two things are set so that both compute the same: smplx looks up the jaw line by the head's global
rotation alone and with yaw's other sign, so it gets FLAME's own chain (neck and global) and the
table of outlines with its sides exchanged.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from demo_app.benchmarks.slider import slider_figures
from demo_app.benchmarks.timing import machine
from demo_app.config import child_environment
from models.flame.assets import FLAME_TRIANGLES, FLAME_VERTICES, read_flame_assets
from models.flame.flame_landmarks import CONTOUR_COUNT, CONTOUR_MAX_DEG
from models.flame.layer import FlameLayer

Array = np.ndarray
Call = Callable[[], tuple[torch.Tensor, torch.Tensor]]

REPOSITORY = Path(__file__).resolve().parents[2]
BATCH, SHAPES, EXPRESSIONS = 512, 300, 100
ROUNDS, MOST_GAP = 15, 1e-5
SIDES = ("ours", "smplx")
PARENTS = (4294967295, 0, 1, 1, 1)


class BenchmarkError(RuntimeError):
    """The benchmark cannot run here, or the two sides differ; the message says which."""


def run_flame_benchmark(threads: int = 2, rounds: int = ROUNDS) -> dict[str, object]:
    """Times in one process, peak memory in one per side. Raises: BenchmarkError."""
    with tempfile.TemporaryDirectory(prefix="flame-benchmark-") as name:
        folder = Path(name)
        write_random_model(folder)
        timed = _run("time", folder, threads, rounds)
        peaks = {side: _run(side, folder, threads, rounds)["peak_mb"] for side in SIDES}
    return {
        "benchmark": "flame",
        "machine": machine(),
        "threads": threads,
        "batch": BATCH,
        "coefficients": SHAPES + EXPRESSIONS,
        "dtype": "float32",
        **timed,
        "peak_mb": peaks["ours"],
        "smplx_peak_mb": peaks["smplx"],
        **slider_figures(threads),
    }


def write_random_model(folder: Path) -> None:
    """FLAME's arrays and tables at their sizes and about their scale, filled at random.

    FLAME_NEUTRAL.pkl, flame_static_embedding.pkl and flame_dynamic_embedding.npy are smplx's names;
    landmark_embedding.npy is the same tables for us.
    """
    rng, v = np.random.default_rng(0), FLAME_VERTICES
    scale_m = np.full(SHAPES + EXPRESSIONS, 3e-4)
    model = {
        "v_template": rng.uniform(-0.15, 0.15, (v, 3)),
        "f": rng.integers(0, v, (FLAME_TRIANGLES, 3)).astype(np.uint32),
        "shapedirs": rng.normal(size=(v, 3, SHAPES + EXPRESSIONS)) * scale_m,
        "posedirs": 1e-3 * rng.normal(size=(v, 3, 36)),
        "J_regressor": rng.dirichlet(np.ones(v), 5),
        "weights": rng.dirichlet(np.ones(5), v),
        "kintree_table": np.array([PARENTS, range(5)], np.uint32),
    }
    rows = 2 * CONTOUR_MAX_DEG + 1
    static, dynamic = _landmarks(rng, (68,)), _landmarks(rng, (rows, CONTOUR_COUNT))
    exchanged = [0, *range(CONTOUR_MAX_DEG + 1, rows), *range(1, CONTOUR_MAX_DEG + 1)]
    table = {"full_lmk_faces_idx": static[0][None], "full_lmk_bary_coords": static[1][None]}
    table |= {"static_lmk_faces_idx": static[0][17:], "static_lmk_bary_coords": static[1][17:]}
    table |= {"dynamic_lmk_faces_idx": dynamic[0], "dynamic_lmk_bary_coords": dynamic[1]}
    contour = {"lmk_face_idx": dynamic[0][exchanged], "lmk_b_coords": dynamic[1][exchanged]}
    inner = {"lmk_face_idx": static[0][17:], "lmk_b_coords": static[1][17:]}
    for name, content in (("FLAME_NEUTRAL", model), ("flame_static_embedding", inner)):
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(content, 2))
    for name, content in (("flame_dynamic_embedding", contour), ("landmark_embedding", table)):
        np.save(folder / f"{name}.npy", np.array(content, object))


def _landmarks(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Array, Array]:
    return rng.integers(0, FLAME_TRIANGLES, shape), rng.dirichlet(np.ones(3), shape)


def _parameters() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(1)
    sizes = {SHAPES: 1.0, EXPRESSIONS: 1.0, 15: 0.3}
    arrays = (scale * rng.normal(size=(BATCH, n)) for n, scale in sizes.items())
    return tuple(torch.tensor(array, dtype=torch.float32) for array in arrays)


def _our_call(folder: Path) -> Call:
    embedding = folder / "landmark_embedding.npy"
    layer = FlameLayer(read_flame_assets(folder / "FLAME_NEUTRAL.pkl", embedding))
    parameters = _parameters()

    def call() -> tuple[torch.Tensor, torch.Tensor]:
        heads = layer(*parameters)
        return heads.vertices_flame_m, heads.landmarks_68_flame_m

    return call


def _smplx_call(folder: Path) -> Call:
    try:
        from smplx import FLAME
    except ImportError as error:
        raise BenchmarkError("smplx is missing: pip install -r requirements-bench.txt.") from error
    model = FLAME(
        str(folder),
        num_betas=SHAPES,
        num_expression_coeffs=EXPRESSIONS,
        use_face_contour=True,
        batch_size=BATCH,
    )
    model.neck_kin_chain = torch.tensor([1, 0])
    shape, expression, pose = _parameters()
    names = ("global_orient", "neck_pose", "jaw_pose", "leye_pose", "reye_pose")
    turns = dict(zip(names, pose.split(3, 1), strict=True))

    def call() -> tuple[torch.Tensor, torch.Tensor]:
        heads = model(betas=shape, expression=expression, **turns)
        inner, contour = heads.joints[:, 5:56], heads.joints[:, 56:]
        return heads.vertices, torch.cat([contour, inner], 1)

    return call


_CALLS = {"ours": _our_call, "smplx": _smplx_call}


def _run(part: str, folder: Path, threads: int, rounds: int) -> dict[str, object]:
    """A part in a process of its own; its last line is JSON."""
    command = [sys.executable, "-m", "demo_app.benchmarks.flame", part, str(folder)]
    run = subprocess.run(
        [*command, str(threads), str(rounds)],
        cwd=REPOSITORY,
        env=child_environment(OMP_NUM_THREADS=str(threads)),
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        raise BenchmarkError(run.stderr.strip() or f"The process ended with {run.returncode}.")
    return json.loads(run.stdout.strip().splitlines()[-1])


def measure_times(folder: Path, rounds: int) -> dict[str, object]:
    """Milliseconds of each side, in turns after one that does not count; p50."""
    calls = {side: make(folder) for side, make in _CALLS.items()}
    times_ms: dict[str, list[float]] = {side: [] for side in calls}
    with torch.inference_mode():
        gap_m = _largest_gap_m(calls)
        for _ in range(rounds):
            for side, call in calls.items():
                start_s = time.perf_counter()
                call()
                times_ms[side].append((time.perf_counter() - start_s) * 1000.0)
    ours, theirs = (float(np.median(times_ms[side])) for side in SIDES)
    return {
        "ours_p50_ms": round(ours, 1),
        "smplx_p50_ms": round(theirs, 1),
        "speed_vs_smplx": round(theirs / ours, 2),
        "largest_gap_m": gap_m,
    }


def _largest_gap_m(calls: dict[str, Call]) -> float:
    pairs = zip(*(call() for call in calls.values()), strict=True)
    gap_m = max(float((ours - theirs).abs().max()) for ours, theirs in pairs)
    if not gap_m < MOST_GAP:
        raise BenchmarkError(f"Our heads and those of smplx differ by up to {gap_m:.1e} m.")
    return gap_m


def measure_peak(side: str, folder: Path) -> dict[str, float]:
    """Memory of one call above what the process held before it, MB; Linux says the peak."""
    call = _CALLS[side](folder)
    before_mb = _resident_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    with torch.inference_mode():
        call()
    return {"peak_mb": round(_resident_mb("VmHWM") - before_mb, 1)}


def _resident_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(field))) * 1024 / 1e6


def main(arguments: Sequence[str]) -> None:
    """A process of the benchmark: part, folder, threads, rounds."""
    part, folder = arguments[0], Path(arguments[1])
    threads, rounds = map(int, arguments[2:])
    torch.set_num_threads(threads)
    result = measure_times(folder, rounds) if part == "time" else measure_peak(part, folder)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
