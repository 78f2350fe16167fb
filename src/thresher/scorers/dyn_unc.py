"""`dyn_unc`: how much the probability of the own class varies inside sliding windows."""

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
class DynUnc(Scorer):
    """Average the standard deviation of the own class's probability over sliding windows.

        u[t] = 10 std( q[t-J+1..t], J-1 in the denominator ),     s = mean of u[t] over t = J-1 .. T-2

    J = `window` >= 2 epochs, published 10. The window that ends with the very last epoch is left out, as in the official
    code (`exclude_last=False` counts it, as reproductions on CIFAR do). Scores are (N,) float32 >= 0; high = uncertain;
    the highest are kept. A window holds a sample's last J observed probabilities.

    Fails: at small shares and under label noise; it was published for keeping three quarters of the data. A recording of J
    epochs or fewer has no score, since the last window does not count.

    Source: M. He et al., "Large-scale Dataset Pruning with Dynamic Uncertainty", CVPR 2024 workshops, Equations 1-3, and its
    official code.
    Differences from the official code: train-mode probabilities instead of those of a second, un-augmented pass; windows
    begin once there are J values (the official ring starts with zeros); a probability of exactly 0 counts; an epoch in
    which a sample was not seen adds no window (there, its last window counts again).

    >>> scorer = DynUnc(window=2)
    >>> state = scorer.init(1)
    >>> for epoch, prob in enumerate([0.0, 0.5, 0.5]):
    ...     scorer.update(state, Frame(epoch, np.array([0]), {"target_prob": np.array([prob], dtype=np.float32)}, 1))
    >>> [round(float(s), 4) for s in scorer.compute(state, Pool(1))]  # 10 * 0.5 / sqrt 2; the second window ends last
    [3.5355]
    """

    window: int = 10
    exclude_last: bool = True
    hard_end: ClassVar[HardEnd] = "high"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window < 2:
            raise InputError(f"Expected window >= 2 epochs, but got {self.window}. The published window is 10.")

    @property
    def needs(self) -> tuple[str, ...]:
        """The probability of the own class."""
        return ("target_prob",)

    @property
    def min_epochs(self) -> int:
        """J, plus one if the last window is left out."""
        return self.window + int(self.exclude_last)

    def init(self, n: int) -> State:
        """No probabilities, no windows; `latest` is the newest window's, not yet in the sum."""
        return {
            "probs": new_ring(self.window, n),
            "sum": np.zeros(n, dtype=np.float64),
            "count": np.zeros(n, dtype=np.int16),
            "latest": np.full(n, np.nan, dtype=np.float32),
            "latest_epoch": np.full(n, -1, dtype=np.int16),
            "epoch": np.full(1, -1, dtype=np.int16),
        }

    def update(self, state: State, frame: Frame) -> None:
        """Add the newest window to the sum and compute the next one."""
        rows = frame.rows
        _, squares = mean_and_squares(push(state["probs"], frame.values["target_prob"], rows))
        latest = state["latest"][rows]
        state["sum"][rows] += np.nan_to_num(latest)
        state["count"][rows] += ~np.isnan(latest)
        state["latest"][rows] = np.float32(_SCALE) * np.sqrt(squares / np.float32(self.window - 1))
        state["latest_epoch"][rows] = frame.epoch
        state["epoch"][:] = frame.epoch

    def compute(self, state: State, pool: Pool) -> Floats:
        """Return the mean over the windows that count."""
        counts = ~np.isnan(state["latest"])
        if self.exclude_last:
            counts &= state["latest_epoch"] < state["epoch"]
        total = state["sum"] + np.where(counts, state["latest"], 0)
        count = state["count"] + counts
        return np.where(count == 0, np.nan, total / np.maximum(count, 1)).astype(np.float32)

    def definition(self, values: Mapping[str, NDArray[np.float64]], pool: Pool) -> NDArray[np.float64]:
        """Every window of every sample."""
        probs = values["target_prob"]
        result = np.full(probs.shape[1], np.nan)
        for n, column in enumerate(probs.T):
            epochs = np.flatnonzero(~np.isnan(column))
            spreads = [
                _SCALE * column[epochs[end - self.window : end]].std(ddof=1)
                for end in range(self.window, len(epochs) + 1)
                if not self.exclude_last or epochs[end - 1] < len(probs) - 1
            ]
            if spreads:
                result[n] = np.mean(spreads)
        return result
