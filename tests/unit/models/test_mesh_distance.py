"""Distances to a surface against trimesh's slow and simple search, and SciPy's minimiser."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from models.geometry.mesh_distance import nearest_on_surface, nearest_on_triangles


def rough_ball(count: int, seed: int) -> trimesh.Trimesh:
    ball = trimesh.creation.icosphere(subdivisions=count)
    noise = np.random.default_rng(seed).normal(1, 0.05, len(ball.vertices))
    return trimesh.Trimesh(ball.vertices * noise[:, None], ball.faces, process=False)


@pytest.mark.parametrize("spread", [0.05, 1.0, 30.0])
def test_against_trimesh(spread: float) -> None:
    ball = rough_ball(3, 1)
    points = np.random.default_rng(2).normal(size=(400, 3)) * spread
    place, distance, _ = trimesh.proximity.closest_point_naive(ball, points)
    found = nearest_on_surface(points, ball.vertices, ball.faces)
    assert np.abs(found.distance - distance).max() < 1e-9
    assert np.abs(np.linalg.norm(found.point - points, axis=1) - distance).max() < 1e-9
    assert np.median(np.abs(found.point - place)) < 1e-9
    on_own = nearest_on_triangles(points, ball.vertices[ball.faces[found.triangle_id]])
    assert np.abs(on_own - found.point).max() < 1e-9, "the triangle is the one of the point"


def test_triangles_of_very_different_sizes() -> None:
    rng = np.random.default_rng(4)
    sizes = np.exp(rng.uniform(-6, 2, 300))
    corners = rng.normal(size=(300, 1, 3)) + sizes[:, None, None] * rng.normal(size=(300, 3, 3))
    mesh = trimesh.Trimesh(corners.reshape(-1, 3), np.arange(900).reshape(-1, 3), process=False)
    points = 2 * rng.normal(size=(300, 3))
    _, distance, _ = trimesh.proximity.closest_point_naive(mesh, points)
    found = nearest_on_surface(points, mesh.vertices, mesh.faces)
    assert np.abs(found.distance - distance).max() < 1e-9


@given(st.integers(0, 10**6))
def test_one_triangle_against_a_minimiser(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners, point = rng.normal(size=(3, 3)), 2 * rng.normal(size=3)
    found = nearest_on_triangles(point[None], corners[None])[0]
    best = minimize(
        lambda w: ((w @ corners - point) ** 2).sum(),
        np.full(3, 1 / 3),
        jac=lambda w: 2 * corners @ (w @ corners - point),
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    gap = np.linalg.norm(found - point)
    assert gap <= np.sqrt(best.fun) + 1e-6 and gap >= np.sqrt(best.fun) - 1e-4


def test_triangles_without_area() -> None:
    line = np.array([[0.0, 0, 0], [1, 0, 0], [3, 0, 0]])
    dot = np.ones((3, 3))
    found = nearest_on_triangles(np.array([[2.0, 1, 0], [1, 1, 3]]), np.stack([line, dot]))
    assert np.allclose(found, [[2, 0, 0], [1, 1, 1]])


def test_a_shifted_sheet_is_everywhere_as_far() -> None:
    x, y = np.meshgrid(np.arange(30.0), np.arange(20.0))
    vertices = np.column_stack([x.ravel(), y.ravel(), np.zeros(600)])
    corner = (np.arange(19)[:, None] * 30 + np.arange(29)).ravel()
    faces = np.concatenate([corner[:, None] + [0, 1, 30], corner[:, None] + [1, 31, 30]])
    found = nearest_on_surface(vertices + np.array([0.0, 0, 2.5]), vertices, faces)
    assert np.allclose(found.distance, 2.5, atol=1e-12)
    assert len(nearest_on_surface(np.zeros((0, 3)), vertices, faces).distance) == 0
    with pytest.raises(ValueError, match="at least one triangle"):
        nearest_on_surface(vertices, vertices, faces[:0])
    with pytest.raises(ValueError, match="finite"):
        nearest_on_surface(vertices * np.nan, vertices, faces)
