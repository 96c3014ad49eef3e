"""What TRG puts on its maps: point features, regressors, the landmark heat map."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.trg.config import TrgConfig

N_LANDMARKS = 68


def build_points_grid(side: int, sampling: str) -> Float[Tensor, "1 2 n"]:
    """Lattice of side x side points in -1..1, row 0 = x, row 1 = y, x varies slowest."""
    if sampling == "corners":
        ticks = torch.linspace(-1.0, 1.0, side)
    else:
        ticks = (torch.arange(side) + 0.5) / side * 2.0 - 1.0
    x, y = torch.meshgrid(ticks, ticks, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()])[None]


class PointFeatures(nn.Module):
    """Bilinear samples of a map at points, fed into every layer of a small point-wise network."""

    def __init__(self, config: TrgConfig) -> None:
        super().__init__()
        self.align_corners = config.sampling == "corners"
        self.padding = "zeros" if self.align_corners else "border"
        self.final_relu = config.point_relu
        width = 0
        for i, width_out in enumerate(config.point_channels):
            self.add_module(f"conv{i}", nn.Conv1d(width + config.neck_channels, width_out, 1))
            width = width_out

    def forward(
        self, features: Float[Tensor, "b c h w"], points: Float[Tensor, "b n 2"]
    ) -> Float[Tensor, "b m"]:
        """points: x, y in -1..1 of the crop. Returns features, channel-major (c * n + point)."""
        sampled = functional.grid_sample(
            features,
            points[:, :, None],
            mode="bilinear",
            padding_mode=self.padding,
            align_corners=self.align_corners,
        )[..., 0]
        first, *rest = self.children()
        y = first(sampled)
        for layer in rest:
            y = layer(torch.cat([functional.leaky_relu(y), sampled], 1))
        return (functional.relu(y) if self.final_relu else y).flatten(1)


class Regressor(nn.Module):
    """From point features and the current state to residuals of shape and pose.

    init_face (1, v, 3) metres and init_head_pose (1, 9) are buffers that the released checkpoint
    repeats in every regressor; only the first regressor's are read.
    """

    init_face: Tensor
    init_head_pose: Tensor

    def __init__(self, config: TrgConfig, n_inputs: int, n_shape: int) -> None:
        super().__init__()
        self.register_buffer("init_face", torch.zeros(1, config.n_vertices, 3))
        self.register_buffer("init_head_pose", torch.tensor([config.initial_pose9]))
        self.fc1 = nn.Linear(n_inputs, config.hidden)
        self.activation1 = nn.PReLU(config.hidden) if config.hidden_prelu else nn.Identity()
        self.fc2 = nn.Linear(config.hidden, config.hidden)
        self.activation2 = nn.PReLU(config.hidden) if config.hidden_prelu else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.decshape = nn.Linear(config.hidden, n_shape)
        self.decpose = nn.Linear(config.hidden, 9)
        nn.init.xavier_uniform_(self.decshape.weight, gain=0.01)
        nn.init.xavier_uniform_(self.decpose.weight, gain=0.01)

    def forward(
        self, inputs: Float[Tensor, "b m"]
    ) -> tuple[Float[Tensor, "b s"], Float[Tensor, "b 9"], Float[Tensor, "b k"]]:
        """Residuals of the shape state and of pose9, and the hidden state they are made from."""
        h = self.dropout(self.activation1(self.fc1(inputs)))
        h = self.dropout(self.activation2(self.fc2(h)))
        return self.decshape(h), self.decpose(h), h


def soft_argmax_68(heat: Float[Tensor, "b 68 h w"]) -> Float[Tensor, "b 68 2"]:
    """Expected cell (x, y) of each heat map in crop units: index / cells * 2 - 1, so -1 to just
    below 1.

    Dividing by the number of cells, not by one less, is what the released network was trained with.
    """
    height, width = heat.shape[-2:]
    weight = heat.flatten(2).softmax(-1).view_as(heat)
    x = (weight.sum(-2) * torch.arange(width, device=heat.device)).sum(-1) / width
    y = (weight.sum(-1) * torch.arange(height, device=heat.device)).sum(-1) / height
    return torch.stack([x, y], -1) * 2.0 - 1.0
