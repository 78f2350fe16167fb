"""Draws without replacement in which a sample's chance is proportional to its score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thresher.types import Floats


def log_weights(difficulty: Floats) -> NDArray[np.float64]:
    """Return (N,) float64 ln of the difficulty, shifted so that none is negative; -inf for 0.

    >>> log_weights(np.array([1.0, 0.0], dtype=np.float32)).tolist()
    [0.0, -inf]
    """
    values = difficulty.astype(np.float64)
    with np.errstate(divide="ignore"):
        weights: NDArray[np.float64] = np.log(values - min(0.0, float(values.min())))
    return weights


def draw_keys(weights: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (N,) random keys from the logarithms of the weights: the largest keys are a successive draw by weight.

    Source: Efraimidis and Spirakis 2006, who use u ** (1 / w); this is ln w + Gumbel noise, which gives the same ranking.
    The noise depends on the seed alone, so for one seed the rules that draw by it (`beta`, `learnable`) share more samples
    than their weights would have it.
    """
    keys: NDArray[np.float64] = weights + rng.gumbel(size=len(weights))
    return keys
