"""Records a model that returns NumPy probabilities: boosting rounds, growing forests, any library without logits.

recorder = Recorder(len(x), num_classes, scorers={"aum": AUM()})
record_rounds(recorder, model.staged_predict_proba(x), y)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thresher.errors import InputError
from thresher.recorder import Recorder
from thresher.types import Floats

_SLACK = 1e-3  # libraries that predict in float32 over many classes are off by about 1e-6 a class


def logits_of(probabilities: ArrayLike) -> Floats:
    """Return logits (B, C) float32 whose softmax is `probabilities`: their logarithms.

    `probabilities` is (B, C) in [0, 1] with rows that sum to 1; or (B,), the probability of class 1 of two, as XGBoost
    returns it. A probability of 0 becomes float32's smallest normal number, so that logits stay finite (-87.3). Raises
    InputError for anything else.

    >>> [[round(float(x), 2) for x in row] for row in logits_of([[0.25, 0.75], [1.0, 0.0]])]
    [[-1.39, -0.29], [0.0, -87.34]]
    >>> np.exp(logits_of([0.75])).tolist()
    [[0.25, 0.75]]
    """
    values: NDArray[Any] = np.asarray(probabilities)
    if values.dtype.kind != "f" or values.ndim not in (1, 2):
        raise InputError(f"Expected float probabilities (B, C) or (B,), but got {values.dtype} of shape {values.shape}.")
    if values.ndim == 1:
        values = np.stack([1 - values, values], axis=1)
    if not np.all((values >= 0) & (values <= 1)):  # also NaN
        raise InputError("Expected probabilities in [0, 1], but some are not. Pass logits directly to Recorder.update.")
    sums = values.sum(axis=1)
    if np.any(np.abs(sums - 1) > _SLACK):
        worst = int(np.abs(sums - 1).argmax())
        raise InputError(
            f"Expected probabilities that sum to 1 in each row, but those of row {worst} sum to {sums[worst]:.4g}. "
            "For independent labels, use one Recorder per label."
        )
    wide = values.astype(np.result_type(values.dtype, np.float32), copy=False)  # in float16 the smallest one would be 0
    logits: Floats = np.log(np.maximum(wide, np.finfo(np.float32).tiny)).astype(np.float32)
    return logits


def record_rounds(
    recorder: Recorder, rounds: Iterable[ArrayLike], targets: ArrayLike, sample_ids: ArrayLike | None = None
) -> None:
    """Record each round's probabilities of the training samples as one epoch.

    `rounds` yields (N, C), or (N,) for two classes, for each round from the first, as scikit-learn's
    `staged_predict_proba(x)` does; `targets` (N,) are class indices in the order of the columns; `sample_ids` (N,) defaults
    to 0 to N - 1. Rounds that the Recorder already holds are skipped, so a resumed recording has no gaps. Raises
    InputError, and what the Recorder raises.

    >>> from thresher.scorers import AUM
    >>> recorder = Recorder(2, 2, scorers={"aum": AUM()})
    >>> record_rounds(recorder, [[[0.5, 0.5], [0.5, 0.5]], [[0.9, 0.1], [0.7, 0.3]]], targets=[0, 1])
    >>> recorder.epoch, [round(float(s), 3) for s in recorder.scores()["aum"].values]
    (2, [0.4, -0.2])
    """
    labels = np.asarray(targets)
    ids = np.arange(len(labels)) if sample_ids is None else np.asarray(sample_ids)
    for number, probabilities in enumerate(rounds):
        if number >= recorder.epoch:
            logits = logits_of(probabilities)
            if len(logits) != len(labels):
                raise InputError(
                    f"Expected the probabilities of all {len(labels)} samples in each round, but round {number} has "
                    f"{len(logits)} rows. Pass an iterable of rounds, each with a row for every target."
                )
            recorder.update(logits, labels, ids)
            recorder.end_epoch()
