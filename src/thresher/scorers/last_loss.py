"""`last_loss`: the loss of a sample when it was last seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from thresher.scorers._base import Scorer, State
from thresher.types import Floats, Frame, HardEnd, Pool


@final
@dataclass(frozen=True)
class LastLoss(Scorer):
    """Keep the latest cross-entropy of every sample, from the epoch in which it was last shown.

        s = loss[t*],  t* the last epoch in which the sample was seen

    Scores are (N,) float32 in [0, inf) nat; high = hard. `thresher.dynamic.InfoBatch` prunes by this score: samples that are
    dropped keep the loss they had. State: 4 bytes per sample.

    Fails: when used to keep the hardest samples, at small shares and under label noise: wrong labels have the largest
    losses. It comes from a single epoch, so it is noisy.

    Source: Z. Qin et al., "InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning", ICLR 2024, section 3.
    Differences from the official code: a sample that was never seen has no score, where the package uses 3 and its older
    research copy 1; cross-entropy of the logits, even if the training smooths labels.

    >>> scorer = LastLoss()
    >>> state = scorer.init(2)
    >>> scorer.update(state, Frame(0, np.array([0, 1]), {"loss": np.array([2.0, 1.0], dtype=np.float32)}, 2))
    >>> scorer.update(state, Frame(1, np.array([1]), {"loss": np.array([0.5], dtype=np.float32)}, 2))
    >>> scorer.compute(state, Pool(2)).tolist()
    [2.0, 0.5]
    """

    hard_end: ClassVar[HardEnd] = "high"

    @property
    def needs(self) -> tuple[str, ...]:
        """The loss."""
        return ("loss",)

    def init(self, n: int) -> State:
        """Nothing seen."""
        return {"loss": np.full(n, np.nan, dtype=np.float32)}

    def update(self, state: State, frame: Frame) -> None:
        """Replace old losses with new ones."""
        values = frame.values["loss"]
        known = ~np.isnan(values)
        state["loss"][frame.ids[known]] = values[known]

    def compute(self, state: State, pool: Pool) -> Floats:
        """Return the losses."""
        return state["loss"].copy()

    def definition(self, values: Mapping[str, NDArray[np.float64]], pool: Pool) -> NDArray[np.float64]:
        """The last observed value."""
        columns = [column[~np.isnan(column)] for column in values["loss"].T]
        return np.array([column[-1] if len(column) else np.nan for column in columns])
