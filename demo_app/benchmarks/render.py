"""`benchmark render`: a head of 5,023 vertices drawn on a photo, by every renderer that works here.

5,023 is FLAME's number; the head is the open one with some triangles split. Each renderer has a
process of its own, as one process can have only one kind of OpenGL, and they take turns. A frame is
the whole call: new vertices, light, drawing, and the photo under it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from demo_app.benchmarks.timing import machine, p50_p95, time_calls_ms
from demo_app.config import child_environment
from models.flame.open_head import load_open_head
from models.geometry.cameras import WEBCAM_HORIZONTAL_FOV_DEG, camera_from_horizontal_fov
from models.geometry.rotations import GL_FROM_CV, about_x, about_y
from viewer.render.mesh_image import MeshRenderer, RenderMesh

Array = np.ndarray

REPOSITORY = Path(__file__).resolve().parents[2]
SIZE_WH_PX = (640, 480)
VERTICES = 5023
DISTANCE_M = 0.6
ROUNDS, FRAMES_A_ROUND = 8, 15
RENDERERS = ("pyrender_egl", "pyrender_osmesa", "opencv", "live")


class BenchmarkError(RuntimeError):
    """A process of the benchmark failed; the message is what it said."""


def run_render_benchmark(threads: int = 2, rounds: int = ROUNDS) -> dict[str, object]:
    """All renderers in turns; returns what the last line says. Raises: BenchmarkError."""
    workers = {name: _Worker(name, threads) for name in RENDERERS}
    drawn: dict[str, list[dict]] = {name: [] for name in RENDERERS}
    try:
        missing = {name: worker.start() for name, worker in workers.items()}
        for _ in range(rounds):
            for name, worker in workers.items():
                if not missing[name]:
                    drawn[name].append(worker.round())
    finally:
        for worker in workers.values():
            worker.stop()
    result: dict[str, object] = {
        "benchmark": "render",
        "machine": machine(),
        "threads": threads,
        "size_wh_px": list(SIZE_WH_PX),
        "vertices": VERTICES,
        "frames": rounds * FRAMES_A_ROUND,
        "not_here": {name: reason for name, reason in missing.items() if reason},
    }
    for name in RENDERERS:
        result |= _summary(name, drawn[name])
    return result


def _summary(name: str, drawn: Sequence[dict]) -> dict[str, float | None]:
    """On the clock p50 and p95, and processor time of all threads, which others' work leaves."""
    if not drawn:
        return {f"{name}_ms": None, f"{name}_p95_ms": None, f"{name}_cpu_ms": None}
    p50, p95 = p50_p95(np.concatenate([answer["times_ms"] for answer in drawn]))
    cpu = round(float(np.median([answer["cpu_ms"] for answer in drawn])), 2)
    return {f"{name}_ms": p50, f"{name}_p95_ms": p95, f"{name}_cpu_ms": cpu}


class _Worker:
    """A process that draws a round of frames for each line it reads."""

    def __init__(self, name: str, threads: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "demo_app.benchmarks.render", name, str(threads)],
            cwd=REPOSITORY,
            env=child_environment(OMP_NUM_THREADS=str(threads)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self) -> str:
        """Why this renderer is not here; empty if it is."""
        return self._answer()["reason"]

    def round(self) -> dict:
        """Milliseconds of each frame, and of processor time for a frame in the mean."""
        self._process.stdin.write("round\n")
        self._process.stdin.flush()
        return self._answer()

    def stop(self) -> None:
        """End the process, which ends when its input does."""
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError(f"The process ended with {self._process.wait()}.")
        return json.loads(line)


def head_of_5023_vertices() -> tuple[Array, Array]:
    """Vertices in the `head` frame's axes and triangles: the open head without shoulders, whose
    largest triangles are split in three."""
    head = load_open_head()
    vertices = head.template_vertices_m[: head.head_vertex_count] @ GL_FROM_CV
    triangles = head.head_triangles
    a, b, c = vertices[triangles].transpose(1, 0, 2)
    order = np.argsort(-np.linalg.norm(np.cross(b - a, c - a), axis=1), kind="stable")
    split, rest = np.split(triangles[order], [VERTICES - len(vertices)])
    new = np.arange(len(vertices), VERTICES)
    fans = [np.stack([split[:, k], split[:, (k + 1) % 3], new], 1) for k in range(3)]
    vertices = np.concatenate([vertices, vertices[split].mean(1)])
    return vertices - (vertices.min(0) + vertices.max(0)) / 2, np.concatenate([rest, *fans])


def draw_rounds(name: str, threads: int) -> None:
    """A process of the benchmark: says whether it can, then draws a round for each line."""
    cv2.setNumThreads(threads)
    platforms = {"pyrender_egl": "EGL", "pyrender_osmesa": "OSMesa"}
    candidates = [(platforms[name], 0)] if name in platforms else []
    renderer = MeshRenderer(candidates, is_live=name == "live")
    renderer.renderer_name  # noqa: B018 - waits for the search
    _say({"reason": renderer.fallback_reason})
    vertices, triangles = head_of_5023_vertices()
    camera = camera_from_horizontal_fov(SIZE_WH_PX, WEBCAM_HORIZONTAL_FOV_DEG)
    photo = np.random.default_rng(1).integers(0, 256, (*SIZE_WH_PX[::-1], 3), np.uint8)
    turn = iter(range(10**9))

    def draw() -> None:
        phase = next(turn) / 30.0
        R = about_y(30.0 * np.sin(phase)) @ about_x(10.0 * np.cos(phase))
        placed = vertices @ R.T + [0.1 * np.sin(2 * phase), 0.0, DISTANCE_M]
        renderer.draw(photo, [RenderMesh(placed, triangles)], camera)

    for _ in sys.stdin:
        first, start_s = next(turn), time.process_time()
        times_ms = time_calls_ms(draw, FRAMES_A_ROUND, budget_s=30)
        cpu_ms = (time.process_time() - start_s) * 1000.0 / (next(turn) - first - 1)
        _say({"times_ms": times_ms.tolist(), "cpu_ms": cpu_ms})
    renderer.close()


def _say(answer: dict) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> None:
    """A process of the benchmark: renderer, threads."""
    draw_rounds(arguments[0], int(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
