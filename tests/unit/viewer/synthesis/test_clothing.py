"""Shirts lie outside the skin of whoever wears them and leave the face free."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from models.flame.open_head import HeadAssets
from models.geometry.rotations import about_x, about_y
from viewer.synthesis.clothing import NECKLINES, THICKNESS_M, ClothingBuilder
from viewer.synthesis.head_regions import vertex_normals


@pytest.fixture(scope="module")
def clothing(head: HeadAssets) -> ClothingBuilder:
    return ClothingBuilder(head)


@pytest.mark.parametrize("neckline", NECKLINES)
@pytest.mark.parametrize("seed", range(3))
def test_cloth_lies_over_the_skin(
    head: HeadAssets, clothing: ClothingBuilder, neckline: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    body = about_y(float(rng.uniform(-50, 50))) @ about_x(float(rng.uniform(-25, 25)))
    straight = head.vertices_m(rng.choice(head.shape_samples))
    bent = head.with_body_turned(straight, body)
    shirt = clothing.shirts[neckline]
    cloth = clothing.vertices_m(shirt, straight, bent, body)
    under = shirt.cut.of(bent)
    normals = shirt.cut.of(vertex_normals(bent, head.triangles))
    over_m = ((cloth[: len(under)] - under) * normals).sum(1)
    assert np.quantile(over_m, 0.02) > 0.3 * THICKNESS_M and over_m.max() < 1.1 * THICKNESS_M
    # a vertex that the renderer leaves out has cloth before it
    hidden = np.setdiff1d(head.triangles[shirt.hidden], head.triangles[~shirt.hidden])
    distance, _ = cKDTree(cloth).query(bent[hidden])
    assert len(hidden) > 150 and distance.max() < 0.03


@pytest.mark.parametrize("neckline", NECKLINES)
def test_the_trunk_hangs_down_from_the_shoulders(
    head: HeadAssets, clothing: ClothingBuilder, neckline: str
) -> None:
    template, shirt = head.template_vertices_m, clothing.shirts[neckline]
    cloth = clothing.vertices_m(shirt, template, template, np.eye(3))
    np.testing.assert_array_equal(shirt.cut.ends[shirt.rim_of_cut, 0], shirt.rim)
    assert (shirt.cut.share[shirt.rim_of_cut] == 0).all()
    lower = cloth[len(shirt.cut.ends) :]
    np.testing.assert_allclose(lower[:, [0, 2]], cloth[shirt.rim_of_cut][:, [0, 2]])
    assert cloth[:, 1].min() == pytest.approx(-0.65, abs=0.01)
    # outwards: to the right on the right, to the front at the front
    normals = vertex_normals(cloth, shirt.triangles)[len(shirt.cut.ends) :]
    aside = np.abs(lower[:, 0]) > 0.12
    assert (np.sign(normals[aside, 0]) == np.sign(lower[aside, 0])).mean() > 0.95
    front = lower[:, 2] > 0.02
    assert front.sum() > 5 and (normals[front, 2] > 0).all()


def test_no_collar_reaches_the_face(head: HeadAssets, clothing: ClothingBuilder) -> None:
    chin_y_m = head.landmarks_468_m(head.template_vertices_m)[152, 1]
    heights = {
        name: float(clothing.shirts[name].cut.of(head.template_vertices_m)[:, 1].max())
        for name in NECKLINES
    }
    assert heights["v"] == heights["crew"] < heights["turtleneck"]
    assert heights["wide"] < heights["crew"] < chin_y_m
    face = np.unique(head.landmark_468_vertex_ids)
    for shirt in clothing.shirts.values():
        assert not np.isin(shirt.cut.ends, face).any()
