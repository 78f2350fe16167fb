"""What the TDDS code multiplies a coreset training's loss by: the scores, scaled to [0, 1] (decision 0007)."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from thresher.errors import InputError, MissingSamplesError
from thresher.types import Floats


def normalised(scores: Tensor | Floats) -> Floats:
    """Return scores scaled to [0, 1] over ALL samples, the multiplier of the TDDS code's coreset training.

    `s = (S - min S) / (max S - min S)`; constant scores give ones. Raises MissingSamplesError if a sample has no score
    (NaN), InputError for an infinite score: either would spoil the loss of every sample.
    """
    values = np.asarray(scores, dtype=np.float32)
    if np.isnan(values).any():
        raise MissingSamplesError(
            f"Expected a score of every sample, but {int(np.isnan(values).sum())} have none (NaN), the first of them "
            f"{int(np.flatnonzero(np.isnan(values))[0])}. Record more epochs, or scale by another score."
        )
    if not np.isfinite(values).all():
        raise InputError(
            f"Expected finite scores, but that of sample {int(np.flatnonzero(~np.isfinite(values))[0])} is infinite. "
            "Scale by another score."
        )
    low, high = float(values.min()), float(values.max())
    return np.ones_like(values) if high <= low else ((values - low) / (high - low)).astype(np.float32)
