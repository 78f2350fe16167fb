"""`el2n`: the norm of the early error vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from thresher.errors import InputError
from thresher.scorers._base import Scorer, State
from thresher.scorers._mean import add, mean, new_mean
from thresher.types import Floats, Frame, HardEnd, Pool


@final
@dataclass(frozen=True)
class EL2N(Scorer):
    """Average the L2 norm of the error vector over the first epochs.

        s = mean_{t < epochs} || p[t] - onehot(y) ||_2

    Scores are (N,) float32 in [0, sqrt 2]; high = hard; the highest are kept. `epochs` >= 1, published 10.

    Fails: at small shares and under label noise. The largest errors belong to wrong labels and outliers, and a network
    trained on these alone falls far below Random.

    Source: M. Paul et al., "Deep Learning on a Data Diet", NeurIPS 2021, Definition 2.2; the sum over the first ten
    epochs of one run, on train-mode logits, from the official code of CCS (Zheng et al. 2023).
    Differences from the official code: a mean instead of CCS's sum (same ranking), and log-probabilities are not rounded to
    16 bits first. Data Diet itself averages ten runs at one early checkpoint, in evaluation mode.

    >>> scorer = EL2N()
    >>> state = scorer.init(1)
    >>> for epoch, norm in enumerate([1.0, 0.5]):
    ...     scorer.update(state, Frame(epoch, np.array([0]), {"error_norm": np.array([norm], dtype=np.float32)}, 1))
    >>> scorer.compute(state, Pool(1)).tolist()
    [0.75]
    """

    epochs: int = 10
    hard_end: ClassVar[HardEnd] = "high"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs < 1:
            raise InputError(f"Expected epochs >= 1, but got {self.epochs}. The published number is 10.")

    @property
    def needs(self) -> tuple[str, ...]:
        """The norm of the error vector."""
        return ("error_norm",)

    def init(self, n: int) -> State:
        """Nothing summed."""
        return new_mean(n)

    def update(self, state: State, frame: Frame) -> None:
        """Add an early epoch; later ones do not count."""
        if frame.epoch < self.epochs:
            add(state, frame, "error_norm")

    def compute(self, state: State, pool: Pool) -> Floats:
        """Return the mean."""
        return mean(state)

    def definition(self, values: Mapping[str, NDArray[np.float64]], pool: Pool) -> NDArray[np.float64]:
        """The mean over the early epochs in which a sample was seen."""
        early = values["error_norm"][: self.epochs]
        return np.array([column[~np.isnan(column)].mean() if not np.isnan(column).all() else np.nan for column in early.T])
