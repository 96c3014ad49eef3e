"""The benchmark's own model: its sizes, that smplx and our layer agree on it, and its last line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from demo_app.benchmarks import flame
from models.flame.assets import FlameAssets, read_flame_assets


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    flame.write_random_model(made)
    return made


def test_sizes_and_float32_against_the_formula(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = read_flame_assets(folder / "FLAME_NEUTRAL.pkl", folder / "landmark_embedding.npy")
    assert assets.is_flame_topology
    assert (len(assets.shape_directions_m), len(assets.expression_directions_m)) == (300, 100)
    monkeypatch.setattr(flame, "BATCH", 3)
    shape, expression, pose = (x.double().numpy() for x in flame._parameters())
    with torch.no_grad():
        found, landmarks = flame._our_call(folder)()
    for k in range(3):
        wanted = posed(assets, shape[k], expression[k], pose[k].reshape(5, 3))
        assert np.abs(found[k].numpy() - wanted).max() < 1e-5
        ids, weights = assets.landmarks.static_vertex_ids[17:], assets.landmarks.static_weights[17:]
        inner = (wanted[ids] * weights[..., None]).sum(1)
        assert np.abs(landmarks[k, 17:].numpy() - inner).max() < 1e-5


def posed(
    assets: FlameAssets, shape: np.ndarray, expression: np.ndarray, pose: np.ndarray
) -> np.ndarray:
    """FLAME's formula in float64, with 4x4 matrices and Rodrigues' formula."""
    v = assets.template_vertices_m + np.tensordot(shape, assets.shape_directions_m, 1)
    v = v + np.tensordot(expression, assets.expression_directions_m, 1)
    joints, R = assets.joint_regressor @ v, [rodrigues(vector) for vector in pose]
    bends = np.concatenate([(one - np.eye(3)).ravel() for one in R[1:]])
    v = v + np.tensordot(bends, assets.pose_directions_m, 1)
    chain: list[np.ndarray] = []
    for k, parent in enumerate(assets.joint_parents):
        about = np.eye(4)
        about[:3, :3], about[:3, 3] = R[k], joints[k] - R[k] @ joints[k]
        chain.append(about if parent < 0 else chain[parent] @ about)
    blended = np.tensordot(assets.skinning_weights, np.array(chain), 1)
    return (blended[:, :3, :3] @ v[..., None])[..., 0] + blended[:, :3, 3]


def rodrigues(vector: np.ndarray) -> np.ndarray:
    angle = np.linalg.norm(vector)
    x, y, z = vector / angle
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * K @ K


def test_smplx_gives_the_same_heads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("smplx", reason="smplx is in requirements-bench.txt")
    monkeypatch.setattr(flame, "BATCH", 24)
    result = flame.measure_times(folder, rounds=1)
    assert result["largest_gap_m"] < 1e-5 and result["speed_vs_smplx"] > 0
    with monkeypatch.context() as patch:
        patch.setattr(flame, "MOST_GAP", 0.0)
        with pytest.raises(flame.BenchmarkError, match="differ by up to"):
            flame.measure_times(folder, rounds=1)


def test_the_peak_of_one_call(folder: Path) -> None:
    """Far below a (b, v, 3, 400) array, of which one head would have 24 MB."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux tells a process's peak")
    found = flame.measure_peak("ours", folder)
    assert 0 < found["peak_mb"] < 250
