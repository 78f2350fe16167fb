"""`correctness`: the share of epochs in which a sample was classified correctly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from thresher.scorers._base import Scorer, State
from thresher.scorers._mean import add, mean, new_mean
from thresher.types import Floats, Frame, HardEnd, Pool


@final
@dataclass(frozen=True)
class Correctness(Scorer):
    """Average over all epochs whether a sample was classified correctly.

        s = mean_t correct[t]

    Scores are (N,) float32 in [0, 1]; low = hard. For a sample that is learned once and not forgotten, `1 - s` is the
    point in training at which it was learned, from 0 for the beginning to 1 for never. Many samples tie.

    Fails: when used alone as a ranking: it has only T + 1 values, so most samples tie.

    Source: S. Swayamdipta et al., "Dataset Cartography: Mapping and Diagnosing Datasets with Training Dynamics", EMNLP
    2020, section 2 (correctness).
    Differences from the official code: train-mode predictions of the epoch itself instead of a pass after each epoch.

    >>> scorer = Correctness()
    >>> state = scorer.init(1)
    >>> for epoch, correct in enumerate([0, 1, 1, 1]):
    ...     scorer.update(state, Frame(epoch, np.array([0]), {"correct": np.array([correct], dtype=np.float32)}, 1))
    >>> scorer.compute(state, Pool(1)).tolist()
    [0.75]
    """

    hard_end: ClassVar[HardEnd] = "low"

    @property
    def needs(self) -> tuple[str, ...]:
        """Whether the sample was classified correctly."""
        return ("correct",)

    def init(self, n: int) -> State:
        """Nothing seen."""
        return new_mean(n)

    def update(self, state: State, frame: Frame) -> None:
        """Add an epoch."""
        add(state, frame, "correct")

    def compute(self, state: State, pool: Pool) -> Floats:
        """Return the mean."""
        return mean(state)

    def definition(self, values: Mapping[str, NDArray[np.float64]], pool: Pool) -> NDArray[np.float64]:
        """The mean over the epochs in which a sample was seen."""
        columns = [column[~np.isnan(column)] for column in values["correct"].T]
        return np.array([column.mean() if len(column) else np.nan for column in columns])
