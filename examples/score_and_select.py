"""Score official TDDS dumps for a whole (T, K) grid in one pass, and select from one of the columns."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from thresher import replay, select
from thresher.registry import make_selector
from thresher.replay import grid_requests, open_source
from thresher.types import Pool

# What the official code leaves: per epoch t the logits in loader order and the sample id of each row.
folder = Path(tempfile.mkdtemp())
rng = np.random.default_rng(0)
targets = rng.integers(10, size=500)
logits = np.zeros((500, 10), dtype=np.float32)
for epoch in range(20):
    logits += rng.normal(size=logits.shape).astype(np.float32)
    logits[np.arange(500), targets] += 0.3
    order = rng.permutation(500)
    np.save(folder / f"{epoch}_Output.npy", logits[order])
    np.save(folder / f"{epoch}_Index.npy", order)
np.save(folder / "targets.npy", targets)

source = open_source(folder)
columns = replay(source, grid_requests("tdds", windows=[5, 10], ats=[10, 20], params={}))
for name, scores in columns.items():
    print(f"{name}: {scores.values.min():.3f} to {scores.values.max():.3f}")

balanced = make_selector("top", {"balanced": True})
coreset = select(columns["tdds[K=10,T=20]"], Pool(source.n, source.targets), keep=0.1, selector=balanced)
print(f"{len(coreset)} kept, per class: {np.bincount(targets[coreset.ids]).tolist()}")
