"""`tdds`: Temporal Dual-Depth Scoring."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray

from thresher.errors import InputError
from thresher.scorers._base import MOST_EPOCHS, Scorer, State
from thresher.scorers._window import mean_and_squares, new_ring, push
from thresher.types import Floats, Frame, HardEnd, Pool

_LARGEST_CHANGE = 18.43  # sum_c p_c |ln (p_c + e) - ln (p'_c + e)| <= -ln 1e-8, rounded up


@final
@dataclass(frozen=True)
class TDDS(Scorer):
    """Measure what still changes: the spread of a prediction's epoch-to-epoch change, with the latest windows weighing most.

    Formula, with p the probabilities, e = 1e-8, K = `window`, b = `decay`, T = the epochs completed so far:

        d[t] = sum_c | p[t,c] (ln(p[t,c] + e) - ln(p[t-1,c] + e)) |                    (signal `change`)
        v[k] = sqrt( sum_{j=k+1..k+K-1} (d[j] - mean_j d[j])^2 )                       for k = 0..T-K
        S    = sum_k b (1-b)^(T-K-k) v[k]

    so the newest window has the weight b, and each older one (1-b) times that of the next: 0.9, 0.09, ... Scores are (N,)
    float32 in [0, 9.22 sqrt(K-1)] nat, as changes are at most 18.43; high = informative; the highest are kept. T is not a
    parameter, but the number of epochs after which scores are computed.

    `window` K >= 3 epochs, hence K-1 changes (with K = 2 every score would be 0); `decay` b in (0, 1];
    `absolute=False` uses the Kullback-Leibler form, in which terms of opposite sign cancel; `spread="variance"` uses the
    mean of the squared deviations instead of the root of their sum, as the paper's derivation does, 0 to 84.9 nat^2.
    State: 4K bytes per sample. A sample missing from an epoch keeps its changes and its score; its next change spans the
    gap.

    Fails: with a late T and a small share: what still changes at the end of a schedule is what the network cannot learn,
    including wrong labels. The fewer samples are kept, the earlier T should be; in a short schedule there is no such
    early T. Memorised samples tie at 0.

    Source: X. Zhang et al., "Spanning Training Progress: Temporal Dual-Depth Scoring (TDDS) for Enhanced Dataset
    Pruning", CVPR 2024, and its official code. The paper's derivation has a variance over all epochs; the code and the
    published numbers use the form above.
    Differences from the official code: streaming instead of all logits in memory; samples are assigned by id instead of
    summed, so padded or missing ones do no harm; K < 3 is refused.

    >>> scorer = TDDS(window=3)
    >>> state = scorer.init(1)
    >>> for epoch, change in enumerate([np.nan, 1.0, 3.0]):
    ...     scorer.update(state, Frame(epoch, np.array([0]), {"change": np.array([change], dtype=np.float32)}, 1))
    >>> [round(float(s), 4) for s in scorer.compute(state, Pool(1))]  # 0.9 * sqrt((1-2)^2 + (3-2)^2)
    [1.2728]
    """

    window: int = 10
    decay: float = 0.9
    absolute: bool = True
    spread: Literal["norm", "variance"] = "norm"
    hard_end: ClassVar[HardEnd] = "high"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window < 3:
            raise InputError(
                f"Expected window >= 3 epochs, but got {self.window}: K epochs give K-1 changes, and a single one has no "
                "spread. The published windows are 5, 10 and 20."
            )
        if not 0 < self.decay <= 1:
            raise InputError(f"Expected decay in (0, 1], the weight of the newest window, but got {self.decay}.")
        if self.spread not in ("norm", "variance"):
            raise InputError(f"Expected spread to be 'norm' or 'variance', but got {self.spread!r}.")

    @property
    def needs(self) -> tuple[str, ...]:
        """The change of the prediction, or its signed form."""
        return ("change",) if self.absolute else ("signed_change",)

    @property
    def min_epochs(self) -> int:
        """K."""
        return self.window

    @property
    def trailing_epochs(self) -> int:
        """K + 12 for the published decay: after twelve more windows the weight is 1e-13 of the newest, below float32's
        resolution."""
        if self.decay == 1:
            return self.window
        fading = 12 * math.log(10) / -math.log1p(-self.decay)  # 1 - decay may be 1
        return self.window + math.ceil(min(fading, MOST_EPOCHS) - 1e-9)

    def init(self, n: int) -> State:
        """No changes, no scores."""
        return {"changes": new_ring(self.window - 1, n), "score": np.full(n, np.nan, dtype=np.float32)}

    def init_highest(self, n: int) -> State:
        """No changes, and the largest possible score."""
        bound = _LARGEST_CHANGE * math.sqrt(self.window - 1) if self.spread == "norm" else _LARGEST_CHANGE**2
        return {**self.init(n), "score": np.full(n, bound, dtype=np.float32)}

    def update(self, state: State, frame: Frame) -> None:
        """Append the change, and add the weighted spread of every full window."""
        change = frame.values[self.needs[0]]
        known = ~np.isnan(change)
        whole = bool(known.all())
        rows = frame.rows if whole else frame.ids[known]
        window = push(state["changes"], change if whole else change[known], rows)
        if np.isnan(window[0]).all():
            return  # no sample has a full window yet
        _, squares = mean_and_squares(window)
        spread = np.sqrt(squares) if self.spread == "norm" else squares / np.float32(self.window - 1)
        score = state["score"][rows]
        older = np.where(np.isnan(score), np.float32(0), score)
        newer = np.float32(1 - self.decay) * older + np.float32(self.decay) * spread
        state["score"][rows] = np.where(np.isnan(spread), score, newer)

    def compute(self, state: State, pool: Pool) -> Floats:
        """Return S."""
        return state["score"].astype(np.float32)

    def definition(self, values: Mapping[str, NDArray[np.float64]], pool: Pool) -> NDArray[np.float64]:
        """Every window of every sample, weighted by its age."""
        changes = values[self.needs[0]]
        result = np.full(changes.shape[1], np.nan)
        for n, column in enumerate(changes.T):
            observed = column[~np.isnan(column)]
            count = len(observed) - (self.window - 1) + 1
            for k in range(count):
                d = observed[k : k + self.window - 1]
                squares = ((d - d.mean()) ** 2).sum()
                v = np.sqrt(squares) if self.spread == "norm" else squares / (self.window - 1)
                weight = self.decay * (1 - self.decay) ** (count - 1 - k)
                result[n] = np.nan_to_num(result[n]) + weight * v
        return result
