"""A network as an ONNX file: one crop in, the last round's pose and mesh out."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.trg.network import Trg
from models.trg.preprocess import normalise_crops, virtual_camera_inputs

OPSET = 17
INPUTS = ("image", "K_crop_row", "box_info")
OUTPUTS = ("R_cam_from_model", "t_cam_from_model_m", "vertices_model_m")


class LastIterate(nn.Module):
    """Trg with the answer alone as output."""

    def __init__(self, network: Trg) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, image: Tensor, K_crop_row: Tensor, box_info: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        last = self.network(image, K_crop_row, box_info)[-1]
        return last.R_cam_from_head, last.t_cam_from_head_m, last.vertices_head_m


class ChannelwisePrelu(nn.Module):
    """PReLU as a x + (1 - a) max(x, 0), on maps by two depthwise 1x1 convolutions.

    ONNX Runtime keeps its fast layout through convolutions and leaves it for PRelu, which costs
    more than the convolutions between.
    """

    def __init__(self, prelu: nn.PReLU) -> None:
        super().__init__()
        slope = prelu.weight.detach()
        self.register_buffer("slope", slope)
        self.register_buffer("rest", 1.0 - slope)

    def forward(self, x: Float[Tensor, "b c *rest"]) -> Float[Tensor, "b c *rest"]:
        positive = functional.relu(x)
        if x.dim() != 4:
            shape = (1, -1, *[1] * (x.dim() - 2))
            return x * self.slope.view(shape) + positive * self.rest.view(shape)
        c = x.shape[1]
        slope, rest = (weights.expand(c).reshape(c, 1, 1, 1) for weights in (self.slope, self.rest))
        return functional.conv2d(x, slope, groups=c) + functional.conv2d(positive, rest, groups=c)


def write_onnx(network: Trg, path: Path) -> None:
    """Write the network for a batch of one crop; the network itself stays as it is.

    Inputs: a crop as `normalise_crops` makes it, and what `virtual_camera_inputs` gives (an input
    that the network does not use is left out). Outputs: R, t (m) and the mesh (m), in the network's
    own head frame.
    Raises: ImportError if the package `onnx` is missing.
    """
    module = LastIterate(_with_channelwise_prelu(copy.deepcopy(network).cpu())).eval()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            example_inputs(network),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
        )


def _with_channelwise_prelu(module: Trg) -> Trg:
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.PReLU):
                setattr(parent, name, ChannelwisePrelu(child))
    return module


def example_inputs(network: Trg) -> tuple[Tensor, Tensor, Tensor]:
    """A crop of noise at a usual place, as the network eats it."""
    size_px = network.config.crop_px
    rng = np.random.default_rng(0)
    crop = torch.from_numpy(rng.integers(0, 256, (1, size_px, size_px, 3), np.uint8))
    K, box_info = virtual_camera_inputs(np.array([[0.05, -0.02, 0.35]]), size_px)
    return normalise_crops(crop, network.config), torch.from_numpy(K), torch.from_numpy(box_info)
