"""The theorem behind TDDS holds, in any orthonormal basis; and what it does not say is held fast by counterexamples."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from thresher.errors import InputError
from thresher.scorers import TDDS
from thresher.testing.identity import best_constants, reconstruction_error, temporal_variances, variance_sum
from thresher.types import Frame, Pool

Array = NDArray[np.float64]


def series(max_epochs: int = 8, max_n: int = 6, min_epochs: int = 1) -> st.SearchStrategy[Array]:
    """Return a strategy of (T, N) matrices, with ties, constant columns and copies among them."""
    shapes = st.tuples(st.integers(min_epochs, max_epochs), st.integers(1, max_n))
    whole = st.integers(-9, 9).map(float)
    fine = st.floats(-100, 100, allow_subnormal=False)
    return shapes.flatmap(lambda shape: hnp.arrays(np.float64, shape, elements=st.one_of(whole, fine)))


def random_basis(n: int, seed: int) -> Array:
    """Return n random orthonormal columns."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


def bases(n: int, seed: int) -> list[Array | None]:
    """Return the samples themselves and a random basis."""
    return [None, random_basis(n, seed)]


def kept_of(n: int, seed: int) -> Array:
    """Return a random set of coordinates, from none to all."""
    rng = np.random.default_rng(seed)
    return rng.permutation(n)[: rng.integers(n + 1)]


seeds = st.integers(0, 2**16)


@given(values=series(), seed=seeds)
@settings(deadline=None, max_examples=40)
def test_the_error_is_the_variance_of_what_was_dropped(values: Array, seed: int) -> None:
    kept = kept_of(values.shape[1], seed)
    for basis in bases(values.shape[1], seed):
        wanted = variance_sum(values, kept, basis)
        assert reconstruction_error(values, kept, basis) == pytest.approx(wanted, rel=1e-9, abs=1e-8)


@given(values=series(), seed=seeds)
@settings(deadline=None, max_examples=40)
def test_time_means_are_the_best_constants(values: Array, seed: int) -> None:
    """Any other constants cost the squared distance from the means, so every perturbation raises the error."""
    kept = kept_of(values.shape[1], seed)
    for basis in bases(values.shape[1], seed):
        means = best_constants(values, kept, basis)
        least = reconstruction_error(values, kept, basis, means)
        assert least == pytest.approx(reconstruction_error(values, kept, basis), rel=1e-9, abs=1e-8)
        rng = np.random.default_rng(seed)
        shift = rng.choice([-1, 1], size=means.shape) * rng.uniform(0.1, 2, size=means.shape)
        moved = reconstruction_error(values, kept, basis, means + shift)
        assert moved == pytest.approx(least + (shift**2).sum(), rel=1e-9, abs=1e-8)
        assert moved > least or not len(means)


@given(values=series(max_n=4), seed=seeds)
@settings(deadline=None, max_examples=20)
def test_no_subset_beats_the_largest_variances(values: Array, seed: int) -> None:
    n = values.shape[1]
    for basis in bases(n, seed):
        largest_first = np.argsort(-temporal_variances(values, basis))
        for count in range(n + 1):
            best = min(reconstruction_error(values, subset, basis) for subset in combinations(range(n), count))
            found = reconstruction_error(values, largest_first[:count], basis)
            assert found == pytest.approx(best, rel=1e-9, abs=1e-8)


@given(values=series(), seed=seeds)
@settings(deadline=None, max_examples=40)
def test_the_basis_moves_variance_but_makes_none(values: Array, seed: int) -> None:
    turned = temporal_variances(values, random_basis(values.shape[1], seed)).sum()
    assert turned == pytest.approx(temporal_variances(values).sum(), rel=1e-9, abs=1e-8)


# What the theorem does not say.


def tdds(changes: Array, **params: Any) -> Array:
    """Return TDDS of changes (T - 1, N), which begin with the second epoch."""
    scorer = TDDS(**params)
    state = scorer.init(changes.shape[1])
    for epoch, row in enumerate(np.vstack([np.full(changes.shape[1], np.nan), changes]).astype(np.float32)):
        scorer.update(state, Frame(epoch, np.arange(len(row)), {"change": row}, len(row)))
    return scorer.compute(state, Pool(changes.shape[1])).astype(np.float64)


def test_late_weights_can_turn_the_ranking() -> None:
    """The first sample moved early and much, the second late and little: window norms (2, 0) and (0, 1), by sqrt 2."""
    changes = np.array([[1.0, 1.0], [3.0, 1.0], [3.0, 2.0]])
    scores = tdds(changes, window=3)
    np.testing.assert_allclose(scores * np.sqrt(2), [0.09 * 2, 0.9 * 1], rtol=1e-6)
    np.testing.assert_allclose(temporal_variances(changes), [8 / 9, 2 / 9])
    assert scores[1] > scores[0]  # the released score keeps the second and drops the first,
    assert reconstruction_error(changes, [1]) == pytest.approx(
        4 * reconstruction_error(changes, [0])
    )  # at 4 times the error


def test_norms_instead_of_variances_can_turn_the_ranking() -> None:
    """Same windows, same weights: only the square is missing, and it is what makes a sum of spreads an error."""
    changes = np.array([[1.0, 1.0], [6.0, 1.0], [6.3, 2.0]])
    by_norm, by_variance = tdds(changes, window=3), tdds(changes, window=3, spread="variance")
    np.testing.assert_allclose(by_norm * np.sqrt(2), [0.09 * 5 + 0.9 * 0.3, 0.9], rtol=1e-5)
    np.testing.assert_allclose(by_variance * 4, [0.09 * 25 + 0.9 * 0.09, 0.9], rtol=1e-5)
    assert by_norm[1] > by_norm[0]
    assert by_variance[0] > by_variance[1]


@given(values=series(min_epochs=2))
@settings(deadline=None, max_examples=40)
def test_one_window_over_all_epochs_ranks_as_the_variance(values: Array) -> None:
    """With K = T there is one window, and its norm is the root of the variance times a constant: within the theorem."""
    count = len(values)
    scores = tdds(values, window=count + 1, decay=1.0)
    np.testing.assert_allclose(scores, np.sqrt(count * temporal_variances(values)), rtol=1e-4, atol=1e-3)


@given(values=series(min_epochs=4), seed=seeds)
@settings(deadline=None, max_examples=40)
def test_variances_of_windows_are_a_weighted_error(values: Array, seed: int) -> None:
    """With `spread="variance"` the theorem comes back: the dropped scores add up to the weighted errors of all windows."""
    window, decay = 4, 0.7
    scores = tdds(values, window=window, decay=decay, spread="variance")
    kept = kept_of(values.shape[1], seed)
    parts = [values[k : k + window - 1] for k in range(len(values) - window + 2)]
    weights = decay * (1 - decay) ** np.arange(len(parts))[::-1]
    error = sum(weight * reconstruction_error(part, kept) for weight, part in zip(weights, parts, strict=True))
    assert np.delete(scores, kept).sum() == pytest.approx(error, rel=1e-4, abs=1e-2)


def test_the_variance_does_not_know_the_order_of_epochs() -> None:
    changes = np.random.default_rng(0).gamma(2.0, size=(20, 30))
    np.testing.assert_allclose(temporal_variances(changes[::-1]), temporal_variances(changes))
    assert not np.allclose(tdds(changes[::-1], window=5), tdds(changes, window=5), rtol=0.1)


@given(values=series(), seed=seeds)
@settings(deadline=None, max_examples=40)
def test_dropping_to_nothing_costs_the_mean_square(values: Array, seed: int) -> None:
    """Training on a coreset has no constants: then a sample that pulls steadily is missed, whatever its variance."""
    kept = kept_of(values.shape[1], seed)
    gone = np.delete(values, kept, axis=1)
    found = reconstruction_error(values, kept, constants=np.zeros(gone.shape[1]))
    assert found == pytest.approx((gone**2).mean(axis=0).sum(), rel=1e-9, abs=1e-8)


def test_samples_are_not_the_best_axes() -> None:
    """Two samples that move alike are both kept before a third, though one of them says all of the other."""
    together, alone = np.array([0.0, 3.0, 0.0, 3.0]), np.array([2.0, 2.0, 0.0, 0.0])
    values = np.stack([together, together, alone], axis=1)
    assert np.argsort(-temporal_variances(values), kind="stable").tolist() == [0, 1, 2]
    principal = np.linalg.eigh(np.cov(values.T))[1]
    two = np.argsort(-temporal_variances(values, principal))[:2]
    assert reconstruction_error(values, [0, 1]) == pytest.approx(1)
    assert reconstruction_error(values, two, principal) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], [0]), r"shape \(T, N\)"),
        (([[np.nan, 1.0], [0.0, 1.0]], [0]), "NaN or infinity. A `change` has no value in the first epoch"),
        (([[1.0, 2.0]], [2]), r"distinct coordinates in \[0, 2\)"),
        (([[1.0, 2.0]], [0, 0]), "distinct coordinates"),
        (([[1.0, 2.0]], np.array([True, False])), r"integers, but got \[True, False\]"),
        (([[1.0, 2.0]], [0.5]), r"integers, but got \[0.5\]"),
        (([[1.0, 2.0]], [0], [[1.0, 1.0], [0.0, 1.0]]), "2 orthonormal columns"),
        (([[1.0, 2.0]], [0], None, [1.0, 2.0]), "Expected 1 constants"),
    ],
)
def test_impossible_input(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        reconstruction_error(*arguments)
