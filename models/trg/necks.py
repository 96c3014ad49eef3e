"""Necks: backbone maps (fine to coarse) in, maps of 12, 24 and 48 cells a side out."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.trg.backbones import DepthwiseBlock

Map = Float[Tensor, "b _c _h _w"]


class DeconvNeck(nn.Sequential):
    """Three times [transposed convolution, batch norm, ReLU] on the coarsest map; no skip
    connections.

    A flat Sequential of nine, because that is how the released checkpoint names its parameters.
    """

    def __init__(self, channels_in: int, channels: int) -> None:
        layers: list[nn.Module] = []
        for width_in in (channels_in, channels, channels):
            layers += [
                nn.ConvTranspose2d(width_in, channels, 4, 2, 1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            ]
        super().__init__(*layers)

    def forward(self, maps: Sequence[Map]) -> list[Map]:
        x, out = maps[-1], []
        for i, layer in enumerate(self):
            x = layer(x)
            if i % 3 == 2:
                out.append(x)
        return out


def _double(x: Map) -> Map:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


class FeaturePyramid(nn.Module):
    """Top-down pathway with lateral 1x1 convolutions (Lin et al. 2017), 3 cells a side up to 48."""

    def __init__(self, channels_in: Sequence[int], channels: int) -> None:
        super().__init__()
        at_48, at_24, at_12, at_6, at_3 = channels_in
        self.lateral_48 = nn.Conv2d(at_48, channels, 1)
        self.lateral_24 = nn.Conv2d(at_24, channels, 1)
        self.lateral_12 = nn.Conv2d(at_12, channels, 1)
        self.lateral_6 = nn.Conv2d(at_6, channels, 1)
        self.lateral_3 = nn.Conv2d(at_3, channels, 1)
        self.smooth_12 = DepthwiseBlock(channels, channels)
        self.smooth_24 = DepthwiseBlock(channels, channels)
        self.smooth_48 = DepthwiseBlock(channels, channels)

    def forward(self, maps: Sequence[Map]) -> list[Map]:
        at_48, at_24, at_12, at_6, at_3 = maps
        out_6 = self.lateral_6(at_6) + _double(self.lateral_3(at_3))
        out_12 = self.smooth_12(self.lateral_12(at_12) + _double(out_6))
        out_24 = self.smooth_24(self.lateral_24(at_24) + _double(out_12))
        out_48 = self.smooth_48(self.lateral_48(at_48) + _double(out_24))
        return [out_12, out_24, out_48]
