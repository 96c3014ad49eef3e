"""The sample sets that the program ships: readable, labelled, of the head model that it ships."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from models.flame.open_head import OPEN_HEAD_PATH, load_open_head
from models.weights import T_HEAD_FROM_TRG_MINI
from viewer.datasets.synthetic import SyntheticDataset
from viewer.datasets.synthetic_format import read_info

SAMPLES = Path(__file__).resolve().parents[4] / "assets" / "samples" / "synthetic"


@pytest.mark.parametrize(("name", "count"), [("train", 32), ("validation", 32), ("painted", 32)])
def test_every_picture_has_its_labels(name: str, count: int) -> None:
    heads, model = SyntheticDataset(SAMPLES / name), load_open_head()
    assert len(heads) == count
    assert (
        read_info(SAMPLES / name).head_model_sha256
        == hashlib.sha256(OPEN_HEAD_PATH.read_bytes()).hexdigest()
    )
    T = T_HEAD_FROM_TRG_MINI
    for n in range(0, count, 9):
        head = heads[n]
        if not head.is_face:
            continue
        weights = dict(zip(model.expression_names, head.expression.astype(float), strict=True))
        vertices = model.vertices_m(head.identity.astype(float), weights)
        vertices = model.with_body_turned(vertices, head.body_from_head)
        landmarks = model.landmarks_468_m(vertices) @ T[:3, :3].T + T[:3, 3]
        assert np.abs(landmarks - head.landmarks_468_head_m).max() < 1e-5
        assert head.mask.max() == 255 and head.depth_m.max() > 0.1
        assert head.visible_468.mean() > 0.1


def test_the_two_persons_are_apart() -> None:
    people = [SyntheticDataset(SAMPLES / name).persons() for name in ("train", "validation")]
    assert people == [("grace-hopper",), ("eileen-collins",)]
