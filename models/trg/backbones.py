"""Image backbones: (B, 3, 192, 192) in, feature maps from fine to coarse out."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

RESNET18_CHANNELS = (64, 128, 256, 512)
FACEMESH_CHANNELS = (32, 64, 128, 128, 128)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al. 2016); parameter names are torchvision's."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d i j"]:
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        shortcut = x if self.downsample is None else self.downsample(x)
        return functional.relu(y + shortcut)


class ResNet18Features(nn.Module):
    """ResNet-18 without pooling and classifier: maps of 48, 24, 12 and 6 cells a side."""

    channels = RESNET18_CHANNELS

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512, 1))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _c _h _w"]]:
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(image))), 3, 2, 1)
        maps = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            maps.append(x)
        return maps


def pad_same(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c i j"]:
    """TensorFlow's SAME padding for 3x3, stride 2, even size: a row below and a column right."""
    return functional.pad(x, (0, 1, 0, 1))


class DepthwiseBlock(nn.Module):
    """Depthwise 3x3, point-wise 1x1, shortcut, PReLU: the block of the FaceMesh network."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.channels_added = channels - channels_in
        self.depthwise = nn.Conv2d(
            channels_in, channels_in, 3, stride, 1 if stride == 1 else 0, groups=channels_in
        )
        self.pointwise = nn.Conv2d(channels_in, channels, 1)
        self.activation = nn.PReLU(channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d i j"]:
        if self.stride == 1:
            return self.activation(self.pointwise(self.depthwise(x)) + x)
        shortcut = functional.max_pool2d(x, 2)
        if self.channels_added:
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, 0, self.channels_added))
        return self.activation(self.pointwise(self.depthwise(pad_same(x))) + shortcut)


def _stage(channels_in: int, channels: int, n_blocks: int) -> nn.Sequential:
    blocks = [DepthwiseBlock(channels_in, channels, 2)]
    blocks += [DepthwiseBlock(channels, channels) for _ in range(n_blocks - 1)]
    return nn.Sequential(*blocks)


class FaceMeshFeatures(nn.Module):
    """The convolutions of MediaPipe's FaceMesh, up to 3x3 cells: maps of 48, 24, 12, 6 and 3 cells
    a side.

    extra_blocks are appended to the stages of 24, 12, 6 and 3 cells.
    """

    channels = FACEMESH_CHANNELS

    def __init__(self, extra_blocks: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2)
        self.stem_activation = nn.PReLU(16)
        self.stage_96 = nn.Sequential(DepthwiseBlock(16, 16), DepthwiseBlock(16, 16))
        self.stage_48 = _stage(16, 32, 3)
        self.stage_24 = _stage(32, 64, 3 + extra_blocks)
        self.stage_12 = _stage(64, 128, 3 + extra_blocks)
        self.stage_6 = _stage(128, 128, 3 + extra_blocks)
        self.stage_3 = _stage(128, 128, 2 + extra_blocks)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _c _h _w"]]:
        x = self.stage_96(self.stem_activation(self.stem(pad_same(image))))
        maps = []
        for stage in (self.stage_48, self.stage_24, self.stage_12, self.stage_6, self.stage_3):
            x = stage(x)
            maps.append(x)
        return maps
