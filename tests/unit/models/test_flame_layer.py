"""FLAME's skinning against an independent one with 4x4 matrices and SciPy, and its gradients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from models.flame.assets import FlameAssets, open_head_assets
from models.flame.flame_landmarks import (
    HeadLandmarks,
    read_landmark_embedding,
)
from models.flame.layer import FlameLayer, contour_rows, rotations_from_vectors
from models.flame.open_head import load_open_head

V, S, E, J = 25, 6, 4, 5


def small_model(seed: int = 0) -> FlameAssets:
    rng = np.random.default_rng(seed)
    return FlameAssets(
        name="made by the test",
        is_open_head=False,
        template_vertices_m=rng.normal(size=(V, 3)),
        triangles=rng.integers(0, V, (20, 3)),
        shape_directions_m=rng.normal(size=(S, V, 3)),
        expression_directions_m=rng.normal(size=(E, V, 3)),
        pose_directions_m=0.3 * rng.normal(size=(9 * (J - 1), V, 3)),
        joint_parents=np.array([-1, 0, 1, 1, 1]),
        joint_regressor=rng.dirichlet(np.ones(V), J),
        skinning_weights=rng.dirichlet(np.ones(J), V),
    )


def independent(model: FlameAssets, shape: np.ndarray, expr: np.ndarray, pose: np.ndarray):
    """One head, vertex by vertex, in homogeneous coordinates; joint after joint from the leaves."""
    v = model.template_vertices_m.copy()
    for k, weight in enumerate(shape):
        v = v + weight * model.shape_directions_m[k]
    for k, weight in enumerate(expr):
        v = v + weight * model.expression_directions_m[k]
    joints = model.joint_regressor @ v
    turns = Rotation.from_rotvec(pose)
    entry = 0
    for k in range(1, len(joints)):
        difference = turns[k].as_matrix() - np.eye(3)
        for row in range(3):
            for column in range(3):
                v = v + difference[row, column] * model.pose_directions_m[entry]
                entry += 1
    transforms = []
    for k in range(len(joints)):
        total, joint = np.eye(4), k
        while joint != -1:
            about = np.eye(4)
            about[:3, :3] = turns[joint].as_matrix()
            about[:3, 3] = joints[joint] - turns[joint].apply(joints[joint])
            total, joint = about @ total, model.joint_parents[joint]
        transforms.append(total)
    blended = np.einsum("vj,jab->vab", model.skinning_weights, np.array(transforms))
    vertices = np.einsum("vab,vb->va", blended, np.column_stack([v, np.ones(len(v))]))[:, :3]
    moved = [T[:3, :3] @ joint + T[:3, 3] for T, joint in zip(transforms, joints, strict=True)]
    return vertices, np.array(moved)


def with_landmarks(model: FlameAssets) -> FlameAssets:
    rng = np.random.default_rng(5)
    ids, weights = rng.integers(0, V, (79, 17, 3)), rng.dirichlet(np.ones(3), (79, 17))
    table = HeadLandmarks(ids[0, [0] * 68], weights[0, [0] * 68], ids, weights)
    return replace(model, landmarks=table)


def test_against_an_independent_implementation() -> None:
    rng, model = np.random.default_rng(3), small_model()
    layer = FlameLayer(model, torch.float64)
    shape, expr, translation = (rng.normal(size=(7, n)) for n in (S, E, 3))
    pose = rng.normal(size=(7, J, 3))
    pose[0] = 0.0
    found = layer(*(torch.tensor(a) for a in (shape, expr, pose.reshape(7, -1), translation)))
    assert found.landmarks_68_flame_m is None
    for k in range(7):
        vertices, joints = independent(model, shape[k], expr[k], pose[k])
        assert np.abs(found.vertices_flame_m[k].numpy() - vertices - translation[k]).max() < 1e-12
        assert np.abs(found.joints_flame_m[k].numpy() - joints - translation[k]).max() < 1e-12


def test_a_whole_turn_moves_the_head_about_its_root() -> None:
    model, pose = small_model(), torch.zeros(1, 3 * J, dtype=torch.float64)
    layer = FlameLayer(model, torch.float64)
    still = layer(torch.zeros(1, S, dtype=torch.float64))
    pose[0, :3] = torch.tensor([0.1, -0.7, 0.3])
    turned = layer(torch.zeros(1, S, dtype=torch.float64), pose_rad=pose)
    R = Rotation.from_rotvec(pose[0, :3].numpy())
    root = still.joints_flame_m[0, 0].numpy()
    wanted = R.apply(still.vertices_flame_m[0].numpy() - root) + root
    assert np.abs(turned.vertices_flame_m[0].numpy() - wanted).max() < 1e-12


def test_gradients_also_at_the_neutral_pose() -> None:
    layer = FlameLayer(with_landmarks(small_model()), torch.float64)
    generator = torch.Generator().manual_seed(0)
    for scale in (0.0, 0.5):
        inputs = [
            (scale * torch.randn(2, size, generator=generator, dtype=torch.float64))
            for size in (S, E, 3 * J, 3)
        ]
        for tensor in inputs:
            tensor.requires_grad_()
        assert torch.autograd.gradcheck(
            lambda *a: tuple(vars(layer(*a)).values()), inputs, fast_mode=True
        )


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1.0, np.pi, 6.0])
def test_rotations(angle: float) -> None:
    vector = angle * np.array([0.6, -0.64, 0.48])
    wanted = Rotation.from_rotvec(vector).as_matrix()
    assert np.abs(rotations_from_vectors(torch.tensor(vector)).numpy() - wanted).max() < 1e-13


def test_fewer_coefficients_are_padded_and_more_refused() -> None:
    layer = FlameLayer(small_model(), dtype=torch.float64)
    few = torch.tensor([[0.5, -1.0]], dtype=torch.float64)
    whole = torch.zeros(1, S, dtype=torch.float64)
    whole[0, :2] = few
    assert torch.equal(layer(few).vertices_flame_m, layer(whole).vertices_flame_m)
    with pytest.raises(ValueError, match="7 identity and 0 expression"):
        layer(torch.zeros(1, 7, dtype=torch.float64))
    with pytest.raises(ValueError, match="5 joints has 15 numbers for each of 1 heads, not"):
        layer(whole, pose_rad=torch.zeros(1, 12, dtype=torch.float64))
    with pytest.raises(ValueError, match="landmark_embedding"):
        layer.landmarks_68_m(layer(whole).vertices_flame_m)


def test_one_head_alone_is_as_in_a_batch() -> None:
    layer = FlameLayer(with_landmarks(small_model()), torch.float64)
    rng = np.random.default_rng(4)
    inputs = [torch.tensor(rng.normal(size=(3, n))) for n in (S, E, 3 * J, 3)]
    inputs[0][:, 2] = 0
    whole = layer(*inputs)
    for k in range(3):
        with torch.inference_mode():
            alone = layer(*(values[[k]] for values in inputs))
        for name, value in vars(whole).items():
            assert torch.allclose(getattr(alone, name)[0], value[k], atol=1e-13), name


def test_blocks_of_vertices_are_one_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    assets = with_landmarks(small_model())
    layer, rng = FlameLayer(assets, torch.float64), np.random.default_rng(4)
    inputs = [torch.tensor(rng.normal(size=(3, n))) for n in (S, E, 3 * J, 3)]
    whole = layer(*inputs)
    monkeypatch.setattr("models.flame.layer._HEADS_TIMES_VERTICES", 3 * 7)
    blocks = layer(*inputs)
    for name, value in vars(whole).items():
        assert torch.allclose(getattr(blocks, name), value, atol=1e-13), name
    assert blocks.vertices_flame_m.is_contiguous()
    nobody = layer(*(x[:0] for x in inputs))
    assert nobody.vertices_flame_m.shape == (0, V, 3)
    assert nobody.landmarks_68_flame_m.shape == (0, 68, 3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_the_same_heads_on_a_gpu() -> None:
    layer = FlameLayer(with_landmarks(small_model()), torch.float64)
    generator = torch.Generator().manual_seed(1)
    inputs = [torch.randn(4, n, generator=generator, dtype=torch.float64) for n in (S, E, 3 * J, 3)]
    wanted = layer(*inputs)
    on_gpu = [x.cuda().requires_grad_() for x in inputs]
    found = layer.cuda()(*on_gpu)
    for name, value in vars(wanted).items():
        assert torch.allclose(getattr(found, name).cpu(), value, atol=1e-12), name
    found.landmarks_68_flame_m.sum().backward()
    assert all(x.grad is not None and x.grad.device == x.device for x in on_gpu)


def test_the_outline_follows_a_turned_head() -> None:
    """Row y for y degrees to the left, 39 + y to the right, whichever joints turn the face."""
    model = with_landmarks(small_model())
    layer, table = FlameLayer(model, torch.float64), model.landmarks
    turns_deg = [0, 0.4, 12.6, 39, 80, -0.6, -12.4, -39, -80]
    rows = [0, 0, 13, 39, 39, 40, 51, 78, 78]
    for joints in ((0,), (1,), (0, 1)):
        pose = torch.zeros(len(turns_deg), J, 3, dtype=torch.float64)
        for joint in joints:
            pose[:, joint, 1] = torch.deg2rad(torch.tensor(turns_deg)) / len(joints)
        heads = layer(torch.zeros(len(turns_deg), S, dtype=torch.float64), pose_rad=pose.flatten(1))
        found = heads.landmarks_68_flame_m
        for k, row in enumerate(rows):
            corners = heads.vertices_flame_m[k].numpy()[table.contour_vertex_ids[row]]
            wanted = (corners * table.contour_weights[row][..., None]).sum(1)
            assert np.allclose(found[k, :17].numpy(), wanted, atol=1e-12)
        static = layer.landmarks_68_m(heads.vertices_flame_m)
        assert torch.equal(found[:, 17:], static[:, 17:])
    jaw = torch.zeros(1, 3 * J, dtype=torch.float64)
    jaw[0, 7] = 0.5
    heads = layer(torch.zeros(1, S).double(), pose_rad=jaw)
    wanted = layer.landmarks_68_m(heads.vertices_flame_m, torch.tensor([0]))
    assert torch.equal(heads.landmarks_68_flame_m, wanted)
    assert contour_rows(rotations_from_vectors(torch.tensor([[0.0, 0.2, 0.0]]))).tolist() == [11]


def test_the_open_head_through_the_same_layer() -> None:
    head, assets = load_open_head(), open_head_assets()
    layer = FlameLayer(assets, torch.float64)
    shape = torch.tensor(0.5 * head.shape_samples[3])[None]
    expression = torch.zeros(1, 52, dtype=torch.float64)
    expression[0, assets.expression_names.index("jawOpen")] = 0.7
    found = layer(shape, expression)
    wanted = head.vertices_m(shape[0].numpy(), {"jawOpen": 0.7})
    assert np.abs(found.vertices_flame_m[0].numpy() - wanted).max() < 1e-12
    landmarks = found.landmarks_68_flame_m[0].numpy()
    assert np.allclose(landmarks, head.landmarks_68_m(wanted), atol=1e-12)
    pose = torch.zeros(1, 15, dtype=torch.float64)
    pose[0, 3 * assets.joint_names.index("eye_l") + 1] = np.radians(20)
    turned = layer(shape, expression, pose)
    eyes = head.with_eyes_turned(wanted, np.array([[20.0, 0], [0, 0]]))
    ids = assets.masks["eye_l"]
    gaps_m = turned.vertices_flame_m[0].numpy()[ids] - eyes[ids]
    assert np.abs(gaps_m).max() < 1e-4, "left eye, its left"


def test_the_real_outline_is_on_the_side_turned_away(shared_data: Path) -> None:
    lines = (shared_data / "samples/mica/FLAME2020/head_template.obj").read_text().splitlines()
    rows = [line.split() for line in lines]
    vertices = np.array([row[1:4] for row in rows if row[:1] == ["v"]], np.float64)
    faces = np.array(
        [[int(w.split("/")[0]) - 1 for w in row[1:]] for row in rows if row[:1] == ["f"]]
    )
    table = read_landmark_embedding(
        shared_data / "samples/mica/FLAME2020/landmark_embedding.npy", faces
    )
    joint = np.zeros((J, len(vertices)))
    joint[:, 0] = 1.0
    weights = np.zeros((len(vertices), J))
    weights[:, 1] = 1.0
    assets = replace(
        small_model(),
        landmarks=table,
        template_vertices_m=vertices,
        triangles=faces,
        shape_directions_m=np.zeros((0, len(vertices), 3)),
        expression_directions_m=np.zeros((0, len(vertices), 3)),
        pose_directions_m=np.zeros((36, len(vertices), 3)),
        joint_regressor=joint,
        skinning_weights=weights,
    )
    assert assets.is_flame_topology
    layer = FlameLayer(assets, torch.float64)
    pose = torch.zeros(2, 3 * J, dtype=torch.float64)
    pose[:, 4] = torch.deg2rad(torch.tensor([30.0, -30.0]))
    heads = layer(torch.zeros(2, 0, dtype=torch.float64), pose_rad=pose)
    static = layer.landmarks_68_m(heads.vertices_flame_m)
    outward = (heads.landmarks_68_flame_m - static)[:, :17, 0].numpy()
    assert outward[0, 12:16].min() > 0.005, "turned left: the left outline lies farther out (+x)"
    assert outward[1, 1:5].max() < -0.005, "turned right: the right one (-x)"
