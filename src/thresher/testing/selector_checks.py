"""The conformance suite for selectors: what every selector must satisfy, whoever wrote it."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
from fractions import Fraction

import numpy as np

from thresher.keep import share_times
from thresher.ranking.keys import id_hash
from thresher.registry import fault_of
from thresher.selectors._base import Selector
from thresher.selectors._quota import class_quotas
from thresher.testing.generators import need_asserts, need_instance
from thresher.types import Floats, Ids, Pool, Scores

_N = 60


def example(seed: int = 0, n: int = _N, num_classes: int = 4) -> tuple[Scores, Pool]:
    """Return random positive scores with ties, and a pool with targets and every auxiliary score that selectors read."""
    rng = np.random.default_rng(seed)
    scores = Scores(np.round(rng.gamma(2.0, size=n), 1).astype(np.float32) + np.float32(0.1))
    aux = {name: rng.random(n, dtype=np.float32) for name in ("mean_prob", "correctness", "logit_margin")}
    return scores, Pool(n, rng.integers(num_classes, size=n), None, num_classes, aux=aux)


def check_selector(selector: Selector) -> None:
    """Check `selector` against the contract of `Selector`; raises AssertionError naming what failed.

    >>> from thresher.selectors.top import Top
    >>> check_selector(Top())
    """
    need_asserts()
    need_instance(selector, Selector)
    check_declaration(selector)
    scores, pool = example()
    before = copy.deepcopy((scores.values, pool.targets, pool.aux["mean_prob"]))
    for keep in range(1, at_most(selector, _N) + 1):
        check_pick(selector, scores, pool, keep)
    check_balance(selector, scores, pool)
    check_direction(selector, scores, pool)
    check_ties(selector, pool)
    for one, other in zip(before, (scores.values, pool.targets, pool.aux["mean_prob"]), strict=True):
        np.testing.assert_array_equal(one, other, err_msg=f"{selector.name}: changed its input")
    check_small_pools(selector)


def at_most(selector: Selector, n: int) -> int:
    """Return how many of n samples the selector can keep: all, but for the share in [0, 1) that a `cutoff` drops."""
    cutoff = selector.params().get("cutoff")
    share = Fraction(str(cutoff)) if isinstance(cutoff, float) and 0 <= cutoff < 1 else Fraction(0)
    return n - int(share_times(share, n))


def check_declaration(selector: Selector) -> None:
    """A frozen dataclass, documented, hashable, rebuilt from its JSON-ready parameters."""
    fault = fault_of(type(selector), Selector)
    assert not fault, f"{selector.name}: {fault}"
    assert "Source:" in (inspect.getdoc(type(selector)) or ""), f"{selector.name}: the docstring must have `Source: ...`"
    assert hash(selector) == hash(copy.copy(selector)), f"{selector.name}: must be hashable by its parameters"
    assert type(selector)(**json.loads(json.dumps(selector.params()))) == selector, f"{selector.name}: params() must rebuild"


def check_pick(selector: Selector, scores: Scores, pool: Pool, keep: int) -> None:
    """Exactly `keep` ids (so all of them for N), sorted, unique, int64, in range, and the same for the same seed."""
    first, second = (_pick(selector, scores, pool, keep) for _ in range(2))
    assert isinstance(first, np.ndarray), f"{selector.name}: ids are {type(first).__name__}, not an array"
    assert first.dtype == np.int64, f"{selector.name}: ids are {first.dtype}, not int64"
    assert first.shape == (keep,), f"{selector.name}: asked for {keep}, picked {first.shape}"
    assert (np.diff(first) > 0).all(), f"{selector.name}: ids must be sorted and unique"
    assert first[0] >= 0 and first[-1] < pool.n, f"{selector.name}: ids out of range"  # noqa: PT018
    np.testing.assert_array_equal(first, second, err_msg=f"{selector.name}: another draw for the same seed")


def check_balance(selector: Selector, scores: Scores, pool: Pool) -> None:
    """With `balanced=True` every class keeps its share, by largest remainder."""
    if not selector.params().get("balanced", False):
        return
    targets = pool.need_targets(selector.name)
    for keep in range(1, at_most(selector, pool.n) + 1):
        kept = np.bincount(targets[_pick(selector, scores, pool, keep)], minlength=int(targets.max()) + 1)
        np.testing.assert_array_equal(kept, class_quotas(targets, keep), err_msg=f"{selector.name}: unfair to a class")


def check_direction(selector: Selector, scores: Scores, pool: Pool) -> None:
    """For rank-based rules, a score with hard low end selects the same as its negative with hard high end."""
    if not selector.rank_based:
        return
    turned = Scores(-scores.values, "low")
    for keep in (1, 7, _N // 2):
        one, other = (_pick(selector, s, pool, keep) for s in (scores, turned))
        np.testing.assert_array_equal(one, other, err_msg=f"{selector.name}: depends on the score's direction")


def check_ties(selector: Selector, pool: Pool) -> None:
    """For rank-based rules, ties are broken by the hash of the id, as if it were a last digit of the score."""
    if not selector.rank_based:
        return
    steps = np.random.default_rng(2).integers(3, size=pool.n).astype(np.float32)
    place = np.argsort(np.argsort(id_hash(np.arange(pool.n))))
    last_digit = place.astype(np.float32) / np.float32(2 * pool.n)
    untied: tuple[Floats, Floats] = (steps - last_digit, steps + last_digit)
    for keep in range(1, at_most(selector, pool.n) + 1):
        picked = _pick(selector, Scores(steps), pool, keep)
        by_hash = [_pick(selector, Scores(values), pool, keep) for values in untied]
        stable = any(np.array_equal(picked, one) for one in by_hash)
        assert stable, f"{selector.name}: equal scores must be taken in the order of thresher.ranking.keys.id_hash"


def check_small_pools(selector: Selector) -> None:
    """One sample, one class, a class without samples, a class of one sample."""
    for targets in (np.array([0]), np.zeros(6, dtype=np.int64), np.array([0, 0, 2, 2, 2, 0]), np.array([0, 2, 2, 2])):
        n = len(targets)
        scores, pool = example(1, n)
        pool = dataclasses.replace(pool, targets=targets, num_classes=3)
        for keep in range(1, at_most(selector, n) + 1):
            check_pick(selector, scores, pool, keep)


def _pick(selector: Selector, scores: Scores, pool: Pool, keep: int) -> Ids:
    return selector.pick(scores, pool, keep, np.random.default_rng(5))
