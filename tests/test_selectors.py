"""Every selector of the house passes the conformance suite, and the published worked examples."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from thresher.coreset import Coreset
from thresher.errors import InputError, MissingSamplesError
from thresher.ranking.keys import id_hash
from thresher.registry import make_selector, selectors
from thresher.selection import select
from thresher.selectors._base import Selector
from thresher.selectors._draw import log_weights
from thresher.selectors._quota import class_quotas
from thresher.selectors.beta import Beta
from thresher.selectors.learnable import Learnable
from thresher.selectors.near_median import NearMedian
from thresher.selectors.stratified import Stratified, stratum_budgets
from thresher.selectors.top import Top
from thresher.selectors.uniform import Uniform
from thresher.testing import check_selector
from thresher.types import Pool, Scores

VARIANTS: list[Selector] = [
    Top(end="easy"),
    Top(balanced=True),
    NearMedian(balanced=True),
    Uniform(balanced=True),
    Stratified(cutoff=0.3),
    Stratified(strata=5, balanced=True),
    Stratified(cutoff=0.3, balanced=True),
    Beta(c_d=11),
    Learnable(suspects=False, weighted=False),
    Learnable(balanced=False),
]


@pytest.mark.parametrize("selector", [make_selector(name) for name in selectors()] + VARIANTS, ids=str)
def test_conformance(selector: Selector) -> None:
    check_selector(selector)


def test_every_selector_is_found() -> None:
    assert set(selectors()) >= {"beta", "learnable", "near_median", "stratified", "top", "uniform"}


def test_select_takes_a_selector_by_name_with_parameters() -> None:
    scores, pool = Scores(np.arange(8, dtype=np.float32)), Pool(8, np.array([0] * 4 + [1] * 4))
    assert select(scores, pool, 0.5, "top:balanced=true") == select(scores, pool, 0.5, Top(balanced=True))
    assert select(scores, pool, 0.5, "top:end=easy").ids.tolist() == [0, 1, 2, 3]
    with pytest.raises(InputError, match="The selector top has no parameter cutoff"):
        select(scores, pool, 0.5, "top:cutoff=0.1")


def pick(selector: Selector, values: Any, keep: int, hard_end: Any = "high", **pool: Any) -> list[int]:
    """Return the picked ids as a list."""
    scores = Scores(np.asarray(values, dtype=np.float32), hard_end)
    found = selector.pick(scores, Pool(len(scores.values), **pool), keep, np.random.default_rng(0))
    return [int(i) for i in found]


def test_top_keeps_the_hard_end_of_either_direction() -> None:
    assert pick(Top(), [3, 1, 2], 1) == [0]
    assert pick(Top(), [3, 1, 2], 1, "low") == [1]
    assert pick(Top(end="easy"), [3, 1, 2], 1) == [1]


@pytest.mark.parametrize(
    ("share", "first", "last"), [(0.7, 7500, 42500), (0.5, 12500, 37500), (0.2, 20000, 30000), (0.1, 22500, 27500)]
)
def test_moderate_keeps_the_published_ranks(share: float, first: int, last: int) -> None:
    coreset = select(Scores(np.arange(50000, dtype=np.float32)), Pool(50000), share, NearMedian())
    assert (int(coreset.ids[0]), int(coreset.ids[-1]) + 1, len(coreset)) == (first, last, last - first)


def test_ccs_gives_the_published_budgets() -> None:
    assert stratum_budgets(np.array([3, 0, 50, 10, 200]), 100).tolist() == [3, 0, 43, 10, 44]


@pytest.mark.parametrize(("sizes", "keep"), [((3, 10), 0.4), ((20, 1), 0.25), ((23, 3), 0.04)])
def test_balanced_ccs_can_cut_all_that_is_pruned(sizes: tuple[int, ...], keep: float) -> None:
    """A class whose quota was rounded up drops one sample less, instead of being refused."""
    targets = np.repeat(np.arange(len(sizes)), sizes)
    pool, selector = Pool(len(targets), targets), Stratified(cutoff=1 - keep, balanced=True)
    coreset = select(Scores(np.arange(len(targets), dtype=np.float32)), pool, keep, selector)
    assert np.bincount(targets[coreset.ids], minlength=len(sizes)).tolist() == class_quotas(targets, len(coreset)).tolist()


def test_a_cutoff_that_was_subtracted_drops_what_its_decimal_does() -> None:
    """1 - 0.9 is a float just below 0.1."""
    scores = Scores(np.arange(100, dtype=np.float32))
    assert select(scores, Pool(100), 90, Stratified(cutoff=1 - 0.9)).ids.tolist() == list(range(90))


def literal_strata(values: Any, cutoff: float, strata: int, keep: int) -> tuple[list[list[int]], list[int]]:
    """Return the members of each stratum and how many of them are drawn, as Algorithm 1 of CCS says; high = hard."""
    left = sorted(range(len(values)), key=lambda i: values[i])[: len(values) - int(cutoff * len(values))]
    low, high = min(values[i] for i in left), max(values[i] for i in left)
    members: list[list[int]] = [[] for _ in range(strata)]
    for i in left:
        edges = [low + (high - low) * k / strata for k in range(1, strata)]
        members[sum(values[i] >= edge for edge in edges)].append(i)
    budgets, rest = [0] * strata, keep
    for visited, k in enumerate(sorted(range(strata), key=lambda k: (len(members[k]), k))):
        budgets[k] = min(len(members[k]), rest // (strata - visited))
        rest -= budgets[k]
    return members, budgets


@pytest.mark.parametrize(("cutoff", "strata", "keep"), [(0, 50, 90), (0.25, 8, 64), (0.5, 7, 100), (0.25, 8, 6), (0, 1, 9)])
def test_ccs_draws_from_the_strata_that_its_paper_draws_from(cutoff: float, strata: int, keep: int) -> None:
    """Scores in eighths over a range of eighths, so that many lie on an edge exactly."""
    values = np.random.default_rng(4).permutation(np.r_[np.arange(160), np.arange(0, 80, 2)]) / 8 + 3
    members, budgets = literal_strata(values.tolist(), cutoff, strata, keep)
    chosen = set(pick(Stratified(cutoff=cutoff, strata=strata), values, keep))
    assert [len(chosen & set(ids)) for ids in members] == budgets
    narrow = pick(Stratified(cutoff=cutoff, strata=strata), values / 1024, keep)
    assert set(narrow) == chosen
    turned = set(pick(Stratified(cutoff=cutoff, strata=strata), -values, keep, "low"))
    assert sum(len(turned & set(ids)) for ids in members) == keep  # of what is left


def test_ccs_draws_fairly_inside_a_stratum() -> None:
    values = np.r_[np.zeros(30), np.ones(10)]
    counts = np.zeros(40)
    for seed in range(600):
        counts[select(Scores(values.astype(np.float32)), Pool(40), 12, Stratified(strata=2), seed=seed).ids] += 1
    assert stats.chisquare(counts[:30]).pvalue > 1e-3
    assert stats.chisquare(counts[30:]).pvalue > 1e-3
    assert (counts[:30].sum(), counts[30:].sum()) == (3600, 3600)


def test_ccs_cuts_the_hardest_first() -> None:
    values = np.arange(100, dtype=np.float32)
    assert max(pick(Stratified(cutoff=0.3), values, 70)) == 69
    assert min(pick(Stratified(cutoff=0.3), values, 70, "low")) == 30
    with pytest.raises(InputError, match=r"cutoff=0.3 drops the 30 hardest.*at most 1 - keep = 0.2"):
        pick(Stratified(cutoff=0.3), values, 80)


def test_a_cutoff_of_32_bits_is_the_decimal_it_stands_for() -> None:
    """0.7 in 32 bits is just below it: what was written down left out 6 of 10 samples, where 7 were."""
    selector = Stratified(cutoff=np.float32(0.7), strata=np.int64(50))
    assert selector.params() == {"cutoff": 0.7, "strata": 50, "balanced": False}
    assert selector == Stratified(cutoff=0.7)
    assert pick(selector, np.arange(10), 3) == pick(Stratified(**selector.params()), np.arange(10), 3) == [0, 1, 2]


def test_the_largest_cutoff_that_is_told_is_taken() -> None:
    values = np.arange(100_000)
    with pytest.raises(InputError, match=r"at most 1 - keep = 0.66667, or") as caught:
        pick(Stratified(cutoff=0.7), values, 33_333)
    largest = str(caught.value).partition("1 - keep = ")[2].partition(",")[0]
    assert max(pick(Stratified(cutoff=float(largest)), values, 33_333)) == 33_332


@pytest.mark.parametrize(
    ("pruned", "a", "b"), [(0.3, 7.07, 8.93), (0.5, 7.56, 8.44), (0.7, 9.16, 6.84), (0.8, 10.69, 5.31), (0.9, 12.90, 3.10)]
)
def test_dual_has_the_published_beta(pruned: float, a: float, b: float) -> None:
    mean_prob = np.full(1000, 0.4)
    found = Beta(c_d=4).shape(Scores(np.arange(1000, dtype=np.float32)), mean_prob, round(1000 * (1 - pruned)))
    np.testing.assert_allclose(found, (a, b), atol=0.006)


@pytest.mark.parametrize("hard_end", ["high", "low"])
def test_dual_measures_the_ten_hardest(hard_end: Any) -> None:
    """b = 15 (1 - mu_D) (1 - P^c_d) with mu_D over the ten samples of highest difficulty, a = 16 - b."""
    rng = np.random.default_rng(1)
    values, mean_prob = rng.permutation(200), rng.random(200)
    ids = sorted(range(200), key=lambda i: values[i], reverse=hard_end == "high")
    for anchors, keep in ((10, 20), (3, 100)):
        mu = sum(mean_prob[i] for i in ids[:anchors]) / anchors
        b = 15 * (1 - mu) * (1 - (1 - keep / 200) ** 4)
        found = Beta(anchors=anchors).shape(Scores(values.astype(np.float32), hard_end), mean_prob, keep)
        np.testing.assert_allclose(found, (16 - b, b), rtol=1e-12)


def test_weights_are_the_scores_shifted_where_one_is_negative() -> None:
    assert log_weights(np.array([2, 1, 4], np.float32)).tolist() == np.log([2.0, 1, 4]).tolist()
    assert log_weights(np.array([-2, -3, 1], np.float32)).tolist() == [0, -np.inf, np.log(4.0)]


def test_dual_weighs_by_score_times_density() -> None:
    rng = np.random.default_rng(3)
    scores, mean_prob = Scores(rng.random(50).astype(np.float32)), rng.random(50).astype(np.float32)
    pool = Pool(50, aux={"mean_prob": mean_prob})
    a, b = Beta().shape(scores, mean_prob.astype(np.float64), 10)
    wanted = stats.beta.logpdf(mean_prob.astype(np.float64), a, b) + np.log(scores.values.astype(np.float64))
    found = Beta().log_weights(scores, pool, 10)
    np.testing.assert_allclose(found - found[0], wanted - wanted[0], rtol=1e-5, atol=1e-5)


def test_dual_draws_in_proportion() -> None:
    """Drawing one of three samples many times follows their weights."""
    scores = Scores(np.array([0.2, 0.5, 0.3], dtype=np.float32))
    pool = Pool(3, aux={"mean_prob": np.full(3, 0.5, dtype=np.float32)})
    rng = np.random.default_rng(0)
    counts = np.bincount([int(Beta().pick(scores, pool, 1, rng)[0]) for _ in range(3000)], minlength=3)
    assert stats.chisquare(counts, 3000 * scores.values.astype(float) / scores.values.astype(float).sum()).pvalue > 1e-3


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (Top, {"end": "middle"}, "'hard' or 'easy'"),
        (Stratified, {"cutoff": 1.0}, r"cutoff as a share in \[0, 1\)"), (Stratified, {"cutoff": -0.1}, "cutoff as a share"),
        (Stratified, {"strata": 0}, "at least one stratum"),
        (Beta, {"c_d": 0.0}, "positive c_d and total"), (Beta, {"total": 0.0}, "positive c_d and total"),
        (Beta, {"c_d": float("nan")}, "positive c_d"), (Beta, {"total": float("inf")}, "positive c_d and total"),
        (Beta, {"anchors": 0}, "at least one anchor"),
    ],
)  # fmt: skip
def test_impossible_parameters(kind: Any, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        kind(**given)


def test_mean_probabilities_are_probabilities() -> None:
    """A hair above 1, as a mean of float32 numbers may be, is let pass."""
    for value, fits in ((1 + 5e-7, True), (1.01, False), (-0.01, False), (float("nan"), False)):
        pool = Pool(4, aux={"mean_prob": np.array([0.5, 0.5, 0.5, value], dtype=np.float32)})
        if fits:
            assert len(Beta().pick(Scores(np.ones(4, np.float32)), pool, 2, np.random.default_rng(0))) == 2
        else:
            with pytest.raises(InputError, match=r"mean target probabilities in \[0, 1\]"):
                Beta().pick(Scores(np.ones(4, np.float32)), pool, 2, np.random.default_rng(0))


def test_dual_survives_probabilities_of_zero_and_one() -> None:
    pool = Pool(6, aux={"mean_prob": np.array([0, 1, 0, 1, 0.5, 0.5], dtype=np.float32)})
    found = Beta().pick(Scores(np.array([1, 1, 0, 0, 1, 0], dtype=np.float32)), pool, 5, np.random.default_rng(0))
    assert len(found) == 5


def test_dual_without_its_second_score() -> None:
    with pytest.raises(InputError, match="mean_prob"):
        pick(Beta(), [1, 2, 3], 1)


def test_balanced_selectors_need_labels() -> None:
    with pytest.raises(InputError, match=r"top\(balanced=True\) needs the class label"):
        pick(Top(balanced=True), [1, 2, 3], 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.data())
def test_quotas_are_exact_fair_and_within_the_classes(targets: list[int], data: st.DataObject) -> None:
    keep = data.draw(st.integers(1, len(targets)))
    labels = np.array(targets)
    quotas, counts = class_quotas(labels, keep), np.bincount(labels)
    assert quotas.sum() == keep
    assert (quotas <= counts).all()
    assert (np.abs(quotas - counts * keep / len(labels)) < 1).all()


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(0, 100, width=32), min_size=1, max_size=50),
    name=st.sampled_from(["top", "near_median", "uniform", "stratified"]),
    balanced=st.booleans(),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_any_scores_give_exactly_what_was_asked(
    values: list[float], name: str, balanced: bool, seed: int, data: st.DataObject
) -> None:
    n = len(values)
    keep = data.draw(st.integers(1, n))
    pool = Pool(n, np.arange(n) % 3)
    coreset = select(Scores(np.array(values)), pool, keep, make_selector(name, {"balanced": balanced}), seed=seed)
    assert len(coreset) == keep
    again = select(Scores(np.array(values)), pool, keep, make_selector(name, {"balanced": balanced}), seed=seed)
    assert coreset.digest == again.digest


def test_select_refuses_what_it_cannot_use() -> None:
    scores = np.array([1, np.nan, 3], dtype=np.float32)
    with pytest.raises(MissingSamplesError, match=r"1 of 3 have none \(ids 1\)"):
        select(Scores(scores), Pool(3), 0.5, Top())
    with pytest.raises(InputError, match="infinite"):
        select(Scores(np.array([1, np.inf])), Pool(2), 0.5, Top())
    with pytest.raises(InputError, match="of 4 samples, but got shape"):
        select(Scores(scores), Pool(4), 0.5, Top())
    with pytest.raises(InputError, match="targets"):
        select(Scores(np.ones(3)), Pool(3, np.array([0])), 0.5, Top())
    with pytest.raises(MissingSamplesError, match="mean_prob"):
        select(Scores(np.ones(3)), Pool(3, aux={"mean_prob": np.full(3, np.nan, np.float32)}), 0.5, Beta())
    with pytest.raises(MissingSamplesError, match=r"none of 3 has one.*needs update_eval"):
        select(Scores(np.full(3, np.nan)), Pool(3), 0.5, Top())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": np.ones(3)}, r"Expected thresher\.Scores, but got ndarray"),
        ({"pool": 3}, r"Expected a thresher\.Pool, but got int"),
        ({"selector": Top}, "Expected a selector.*but got the class Top"), ({"selector": None}, "but got NoneType"),
        ({"seed": 1.5}, r"Expected a seed, an integer in \[0, 2\^63\), but got 1\.5"), ({"seed": "1"}, "but got '1'"),
    ],
)  # fmt: skip
def test_select_says_what_it_works_with(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        select(**({"scores": Scores(np.ones(3)), "pool": Pool(3), "keep": 0.5, "selector": Top()} | changed))


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "uint32", "uint64", ">i8"])
@pytest.mark.parametrize("name", ["learnable", "near_median", "stratified", "top", "uniform"])
def test_labels_of_any_integer_type_give_the_same_coreset(name: str, kind: str) -> None:
    """Strata and bins of the classes are numbered far beyond what a byte holds."""
    rng = np.random.default_rng(0)
    targets, values = rng.integers(0, 10, 400), rng.random(400, dtype=np.float32)
    selector, aux = make_selector(name, {"balanced": True}), {"correctness": values, "logit_margin": values}
    pools = [Pool(400, labels, aux=aux) for labels in (targets, targets.astype(kind))]
    one, other = (select(Scores(values), pool, 0.3, selector) for pool in pools)
    assert one.digest == other.digest
    assert pools[0].targets is targets


def test_labels_may_be_a_list_and_must_be_integers() -> None:
    pool = Pool(4, [0, 1, 0, 1])  # type: ignore[arg-type]
    assert select(Scores(np.arange(4.0)), pool, 2, Top(balanced=True)).ids.tolist() == [2, 3]
    for labels in ([0.0, 1.0], ["cat", "dog"], [[0], [1]], [True, False]):
        with pytest.raises(InputError, match=r"targets as \(N,\) integer class labels"):
            Pool(2, np.array(labels))
    with pytest.raises(InputError, match="numeric scores, but got a list with other values"):
        Scores(["much"])  # type: ignore[arg-type]


@dataclass(frozen=True)
class TooMany(Top):
    """Returns one sample too many. Source: a mistake."""

    def pick(self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator) -> Any:
        return super().pick(scores, pool, keep + 1, rng)


@dataclass(frozen=True)
class Twice(Top):
    """Returns one sample as often as asked. Source: a mistake."""

    def pick(self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator) -> Any:
        return np.zeros(keep, dtype=np.int64)


@dataclass(frozen=True)
class LastOfTies(Top):
    """Takes the largest ids among equal scores, then the smallest. Source: a mistake."""

    def pick(self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator) -> Any:
        order = np.lexsort((np.arange(pool.n) * 7 % 61, -scores.difficulty))
        return np.sort(order[:keep])


@dataclass(frozen=True)
class Meddler(Top):
    """Writes into what it was given. Source: a mistake."""

    def pick(self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator) -> Any:
        pool.aux["mean_prob"][0] = 0.5
        return super().pick(scores, pool, keep, rng)


@dataclass(frozen=True)
class Unseeded(Uniform):
    """Draws from a generator of its own. Source: a mistake."""

    def pick(self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator) -> Any:
        return super().pick(scores, pool, keep, np.random.default_rng())


@dataclass(frozen=True)
class Unfair(Top):
    """Promises balance and does not keep it. Source: a mistake."""

    def pick(self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator) -> Any:
        return Top().pick(scores, pool, keep, rng)


@dataclass(frozen=True)
class OneWay(Top):
    """Reads the raw values. Source: a mistake."""

    def pick(self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator) -> Any:
        return super().pick(Scores(scores.values), pool, keep, rng)


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        (LastOfTies(), "in the order of thresher.ranking"), (Meddler(), "changed its input"), (Unseeded(), "same seed"),
        (Unfair(balanced=True), "unfair to a class"), (OneWay(), "score's direction"),
    ],
)  # fmt: skip
def test_the_suite_sees_mistakes(selector: Selector, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_selector(selector)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(0, 9, width=32)), min_size=1, max_size=40), st.data())
def test_dual_gives_exactly_what_was_asked(rows: list[tuple[float, float]], data: st.DataObject) -> None:
    mean_prob, values = np.array(rows, dtype=np.float32).T
    keep = data.draw(st.integers(1, len(rows)))
    pool = Pool(len(rows), aux={"mean_prob": mean_prob})
    one, other = (select(Scores(values), pool, keep, Beta(), seed=9) for _ in range(2))
    assert len(one) == keep
    assert one.digest == other.digest


def test_a_selector_that_breaks_the_rules_is_seen() -> None:
    with pytest.raises(InputError, match=r"Expected 2 samples.*but it picked 3"):
        select(Scores(np.arange(4.0)), Pool(4), 2, TooMany())
    with pytest.raises(InputError, match=r"coreset from the selector .*, but got none: .*each once.*check_selector"):
        select(Scores(np.arange(4.0)), Pool(4), 2, Twice())
    with pytest.raises(AssertionError, match="asked for 1"):
        check_selector(TooMany())


@dataclass(frozen=True)
class Strict(Twice):
    """Has a cutoff that is no share of the samples. Source: a mistake."""

    cutoff: float | None = 50.0


@dataclass(frozen=True)
class Listed(Top):
    """Returns no array. Source: a mistake."""

    def pick(self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator) -> Any:
        return super().pick(scores, pool, keep, rng).tolist()


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        (Strict(), "sorted and unique"), (Strict(cutoff=None), "sorted and unique"), (Listed(), "ids are list, not an"),
        (Top, "an instance of a class that extends Selector, but got the class Top, without parentheses"), (3, "but got 3"),
    ],
)  # fmt: skip
def test_the_suite_looks_at_whatever_it_is_given(selector: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_selector(selector)


class Undecorated(Top):
    """Has a field that is no parameter. Source: a mistake."""

    scale: int = 2


def test_the_suite_sees_parameters_that_are_none() -> None:
    with pytest.raises(AssertionError, match=r"lacks @dataclass\(frozen=True\)"):
        check_selector(Undecorated())


def test_provenance_is_carried() -> None:
    scores = Scores(np.arange(10.0), "low", {"scorer": "aum", "at": 30})
    coreset = select(scores, Pool(10), 0.3, Uniform(), seed=4, source={"fingerprint": "f", "method": "random"})
    assert isinstance(coreset, Coreset)
    assert coreset.source["scorer"] == {"scorer": "aum", "at": 30}
    assert coreset.source["selector"]["name"] == "uniform"
    assert (coreset.source["keep"], coreset.source["count"], coreset.source["seed"]) == (0.3, 3, 4)
    assert coreset.fingerprint == "f"


def successive_draws(weights: NDArray[np.float64], keep: int) -> dict[tuple[int, ...], float]:
    """Return how likely every set of `keep` ids is, drawn one after another by weight: the sum over all orders of each."""
    chances: dict[tuple[int, ...], float] = {}
    for order in permutations(range(len(weights)), keep):
        chance, left = 1.0, weights.sum()
        for i in order:
            chance *= weights[i] / left
            left -= weights[i]
        ids = tuple(sorted(order))
        chances[ids] = chances.get(ids, 0.0) + chance
    return chances


@pytest.mark.parametrize("rule", ["beta", "learnable", "equal", "uniform"])
def test_every_set_of_samples_is_drawn_as_often_as_its_rule_says(rule: str) -> None:
    values = np.array([0.9, 0.3, 0.5, 0.7, 0.2, 0.6], dtype=np.float32)
    mean_prob = np.array([0.6, 0.5, 0.8, 0.7, 0.75, 0.4], dtype=np.float32)
    pool = Pool(6, aux={"mean_prob": mean_prob, "correctness": np.ones(6, np.float32)})
    anchor = 15 * (1 - float(mean_prob[0])) * (1 - 0.5**4)
    density = stats.beta.pdf(mean_prob.astype(np.float64), 16 - anchor, anchor)
    given: dict[str, tuple[Selector, NDArray[np.float64]]] = {
        "beta": (Beta(anchors=1), values * density),
        "learnable": (Learnable(suspects=False, balanced=False), values.astype(np.float64)),
        "equal": (Learnable(suspects=False, balanced=False, weighted=False), np.ones(6)),
        "uniform": (Uniform(), np.ones(6)),
    }
    selector, weights = given[rule]
    seeds = 5000
    found = Counter(tuple(selector.pick(Scores(values), pool, 3, np.random.default_rng(s)).tolist()) for s in range(seeds))
    chances = successive_draws(weights, 3)
    wanted = {ids: chance * seeds for ids, chance in chances.items()}
    usual = [ids for ids, count in wanted.items() if count >= 5]  # chi-square says nothing of those expected hardly ever
    rare = [ids for ids in wanted if ids not in usual]
    counts = [found[ids] for ids in usual] + [sum(found[ids] for ids in rare)] * bool(rare)
    expected = [wanted[ids] for ids in usual] + [sum(wanted[ids] for ids in rare)] * bool(rare)
    assert stats.chisquare(counts, expected).pvalue > 1e-3


def test_the_rules_that_the_report_names_draw_by_the_same_numbers() -> None:
    """For one seed they share more than by chance, as the report says beside the overlaps; all others do not."""
    n, keep, rng = 2000, 200, np.random.default_rng(0)
    scores = Scores(rng.gamma(2, 1, n).astype(np.float32))
    aux = {"mean_prob": rng.uniform(0.05, 0.95, n), "correctness": rng.uniform(0.5, 1, n)}
    pool = Pool(n, aux={name: values.astype(np.float32) for name, values in aux.items()})
    rules = {
        "random": Uniform(), "ccs": Stratified(cutoff=0.1), "dual_beta": Beta(),
        "auto": Learnable(suspects=False, late=False, balanced=False),
    }  # fmt: skip
    drawn = {
        name: [set(select(scores, pool, keep, rule, s).ids.tolist()) for s in range(20)] for name, rule in rules.items()
    }
    more = {("random", "ccs"): 5.0, ("dual_beta", "auto"): 2.0}
    for one, other in combinations(rules, 2):
        same = np.mean([len(a & b) for a, b in zip(drawn[one], drawn[other], strict=True)])
        apart = np.mean([len(a & b) for a, b in zip(drawn[one], drawn[other][1:], strict=False)])
        if (one, other) in more:
            assert same > more[one, other] * apart, (one, other)
        else:
            assert same == pytest.approx(apart, rel=0.25), (one, other)
    assert set(select(scores, pool, keep // 2, Uniform(), 3).ids.tolist()) < drawn["random"][3]


@pytest.mark.parametrize("end", ["hard", "easy"])
def test_every_class_keeps_that_end_of_its_own(end: Any) -> None:
    """Against a literal loop: classes without samples, equal remainders, equal scores."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(5, 50))
        values, keep = rng.integers(6, size=n).astype(np.float32), int(rng.integers(1, n + 1))
        targets, hashes = 2 * rng.integers(7, size=n), id_hash(np.arange(n)).tolist()
        sizes = np.bincount(targets).tolist()
        quotas = [size * keep // n for size in sizes]
        ahead = sorted(range(len(sizes)), key=lambda c: (-(sizes[c] * keep % n), c))
        for c in ahead[: keep - sum(quotas)]:
            quotas[c] += 1
        sign, wanted = -1 if end == "hard" else 1, []
        for c, quota in enumerate(quotas):
            mine = [i for i in range(n) if targets[i] == c]
            wanted += sorted(mine, key=lambda i: (sign * values[i], hashes[i]))[:quota]
        assert pick(Top(end=end, balanced=True), values, keep, targets=targets) == sorted(wanted), seed
