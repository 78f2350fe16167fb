"""MobileNet-V2 for 32x32 images (Sandler et al. 2018), in the form of the CCS repository.

Against the paper: the stem and the second stage keep the resolution, the activation is ReLU, a block whose width changes
at stride 1 has a 1x1 convolution as shortcut, and there is no dropout. Which MobileNet-V2 the TDDS study trained is not
in its code.
"""

from __future__ import annotations

from torch import Tensor, nn

from thresher.models._base import Classifier, conv_norm, init_official

# Expansion, width, number of blocks, stride of the first one.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class InvertedResidual(nn.Module):
    """1x1 to `expansion` times the width, depthwise 3x3, linear 1x1; a shortcut at stride 1."""

    def __init__(self, width_in: int, width: int, expansion: int, stride: int) -> None:
        super().__init__()
        expanded = expansion * width_in
        self.layers = nn.Sequential(
            conv_norm(width_in, expanded, 1),
            conv_norm(expanded, expanded, 3, stride, groups=expanded),
            conv_norm(expanded, width, 1, relu=False),
        )
        self.shortcut: nn.Module | None = None
        if stride == 1:
            self.shortcut = nn.Identity() if width_in == width else conv_norm(width_in, width, 1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out if self.shortcut is None else out + self.shortcut(x)


class MobileNetV2(Classifier):
    """Seven stages of inverted residuals; images (B, channels, H, W), features (B, 1280)."""

    def __init__(self, num_classes: int, channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_norm(channels, 32, 3)]
        width_in = 32
        for expansion, width, count, stride in _STAGES:
            for i in range(count):
                layers.append(InvertedResidual(width_in, width, expansion, stride if i == 0 else 1))
                width_in = width
        layers.append(conv_norm(width_in, 1280, 1))
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(1280, num_classes)
        init_official(self)

    def features(self, images: Tensor) -> Tensor:
        """Return the penultimate output (B, 1280): global average pool."""
        pooled: Tensor = self.layers(images).mean((2, 3))
        return pooled


def mobilenet_v2(num_classes: int, channels: int) -> MobileNetV2:
    """MobileNet-V2, width 1: 2,296,922 parameters with 10 classes, 2,412,212 with 100."""
    return MobileNetV2(num_classes, channels)
