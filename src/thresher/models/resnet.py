"""Residual networks (He et al. 2016): those of the TDDS study and small ones for quick studies.

`resnet18/34/50/101` have the CIFAR stem, 3x3 at stride 1 and no max-pool; their parameter counts are those of the official
TDDS code. `resnet34_imagenet` and `resnet50_imagenet` have the original stem and torchvision's parameter counts.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from thresher.models._base import Classifier, init_official


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


class ResNet(Classifier):
    """A residual net; images (B, channels, H, W), features (B, D) with D the last width, times 4 for bottlenecks.

    `blocks` per stage, `widths` of the stages; every stage but the first halves the resolution, the first one has
    `first_stride`. The CIFAR stem is a 3x3 convolution; with `imagenet_stem` it is 7x7 at stride 2 and a 3x3 max-pool
    at stride 2.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: Sequence[int],
        widths: Sequence[int],
        num_classes: int,
        channels: int = 3,
        first_stride: int = 1,
        imagenet_stem: bool = False,
    ) -> None:
        super().__init__()
        kernel, stem_stride = (7, 2) if imagenet_stem else (3, 1)
        self.conv1 = nn.Conv2d(channels, widths[0], kernel, stem_stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.pool = nn.MaxPool2d(3, 2, 1) if imagenet_stem else nn.Identity()
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
        init_official(self)

    def features(self, images: Tensor) -> Tensor:
        """Return the penultimate output (B, D): global average pool of the last stage."""
        stem = self.pool(F.relu(self.bn1(self.conv1(images))))
        pooled: Tensor = self.stages(stem).mean((2, 3))
        return pooled


_WIDTHS = (64, 128, 256, 512)


def resnet18(num_classes: int, channels: int) -> ResNet:
    """ResNet-18: 11,173,962 parameters with 10 classes, 11,220,132 with 100."""
    return ResNet(BasicBlock, (2, 2, 2, 2), _WIDTHS, num_classes, channels)


def resnet34(num_classes: int, channels: int) -> ResNet:
    """ResNet-34: 21,282,122 parameters with 10 classes, 21,328,292 with 100."""
    return ResNet(BasicBlock, (3, 4, 6, 3), _WIDTHS, num_classes, channels)


def resnet50(num_classes: int, channels: int) -> ResNet:
    """ResNet-50: 23,520,842 parameters with 10 classes, 23,705,252 with 100."""
    return ResNet(Bottleneck, (3, 4, 6, 3), _WIDTHS, num_classes, channels)


def resnet101(num_classes: int, channels: int) -> ResNet:
    """ResNet-101: 42,512,970 parameters with 10 classes, 42,697,380 with 100."""
    return ResNet(Bottleneck, (3, 4, 23, 3), _WIDTHS, num_classes, channels)


def resnet34_imagenet(num_classes: int, channels: int) -> ResNet:
    """ResNet-34 with the ImageNet stem: 21,797,672 parameters with 1000 classes."""
    return ResNet(BasicBlock, (3, 4, 6, 3), _WIDTHS, num_classes, channels, imagenet_stem=True)


def resnet50_imagenet(num_classes: int, channels: int) -> ResNet:
    """ResNet-50 with the ImageNet stem, stride in the 3x3: 25,557,032 parameters with 1000 classes."""
    return ResNet(Bottleneck, (3, 4, 6, 3), _WIDTHS, num_classes, channels, imagenet_stem=True)


def small(num_classes: int, channels: int) -> ResNet:
    """A small residual net for studies on a CPU: one block a stage, widths 32, 64, 128, 309,738 parameters with 10 classes.

    Its first stage halves the resolution already, which makes it four times cheaper than its parameter count suggests.
    """
    return ResNet(BasicBlock, (1, 1, 1), (32, 64, 128), num_classes, channels, first_stride=2)


def tiny(num_classes: int, channels: int) -> ResNet:
    """The smallest one, widths 16, 32: about 20 thousand parameters, for 8x8 digits and tests."""
    return ResNet(BasicBlock, (1, 1), (16, 32), num_classes, channels)
