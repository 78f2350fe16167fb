"""`aum`: the area under the margin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray

from thresher.errors import InputError
from thresher.scorers._base import Scorer, State
from thresher.scorers._mean import add, mean, new_mean
from thresher.types import Floats, Frame, HardEnd, Pool


@final
@dataclass(frozen=True)
class AUM(Scorer):
    """Average the margin between the sample's own class and the strongest other class over all epochs.

        s = mean_{t >= skip} ( x[t, y] - max_{c != y} x[t, c] )

    x are the probabilities (`margin="prob"`, as in CCS and in the published tables) or the logits (`margin="logit"`, as in
    the AUM paper, which also skips epoch 0: `skip=1`). Scores are (N,) float32, in [-1, 1] for probabilities; LOW = hard,
    and mislabeled samples come lowest. The tables keep the lowest.

    Fails: when used to keep the hardest samples, at small shares and under label noise: the lowest margins are wrong
    labels. It is good for finding them, best with logits, and for cutting them off before another rule draws (CCS).

    Source: G. Pleiss et al., "Identifying Mislabeled Data using the Area Under the Margin Ranking", NeurIPS 2020,
    Equation 1; the probability form from the official code of CCS (Zheng et al. 2023).
    Differences from the official code: a mean instead of CCS's sum (same ranking if no sample is missing), and
    log-probabilities are not rounded to 16 bits first. The AUM paper trains at a constant learning rate for this score; here
    it is the recorded training, whatever its schedule. The TDDS supplementary says that a large AUM is important, which its
    own numbers contradict: they collapse as they do only when the hardest are kept.

    >>> scorer = AUM()
    >>> state = scorer.init(1)
    >>> for epoch, margin in enumerate([-0.5, 1.0]):
    ...     scorer.update(state, Frame(epoch, np.array([0]), {"prob_margin": np.array([margin], dtype=np.float32)}, 1))
    >>> scorer.compute(state, Pool(1)).tolist()
    [0.25]
    """

    margin: Literal["prob", "logit"] = "prob"
    skip: int = 0
    hard_end: ClassVar[HardEnd] = "low"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.margin not in ("prob", "logit"):
            raise InputError(f"Expected margin to be 'prob' or 'logit', but got {self.margin!r}.")
        if self.skip < 0:
            raise InputError(f"Expected skip >= 0 epochs, but got {self.skip}.")

    @property
    def needs(self) -> tuple[str, ...]:
        """The margin of the probabilities or of the logits."""
        return (f"{self.margin}_margin",)

    @property
    def min_epochs(self) -> int:
        """One more than the skipped epochs."""
        return self.skip + 1

    def init(self, n: int) -> State:
        """Nothing summed."""
        return new_mean(n)

    def update(self, state: State, frame: Frame) -> None:
        """Add an epoch that is not skipped."""
        if frame.epoch >= self.skip:
            add(state, frame, self.needs[0])

    def compute(self, state: State, pool: Pool) -> Floats:
        """Return the mean."""
        return mean(state)

    def definition(self, values: Mapping[str, NDArray[np.float64]], pool: Pool) -> NDArray[np.float64]:
        """The mean over the epochs in which a sample was seen."""
        late = values[self.needs[0]][self.skip :]
        return np.array([column[~np.isnan(column)].mean() if not np.isnan(column).all() else np.nan for column in late.T])
