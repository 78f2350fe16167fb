"""What can be known to fail before a training begins."""

from __future__ import annotations

import copy

import torch
from torch import nn

from thresher.data.base import Data
from thresher.errors import InputError


def check_single_samples(model: nn.Module, data: Data) -> None:
    """Raise InputError where the model cannot train on one sample, as batch normalisation over 1 x 1 maps cannot."""
    size, device = data.image_size, next(model.parameters()).device
    try:
        copy.deepcopy(model).train()(torch.zeros(1, data.channels, size, size, device=device))
    except ValueError as error:
        raise InputError(
            f"Expected batches of 2 samples or more for this model at {size} x {size} pixels, but some have 1, and batch "
            "normalisation needs more than one value per channel. Choose another batch size, or keep more samples."
        ) from error
