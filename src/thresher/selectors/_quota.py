"""What the selectors share: stable ranking, and class quotas for their balanced variants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from thresher.errors import InputError
from thresher.types import Floats, Ids, Pool


def hardest_first(difficulty: Floats) -> Ids:
    """Return (N,) positions by falling difficulty; equal ones by rising id.

    >>> hardest_first(np.array([1, 3, 3, 2], dtype=np.float32)).tolist()
    [1, 2, 3, 0]
    """
    return np.argsort(-difficulty, kind="stable").astype(np.int64, copy=False)


def easiest_first(difficulty: Floats) -> Ids:
    """Return (N,) positions by rising difficulty; equal ones by rising id."""
    return np.argsort(difficulty, kind="stable").astype(np.int64, copy=False)


def class_quotas(targets: NDArray[np.int64], keep: int) -> NDArray[np.int64]:
    """Return how many samples of each class to keep: proportional, by largest remainder, exactly `keep` in all.

    Class c of n_c samples gets `floor(n_c * keep / N)`; what is left goes one by one to the classes with the largest
    remainders (equal ones: the smaller label first). So no class gets more than it has, an empty class gets 0, and every
    quota is within one sample of its share. With fewer samples to keep than classes, some non-empty classes get 0.

    >>> class_quotas(np.array([0, 0, 0, 0, 0, 0, 2, 2, 2, 3]), 5).tolist()
    [3, 0, 2, 0]
    """
    if targets.min() < 0:
        raise InputError(f"Expected class labels from 0 on, but got {targets.min()}.")
    counts = np.bincount(targets).astype(np.int64)
    quotas, remainders = np.divmod(counts * keep, len(targets))
    richest = np.argsort(-remainders, kind="stable")
    quotas[richest[: keep - int(quotas.sum())]] += 1
    return quotas


def per_class(pool: Pool, keep: int, who: str, pick: Callable[[Ids, int], Ids]) -> Ids:
    """Apply `pick(members, quota) -> chosen members` inside every class that has a quota; return sorted ids."""
    targets = pool.need_targets(f"{who}(balanced=True)")
    quotas = class_quotas(targets, keep)
    chosen = [pick(np.flatnonzero(targets == label), int(quotas[label])) for label in np.flatnonzero(quotas)]
    return np.sort(np.concatenate(chosen))
