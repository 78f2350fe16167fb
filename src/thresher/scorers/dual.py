"""`dual`: uncertainty weighted by difficulty, early in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from thresher.errors import InputError
from thresher.scorers._base import Scorer, State
from thresher.scorers._window import mean_and_squares, new_ring, push
from thresher.types import Floats, Frame, HardEnd, Pool

_SCALE = 10.0  # the official code's factor; it changes no ranking


@final
@dataclass(frozen=True)
class DUAL(Scorer):
    """Average, over sliding windows, the spread of the own class's probability times the distance of its mean from 1.

        s = mean_k 10 sd[k] (1 - mu[k]),   mu[k], sd[k]: mean and standard deviation (J-1) of q[k..k+J-1],  k = 0..T-J

    J = `window` >= 2 epochs, published 10; T = `epochs` >= J, the early part of training that counts, published 30 (60 on
    ImageNet). Scores are (N,) float32 >= 0; high = hard; the highest are kept, or the selector `beta` draws by them.

    Fails: at small shares when the highest are kept: these samples are hard and uncertain, and include wrong labels. The
    selector `beta` is meant for that case. A recording shorter than J has no score.

    Source: Y. Cho et al., "Lightweight Dataset Pruning without Full Training via Example Difficulty and Prediction
    Uncertainty" (DUAL), ICML 2025, and its official code.

    >>> scorer = DUAL(window=2)
    >>> state = scorer.init(1)
    >>> for epoch, prob in enumerate([0.0, 0.5]):
    ...     scorer.update(state, Frame(epoch, np.array([0]), {"target_prob": np.array([prob], dtype=np.float32)}, 1))
    >>> [round(float(s), 4) for s in scorer.compute(state, Pool(1))]  # 10 * 0.5 / sqrt 2 * 0.75
    [2.6517]
    """

    window: int = 10
    epochs: int = 30
    hard_end: ClassVar[HardEnd] = "high"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.window <= self.epochs:
            raise InputError(f"Expected 2 <= window <= epochs, but got window={self.window}, epochs={self.epochs}.")

    @property
    def needs(self) -> tuple[str, ...]:
        """The probability of the sample's own class."""
        return ("target_prob",)

    @property
    def min_epochs(self) -> int:
        """J."""
        return self.window

    def init(self, n: int) -> State:
        """No probabilities, no windows."""
        return {
            "probs": new_ring(self.window, n),
            "sum": np.zeros(n, dtype=np.float64),
            "count": np.zeros(n, dtype=np.int16),
        }

    def update(self, state: State, frame: Frame) -> None:
        """Add the window that ends here, if it is early enough."""
        if frame.epoch >= self.epochs:
            return
        rows = frame.rows
        mean, squares = mean_and_squares(push(state["probs"], frame.values["target_prob"], rows))
        score = np.float32(_SCALE) * np.sqrt(squares / np.float32(self.window - 1)) * (np.float32(1) - mean)
        state["sum"][rows] += np.nan_to_num(score)
        state["count"][rows] += ~np.isnan(score)

    def compute(self, state: State, pool: Pool) -> Floats:
        """Return the mean over the windows."""
        count = state["count"]
        return np.where(count == 0, np.nan, state["sum"] / np.maximum(count, 1)).astype(np.float32)

    def definition(self, values: Mapping[str, NDArray[np.float64]], pool: Pool) -> NDArray[np.float64]:
        """Every early window of every sample."""
        probs = values["target_prob"][: self.epochs]
        result = np.full(probs.shape[1], np.nan)
        for n, column in enumerate(probs.T):
            seen = column[~np.isnan(column)]
            windows = [seen[k : k + self.window] for k in range(len(seen) - self.window + 1)]
            if windows:
                result[n] = np.mean([_SCALE * w.std(ddof=1) * (1 - w.mean()) for w in windows])
        return result
