"""`forgetting`: how often a sample was learned and then forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray

from thresher.errors import InputError
from thresher.scorers._base import Scorer, State
from thresher.types import Floats, Frame, HardEnd, Pool


@final
@dataclass(frozen=True)
class Forgetting(Scorer):
    """Count forgetting events: presentations at which a sample is misclassified after being classified correctly.

        F = #{ t >= 1 : correct[t-1] = 1 and correct[t] = 0 }

    Scores are (N,) float32 whole numbers in [0, T/2]; high = hard; the highest are kept. `never_learned` is the rule for
    samples that were never right: "zero" counts their events, which is 0, so they are pruned first (CCS, DUAL, DeepCore);
    "max" gives them the number of their presentations, up to T, so they are the hardest (Toneva). Many samples tie; see
    `top`.

    Fails: with few epochs, since the score is a small whole number and nearly all samples tie; with "zero", hard samples
    that were never right are dropped first; with "max", wrong labels are kept first.

    Source: M. Toneva et al., "An Empirical Study of Example Forgetting during Deep Neural Network Learning", ICLR 2019,
    Algorithm 1; the "zero" rule from the official code of CCS (Zheng et al. 2023), which produced the published tables.
    Differences from the official code: one run (Toneva's sums over five seeds); logits are not rounded to 16 bits first.

    >>> scorer = Forgetting()
    >>> state = scorer.init(1)
    >>> for epoch, correct in enumerate([1, 0, 1, 0]):
    ...     scorer.update(state, Frame(epoch, np.array([0]), {"correct": np.array([correct], dtype=np.float32)}, 1))
    >>> scorer.compute(state, Pool(1)).tolist()
    [2.0]
    """

    never_learned: Literal["zero", "max"] = "zero"
    hard_end: ClassVar[HardEnd] = "high"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.never_learned not in ("zero", "max"):
            raise InputError(f"Expected never_learned to be 'zero' or 'max', but got {self.never_learned!r}.")

    @property
    def needs(self) -> tuple[str, ...]:
        """Whether the sample was classified correctly."""
        return ("correct",)

    def init(self, n: int) -> State:
        """Nothing seen, nothing learned."""
        return {
            "last": np.zeros(n, dtype=np.int8),
            "learned": np.zeros(n, dtype=np.int8),
            "events": np.zeros(n, dtype=np.int16),
            "seen": np.zeros(n, dtype=np.int16),
        }

    def update(self, state: State, frame: Frame) -> None:
        """Count an event where the last presentation was right and this one is wrong."""
        rows = frame.rows
        correct = frame.values["correct"].astype(np.int8)
        state["events"][rows] += (state["last"][rows] == 1) & (correct == 0)
        state["learned"][rows] |= correct
        state["seen"][rows] += 1
        state["last"][rows] = correct

    def compute(self, state: State, pool: Pool) -> Floats:
        """Return F."""
        events = state["events"].astype(np.float32)
        if self.never_learned == "max":
            events = np.where(state["learned"] == 0, state["seen"].astype(np.float32), events)
        return np.where(state["seen"] == 0, np.float32(np.nan), events)

    def definition(self, values: Mapping[str, NDArray[np.float64]], pool: Pool) -> NDArray[np.float64]:
        """Count over each sample's presentations."""
        result = np.full(values["correct"].shape[1], np.nan)
        for n, column in enumerate(values["correct"].T):
            flags = [bool(flag) for flag in column if not np.isnan(flag)]
            if not flags:
                continue
            result[n] = sum(before and not after for before, after in pairwise(flags))
            if self.never_learned == "max" and not any(flags):
                result[n] = len(flags)
        return result
