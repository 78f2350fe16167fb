"""What scorers with a window of epochs share: a ring of each sample's last values, and its mean and spread.

Everything is a loop over the few slots in the order of time, so a result never depends on how a library reduces.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from thresher.types import Floats, Ids


def new_ring(slots: int, n: int) -> Floats:
    """Return an empty ring (slots, N), NaN = no value yet."""
    return np.full((slots, n), np.nan, dtype=np.float32)


def push(ring: Floats, values: Floats, rows: slice | Ids) -> Floats:
    """Append `values` to the rings of `rows`, drop their oldest ones, and return these rings (slots, M), oldest first."""
    window = ring if isinstance(rows, slice) else ring[:, rows]
    for older, newer in pairwise(window):  # slot by slot: all at once would copy the ring aside
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
    mean = window[0].copy()
    for row in window[1:]:
        mean += row
    mean /= np.float32(len(window))
    squares, deviation = np.zeros_like(mean), np.empty_like(mean)
    for row in window:
        np.subtract(row, mean, out=deviation)
        deviation *= deviation
        squares += deviation
    return mean, squares
