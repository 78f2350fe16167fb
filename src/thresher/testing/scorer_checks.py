"""The conformance suite for scorers: what every scorer must satisfy, whoever wrote it.

`check_scorer(scorer)` runs all checks and raises AssertionError with the name of the one that failed.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from thresher import signals
from thresher.errors import UnknownNameError
from thresher.registry import fault_of
from thresher.scorers._base import Scorer, State
from thresher.testing.generators import Trajectories, frames, need_asserts, need_instance, trajectories
from thresher.types import Floats, Frame, Pool

_N = 40


def check_scorer(scorer: Scorer, *, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """Check `scorer` against the contract of `Scorer`; tolerances are for the comparison with its definition.

    >>> from thresher.scorers import TDDS
    >>> check_scorer(TDDS(window=4))
    """
    need_asserts()
    need_instance(scorer, Scorer)
    check_declaration(scorer)
    for holes in (0.0, 0.3):
        values, pool = trajectories(11, scorer.min_epochs + 7, _N, holes=holes)
        check_definition(scorer, values, pool, rtol, atol)
        check_any_epoch(scorer, values, pool)
        check_shards(scorer, values, pool)
        check_resume(scorer, values, pool)
    check_rows_outside_are_untouched(scorer)
    check_state_is_small(scorer)


def check_declaration(scorer: Scorer) -> None:
    """A frozen dataclass with a hard end; documented, hashable, JSON-ready, rebuilt from its parameters; signals exist."""
    fault = fault_of(type(scorer), Scorer)
    assert not fault, f"{scorer.name}: {fault}"
    doc = inspect.getdoc(type(scorer)) or ""
    assert "Source:" in doc, f"{scorer.name}: the docstring must name the source in a line `Source: ...`"
    assert hash(scorer) == hash(copy.copy(scorer)), f"{scorer.name}: must be hashable by its parameters"
    params = json.loads(json.dumps(scorer.params()))
    assert type(scorer)(**params) == scorer, f"{scorer.name}: params() must rebuild the scorer"
    for name in scorer.needs:
        try:
            signals.resolve(name)
        except UnknownNameError as error:
            raise AssertionError(f"{scorer.name}: {error}") from error


def run(
    scorer: Scorer, values: Trajectories, epochs: int | None = None, state: State | None = None, first: int = 0
) -> State:
    """Return the state after the frames `first` to `epochs - 1`."""
    n = next(iter(values.values())).shape[1]
    state = scorer.init(n) if state is None else state
    for frame in frames(values):
        if first <= frame.epoch and (epochs is None or frame.epoch < epochs):
            scorer.update(state, _only(frame, scorer))
    return state


def check_definition(scorer: Scorer, values: Trajectories, pool: Pool, rtol: float, atol: float) -> None:
    """The fast path gives what the literal definition gives, with NaN in the same places."""
    found = scorer.compute(run(scorer, values), pool)
    _check_form(scorer, found, pool.n)
    wanted = scorer.definition({name: values[name] for name in scorer.needs}, pool)
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=atol, err_msg=f"{scorer.name}: differs from its definition")


def check_any_epoch(scorer: Scorer, values: Trajectories, pool: Pool) -> None:
    """Computing changes nothing: scores computed midway equal those of a run that ends there, and the run is unaffected."""
    epochs = next(iter(values.values())).shape[0]
    state = scorer.init(pool.n)
    for epoch in range(epochs):
        run(scorer, values, epoch + 1, state, epoch)
        if epoch + 1 >= scorer.min_epochs:
            before = copy.deepcopy(state)
            first, second = scorer.compute(state, pool), scorer.compute(state, pool)
            _check_equal(scorer, first, second, "two questions in a row")
            _check_same_state(scorer, before, state, "compute changed the state")
            first[:] = 0  # what is handed out must not be the state itself
            _check_same_state(scorer, before, state, "compute hands out its own state")
            _check_equal(scorer, second, scorer.compute(run(scorer, values, epoch + 1), pool), f"asked after {epoch + 1}")


def check_shards(scorer: Scorer, values: Trajectories, pool: Pool) -> None:
    """Samples are independent: each half scored alone gives the same bits as the whole.

    A scorer without signals reads the whole pool and is not checked, unless it sets `by_class`: then each class is checked.
    """
    if scorer.by_class:
        check_classes(scorer, pool)
    if not scorer.needs:
        return
    whole = scorer.compute(run(scorer, values), pool)
    for part in (slice(0, _N // 2), slice(_N // 2, _N)):
        shard = Pool(
            len(whole[part]),
            None if pool.targets is None else pool.targets[part],
            None if pool.features is None else pool.features[part],
            pool.num_classes,
        )
        alone = scorer.compute(run(scorer, {name: array[:, part] for name, array in values.items()}), shard)
        _check_equal(scorer, whole[part], alone, "a shard scored alone")


def check_classes(scorer: Scorer, pool: Pool) -> None:
    """Classes are independent: each scored alone gives the same bits as the whole."""
    assert not scorer.needs, f"{scorer.name}: by_class is for scorers without signals"
    targets, features = pool.need_targets(scorer.name), pool.need_features(scorer.name)
    whole = scorer.compute(scorer.init(pool.n), pool)
    for label in np.unique(targets):
        rows = np.flatnonzero(targets == label)
        alone = scorer.compute(scorer.init(len(rows)), Pool(len(rows), targets[rows], features[rows], pool.num_classes))
        _check_equal(scorer, whole[rows], alone, "a class scored alone")


def check_resume(scorer: Scorer, values: Trajectories, pool: Pool) -> None:
    """A state that was saved and restored continues to the same bits."""
    half = max(1, scorer.min_epochs)
    state = {name: np.array(array) for name, array in run(scorer, values, half).items()}
    resumed = scorer.compute(run(scorer, values, None, state, half), pool)
    _check_equal(scorer, resumed, scorer.compute(run(scorer, values), pool), "resumed")


def check_rows_outside_are_untouched(scorer: Scorer) -> None:
    """A sample that is missing from an epoch keeps its part of the state."""
    values, _ = trajectories(3, scorer.min_epochs + 3, _N)
    state = run(scorer, values)
    before = copy.deepcopy(state)
    last = list(frames(values))[-1]
    rows = np.arange(0, _N, 2)
    part = Frame(last.epoch + 1, last.ids[rows], {name: value[rows] for name, value in last.values.items()}, _N)
    scorer.update(state, _only(part, scorer))
    for name, array in state.items():
        if array.shape[-1] == _N:
            np.testing.assert_array_equal(
                array[..., 1::2], before[name][..., 1::2], err_msg=f"{scorer.name}: {name} of a missing sample changed"
            )


def check_state_is_small(scorer: Scorer) -> None:
    """The state does not grow with the epochs, and holds plain numbers with the samples on the last axis."""
    values, _ = trajectories(5, scorer.min_epochs + 9, _N)
    early, late = run(scorer, values, 1), run(scorer, values)
    assert {k: v.nbytes for k, v in early.items()} == {k: v.nbytes for k, v in late.items()}, f"{scorer.name}: state grows"
    for name, array in late.items():
        assert array.dtype.kind in "fiu", f"{scorer.name}: {name} is {array.dtype}, not a number"
        assert array.shape[-1] in (_N, 1), f"{scorer.name}: {name} has shape {array.shape}; samples belong on the last axis"


def _only(frame: Frame, scorer: Scorer) -> Frame:
    """Return the frame as a Recorder hands it on: the signals that the scorer declared, and rows that have one of them."""
    return Frame(frame.epoch, frame.ids, {name: frame.values[name] for name in scorer.needs}, frame.n).having(scorer.needs)


def _check_form(scorer: Scorer, scores: Floats, n: int) -> None:
    assert isinstance(scores, np.ndarray), f"{scorer.name}: scores are {type(scores).__name__}, not an array"
    assert scores.dtype == np.float32, f"{scorer.name}: scores are {scores.dtype}, not float32"
    assert scores.shape == (n,), f"{scorer.name}: scores have shape {scores.shape}, not ({n},)"


def _check_equal(scorer: Scorer, one: Floats, other: Floats, what: str) -> None:
    np.testing.assert_array_equal(one, other, err_msg=f"{scorer.name}: {what} differs")


def _check_same_state(scorer: Scorer, one: Mapping[str, Any], other: Mapping[str, Any], what: str) -> None:
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=f"{scorer.name}: {what} ({name})")
