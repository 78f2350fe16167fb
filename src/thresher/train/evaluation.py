"""Passes over a split in order, without augmentation, in eval mode: the test accuracy, and what a recorder may read."""

from __future__ import annotations

import torch
from torch import nn

from thresher.data.base import Data, Split
from thresher.data.batching import Batches
from thresher.models import Classifier
from thresher.ranks import Alone, Ranks
from thresher.recorder import Recorder
from thresher.train.spec import TrainSpec


def plain_batches(data: Data, split: Split, spec: TrainSpec, device: torch.device, workers: int, ranks: Ranks) -> Batches:
    """Return this rank's part of batches of a split in order, without augmentation, for evaluation."""
    return Batches(
        data, split, 512 * ranks.size, device=device, channels_last=spec.channels_last, workers=workers,
        part=(ranks.rank, ranks.size),
    )  # fmt: skip


@torch.no_grad()
def evaluate(
    model: nn.Module, data: Data, spec: TrainSpec, device: torch.device, workers: int = 0, ranks: Ranks | None = None
) -> float:
    """Return the share of test samples classified correctly, in eval mode; `ranks` share the work."""
    ranks = ranks or Alone()
    model.eval()
    correct = torch.zeros((), dtype=torch.int64, device=device)
    for images, targets, _ in plain_batches(data, data.test, spec, device, workers, ranks).epoch(0):
        with torch.autocast(device.type, torch.bfloat16, enabled=spec.precision == "bf16"):
            logits = model(images)
        correct += (logits.argmax(1) == targets).sum()
    hits: list[int] = ranks.share("evaluate", int(correct))
    return sum(hits) / len(data.test)


@torch.no_grad()
def record_evaluation(
    model: Classifier, data: Data, spec: TrainSpec, recorder: Recorder, device: torch.device, workers: int = 0
) -> None:
    """Run the optional evaluation pass: eval mode, no augmentation, logits and penultimate features."""
    model.eval()
    for images, targets, sample_ids in plain_batches(data, data.train, spec, device, workers, recorder.ranks).epoch(0):
        with torch.autocast(device.type, torch.bfloat16, enabled=spec.precision == "bf16"):
            features = model.features(images)
            logits = model.head(features)
        recorder.update_eval(logits.float(), targets, sample_ids, features.float())
    model.train()
