"""What is exported says what the network says."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from models.trg.onnx_export import ChannelwisePrelu, LastIterate, example_inputs, write_onnx
from tests.unit.models.small_trg import small_network


@pytest.mark.parametrize("slopes", [1, 6])
@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 5), (2, 6, 5, 4)])
def test_two_convolutions_are_the_prelu(slopes: int, shape: tuple[int, ...]) -> None:
    prelu = nn.PReLU(slopes)
    torch.nn.init.uniform_(prelu.weight, -0.5, 1.5)
    x = torch.randn(shape)
    assert torch.allclose(ChannelwisePrelu(prelu)(x), prelu(x), atol=1e-6)


def test_the_file_says_what_the_network_says(tmp_path) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed (requirements-bench.txt)")
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    network = small_network().eval()
    before = copy.deepcopy(network.state_dict())
    write_onnx(network, tmp_path / "network.onnx")
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    session = runtime.InferenceSession(
        str(tmp_path / "network.onnx"), providers=["CPUExecutionProvider"]
    )
    inputs = dict(zip(("image", "K_crop_row", "box_info"), example_inputs(network), strict=True))
    used = {one.name: inputs[one.name].numpy() for one in session.get_inputs()}
    answers = session.run(None, used)
    with torch.inference_mode():
        expected = LastIterate(network)(*inputs.values())
    for found, right in zip(answers, expected, strict=True):
        assert torch.allclose(torch.from_numpy(found), right, atol=1e-5)
