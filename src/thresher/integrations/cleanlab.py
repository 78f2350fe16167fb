"""Recordings for cleanlab (extra `cleanlab`): suspected label errors from the recorded dynamics.

cleanlab takes labels and predicted probabilities, preferably out of sample. A recording has in-sample predictions of the
network during training: use early epochs, before wrong labels are fitted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.errors import InputError, MissingPackageError, MissingSamplesError
from thresher.trajectory.reader import Trajectory
from thresher.types import Floats, Scores


def cleanlab_inputs(recording: Trajectory, start: int = 0, stop: int | None = None) -> tuple[NDArray[np.int64], Floats]:
    """Return `labels` (N,) and `pred_probs` (N, C) float32, the mean prediction over epochs `start` to `stop - 1`.

    Raises InputError if no logits or targets were recorded or the range of epochs is empty or invalid, MissingSamplesError
    if a sample was never seen in them.
    """
    stop = recording.epochs if stop is None else stop
    if not recording.has_logits or recording.targets is None:
        raise InputError("Expected a recording with logits and targets. Record with --logits float16 or float32.")
    if not 0 <= start < stop <= recording.epochs:
        raise InputError(f"Expected epochs within [0, {recording.epochs}], at least one, but got {start} to {stop}.")
    total = np.zeros((recording.n, recording.num_classes))
    count = np.zeros((recording.n, 1))
    for epoch in range(start, stop):
        logits = recording.logits(epoch).astype(np.float64)
        seen = ~np.isnan(logits).any(axis=1)
        raised = np.exp(logits[seen] - logits[seen].max(axis=1, keepdims=True))
        total[seen] += raised / raised.sum(axis=1, keepdims=True)
        count[seen] += 1
    if (count == 0).any():
        raise MissingSamplesError(
            f"Sample {int(np.flatnonzero(count == 0)[0])} was not seen in epochs {start} to {stop - 1}."
        )
    return recording.targets, (total / count).astype(np.float32)


def label_quality(recording: Trajectory, start: int = 0, stop: int | None = None) -> Scores:
    """Return cleanlab's self-confidence label quality, (N,) in [0, 1]; low is suspect, so the hard end is "low".

    Raises MissingPackageError if cleanlab is not installed, and what `cleanlab_inputs` raises.
    """
    labels, pred_probs = cleanlab_inputs(recording, start, stop)
    quality = _cleanlab("rank").get_label_quality_scores(labels, pred_probs)
    return Scores(quality, "low", {"scorer": "cleanlab label quality", "epochs": [start, stop or recording.epochs]})


def suspected_label_errors(recording: Trajectory, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
    """Return the sample ids whose labels cleanlab's confident learning suspects, the most suspect first.

    Raises MissingPackageError if cleanlab is not installed, and what `cleanlab_inputs` raises.
    """
    labels, pred_probs = cleanlab_inputs(recording, start, stop)
    found = _cleanlab("filter").find_label_issues(
        labels, pred_probs, return_indices_ranked_by="self_confidence", n_jobs=1, filter_by="both"
    )
    return np.asarray(found, dtype=np.int64)


def _cleanlab(part: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"cleanlab.{part}")
    except ImportError as error:
        raise MissingPackageError(f"Expected the package cleanlab ({error}). pip install 'thresher[cleanlab]'.") from None
