"""ShuffleNet V1 (Zhang et al. 2018) and V2 (Ma et al. 2018) for 32x32 images.

V1 in the form of the CCS repository, V2 in that of Moderate's, which all start at full resolution: no stride and no max-pool
in the stem. Against the paper, V1 has a 1x1 stem and a ReLU behind the depthwise convolution too. Which ShuffleNet the TDDS
study trained is not in its code; V2 1x is our default.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thresher.models._base import Classifier, conv_norm, init_official

_STEM = 24


class ShuffleUnitV1(nn.Module):
    """Grouped 1x1, channel shuffle, depthwise 3x3, grouped 1x1; (B, width_in, H, W) to (B, width, H / stride, W / stride).

    At stride 1 the input is added, at stride 2 its 3x3 average pool is concatenated, so that the branch has
    `width - width_in` channels. The first unit's narrow input is not grouped.
    """

    def __init__(self, width_in: int, width: int, stride: int, groups: int) -> None:
        super().__init__()
        branch = width - width_in if stride == 2 else width
        inner = branch // 4
        self.groups = 1 if width_in == _STEM else groups
        self.reduce = conv_norm(width_in, inner, 1, groups=self.groups)
        self.depthwise = conv_norm(inner, inner, 3, stride, groups=inner)
        self.expand = conv_norm(inner, branch, 1, groups=groups, relu=False)
        self.pool = nn.AvgPool2d(3, 2, 1) if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        out = F.channel_shuffle(self.reduce(x), self.groups)
        out = self.expand(self.depthwise(out))
        return F.relu(out + x if self.pool is None else torch.cat((out, self.pool(x)), 1))


class ShuffleNetV1(Classifier):
    """Three stages of 4, 8 and 4 units; images (B, channels, H, W), features (B, D) with D the last of `widths`."""

    def __init__(self, widths: Sequence[int], groups: int, num_classes: int, channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_norm(channels, _STEM, 1)]
        width_in = _STEM
        for width, count in zip(widths, (4, 8, 4), strict=True):
            for i in range(count):
                layers.append(ShuffleUnitV1(width_in, width, 2 if i == 0 else 1, groups))
                width_in = width
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(width_in, num_classes)
        init_official(self)

    def features(self, images: Tensor) -> Tensor:
        """Return the penultimate output (B, D): global average pool."""
        pooled: Tensor = self.layers(images).mean((2, 3))
        return pooled


class ShuffleUnitV2(nn.Module):
    """Channel split, 1x1, depthwise 3x3, 1x1 on one half, concatenation, channel shuffle; the shape stays."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(
            conv_norm(half, half, 1), conv_norm(half, half, 3, groups=half, relu=False), conv_norm(half, half, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = x.chunk(2, 1)
        return F.channel_shuffle(torch.cat((kept, self.branch(changed)), 1), 2)


class DownUnitV2(nn.Module):
    """Both branches see the whole input, at stride 2; (B, width_in, H, W) to (B, width, H / 2, W / 2)."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        half = width // 2
        self.left = nn.Sequential(
            conv_norm(width_in, width_in, 3, 2, groups=width_in, relu=False), conv_norm(width_in, half, 1)
        )
        self.right = nn.Sequential(
            conv_norm(width_in, half, 1), conv_norm(half, half, 3, 2, groups=half, relu=False), conv_norm(half, half, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.channel_shuffle(torch.cat((self.left(x), self.right(x)), 1), 2)


class ShuffleNetV2(Classifier):
    """Three stages of one down unit and 3, 7, 3 more, then a 1x1 convolution; `widths` are the stages' and that one's.

    Images (B, channels, H, W), features (B, D) with D the last of `widths`.
    """

    def __init__(self, widths: Sequence[int], num_classes: int, channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_norm(channels, _STEM, 3)]
        width_in = _STEM
        for width, count in zip(widths[:-1], (3, 7, 3), strict=True):
            layers += [DownUnitV2(width_in, width), *(ShuffleUnitV2(width) for _ in range(count))]
            width_in = width
        layers.append(conv_norm(width_in, widths[-1], 1))
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], num_classes)
        init_official(self)

    def features(self, images: Tensor) -> Tensor:
        """Return the penultimate output (B, D): global average pool."""
        pooled: Tensor = self.layers(images).mean((2, 3))
        return pooled


def shufflenet_g2(num_classes: int, channels: int) -> ShuffleNetV1:
    """ShuffleNet V1 with 2 groups: 887,582 parameters with 10 classes, 959,672 with 100."""
    return ShuffleNetV1((200, 400, 800), 2, num_classes, channels)


def shufflenet_g3(num_classes: int, channels: int) -> ShuffleNetV1:
    """ShuffleNet V1 with 3 groups: 862,768 parameters with 10 classes, 949,258 with 100."""
    return ShuffleNetV1((240, 480, 960), 3, num_classes, channels)


def shufflenet_v2(num_classes: int, channels: int) -> ShuffleNetV2:
    """ShuffleNet V2 1x: 1,263,854 parameters with 10 classes, 1,356,104 with 100."""
    return ShuffleNetV2((116, 232, 464, 1024), num_classes, channels)


def shufflenet_v2_x0_5(num_classes: int, channels: int) -> ShuffleNetV2:
    """ShuffleNet V2 0.5x: 352,042 parameters with 10 classes, 444,292 with 100."""
    return ShuffleNetV2((48, 96, 192, 1024), num_classes, channels)


def shufflenet_v2_x1_5(num_classes: int, channels: int) -> ShuffleNetV2:
    """ShuffleNet V2 1.5x: 2,488,874 parameters with 10 classes, 2,581,124 with 100."""
    return ShuffleNetV2((176, 352, 704, 1024), num_classes, channels)


def shufflenet_v2_x2_0(num_classes: int, channels: int) -> ShuffleNetV2:
    """ShuffleNet V2 2x: 5,338,026 parameters with 10 classes, 5,522,436 with 100."""
    return ShuffleNetV2((224, 488, 976, 2048), num_classes, channels)
