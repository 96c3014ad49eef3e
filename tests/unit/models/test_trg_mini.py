"""trg-mini: the code against its prototype, the shipped weights against ONNX Runtime."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from models.geometry.rotations import geodesic_deg
from models.trg.bundle import read_bundle
from models.trg.config import TrgConfig
from models.trg.network import Trg

REPOSITORY = Path(__file__).resolve().parents[3]
PROTOTYPE = REPOSITORY.parent / "shared" / "prototype" / "trg_mini"
BUNDLE = REPOSITORY / "assets" / "trg_mini.safetensors"
GOLDEN = REPOSITORY / "tests" / "golden" / "trg_mini_drawn_heads.npz"

BLOCKS_BEFORE_EXTRA = {"24": 3, "12": 3, "6": 3, "3": 2}
PARTS = {"dw": "depthwise", "pw": "pointwise", "act": "activation"}
REGRESSOR_PARTS = {
    **{"f1": "fc1", "a1": "activation1", "f2": "fc2", "a2": "activation2"},
    **{"pose": "decpose", "shape": "decshape"},
}
INTERLEAVED = [0, 3, 1, 4, 2, 5, 6, 7, 8]
"""The prototype stacks the two columns of its 6D rotation; ours interleaves them."""


def _renamed(key: str) -> str:
    if m := re.fullmatch(r"(bb\.s|x)(\d+)\.(\d+)\.(\w+)\.(\w+)", key):
        first = BLOCKS_BEFORE_EXTRA[m[2]] if m[1] == "x" else 0
        block = first + int(m[3])
        return f"feature_extractor.stage_{m[2]}.{block}.{PARTS[m[4]]}.{m[5]}"
    if m := re.fullmatch(r"s(\d+)\.(\w+)\.(\w+)", key):
        return f"pyramid.smooth_{m[1]}.{PARTS[m[2]]}.{m[3]}"
    if m := re.fullmatch(r"l(\d+)\.(\w+)", key):
        return f"pyramid.lateral_{m[1]}.{m[2]}"
    if m := re.fullmatch(r"reg\.(\d)\.(\w+)\.(\w+)", key):
        return f"regressor.{m[1]}.{REGRESSOR_PARTS[m[2]]}.{m[3]}"
    if m := re.fullmatch(r"h\.(\d)\.(\w+)", key):
        return f"laf_extractor.{m[1]}.conv0.{m[2]}"
    if m := re.fullmatch(r"bb\.stem(_act)?\.(\w+)", key):
        return f"feature_extractor.stem{'_activation' if m[1] else ''}.{m[2]}"
    raise KeyError(key)


def _reordered_fc1(weight: torch.Tensor, grid_side: int, n_coefficients: int) -> torch.Tensor:
    """Columns to our order: grid points with x slowest instead of y, 6D interleaved."""
    weight = weight.clone()
    n_tail = n_coefficients + 9 + 3
    pose = weight[:, -12:-3]
    weight[:, -12:-3] = pose[:, INTERLEAVED].clone()
    n_grid = 12 * grid_side**2
    if weight.shape[1] - n_tail > n_grid:  # the first regressor: grid, deepest map
        grid = weight[:, :n_grid].view(-1, 12, grid_side, grid_side)
        weight[:, :n_grid] = grid.transpose(2, 3).flatten(1).clone()
    return weight


def state_dict_from_prototype(ema: dict[str, torch.Tensor], grid_side: int = 12) -> dict:
    """The prototype's averaged weights by our names and orders."""
    n_coefficients = len(ema["basis"])
    ticks = (torch.arange(grid_side) + 0.5) / grid_side * 2 - 1
    x, y = torch.meshgrid(ticks, ticks, indexing="ij")
    out = {"points_grid": torch.stack([x.flatten(), y.flatten()])[None], "mesh_basis": ema["basis"]}
    for i in range(3):
        out[f"regressor.{i}.init_face"] = ema["mean"][None]
        out[f"regressor.{i}.init_head_pose"] = ema["pose0"][None, INTERLEAVED]
    for key, value in ema.items():
        if key in ("basis", "mean", "sub", "grid", "pose0") or key.startswith("lm."):
            continue
        if key.endswith("f1.weight"):
            value = _reordered_fc1(value, grid_side, n_coefficients)
        elif ".pose." in key:
            value = value[INTERLEAVED]
        elif key.startswith("h.") and key.endswith("weight"):
            value = value[..., 0]
        out[_renamed(key)] = value
    return out


def load_prototype() -> Trg:
    checkpoint = torch.load(PROTOTYPE / "weights" / "trgmini_ckpt.pt", weights_only=True)
    network = Trg(TrgConfig.mini(), checkpoint["ema"]["sub"])
    network.load_state_dict(state_dict_from_prototype(checkpoint["ema"]), strict=True)
    return network.eval()


def box_info_of(ray_boxes: np.ndarray) -> torch.Tensor:
    """(n, 7) of a camera with f = 1 and its principal point at 0."""
    half = ray_boxes[:, 2:] / 2
    edges = np.concatenate([ray_boxes[:, :2] - half, ray_boxes[:, :2] + half], 1)
    rest = np.tile([1.0, 0.0, 0.0], (len(ray_boxes), 1))
    return torch.from_numpy(np.concatenate([edges, rest], 1).astype(np.float32))


def run(network: Trg, crops_rgb: np.ndarray, ray_boxes: np.ndarray) -> list:
    image = torch.from_numpy(crops_rgb).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        return network(image, torch.full((len(image), 4, 3), torch.nan), box_info_of(ray_boxes))


def assert_as_shipped(last, R: np.ndarray, t: np.ndarray, uv: np.ndarray) -> None:
    """Another arithmetic may cost 0.05 deg, 0.5 mm, 0.1 px of 192."""
    assert geodesic_deg(last.R_cam_from_head.numpy(), R).max() < 0.05
    assert np.abs(last.t_cam_from_head_m.numpy() - t).max() < 0.5e-3
    assert np.abs(last.vertices_crop.numpy() - uv).max() * 96 < 0.1


def drawn_heads() -> dict[str, np.ndarray]:
    """Three drawn heads: crops_rgb, ray_boxes, truth_R, and R, t, uv of the shipped weights.

    The crops are flat-shaded pictures of the canonical face with known pose; R, t, uv are written
    anew whenever the bundle's weights change, by ONNX Runtime from what `write_onnx` makes of them.
    """
    with np.load(GOLDEN) as file:
        return dict(file)


prototype_only = pytest.mark.skipif(
    not PROTOTYPE.is_dir(), reason="the prototype is not beside this checkout"
)


@prototype_only
def test_single_precision_equals_the_prototype() -> None:
    reference = np.load(PROTOTYPE / "reference_outputs.npz")
    iterates = run(load_prototype(), reference["crops_rgb"], reference["bbox"])
    for i, iterate in enumerate(iterates):
        assert np.abs(iterate.R_cam_from_head.numpy() - reference[f"stage{i}_R"]).max() < 1e-5
        assert np.abs(iterate.t_cam_from_head_m.numpy() - reference[f"stage{i}_t"]).max() < 1e-5
        assert np.abs(iterate.pose9[:, 6:].numpy() - reference[f"stage{i}_cor"]).max() < 1e-5
    last = iterates[-1]
    assert np.abs(last.vertices_crop.numpy() - reference["uv"]).max() < 1e-5
    assert np.abs(last.vertices_head_m.numpy() - reference["vertices_head"]).max() < 1e-5
    assert last.landmarks_68 is None


def test_shipped_file_is_near_the_golden_outputs() -> None:
    golden = drawn_heads()
    network, _ = read_bundle(BUNDLE)
    last = run(network, golden["crops_rgb"], golden["ray_boxes"])[-1]
    assert_as_shipped(last, golden["R"], golden["t"], golden["uv"])
    # flat-shaded masks without hair are not what it knows: 1.2, 1.3 and 4.1 deg; a mixed-up frame
    # or order would be tens of degrees
    errors_deg = geodesic_deg(last.R_cam_from_head.numpy(), golden["truth_R"])
    assert np.median(errors_deg) < 2 and errors_deg.max() < 7


def test_bundle_mesh_is_consistent() -> None:
    network, arrays = read_bundle(BUNDLE)
    n = network.config.n_vertices
    fresh = Trg(network.config, arrays.sample_index)
    assert torch.allclose(fresh.points_grid, network.points_grid, atol=1e-3)
    assert arrays.canonical_vertices_m.shape == (n, 3)
    assert arrays.landmark_68_ids.shape == (68,) and arrays.landmark_68_ids.max() < n
    assert arrays.triangles.min() >= 0 and arrays.triangles.max() < n
    mirror = arrays.mirror_vertex_ids()
    assert sorted(mirror) == list(range(n))
    face = arrays.canonical_vertices_m
    assert np.abs(face[mirror] * [-1, 1, 1] - face).max() < 1e-4
    a, b, c = np.moveaxis(face[arrays.triangles], 1, 0)
    assert np.cross(b - a, c - a)[:, 2].sum() > 0, "triangles face out, towards +z of the model"


def test_geometry_of_an_iterate_is_consistent() -> None:
    """The mesh in the camera and in the crop follow from R, t and the ray box."""
    network, _ = read_bundle(BUNDLE)
    heads = drawn_heads()
    boxes = heads["ray_boxes"]
    for iterate in run(network, heads["crops_rgb"], boxes):
        v, R, t, cam, uv = (
            x.numpy().astype(np.float64)
            for x in (
                iterate.vertices_head_m,
                iterate.R_cam_from_head,
                iterate.t_cam_from_head_m,
                iterate.vertices_cam_m,
                iterate.vertices_crop,
            )
        )
        assert np.abs(R @ np.swapaxes(R, 1, 2) - np.eye(3)).max() < 1e-5
        assert np.abs(np.linalg.det(R) - 1).max() < 1e-5
        assert np.abs(np.einsum("nij,nvj->nvi", R, v) + t[:, None] - cam).max() < 1e-5
        rays = boxes[:, None, :2] + uv * boxes[:, None, 2:] / 2
        assert np.abs(rays - cam[..., :2] / cam[..., 2:]).max() < 1e-5


def test_config_survives_its_text_form() -> None:
    for config in (TrgConfig.mini(), TrgConfig.released()):
        assert TrgConfig.from_json(config.to_json()) == config
    with pytest.raises(ValueError, match="hidden"):
        TrgConfig.from_json(TrgConfig.mini().to_json().replace('"hidden"', '"hiden"'))


@pytest.mark.parametrize("rounds", [0, 4])
def test_more_rounds_than_maps_are_refused(rounds: int) -> None:
    text = TrgConfig.mini().to_json().replace('"n_iterations": 3', f'"n_iterations": {rounds}')
    with pytest.raises(ValueError, match=f"n_iterations is {rounds}: a TRG makes 1 to 3 rounds"):
        TrgConfig.from_json(text)
