"""`entropy`: how uncertain the trained network is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray

from thresher.errors import InputError
from thresher.scorers._base import Scorer, State
from thresher.types import Floats, Frame, HardEnd, Pool


@final
@dataclass(frozen=True)
class Entropy(Scorer):
    """Take the entropy of the latest prediction.

        s = - sum_c p_c ln(p_c + 1e-10)

    `view="eval"` reads the evaluation pass (evaluation mode, no augmentation) at the end of training, as published;
    `view="train"` the train-mode prediction of a sample's latest epoch, for recordings without such a pass. Scores are
    (N,) float32 in [0, ln C] nat; high = hard; the highest are kept.

    Fails: at small shares: a trained network is uncertain about ambiguous samples, so the easy examples of a class are
    missing from the coreset. Without an evaluation pass it has no score (except with `view="train"`), and late in training
    most samples tie near 0.

    Source: C. Coleman et al., "Selection via Proxy: Efficient Data Selection for Deep Learning", ICLR 2020; formula
    and guard from the official code of CCS (Zheng et al. 2023).
    Differences from the official code: inputs are normalised as in training (CCS and D2 omit this).

    >>> scorer = Entropy(view="train")
    >>> state = scorer.init(1)
    >>> scorer.update(state, Frame(0, np.array([0]), {"entropy": np.array([0.5], dtype=np.float32)}, 1))
    >>> scorer.compute(state, Pool(1)).tolist()
    [0.5]
    """

    view: Literal["eval", "train"] = "eval"
    hard_end: ClassVar[HardEnd] = "high"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.view not in ("eval", "train"):
            raise InputError(f"Expected view to be 'eval' or 'train', but got {self.view!r}.")

    @property
    def needs(self) -> tuple[str, ...]:
        """The entropy of that view."""
        return ("eval_entropy",) if self.view == "eval" else ("entropy",)

    def init(self, n: int) -> State:
        """Nothing seen."""
        return {"latest": np.full(n, np.nan, dtype=np.float32)}

    def update(self, state: State, frame: Frame) -> None:
        """Replace the known values with newer ones."""
        values = frame.values[self.needs[0]]
        known = ~np.isnan(values)
        state["latest"][frame.ids[known]] = values[known]

    def compute(self, state: State, pool: Pool) -> Floats:
        """Return the latest entropy."""
        return state["latest"].astype(np.float32)

    def definition(self, values: Mapping[str, NDArray[np.float64]], pool: Pool) -> NDArray[np.float64]:
        """The last observed value."""
        seen = [column[~np.isnan(column)] for column in values[self.needs[0]].T]
        return np.array([column[-1] if len(column) else np.nan for column in seen])
