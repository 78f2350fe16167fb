"""A scorer of your own, held to the same contract as ours: first-epoch loss, "what is hard before anything is learned"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from thresher.scorers import Scorer, State
from thresher.testing import check_scorer
from thresher.types import Floats, Frame, HardEnd, Pool


@dataclass(frozen=True)
class FirstLoss(Scorer):
    """The cross-entropy of a sample when it was first seen, (N,) float32 >= 0 nat; high = hard.

    Source: this example.
    """

    hard_end: ClassVar[HardEnd] = "high"

    @property
    def needs(self) -> tuple[str, ...]:
        """The cross-entropy."""
        return ("loss",)

    def init(self, n: int) -> State:
        """Nothing seen."""
        return {"first": np.full(n, np.nan, dtype=np.float32)}

    def update(self, state: State, frame: Frame) -> None:
        """Keep what is there, fill what is not."""
        new = np.isnan(state["first"][frame.ids])
        state["first"][frame.ids[new]] = frame.values["loss"][new]

    def compute(self, state: State, pool: Pool) -> Floats:
        """Return the first losses."""
        return state["first"].copy()

    def definition(self, values: Mapping[str, NDArray[np.float64]], pool: Pool) -> NDArray[np.float64]:
        """The first value of each column that is there."""
        columns = [column[~np.isnan(column)] for column in values["loss"].T]
        return np.array([column[0] if len(column) else np.nan for column in columns])


check_scorer(FirstLoss())
print("FirstLoss holds to the contract: holes, shards, resumes, its literal definition.")
