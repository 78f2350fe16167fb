"""Shared by scorers with a window of epochs: a ring of each sample's last values, and its mean and spread.

Everything is a loop over the few slots in time order, so results never depend on how a library reduces. The loops take
samples in blocks whose windows fit into the processor's cache, which halves the time for a million samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from thresher.types import Floats, Ids

_COLUMNS = 1 << 15


def _blocks(window: Floats) -> Iterator[slice]:
    """Yield slices that cut the columns into blocks."""
    return (slice(first, first + _COLUMNS) for first in range(0, window.shape[1], _COLUMNS))


def new_ring(slots: int, n: int) -> Floats:
    """Return an empty ring (slots, N), NaN = no value yet."""
    return np.full((slots, n), np.nan, dtype=np.float32)


def push(ring: Floats, values: Floats, rows: slice | Ids) -> Floats:
    """Append `values` to the rings of `rows`, drop their oldest values, and return these rings (slots, M), oldest first."""
    window = ring[:, rows]  # of a slice the ring itself, of ids a copy
    for columns in _blocks(window):
        for older, newer in pairwise(window[:, columns]):  # slot by slot: all at once would copy the ring aside
            older[...] = newer
    window[-1] = values
    if not isinstance(rows, slice):
        ring[:, rows] = window
    return window


def mean_and_squares(window: Floats) -> tuple[Floats, Floats]:
    """Return each column's mean and its sum of squared deviations, (M,) each; NaN where the window is not full.

    >>> mean, squares = mean_and_squares(np.array([[1.0], [2.0], [3.0]], dtype=np.float32))
    >>> mean.tolist(), squares.tolist()
    ([2.0], [2.0])
    """
    means, sums = np.empty(window.shape[1], np.float32), np.zeros(window.shape[1], np.float32)
    for columns in _blocks(window):
        mean, squares = means[columns], sums[columns]
        mean[...] = window[0, columns]
        for row in window[1:, columns]:
            mean += row
        mean /= np.float32(len(window))
        deviation = np.empty_like(mean)
        for row in window[:, columns]:
            np.subtract(row, mean, out=deviation)
            deviation *= deviation
            squares += deviation
    return means, sums
