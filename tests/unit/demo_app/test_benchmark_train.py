"""`benchmark train`: a set of 1220 vertices that can be trained on, and all the speeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demo_app.benchmarks.made_sets import thinned_mesh, write_arkitface_1220
from demo_app.benchmarks.train import run_train_benchmark
from viewer.datasets.arkitface import ArkitFace
from viewer.datasets.registry import bundled_root


def test_the_thinned_mesh_is_symmetric_and_whole() -> None:
    dataset = ArkitFace(bundled_root("arkitface"))
    mesh = thinned_mesh(dataset, dataset.list_samples(1).keys[0])
    assert len(mesh.ids) == len(set(mesh.ids.tolist())) == 1220
    assert (mesh.flip_index[mesh.flip_index] == np.arange(1220)).all()
    assert (mesh.ids[mesh.flip_index] == dataset.flip_index()[mesh.ids]).all()
    assert 2100 < len(mesh.triangles) < 2440 and len(np.unique(mesh.triangles)) > 1200


def test_the_made_set_is_one_of_1220_vertices(tmp_path: Path) -> None:
    source = ArkitFace(bundled_root("arkitface"))
    made = ArkitFace(write_arkitface_1220(tmp_path / "made"))
    listing = made.list_samples()
    assert listing.keys == source.list_samples().keys and not listing.problems
    ours, theirs = (dataset.detail(listing.keys[3]) for dataset in (made, source))
    assert ours.notes == () and ours.meshes[0].vertices_m.shape == (1220, 3)
    np.testing.assert_allclose(ours.landmarks_68_m, theirs.landmarks_68_m)
    vertices, triangles = ours.meshes[0].vertices_m, ours.meshes[0].triangles
    corners = vertices[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    towards_camera = (normals * corners.mean(1)).sum(1) < 0
    assert towards_camera.mean() > 0.8


@pytest.mark.slow
def test_every_speed_is_there() -> None:
    found = run_train_benchmark(threads=1, rounds=1, steps=1, batch_size=2)
    assert found["recipe"] == "trg" and found["batch"] == 2 and found["workers"] >= 1
    for name in ("loader", "step", "trained"):
        assert found[f"{name}_samples_per_s"] > 0
    assert found["loader_cpu_ms"] < found["step_cpu_ms"]
    ratio = found["trained_samples_per_s"] / found["step_samples_per_s"]
    assert found["trained_over_step"] == pytest.approx(ratio, rel=0.05)
