"""VGG-16 with BatchNorm for 32x32 images (Simonyan and Zisserman 2015).

The form of the CCS, Moderate and DUAL repositories: one linear layer behind the convolutions, no dropout. Which VGG the TDDS
study trained is not in its code.
"""

from __future__ import annotations

from torch import Tensor, nn

from thresher.models._base import Classifier, init_official

_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG(Classifier):
    """Five stages of 3x3 convolutions (with bias), BatchNorm and ReLU, each closed by a 2x2 max-pool.

    Images (B, channels, H, W) of at least 32x32, features (B, 512): the average of what the last pool leaves, which at
    32x32 is a single position.
    """

    def __init__(self, num_classes: int, channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width_in = channels
        for stage in _STAGES:
            for width in stage:
                layers += [nn.Conv2d(width_in, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                width_in = width
            layers.append(nn.MaxPool2d(2))
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(width_in, num_classes)
        init_official(self)

    def features(self, images: Tensor) -> Tensor:
        """Return the penultimate output (B, 512)."""
        pooled: Tensor = self.layers(images).mean((2, 3))
        return pooled


def vgg16(num_classes: int, channels: int) -> VGG:
    """VGG-16 with BatchNorm: 14,728,266 parameters with 10 classes, 14,774,436 with 100."""
    return VGG(num_classes, channels)
