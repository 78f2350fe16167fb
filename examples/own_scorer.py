"""A scorer of your own, held to the same contract as ours: first-epoch loss, "what is hard before anything is learned"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from thresher import Recorder, select
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


if __name__ == "__main__":
    check_scorer(FirstLoss())
    print("FirstLoss holds to the contract: holes, shards, resumes, its literal definition.")

    digits = load_digits()
    pictures, labels = digits.data / 16, digits.target
    recorder = Recorder(len(labels), 10, {"first_loss": FirstLoss()}, targets=labels)
    network = MLPClassifier(32, random_state=0)
    for _ in range(3):
        network.partial_fit(pictures, labels, classes=range(10))
        recorder.update(np.log(network.predict_proba(pictures) + 1e-12), labels, np.arange(len(labels)))
        recorder.end_epoch()
    coreset = select(recorder.scores()["first_loss"], recorder.pool(), 0.1, "stratified")
    counts = np.bincount(labels[coreset.ids], minlength=10)
    print(f"{len(coreset)} digits, drawn evenly from strata of the first loss, by class: {counts.tolist()}")
