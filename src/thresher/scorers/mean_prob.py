"""`mean_prob`: the mean probability of the own class, which DUAL's beta sampling reads."""

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
class MeanProb(Scorer):
    """Average the probability of the own class over the first epochs.

        m = mean_{t < epochs} p[t, y]

    Scores are (N,) float32 in [0, 1]; low = hard. `epochs` >= 1: 30 for CIFAR, 60 for ImageNet, as in DUAL's official code.

    Fails: under label noise when the hardest are kept, like AUM.

    Source: Y. Cho et al., "Lightweight Dataset Pruning without Full Training via Example Difficulty and Prediction
    Uncertainty" (DUAL), ICML 2025, and its official code; also the x axis of the data maps of S. Swayamdipta et al. 2020.

    >>> scorer = MeanProb()
    >>> state = scorer.init(1)
    >>> for epoch, prob in enumerate([0.25, 0.75]):
    ...     scorer.update(state, Frame(epoch, np.array([0]), {"target_prob": np.array([prob], dtype=np.float32)}, 1))
    >>> scorer.compute(state, Pool(1)).tolist()
    [0.5]
    """

    epochs: int = 30
    hard_end: ClassVar[HardEnd] = "low"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs < 1:
            raise InputError(f"Expected epochs >= 1, but got {self.epochs}.")

    @property
    def needs(self) -> tuple[str, ...]:
        """The probability of the own class."""
        return ("target_prob",)

    def init(self, n: int) -> State:
        """Nothing summed."""
        return new_mean(n)

    def update(self, state: State, frame: Frame) -> None:
        """Add an early epoch; later ones do not count."""
        if frame.epoch < self.epochs:
            add(state, frame, "target_prob")

    def compute(self, state: State, pool: Pool) -> Floats:
        """Return the mean."""
        return mean(state)

    def definition(self, values: Mapping[str, NDArray[np.float64]], pool: Pool) -> NDArray[np.float64]:
        """The mean over the early epochs in which a sample was seen."""
        early = values["target_prob"][: self.epochs]
        return np.array([column[~np.isnan(column)].mean() if not np.isnan(column).all() else np.nan for column in early.T])
