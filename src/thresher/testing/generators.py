"""Random dynamics for tests: trajectories with and without holes, and the frames a Recorder would make from them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from thresher import signals
from thresher.errors import InputError
from thresher.types import Frame, Pool

Trajectories = dict[str, NDArray[np.float64]]


def trajectories(seed: int, epochs: int, n: int, num_classes: int = 5, holes: float = 0.0) -> tuple[Trajectories, Pool]:
    """Return `{signal: (T, N) float64}` of random logits, NaN where a sample was not seen, and the pool they belong to.

    All signals are included, also those of the evaluation pass (only in the last epoch, as in recordings). Values are
    float32 numbers. A share `holes` of the samples is missing from each epoch; with holes, sample 0 is never seen.

    >>> values, pool = trajectories(0, epochs=4, n=6)
    >>> values["change"].shape, bool(np.isnan(values["change"][0]).all()), pool.n
    ((4, 6), True, 6)
    """
    rng = np.random.default_rng(seed)
    targets = rng.integers(num_classes, size=n)
    features = rng.normal(size=(n, 3)).astype(np.float32)
    logits = rng.normal(size=(n, num_classes))
    previous = np.full((n, num_classes), np.nan, dtype=np.float32)
    plain = list(signals.SIGNALS)
    names = plain + [signals.EVAL_PREFIX + name for name in plain if name not in signals.REMEMBERING]
    values = {name: np.full((epochs, n), np.nan) for name in names}
    for epoch in range(epochs):
        logits = logits + rng.normal(size=logits.shape) * 0.7
        out = signals.Outputs(logits.astype(np.float32), targets, features + epoch, previous)
        seen = rng.random(n) >= holes
        seen[0] &= holes == 0
        for name, value in signals.compute(out, plain).items():
            values[name][epoch, seen] = value[seen]
            if epoch == epochs - 1 and name not in signals.REMEMBERING:
                values[signals.EVAL_PREFIX + name][epoch, seen] = value[seen]
        previous[seen] = out.guarded_log_probs[seen]
    return values, Pool(n, targets, features, num_classes)


def frames(values: Trajectories) -> Iterator[Frame]:
    """Yield the frames of trajectories, as a Recorder would: one row per sample that was seen."""
    epochs, n = next(iter(values.values())).shape
    for epoch in range(epochs):
        ids = np.flatnonzero(~np.isnan(values["loss"][epoch])).astype(np.int64)
        yield Frame(epoch, ids, {name: array[epoch, ids].astype(np.float32) for name, array in values.items()}, n)


def need_instance(given: object, base: type) -> None:
    """Raise AssertionError for anything but an instance of `base`, a scorer or selector."""
    came = f"the class {given.__name__}, without parentheses" if isinstance(given, type) else repr(given)
    assert isinstance(given, base), f"Expected an instance of a class that extends {base.__name__}, but got {came}."


def need_asserts() -> None:
    """Raise InputError where Python leaves out `assert` (python -O): every check would pass."""
    if not __debug__:
        raise InputError("Expected Python without -O and PYTHONOPTIMIZE, which leave out the checks. Run them without.")
