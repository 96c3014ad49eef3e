"""Shapes: closed, the right way out, where they should be."""

from __future__ import annotations

import numpy as np
import pytest

from viewer.synthesis.surfaces import box, ellipsoid, grid_triangles, joined, painted, tube


def _volume(vertices: np.ndarray, triangles: np.ndarray) -> float:
    a, b, c = vertices[triangles].transpose(1, 0, 2)
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def test_an_ellipsoid_has_its_volume() -> None:
    half = np.array([0.1, 0.2, 0.3])
    vertices, triangles = ellipsoid(np.array([1.0, 2.0, 3.0]), half, 60, 90)
    assert abs(_volume(vertices, triangles)) == pytest.approx(4 / 3 * np.pi * half.prod(), rel=0.01)


def test_a_box_has_its_volume() -> None:
    assert abs(_volume(*box(np.array([1.0, 2.0, 3.0])))) == pytest.approx(48.0)


def test_a_tube_keeps_its_radius() -> None:
    path = np.stack([np.zeros(6), np.linspace(0, 1, 6), np.zeros(6)], 1)
    vertices, triangles = tube(path, 0.05, sides=8)
    assert np.hypot(vertices[:, 0], vertices[:, 2]) == pytest.approx(0.05)
    assert len(triangles) == 2 * 5 * 8


def test_grids_use_every_vertex_once_per_corner() -> None:
    assert len(np.unique(grid_triangles(3, 4))) == 12
    assert len(grid_triangles(3, 4)) == 12 and len(grid_triangles(3, 4, closed=True)) == 16


def test_joining_keeps_triangles_with_their_vertices() -> None:
    one = painted(np.zeros((3, 3)), np.array([[0, 1, 2]]), np.zeros(3))
    two = painted(np.ones((4, 3)), np.array([[0, 1, 2], [1, 2, 3]]), np.full(3, 9.0), alpha=0.5)
    both = joined([one, two])
    assert both.triangles.tolist() == [[0, 1, 2], [3, 4, 5], [4, 5, 6]]
    assert both.rgb[3:].min() == 9 and both.alpha.tolist() == [1, 1, 1, 0.5, 0.5, 0.5, 0.5]


def test_moving_turns_then_shifts() -> None:
    one = painted(np.array([[1.0, 0.0, 0.0]]), np.zeros((0, 3), int), np.zeros(3))
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert one.moved(turn, np.array([0.0, 0.0, 5.0])).vertices_m.tolist() == [[0.0, 1.0, 5.0]]
