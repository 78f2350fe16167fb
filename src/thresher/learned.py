"""When samples are learned: the late ones are those that a short training would not reach.

The share of epochs in which a sample was wrong is, for one that is learned once and kept, the moment at which it was
learned. Which moment is late is measured by the data themselves: by the sample that stands for the typical one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thresher.types import Floats

TYPICAL = 0.55
"""The quantile of the time in which samples are wrong that stands for the typical one; found on CIFAR-10, decision 0022."""


def late(
    correctness: Floats | NDArray[np.float64], share: float, among: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """Return (N,) which samples are late for a coreset of `share` of the data, in (0, 1].

    With w = 1 - `correctness` (N,), the share of the epochs in which a sample was wrong, and t the 0.55 quantile of w
    (`among` these samples only): w > t + share (1 - t). Of the time in which the typical sample is right they miss more
    than the share that is kept. So under 0.45 are late for the smallest coresets, fewer where the network has learned
    more, and nobody at a share of 1.

    >>> late(np.array([1.0, 0.9, 0.7, 0.3, 0.0]), 0.4).tolist()
    [False, False, False, True, True]
    """
    wrong = 1 - np.asarray(correctness, dtype=np.float64)
    known = wrong if among is None else wrong[among]
    typical = float(np.quantile(known, TYPICAL, method="inverted_cdf")) if len(known) else 0.0
    found: NDArray[np.bool_] = wrong > typical + share * (1 - typical) + 1e-6  # shares of epochs are float32
    return found
