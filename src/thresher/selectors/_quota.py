"""Shared by the selectors: one ranking, and class quotas for their balanced variants."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thresher.ranking.blocks import Samples
from thresher.ranking.groups import Classes, Counts, Everybody, Groups, check_labels, class_counts
from thresher.ranking.keys import id_hash
from thresher.types import Floats, Ids


def hardest_first(difficulty: Floats) -> Ids:
    """Return (N,) positions by descending difficulty; ties are ordered by a hash of the id.

    >>> hardest_first(np.array([1, 3, 3, 2], dtype=np.float32)).tolist()
    [2, 1, 3, 0]
    """
    return np.lexsort((id_hash(np.arange(len(difficulty))), -difficulty)).astype(np.int64, copy=False)


def class_quotas(targets: NDArray[np.int64], keep: int) -> NDArray[np.int64]:
    """Return how many samples of each class to keep: proportional, by largest remainder, exactly `keep` in all.

    Class c of n_c samples gets `floor(n_c * keep / N)`; the rest goes one by one to the classes with the largest
    remainders (ties: the smaller label first). So no class gets more than it has, an empty class gets 0, and every
    quota is within one sample of its share. With fewer samples to keep than classes, some non-empty classes get 0.

    >>> class_quotas(np.array([0, 0, 0, 0, 0, 0, 2, 2, 2, 3]), 5).tolist()
    [3, 0, 2, 0]
    """
    check_labels(targets)
    return share_out(np.bincount(targets).astype(np.int64), keep)


def share_out(counts: Counts, keep: int) -> Counts:
    """Return the quotas of classes of these sizes; see `class_quotas`."""
    quotas, remainders = np.divmod(counts * keep, counts.sum())
    richest = np.argsort(-remainders, kind="stable")
    quotas[richest[: keep - int(quotas.sum())]] += 1
    return quotas


def grouped(samples: Samples, keep: int, who: str, balanced: bool) -> tuple[Samples, Groups, Counts, Counts]:
    """Return samples, the groups to select from separately, their sizes, and how many of each to keep.

    The groups are the classes if `balanced`, else a single group of all samples.
    """
    if not balanced:
        return samples, Everybody(), np.array([samples.n]), np.array([keep])
    samples = samples.labelled(f"{who}(balanced=True)")
    sizes = class_counts(samples)
    return samples, Classes(), sizes, share_out(sizes, keep)
