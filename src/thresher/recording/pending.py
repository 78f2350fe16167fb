"""What a Recorder has taken from an accelerator and not looked at yet.

Looking at a batch is dozens of small kernels, whatever its size, and a training step on a fast GPU is hardly more. So
there batches are only copied, side by side, and looked at many thousand rows at a time. On a CPU, where a kernel costs what
its rows cost, every batch is looked at when it comes, and a bad one is refused at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from thresher.recording.arguments import Batch

_VALUES = 1 << 23  # of four bytes: 32 MiB
_INTEGERS = 4  # such values of a row's id and target
_KINDS = (torch.float32, torch.int64, torch.int64, torch.float32)


def defers(device: torch.device) -> bool:
    """Return whether batches on this device wait."""
    return device.type != "cpu"


class Pending:
    """Copies of batches that wait, at most 32 MiB, in the order in which they came.

    They are copies because a captured step (a CUDA graph) writes its next logits where the last ones were.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.used = device, 0
        self._sizes: list[int] = []  # rows of each batch
        self._places: list[Tensor] | None = None

    def add(self, batch: Batch, with_features: bool) -> bool:
        """Copy a batch, from wherever it is and of whatever dtype; return False where it does not fit beside those that
        wait (`drain` first), or is so large that no other one would come to wait with it."""
        features = [batch.features] if with_features and batch.features is not None else []
        parts, end = [batch.logits, batch.targets, batch.ids, *features], self.used + len(batch.ids)
        rows = max(1, _VALUES // (_INTEGERS + sum(part.shape[1] for part in (batch.logits, *features))))
        if end > rows or 2 * len(batch.ids) > rows or not self._alike(features):
            return False
        if self._places is None:
            kinds = zip(parts, _KINDS, strict=False)
            with torch.inference_mode(False):  # else they could be changed in inference mode alone
                self._places = [torch.empty((rows, *p.shape[1:]), dtype=kind, device=self.device) for p, kind in kinds]
        for place, part in zip(self._places, parts, strict=True):
            place[self.used : end].copy_(part)  # which also moves and converts: a launch instead of three
        self.used = end
        self._sizes.append(len(batch.ids))
        return True

    def _alike(self, features: list[Tensor]) -> bool:
        """Return whether these features are as wide as those that wait, or both are none."""
        return self._places is None or [f.shape[1] for f in features] == [p.shape[1] for p in self._places[3:]]

    def drain(self) -> Batch | None:
        """Return what waits as one batch on the device, as `Batch` has it, which the next `add` overwrites; None where
        nothing does."""
        if not self._sizes or self._places is None:
            return None
        logits, targets, ids, *features = (place[: self.used] for place in self._places)
        sizes = tuple(self._sizes)
        self.used, self._sizes, self._places = 0, [], self._places if not features else None
        return Batch(logits, targets, ids, features[0] if features else None, sizes)
