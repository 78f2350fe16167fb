"""How to train: `TrainSpec`, its optimiser and its learning rate."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from thresher.errors import InputError
from thresher.named import check_fields

Precision = Literal["fp32", "bf16"]
Optimizer = Literal["sgd", "adamw"]
_LATER = ("optimizer", "warmup_epochs", "label_smoothing", "clip_norm")


@dataclass(frozen=True)
class TrainSpec:
    """How to train. Defaults are the published recipe for coresets; the surrogate's has a batch size of 100.

    `epochs` to run; `schedule_epochs` is the length of the cosine schedule if it is longer than that (a surrogate that
    stops at T keeps the full schedule); `precision` of the forward pass ("bf16" is autocast, weights stay float32).
    `optimizer` "adamw" ignores momentum and nesterov; `warmup_epochs` rises linearly to `lr` before the cosine;
    `clip_norm` bounds the norm of the whole gradient. Raises InputError for invalid types or values.
    """

    model: str = "resnet18"
    epochs: int = 200
    schedule_epochs: int | None = None
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    augment: bool = True
    precision: Precision = "fp32"
    channels_last: bool = True
    compile: bool = False
    optimizer: Optimizer = "sgd"
    warmup_epochs: int = 0
    label_smoothing: float = 0.0
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.generic):  # which no JSON can hold
                object.__setattr__(self, field.name, value.item())
        check_fields(self)
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"Expected {name} >= 1, but got {getattr(self, name)}.")
        if self.schedule_epochs is not None and self.schedule_epochs < self.epochs:
            raise InputError(
                f"Expected schedule_epochs >= epochs={self.epochs}, but got {self.schedule_epochs}: "
                "the learning rate would be 0 before the training ends."
            )
        if self.precision not in ("fp32", "bf16"):
            raise InputError(f"Expected precision 'fp32' or 'bf16', but got {self.precision!r}.")
        if not (0 < self.lr < math.inf and 0 <= self.momentum < 1 and 0 <= self.weight_decay < math.inf):
            raise InputError(
                "Expected finite lr > 0, momentum in [0, 1) and finite weight_decay >= 0, but got "
                f"{self.lr}, {self.momentum} and {self.weight_decay}."
            )
        if self.optimizer not in ("sgd", "adamw"):
            raise InputError(f"Expected optimizer 'sgd' or 'adamw', but got {self.optimizer!r}.")
        if self.optimizer == "sgd" and self.nesterov and self.momentum == 0:
            raise InputError("Expected nesterov=False with momentum=0: Nesterov's step looks ahead along the momentum.")
        if not 0 <= self.warmup_epochs < (self.schedule_epochs or self.epochs) or not 0 <= self.label_smoothing < 1:
            raise InputError(
                "Expected warmup_epochs in [0, epochs of the schedule) and label_smoothing in [0, 1), but got "
                f"{self.warmup_epochs} and {self.label_smoothing}."
            )
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise InputError(f"Expected clip_norm > 0 or none, but got {self.clip_norm}.")

    def to_json(self) -> dict[str, Any]:
        """Return the JSON-ready fields; later additions only if they are not the default, so that digests do not change."""
        defaults = {field.name: field.default for field in fields(self)}
        return {k: v for k, v in asdict(self).items() if k not in _LATER or v != defaults[k]}


def build_optimizer(spec: TrainSpec, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe over all parameters."""
    if spec.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), spec.lr, weight_decay=spec.weight_decay, fused=True)
    return torch.optim.SGD(
        model.parameters(), spec.lr, spec.momentum, weight_decay=spec.weight_decay, nesterov=spec.nesterov, fused=True
    )


def learning_rate(lr: float, step: int, total_steps: int, warmup_steps: int = 0) -> float:
    """Return the learning rate of iteration `step`: a linear rise over the warm-up, then a half cosine from `lr` to 0.

    >>> learning_rate(0.1, 0, 10), round(learning_rate(0.1, 5, 10), 6), round(learning_rate(0.1, 0, 14, 4), 6)
    (0.1, 0.05, 0.025)
    """
    if step < warmup_steps:
        return lr * (step + 1) / warmup_steps
    return lr * 0.5 * (1.0 + math.cos(math.pi * (step - warmup_steps) / (total_steps - warmup_steps)))
