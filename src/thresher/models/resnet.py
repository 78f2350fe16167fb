"""Residual networks: the CIFAR-stem ResNets of the TDDS study and a small net for quick studies.

`ResNet-18/34/50/101` here have a 3x3 stride-1 stem and no max-pool (He et al. 2016, adapted to 32x32 images); their
parameter counts are those of the official TDDS code (11,173,962 for ResNet-18 with 10 classes). Every model's
`features(images)` gives the penultimate output (B, D) and `head` is the last linear layer, so that
`model(images) == model.head(model.features(images))`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (1x1 convolution with BatchNorm where the shape changes)."""

    expansion = 1

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = _shortcut(width_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 (which carries the stride), 1x1 to four times the width."""

    expansion = 4

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.shortcut = _shortcut(width_in, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return F.relu(out + self.shortcut(x))


def _shortcut(width_in: int, width_out: int, stride: int) -> nn.Module:
    if stride == 1 and width_in == width_out:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(width_in, width_out, 1, stride, bias=False), nn.BatchNorm2d(width_out))


class ResNet(nn.Module):
    """A residual net with the CIFAR stem.

    `blocks` per stage, `widths` of the stages; every stage but the first halves the resolution, the first one has
    `first_stride`. Input
    (B, channels, H, W), output logits (B, num_classes).
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: Sequence[int],
        widths: Sequence[int],
        num_classes: int,
        channels: int = 3,
        first_stride: int = 1,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        stages: list[nn.Module] = []
        width_in = widths[0]
        for stage, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            layers: list[nn.Module] = []
            stride = 2 if stage > 0 else first_stride
            for i in range(count):
                layers.append(block(width_in, width, stride if i == 0 else 1))
                width_in = width * block.expansion
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(width_in, num_classes)
        _init_official(self)

    def features(self, images: Tensor) -> Tensor:
        """Return the penultimate output (B, D): global average pool of the last stage."""
        pooled: Tensor = self.stages(F.relu(self.bn1(self.conv1(images)))).mean((2, 3))
        return pooled

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, num_classes)."""
        logits: Tensor = self.head(self.features(images))
        return logits


def _init_official(model: nn.Module) -> None:
    """Initialise as the official TDDS code: conv ~ N(0, 2 / (k * k * out)), BatchNorm 1 and 0, linear by default."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan))
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def resnet18(num_classes: int, channels: int) -> ResNet:
    """ResNet-18: 11,173,962 parameters with 10 classes, 11,220,132 with 100."""
    return ResNet(BasicBlock, (2, 2, 2, 2), (64, 128, 256, 512), num_classes, channels)


def resnet34(num_classes: int, channels: int) -> ResNet:
    """ResNet-34: 21,282,122 parameters with 10 classes, 21,328,292 with 100."""
    return ResNet(BasicBlock, (3, 4, 6, 3), (64, 128, 256, 512), num_classes, channels)


def resnet50(num_classes: int, channels: int) -> ResNet:
    """ResNet-50: 23,520,842 parameters with 10 classes, 23,705,252 with 100."""
    return ResNet(Bottleneck, (3, 4, 6, 3), (64, 128, 256, 512), num_classes, channels)


def small(num_classes: int, channels: int) -> ResNet:
    """A small residual net for studies on a CPU: one block a stage, widths 32, 64, 128, 308,650 parameters.

    Its first stage halves the resolution already, which makes it four times cheaper than its parameter count suggests.
    """
    return ResNet(BasicBlock, (1, 1, 1), (32, 64, 128), num_classes, channels, first_stride=2)


def tiny(num_classes: int, channels: int) -> ResNet:
    """The smallest one, widths 16, 32: about 20 thousand parameters, for 8x8 digits and tests."""
    return ResNet(BasicBlock, (1, 1), (16, 32), num_classes, channels)
