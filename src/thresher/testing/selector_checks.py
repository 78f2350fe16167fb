"""The conformance suite of selectors: what every selector must hold to, whoever wrote it."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json

import numpy as np

from thresher.selectors._base import Selector
from thresher.types import Pool, Scores

_N = 60


def example(seed: int = 0, n: int = _N, num_classes: int = 4) -> tuple[Scores, Pool]:
    """Return random positive scores with ties, and a pool with targets and every auxiliary score selectors read."""
    rng = np.random.default_rng(seed)
    scores = Scores(np.round(rng.gamma(2.0, size=n), 1).astype(np.float32) + np.float32(0.1))
    aux = {"mean_prob": rng.random(n, dtype=np.float32)}
    return scores, Pool(n, rng.integers(num_classes, size=n), None, num_classes, aux=aux)


def check_selector(selector: Selector) -> None:
    """Hold `selector` to the contract of `Selector`; raises AssertionError naming what failed.

    >>> from thresher.selectors.top import Top
    >>> check_selector(Top())
    """
    check_declaration(selector)
    scores, pool = example()
    before = copy.deepcopy((scores.values, pool.targets, dict(pool.aux)))
    for keep in (1, 2, _N // 3, _N // 2):
        check_pick(selector, scores, pool, keep)
    check_everything(selector, scores, pool)
    check_direction(selector, scores, pool)
    for one, other in zip(before[:2], (scores.values, pool.targets), strict=True):
        np.testing.assert_array_equal(one, other, err_msg=f"{selector.name}: changed its input")
    check_small_pools(selector)


def check_declaration(selector: Selector) -> None:
    """Documented, hashable, rebuilt from its JSON-ready parameters."""
    assert "Source:" in (inspect.getdoc(type(selector)) or ""), f"{selector.name}: the docstring must have `Source: ...`"
    assert hash(selector) == hash(copy.copy(selector)), f"{selector.name}: must be hashable by its parameters"
    assert type(selector)(**json.loads(json.dumps(selector.params()))) == selector, f"{selector.name}: params() must rebuild"


def check_pick(selector: Selector, scores: Scores, pool: Pool, keep: int) -> None:
    """Exactly `keep` ids, sorted, unique, int64, in range, and the same again for the same seed."""
    first, second = (selector.pick(scores, pool, keep, np.random.default_rng(5)) for _ in range(2))
    assert first.dtype == np.int64, f"{selector.name}: ids are {first.dtype}, not int64"
    assert first.shape == (keep,), f"{selector.name}: asked for {keep}, picked {first.shape}"
    assert (np.diff(first) > 0).all(), f"{selector.name}: ids must be sorted and unique"
    assert first[0] >= 0 and first[-1] < pool.n, f"{selector.name}: ids out of range"  # noqa: PT018
    np.testing.assert_array_equal(first, second, err_msg=f"{selector.name}: another draw for the same seed")


def check_everything(selector: Selector, scores: Scores, pool: Pool) -> None:
    """Keeping N keeps all, where nothing is cut on purpose."""
    if selector.params().get("cutoff", 0) == 0:
        picked = selector.pick(scores, pool, pool.n, np.random.default_rng(0))
        np.testing.assert_array_equal(picked, np.arange(pool.n), err_msg=f"{selector.name}: keeping all must keep all")


def check_direction(selector: Selector, scores: Scores, pool: Pool) -> None:
    """A score whose low end is hard selects what its negative with the high end hard does, for rank-based rules."""
    if not selector.rank_based:
        return
    turned = Scores(-scores.values, "low")
    for keep in (1, 7, _N // 2):
        one, other = (selector.pick(s, pool, keep, np.random.default_rng(1)) for s in (scores, turned))
        np.testing.assert_array_equal(one, other, err_msg=f"{selector.name}: depends on the score's direction")


def check_small_pools(selector: Selector) -> None:
    """One sample, one class, and a class without samples."""
    if selector.params().get("cutoff", 0):
        selector = type(selector)(**{**selector.params(), "cutoff": 0.0})
    for targets in (np.array([0]), np.zeros(6, dtype=np.int64), np.array([0, 0, 2, 2, 2, 0])):
        n = len(targets)
        scores, pool = example(1, n)
        pool = dataclasses.replace(pool, targets=targets, num_classes=3)
        for keep in {1, n // 2 or 1, n}:
            check_pick(selector, scores, pool, keep)
