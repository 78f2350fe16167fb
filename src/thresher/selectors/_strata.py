"""Strata of equal width, and how many samples each of them gives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def stratum_of(
    values: NDArray[np.float64], low: NDArray[np.floating], high: NDArray[np.floating], strata: int
) -> NDArray[np.int64]:
    """Return each value's stratum among `strata` intervals of equal width over [low, high].

    >>> stratum_of(np.array([0.0, 0.9, 1.0, 5.0, 10.0]), np.zeros(5), np.full(5, 10.0), 10).tolist()
    [0, 0, 1, 5, 9]
    """
    low, high = low.astype(np.float64), high.astype(np.float64)
    width = np.where(high > low, high - low, 1.0)
    position = np.floor((values - low) / width * strata).astype(np.int64)
    inside: NDArray[np.int64] = np.minimum(position, strata - 1)
    return inside


def stratum_budgets(populations: NDArray[np.int64], keep: int) -> NDArray[np.int64]:
    """Return how many samples each stratum gives: evenly, small strata whole; `keep` in all.

    >>> stratum_budgets(np.array([3, 0, 50, 10, 200]), 100).tolist()
    [3, 0, 43, 10, 44]
    """
    budgets = np.zeros(len(populations), dtype=np.int64)
    left = keep
    for visited, stratum in enumerate(np.argsort(populations, kind="stable")):
        budgets[stratum] = min(int(populations[stratum]), left // (len(populations) - visited))
        left -= int(budgets[stratum])
    return budgets
