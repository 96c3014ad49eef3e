"""FaceMesh's landmarks are found on a head that knows none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.flame.open_head import HeadAssets
from viewer.synthesis import landmark_embedding
from viewer.synthesis.landmark_embedding import (
    LANDMARK_68_OF_468,
    LIPS,
    FacelessHead,
    find_landmark_embedding,
)


@pytest.fixture(scope="module")
def faceless(head: HeadAssets) -> FacelessHead:
    names, directions = head.expression_names, head.expression_directions_m
    return FacelessHead(
        head.template_vertices_m,
        head.triangles,
        head.part_of_triangle,
        head.part_names,
        dict(zip(names, directions, strict=True)),
    )


def test_the_68_are_those_of_the_file(head: HeadAssets) -> None:
    assert tuple(head.landmark_68_of_468) == LANDMARK_68_OF_468


@pytest.mark.slow
def test_the_landmarks_are_where_the_file_has_them(
    head: HeadAssets, faceless: FacelessHead
) -> None:
    """Elsewhere in the room: nothing of the answer may hang on where the head happens to be."""
    away = np.array([0.3, -0.2, 1.0])
    moved = replace(faceless, vertices_m=faceless.vertices_m + away)
    found = find_landmark_embedding(moved)
    ids, weights = found["lmk468_tri"], found["lmk468_bary"]
    assert ids.shape == weights.shape == (468, 3) and weights.dtype == np.float32
    assert weights.min() >= 0 and np.abs(weights.sum(1) - 1).max() < 1e-6
    skin = {tuple(corners) for corners in head.triangles_of("skin").tolist()}
    assert all(tuple(corners) in skin for corners in ids.tolist())
    there = (head.template_vertices_m[ids] * weights[..., None]).sum(1)
    apart_mm = 1000 * np.linalg.norm(there - head.landmarks_468_m(head.template_vertices_m), axis=1)
    assert apart_mm.mean() < 4 and np.median(apart_mm) < 3 and apart_mm.max() < 20
    assert apart_mm[list(LIPS)].mean() < 3
    eye_corners, nose_tip, chin = apart_mm[[33, 133, 263, 362]], apart_mm[4], apart_mm[152]
    assert eye_corners.max() < 5 and nose_tip < 5 and chin < 10


def test_no_landmark_is_lost_on_another_person(
    head: HeadAssets, faceless: FacelessHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few views, and a person whose turned cheeks FaceMesh misses by more than FAR_PX: were such
    views not to count at all, points of the cheek's outline would land on the nose."""
    monkeypatch.setattr(
        landmark_embedding, "SHUT_VIEWS", ((0, 0), (-28, 0), (28, 0), (-40, 0), (40, 0))
    )
    person = replace(faceless, vertices_m=head.vertices_m(0.8 * head.shape_samples[300]))
    found = find_landmark_embedding(person)
    ids, weights = found["lmk468_tri"], found["lmk468_bary"]
    there = (person.vertices_m[ids] * weights[..., None]).sum(1)
    apart_mm = 1000 * np.linalg.norm(there - head.landmarks_468_m(person.vertices_m), axis=1)
    assert apart_mm.max() < 30 and apart_mm.mean() < 5
