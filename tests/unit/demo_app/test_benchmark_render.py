"""`benchmark render`: the head it draws, and what its last line says."""

from __future__ import annotations

import numpy as np

from demo_app.benchmarks import render


def test_the_head_has_flames_number_of_vertices_and_no_hole_more() -> None:
    vertices, triangles = render.head_of_5023_vertices()
    assert vertices.shape == (5023, 3)
    assert np.array_equal(np.unique(triangles), np.arange(5023))
    edges = np.sort(np.concatenate([triangles[:, [i, (i + 1) % 3]] for i in range(3)]), 1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    head = render.load_open_head()
    whole = head.head_triangles
    before = np.sort(np.concatenate([whole[:, [i, (i + 1) % 3]] for i in range(3)]), 1)
    _, counts_before = np.unique(before, axis=0, return_counts=True)
    assert (counts == 1).sum() == (counts_before == 1).sum()


def test_renderers_take_turns(monkeypatch) -> None:
    monkeypatch.setattr(render, "RENDERERS", ("opencv", "live"))
    monkeypatch.setattr(render, "FRAMES_A_ROUND", 2)
    result = render.run_render_benchmark(threads=1, rounds=1)
    assert result["vertices"] == 5023 and result["not_here"] == {}
    assert 0 < result["live_ms"] <= result["live_p95_ms"]
    assert 0 < result["opencv_ms"] <= result["opencv_p95_ms"] and result["live_cpu_ms"] > 0
