"""Protocol `speed`: one crop through ONNX Runtime and torch, and whether both say the same."""

from __future__ import annotations

import importlib
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from demo_app.evaluation.faces import EvaluationError
from models.trg.bundle import read_bundle
from models.trg.onnx_export import INPUTS, OUTPUTS, LastIterate, example_inputs, write_onnx

RUNS, WARM_UP = 200, 20


@dataclass(frozen=True)
class SpeedFigures:
    """One crop, batch of one, without cutting it out."""

    threads: int
    runs: int
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Speed:
    """max_difference: the largest of any number of R, t and vertices (m), ONNX against torch.

    load_average: waiting programs when it began; times are good where it is near 0.
    """

    weights_mb: float
    parameters: int
    onnx_mb: float
    max_difference: float
    load_average: float
    versions: str
    figures: dict[str, SpeedFigures]
    protocol: str = "speed"
    notes: tuple[str, ...] = field(default=())


def evaluate_speed(weights: Path, runs: int = RUNS) -> Speed:
    """Of a bundle's network. Raises: EvaluationError, CheckpointError."""
    runtime, load_average = _optional("onnxruntime"), os.getloadavg()[0]
    _optional("onnx")
    network, _ = read_bundle(weights)
    inputs = example_inputs(network)
    feeds = {name: value.numpy() for name, value in zip(INPUTS, inputs, strict=True)}
    module = LastIterate(network).eval()
    figures: dict[str, SpeedFigures] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        write_onnx(network, path)
        onnx_mb = path.stat().st_size / 1e6
        for threads in (1, 2):
            session = _session(runtime, path, threads)
            kept = {one.name for one in session.get_inputs()}  # the export drops unused inputs
            used = {name: value for name, value in feeds.items() if name in kept}
            answers = session.run(list(OUTPUTS), used)
            name = f"ONNX Runtime, {threads} thread{'s'[: threads > 1]}"
            figures[name] = _timed(partial(session.run, None, used), threads, runs)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            expected = module(*inputs)
            figures["torch, 1 thread"] = _timed(partial(module, *inputs), 1, runs)
    finally:
        torch.set_num_threads(before)
    apart = [np.abs(a - b.numpy()).max() for a, b in zip(answers, expected, strict=True)]
    return Speed(
        weights_mb=weights.stat().st_size / 1e6,
        parameters=sum(p.numel() for p in network.parameters()),
        onnx_mb=onnx_mb,
        max_difference=float(max(apart)),
        load_average=load_average,
        versions=f"torch {torch.__version__}, onnxruntime {runtime.__version__}",
        figures=figures,
        notes=("Times hold for a machine on which nothing else runs.",),
    )


def _session(runtime: ModuleType, path: Path, threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _timed(call: Callable[[], object], threads: int, runs: int) -> SpeedFigures:
    for _ in range(WARM_UP):
        call()
    times_ms = []
    for _ in range(runs):
        start_s = time.perf_counter()
        call()
        times_ms.append(1000.0 * (time.perf_counter() - start_s))
    p50, p95 = (float(value) for value in np.percentile(times_ms, [50, 95]))
    return SpeedFigures(threads=threads, runs=runs, p50_ms=p50, p95_ms=p95)


def _optional(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise EvaluationError(
            f"The protocol `speed` needs the package {package}: "
            "pip install -r requirements-bench.txt."
        ) from error
