"""When samples are learned: late samples are those that a short training would not reach.

For a sample that is learned once and not forgotten, the share of epochs in which it was wrong is the time at which it was
learned. What counts as late depends on the data themselves: on a sample taken as typical.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thresher.types import Floats

TYPICAL = 0.55
"""The quantile, over samples, of the share of wrong epochs taken as typical; found on CIFAR-10, decision 0022."""


def late(
    correctness: Floats | NDArray[np.float64], share: float, among: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """Return (N,) which samples are late for a coreset of `share` of the data, in (0, 1].

    With w = 1 - `correctness` (N,), the share of epochs in which a sample was wrong, and t the 0.55 quantile of w
    (only over the samples `among`): w > t + share (1 - t). Of the time in which the typical sample is right they miss more
    than the kept share. So less than 0.45 are late for the smallest coresets, fewer if the network has learned more, and
    none at a share of 1.

    >>> late(np.array([1.0, 0.9, 0.7, 0.3, 0.0]), 0.4).tolist()
    [False, False, False, True, True]
    """
    wrong = 1 - np.asarray(correctness, dtype=np.float64)
    known = wrong if among is None else wrong[among]
    typical = float(np.quantile(known, TYPICAL, method="inverted_cdf")) if len(known) else 0.0
    found: NDArray[np.bool_] = wrong > typical + share * (1 - typical) + 1e-6  # shares of epochs are float32
    return found
