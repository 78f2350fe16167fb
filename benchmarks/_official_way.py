"""How the official TDDS script scores its dumps, written anew from its description; the alternative in `score_dumps.py`.

    python benchmarks/_official_way.py DUMPS WINDOW EPOCHS OUT.npy

All epochs' logits are loaded and stacked. For every window of K epochs each of its softmaxes is computed again and added
into zeros at its dataset positions; changes with the absolute value per class, their deviations' L2 norm, and an
exponentially weighted sum over windows. On the CPU, with torch's default number of threads.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

DECAY, GUARD = 0.9, 1e-8


def load(folder: Path, epochs: int) -> tuple[Tensor, Tensor]:
    """Return the logits (T, N, C) in loader order and the ids (T, N) of their rows."""
    logits, order, losses = [], [], []
    for epoch in range(epochs):
        logits.append(np.load(folder / f"{epoch}_Output.npy"))
        order.append(np.load(folder / f"{epoch}_Index.npy"))
        losses.append(np.load(folder / f"{epoch}_Loss.npy"))  # loaded, never used
    return torch.from_numpy(np.array(logits)), torch.from_numpy(np.array(order)).long()


def window_norm(logits: Tensor, order: Tensor) -> Tensor:
    """Return (N,) the spread of the changes within one window: (K, N, C) logits, (K, N) ids."""
    window = []
    for epoch in range(len(logits)):
        probs = torch.softmax(logits[epoch], dim=1)
        window.append(torch.zeros_like(probs).index_add(0, order[epoch], probs))
    changes = []
    for older, newer in pairwise(window):
        difference = torch.log(newer + GUARD) - torch.log(older + GUARD)
        changes.append(torch.abs(newer * difference).sum(dim=1))
    stacked = torch.stack(changes)
    return torch.linalg.vector_norm(stacked - stacked.mean(dim=0), dim=0)


def main() -> None:
    """Score the dumps and save (N,) float32 scores in dataset order."""
    folder, window, epochs, out = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    logits, order = load(folder, epochs)
    score = torch.zeros(logits.shape[1])
    for start in range(epochs - window + 1):
        norm = window_norm(logits[start : start + window], order[start : start + window])
        score = (1 - DECAY) * score + DECAY * norm
    np.save(out, score.numpy())


if __name__ == "__main__":
    main()
