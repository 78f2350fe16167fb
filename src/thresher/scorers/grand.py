"""`grand`: the norm of the gradient of the last layer."""

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
class GraNd(Scorer):
    """Take the gradient norm of a sample's loss with respect to the last linear layer, in closed form.

        s = || p - onehot(y) ||_2 * sqrt( 1 + || h ||_2^2 )          (weights and bias; h: penultimate features)

    at the latest epoch that has it: from the evaluation pass (`view="eval"`), or from the train-mode outputs
    (`view="train"`; features must be passed to `Recorder.update`). Scores are (N,) float32 >= 0; high = hard; the highest
    are kept.

    Fails: at small shares and under label noise, like EL2N, which is one of its factors. Without features (from an
    evaluation pass that keeps them) it has no score, and feature norms cannot be compared between networks.

    Source: M. Paul et al., "Deep Learning on a Data Diet", NeurIPS 2021, Definition 2.1; restricted to the last layer as
    in DeepCore (C. Guo et al. 2022).
    Differences from the official code: one run (DeepCore averages ten, as does Data Diet, over all parameters); the network
    at the end of the recording (there after few epochs, at a constant learning rate in DeepCore, often at initialisation in
    Data Diet); no factor 1/B, which in DeepCore inflates the scores of the last, smaller batch.

    >>> scorer = GraNd()
    >>> state = scorer.init(1)
    >>> values = {"eval_error_norm": np.array([1.0], np.float32), "eval_feature_norm": np.array([3.0], np.float32)}
    >>> scorer.update(state, Frame(0, np.array([0]), values, 1))
    >>> [round(float(s), 4) for s in scorer.compute(state, Pool(1))]
    [3.1623]
    """

    view: Literal["eval", "train"] = "eval"
    hard_end: ClassVar[HardEnd] = "high"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.view not in ("eval", "train"):
            raise InputError(f"Expected view to be 'eval' or 'train', but got {self.view!r}.")

    @property
    def needs(self) -> tuple[str, ...]:
        """Norms of the error vector and of the features of that view."""
        prefix = "eval_" if self.view == "eval" else ""
        return (prefix + "error_norm", prefix + "feature_norm")

    def init(self, n: int) -> State:
        """Nothing seen."""
        return {"latest": np.full(n, np.nan, dtype=np.float32)}

    def update(self, state: State, frame: Frame) -> None:
        """Replace the known values with newer ones."""
        error, feature = (frame.values[name] for name in self.needs)
        norm = error * np.sqrt(np.float32(1) + feature * feature)
        known = ~np.isnan(norm)
        state["latest"][frame.ids[known]] = norm[known]

    def compute(self, state: State, pool: Pool) -> Floats:
        """Return the latest norm."""
        return state["latest"].astype(np.float32)

    def definition(self, values: Mapping[str, NDArray[np.float64]], pool: Pool) -> NDArray[np.float64]:
        """The norm of the outer product of error and (features, 1), at the last epoch that has both."""
        error, feature = (values[name] for name in self.needs)
        result = np.full(error.shape[1], np.nan)
        for epoch in range(len(error)):
            norm = np.sqrt(error[epoch] ** 2 * feature[epoch] ** 2 + error[epoch] ** 2)
            result = np.where(np.isnan(norm), result, norm)
        return result
