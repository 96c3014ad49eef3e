"""A mesh cut along a line: what is left is the same surface up to the line, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from viewer.synthesis.mesh_cut import cut_mesh
from viewer.synthesis.surfaces import grid_triangles

ROWS, COLUMNS = 9, 12


def _grid() -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.linspace(0, 1, COLUMNS), np.linspace(0, 1, ROWS))
    triangles = grid_triangles(ROWS, COLUMNS).astype(np.int64)
    return np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], 1), triangles


def _areas(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = vertices[triangles].transpose(1, 0, 2)
    return np.cross(b - a, c - a)[:, 2] / 2


@pytest.mark.parametrize("seed", range(6))
def test_a_square_cut_by_a_line_has_the_area_on_its_side(seed: int) -> None:
    vertices, triangles = _grid()
    normal = np.random.default_rng(seed).normal(size=2)
    inside = (vertices[:, :2] - 0.45) @ normal
    cut, rest = cut_mesh(triangles, inside), cut_mesh(triangles, -inside)
    kept = cut.of(vertices)
    assert ((kept[:, :2] - 0.45) @ normal).min() > -1e-9
    areas = _areas(kept, cut.triangles)
    whole = _areas(vertices, triangles)
    assert (np.sign(areas[np.abs(areas) > 1e-12]) == np.sign(whole[0])).all(), "wound as before"
    others = _areas(rest.of(vertices), rest.triangles)
    assert areas.sum() + others.sum() == pytest.approx(whole.sum(), abs=1e-12)
    assert 0.05 < areas.sum() / whole.sum() < 0.95


def test_edges_are_cut_once_for_both_their_triangles() -> None:
    vertices, triangles = _grid()
    inside = 0.3 - np.hypot(*(vertices[:, :2] - 0.5).T)
    cut = cut_mesh(triangles, inside)
    edges = np.sort(np.concatenate([cut.triangles[:, k] for k in ([0, 1], [1, 2], [2, 0])]), 1)
    _, count = np.unique(edges, axis=0, return_counts=True)
    lone = (count == 1).sum()
    assert count.max() == 2 and lone == (cut.share > 0).sum(), "one closed rim of new vertices"


def test_what_is_given_at_corners_follows() -> None:
    """Barycentric weights say the same as the shares along the edges."""
    vertices, triangles = _grid()
    cut = cut_mesh(triangles, vertices[:, 0] - 0.33)
    by_corner = np.einsum("fcw,fwd->fcd", cut.corner_weights, vertices[triangles[cut.parents]])
    np.testing.assert_allclose(by_corner, cut.of(vertices)[cut.triangles], atol=1e-12)


def test_nothing_or_all_may_be_left() -> None:
    vertices, triangles = _grid()
    assert len(cut_mesh(triangles, np.full(len(vertices), -1.0)).triangles) == 0
    whole = cut_mesh(triangles, np.ones(len(vertices)))
    np.testing.assert_array_equal(whole.triangles, triangles)
    np.testing.assert_array_equal(whole.of(vertices), vertices)
