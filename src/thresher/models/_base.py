"""What every model is, and the parts that several of them share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from thresher.errors import MissingPackageError


class Classifier(nn.Module, ABC):
    """A network with a last linear layer: `model(images) == model.head(model.features(images))`.

    The evaluation pass reads `features` and applies `head`, so that Moderate and GraNd are scored without hooks.
    """

    head: nn.Linear

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """Return the penultimate output (B, D) of images (B, channels, H, W)."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, num_classes) of images (B, channels, H, W)."""
        logits: Tensor = self.head(self.features(images))
        return logits


def conv_norm(
    width_in: int, width_out: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True
) -> nn.Sequential:
    """Return a convolution without bias, BatchNorm and, with `relu`, a ReLU; (B, width_in, H, W) to (B, width_out, ...).

    Padding keeps the resolution at stride 1 and gives its half, rounded up, at stride 2.
    """
    layers: list[nn.Module] = [
        nn.Conv2d(width_in, width_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(width_out),
    ]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


def init_official(model: nn.Module) -> None:
    """Initialise as the official TDDS code: conv ~ N(0, 2 / (k * k * out)), BatchNorm 1 and 0, linear by default.

    That is He et al.'s normal by fan-out, which torchvision and the code of Moderate use too.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan))
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def optional_package(package: str, user: str) -> Any:
    """Return the imported `package`, which `user` ("the model swin_t") needs and which is an extra of the same name.

    Raises MissingPackageError where it is missing, or broken by another package such as a torchvision of another torch.
    """
    try:
        return import_module(package)
    except (ImportError, OSError, RuntimeError) as error:
        extra = package.partition(".")[0]
        raise MissingPackageError(
            f"Expected the package {package} for {user}, but it cannot be imported: {error}. "
            f"Install it: pip install 'thresher[{extra}]'. If torchvision is installed, it must match your torch."
        ) from error
