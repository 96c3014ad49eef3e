"""The released TRG: its 189 state-dict entries, its laws, and parity with the released code."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from models.trg.config import TrgConfig
from models.trg.heads import build_points_grid, soft_argmax_68
from models.trg.network import Trg, TrgIterate
from models.trg.pose_algebra import (
    correction_from_translation,
    matrix_from_interleaved_six_d,
    ray_boxes_from_box_info,
    translation_from_correction,
)

SAMPLE_INDEX = np.linspace(4, 1218, 305).astype(np.int64)


def _batch_norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def _resnet18_shapes(prefix: str) -> dict[str, tuple[int, ...]]:
    shapes = {f"{prefix}.conv1.weight": (64, 3, 7, 7)} | _batch_norm(f"{prefix}.bn1", 64)
    width_in = 64
    for layer, width in enumerate((64, 128, 256, 512), 1):
        for block in (0, 1):
            name = f"{prefix}.layer{layer}.{block}"
            shapes[f"{name}.conv1.weight"] = (width, width_in if block == 0 else width, 3, 3)
            shapes |= _batch_norm(f"{name}.bn1", width)
            shapes[f"{name}.conv2.weight"] = (width, width, 3, 3)
            shapes |= _batch_norm(f"{name}.bn2", width)
            if block == 0 and layer > 1:
                shapes[f"{name}.downsample.0.weight"] = (width, width_in, 1, 1)
                shapes |= _batch_norm(f"{name}.downsample.1", width)
        width_in = width
    return shapes


def released_shapes() -> dict[str, tuple[int, ...]]:
    """Every entry of a released checkpoint."""
    shapes = {"points_grid": (1, 2, 324)} | _resnet18_shapes("feature_extractor")
    for i, width_in in enumerate((512, 256, 256)):
        shapes[f"deconv_layers.{3 * i}.weight"] = (width_in, 256, 4, 4)
        shapes |= _batch_norm(f"deconv_layers.{3 * i + 1}", 256)
    for i in range(3):
        for conv, (out, width_in) in enumerate(((128, 256), (64, 384), (5, 320))):
            shapes[f"laf_extractor.{i}.conv{conv}.weight"] = (out, width_in, 1)
            shapes[f"laf_extractor.{i}.conv{conv}.bias"] = (out,)
    for i in range(3):
        shapes[f"regressor.{i}.init_face"] = (1, 1220, 3)
        shapes[f"regressor.{i}.init_head_pose"] = (1, 9)
        for part, out, width_in in (
            ("fc1", 1024, 2547 if i == 0 else 2452),
            ("fc2", 1024, 1024),
            ("decshape", 3660, 1024),
            ("decpose", 9, 1024),
        ):
            shapes[f"regressor.{i}.{part}.weight"] = (out, width_in)
            shapes[f"regressor.{i}.{part}.bias"] = (out,)
    return shapes | {"predict_68_lmk.0.weight": (68, 256, 1, 1), "predict_68_lmk.0.bias": (68,)}


@pytest.fixture(scope="module")
def network() -> Trg:
    torch.manual_seed(0)
    network = Trg(TrgConfig.released(), SAMPLE_INDEX).eval()
    network.regressor[0].init_face.copy_(0.05 * torch.randn(1, 1220, 3))
    return network


def inputs(batch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images, K_crop_row and box_info of boxes in an 800 x 600 picture."""
    generator = torch.Generator().manual_seed(batch)
    image = torch.randn(batch, 3, 192, 192, generator=generator)
    left = torch.tensor([100.0, 300.0, 220.0, 50.0])[:batch]
    side = torch.tensor([210.0, 180.0, 330.0, 400.0])[:batch]
    focal, height, width = torch.full((3, batch), 1.0) * torch.tensor([[629.7748], [600], [800]])
    top = left / 2
    K = torch.zeros(batch, 4, 3)
    K[:, 0, 0] = K[:, 1, 1] = focal * 192 / side
    K[:, 2, 0], K[:, 2, 1] = (width / 2 - left) * 192 / side, (height / 2 - top) * 192 / side
    K[:, 2, 2] = 1
    return image, K, torch.stack([left, top, left + side, top + side, focal, height, width], 1)


def run(network: Trg, *arguments: torch.Tensor) -> list[TrgIterate]:
    with torch.inference_mode():
        return network(*arguments)


def test_state_dict_is_that_of_the_release(network: Trg) -> None:
    own = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert len(own) == 189
    assert own == released_shapes()
    assert next(iter(own)) == "points_grid" and list(own)[-1] == "predict_68_lmk.0.bias"
    assert sum(p.numel() for p in network.parameters()) == 37_631_122


def test_key_table_of_the_design_agrees(shared_data: Path) -> None:
    table = shared_data.parent / "design" / "trg_state_dict.tsv"
    rows = csv.DictReader(table.read_text().splitlines(), delimiter="\t")
    theirs = {
        row["key"]: ()
        if row["shape"] == "scalar"
        else tuple(int(n) for n in row["shape"].split("x"))
        for row in rows
    }
    assert list(theirs.items()) == list(released_shapes().items())


def test_parity_with_the_released_network(shared_data: Path) -> None:
    """Same weights, same inputs, 1e-4; the image is standard normal in double precision."""
    folder = shared_data / "trg_parity"
    spec = importlib.util.spec_from_file_location("trg_parity_weights", folder / "weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    reference = np.load(folder / "reference.npz")
    table = shared_data.parent / "design" / "trg_state_dict.tsv"
    values = module.weights(str(table), int(reference["salt"]))
    index = np.load(shared_data / "trg_arrays" / "trg_idx_1220_to_305.npy")
    network = Trg(TrgConfig.released(), index).eval()
    network.load_state_dict({k: torch.from_numpy(v) for k, v in values.items()}, strict=True)
    image = np.random.default_rng(int(reference["image_seed"])).standard_normal((2, 3, 192, 192))
    iterates = run(
        network,
        torch.from_numpy(image.astype(np.float32)),
        torch.from_numpy(reference["K_crop"]),
        torch.from_numpy(reference["bbox_info"]),
    )
    for i, ours in enumerate(iterates, 1):
        R_t = np.swapaxes(reference[f"it{i}_pred_R_t"], 1, 2)
        for value, expected in (
            (ours.vertices_head_m, reference[f"it{i}_pred_face_world"]),
            (ours.pose9, reference[f"it{i}_pred_pose"]),
            (ours.R_cam_from_head, R_t[:, :3, :3]),
            (ours.t_cam_from_head_m, R_t[:, :3, 3]),
            (ours.vertices_cam_m, reference[f"it{i}_pred_face_cam"]),
        ):
            assert np.abs(value.numpy() - expected).max() < 1e-4
    assert np.abs(iterates[-1].landmarks_68.numpy() - reference["pred_lmk68"]).max() < 1e-4


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.int64, torch.int32, torch.int64])
def test_sample_index_takes_any_integer_type(kind: object) -> None:
    values = SAMPLE_INDEX
    index = (
        torch.tensor(values, dtype=kind) if isinstance(kind, torch.dtype) else values.astype(kind)
    )
    with torch.device("meta"):
        network = Trg(TrgConfig.released(), index)
    assert network.sample_index.dtype == torch.int64
    assert "sample_index" not in network.state_dict()


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (SAMPLE_INDEX.astype(np.float32), "integers"),
        (SAMPLE_INDEX[:300], "305"),
        (SAMPLE_INDEX + 2, "1219"),
        (SAMPLE_INDEX - 5, "1219"),
    ],
)
def test_a_wrong_sample_index_is_refused(index: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Trg(TrgConfig.released(), index)


def test_a_batch_of_three_equals_three_single_images(network: Trg) -> None:
    """The released code's cross product ran along the batch when that was 3."""
    arguments = inputs(3)
    together = run(network, *arguments)
    for i in range(3):
        alone = run(network, *(a[i : i + 1] for a in arguments))
        for a, b in zip(together, alone, strict=True):
            assert torch.allclose(a.R_cam_from_head[i], b.R_cam_from_head[0], atol=1e-5)
            assert torch.allclose(a.vertices_cam_m[i], b.vertices_cam_m[0], atol=1e-4)
    R = together[-1].R_cam_from_head
    assert torch.allclose(R @ R.transpose(1, 2), torch.eye(3).expand(3, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(R), torch.ones(3), atol=1e-5)


def test_iterates_hold_together(network: Trg) -> None:
    image, K, box_info = inputs(2)
    iterates = run(network, image, K, box_info)
    assert [iterate.landmarks_68 is None for iterate in iterates] == [True, True, False]
    assert iterates[-1].landmarks_68.shape == (2, 68, 2)
    for it in iterates:
        assert it.vertices_head_m.shape == (2, 1220, 3) and it.pose9.shape == (2, 9)
        turned = torch.einsum("bij,bvj->bvi", it.R_cam_from_head, it.vertices_head_m)
        assert torch.allclose(turned + it.t_cam_from_head_m[:, None], it.vertices_cam_m, atol=1e-5)
        uvw = torch.einsum("bij,bvj->bvi", K[:, :3].transpose(1, 2), it.vertices_cam_m)
        crop = uvw[..., :2] / uvw[..., 2:] / 192 * 2 - 1
        assert torch.allclose(crop, it.vertices_crop, atol=1e-4)


def test_residuals_are_added(network: Trg) -> None:
    """With regressors that say a constant, iterate k is the start plus k constants."""
    network = Trg(TrgConfig.released(), SAMPLE_INDEX).eval()
    step = torch.linspace(-0.03, 0.05, 9)
    for regressor in network.regressor:
        for head, bias in (
            (regressor.decpose, step),
            (regressor.decshape, torch.full((3660,), 0.01)),
        ):
            torch.nn.init.zeros_(head.weight)
            head.bias.data.copy_(bias)
    start = torch.tensor(TrgConfig.released().initial_pose9)
    for k, iterate in enumerate(run(network, *inputs(2)), 1):
        assert torch.allclose(iterate.pose9, (start + k * step).expand(2, 9), atol=1e-6)
        assert torch.allclose(iterate.vertices_head_m, torch.tensor(0.01 * k), atol=1e-6)


def test_known_depth_of_a_box() -> None:
    """A 0.2 m wide object that fills 210 px at f = 629.7748 px is 0.59979 m away."""
    box_info = torch.tensor([[295.0, 195.0, 505.0, 405.0, 629.7748, 600.0, 800.0]])
    ray_box = ray_boxes_from_box_info(box_info)
    t = translation_from_correction(torch.tensor([[1.0, 0.0, 0.0]]), ray_box, 0.2)
    assert torch.allclose(t, torch.tensor([[0.0, 0.0, 0.59979]]), atol=1e-5)
    given = torch.tensor([[0.9, 0.2, -0.3]])
    ray_box = torch.tensor([[0.3, -0.2, 0.25]])
    t = translation_from_correction(given, ray_box, 0.2)
    assert torch.allclose(correction_from_translation(t, ray_box, 0.2), given, atol=1e-6)


def test_six_d_is_two_interleaved_columns() -> None:
    R = matrix_from_interleaved_six_d(torch.tensor([[0.0, -2.0, 3.0, 1.0, 0.0, 0.0]]))[0]
    expected = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert torch.allclose(R, expected, atol=1e-6)


def test_points_grid_has_x_slowest() -> None:
    grid = build_points_grid(18, "corners")[0]
    ticks = torch.linspace(-1, 1, 18)
    assert torch.equal(grid[:, 18 * 5 + 2], torch.stack([ticks[5], ticks[2]]))


def test_soft_argmax_finds_a_peak_in_crop_units() -> None:
    heat = torch.zeros(1, 68, 48, 48)
    heat[..., 12, 36] = 100.0  # row 12, column 36
    expected = torch.tensor([36 / 48 * 2 - 1, 12 / 48 * 2 - 1]).expand(1, 68, 2)
    assert torch.allclose(soft_argmax_68(heat), expected, atol=1e-5)


def test_gradients_reach_everything_that_is_trained() -> None:
    network = Trg(TrgConfig.released(), SAMPLE_INDEX).train()
    last = network(*inputs(2))[-1]
    (last.vertices_cam_m.sum() + last.landmarks_68.sum()).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None]
    assert without == []
