"""Models by name: `build(name, num_classes, channels)`.

Each has `features(images) -> (B, D)` and a last linear layer `head`, so that Moderate and GraNd can be scored without hooks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from thresher.errors import InputError, UnknownNameError
from thresher.models.resnet import ResNet, resnet18, resnet34, resnet50, small, tiny

MODELS: dict[str, Callable[[int, int], ResNet]] = {
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "small": small,
    "tiny": tiny,
}


def build(name: str, num_classes: int, channels: int = 3, seed: int | None = None) -> ResNet:
    """Return a freshly initialised model.

    With `seed` the weights are drawn from a forked random state, so the global one is left as it was.

    >>> sum(p.numel() for p in build("resnet18", 10).parameters())
    11173962
    """
    if name not in MODELS:
        raise UnknownNameError(f"Expected a model, one of {', '.join(MODELS)}, but got {name!r}.")
    if num_classes < 2:
        raise InputError(f"Expected at least 2 classes, but got {num_classes}.")
    if seed is None:
        return MODELS[name](num_classes, channels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MODELS[name](num_classes, channels)


def parameter_count(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


__all__ = ["MODELS", "ResNet", "build", "parameter_count"]
