"""Shared by scorers that average one signal: a sum and a count per sample."""

from __future__ import annotations

import numpy as np

from thresher.scorers._base import State
from thresher.types import Floats, Frame


def new_mean(n: int) -> State:
    """Return the state before the first value."""
    return {"sum": np.zeros(n, dtype=np.float64), "count": np.zeros(n, dtype=np.int16)}


def add(state: State, frame: Frame, signal: str) -> None:
    """Add an epoch's values; NaN (no value for this sample) is not counted."""
    values = frame.values[signal]
    known = ~np.isnan(values)
    rows = frame.rows if bool(known.all()) else frame.ids[known]
    state["sum"][rows] += values[known]
    state["count"][rows] += 1


def mean(state: State) -> Floats:
    """Return (N,) float32 means, NaN where nothing was counted."""
    count = state["count"]
    average = state["sum"] / np.maximum(count, 1)
    return np.where(count == 0, np.nan, average).astype(np.float32)
