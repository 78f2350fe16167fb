"""Tools of a pass over dumped logits: reusable arrays, the last epoch's log-probabilities, the fast kernel."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher import signals
from thresher.types import Floats, Ids


class Scratch(threading.local):
    """Arrays that a thread reuses: new ones would be returned to the system after every chunk."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
        """Return an uninitialised array of that shape; the same name gives the same memory."""
        found = self._arrays.get(name)
        if found is None or found.shape[1:] != shape[1:] or len(found) < shape[0] or found.dtype != dtype:
            found = self._arrays[name] = np.empty(shape, dtype)
        return found[: shape[0]]


class Memory:
    """The log-probabilities of the last epoch, NaN before the first, rows in the order of their file.

    Rows are written sequentially and looked up through that epoch's order, so only reads are random access.
    """

    def __init__(self, n: int, num_classes: int) -> None:
        self._last = np.full((n, num_classes), np.nan, dtype=np.float32)
        self._next = np.empty_like(self._last)
        self._row = np.arange(n)

    def recall(self, ids: Ids, out: Floats) -> Floats:
        """Copy the rows of these samples into `out`."""
        # mode: ids were checked, and "raise" would make a copy of its own
        return np.take(self._last, self._row[ids], axis=0, out=out, mode="clip")

    def room(self, first: int, count: int) -> Floats:
        """Return the place of rows `first` to `first + count - 1` of the file of the epoch being read."""
        return self._next[first : first + count]

    def turn(self, order: Ids) -> None:
        """Make the epoch just read the last one; `order` is the sample id of each row."""
        self._last, self._next = self._next, self._last
        self._row[order] = np.arange(len(order))


def change(logits: Floats, ids: Ids, previous: Floats | None, room: Floats) -> tuple[dict[str, Floats], Floats]:
    """The `change` signal and the guarded log-probabilities, as in `signals`, in place and in as few passes as possible.

    `logits` and `previous` are overwritten; the log-probabilities go to `room`. The softmax must round as in the official
    code: a probability close to 1 has a logarithm close to 0, and the smallest scores depend on its last bit.
    """
    assert previous is not None
    starts = np.arange(0, logits.size, logits.shape[1])
    largest = np.maximum.reduceat(logits.reshape(-1), starts)  # half the time of max(axis=1), and a maximum is not rounded
    probs = np.subtract(logits, largest[:, None], out=logits)
    np.exp(probs, out=probs)
    probs /= probs.sum(axis=1, keepdims=True)
    log_probs = np.add(probs, np.float32(signals.LOG_GUARD), out=room)
    np.log(log_probs, out=log_probs)
    np.subtract(log_probs, previous, out=previous)
    return {"change": summed(previous, probs)}, log_probs


def summed(differences: Floats, probs: Floats) -> Floats:
    """Return the `change` of differences of log-probabilities, which are overwritten.

    The one sum of dumps, whatever signals are read beside it: another order of the classes would round a score otherwise.
    """
    np.abs(differences, out=differences)
    change: Floats = np.einsum("ij,ij->i", differences, probs)
    return change
