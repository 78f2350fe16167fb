"""`stratified`: the coverage-centric sampling of CCS."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from thresher.errors import InputError
from thresher.selectors._base import Selector
from thresher.selectors._quota import hardest_first, per_class
from thresher.types import Ids, Pool, Scores


@dataclass(frozen=True)
class Stratified(Selector):
    """Drop the hardest share `cutoff` (CCS's beta), then draw evenly from strata of the score.

    Formula:
    1. drop the `floor(cutoff * N)` hardest samples (equal ones: smaller id first), a share of the full N;
    2. cut `[lo, hi]`, the range of the remaining scores, into `strata` intervals of equal WIDTH, half-open but for the
       last, which holds the maximum;
    3. visit the strata by rising population (equal ones: lower scores first); with R strata left to visit, this one
       included, it gets `min(population, floor(left / R))` of the samples left to give. Empty strata get 0 but count in R;
    4. draw that many from each stratum, uniformly without replacement.
    `balanced=True` does all of it inside every class, with quotas by largest remainder; where a quota was rounded up, its
    class drops one sample less.

    Raises InputError where the cutoff leaves fewer samples than are to be kept.

    Source: Zheng et al. 2023 (CCS), Algorithm 1 and official code.
    Differences to the official code: too large a cutoff is an error (there fewer samples are returned, silently);
    `hi` is the maximum itself, closed (there `1.0001 * max`, half-open, which is wrong for maxima <= 0); `strata` is
    respected (there always 50); seeded; one score serves for cutting and for the strata (there the cut is always by AUM:
    use an AUM scorer, as the method `ccs` does, for exactly that).

    >>> scores = Scores(np.arange(10, dtype=np.float32))
    >>> Stratified(cutoff=0.2).pick(scores, Pool(10), 8, np.random.default_rng(0)).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7]
    """

    cutoff: float = 0.0
    strata: int = 50
    balanced: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.cutoff < 1:
            raise InputError(f"Expected the cutoff as a share in [0, 1) to drop, but got {self.cutoff!r}.")
        if self.strata < 1:
            raise InputError(f"Expected at least one stratum, but got {self.strata!r}.")

    def pick(self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator) -> Ids:
        """Return the drawn ids, sorted."""

        dropped = int(Fraction(str(self.cutoff)) * pool.n)
        if pool.n - dropped < keep:
            raise InputError(
                f"Expected a cutoff that leaves {keep} of {pool.n} samples, but cutoff={self.cutoff} drops the "
                f"{dropped} hardest and leaves {pool.n - dropped}. Use a cutoff of at most 1 - keep = "
                f"{1 - keep / pool.n:.4g}, or keep fewer."
            )

        def choose(members: Ids, quota: int) -> Ids:
            return self._draw(scores, members, quota, rng)

        if self.balanced:
            return per_class(pool, keep, self.name, choose)
        return np.sort(choose(np.arange(pool.n, dtype=np.int64), keep))

    def _draw(self, scores: Scores, members: Ids, keep: int, rng: np.random.Generator) -> Ids:
        dropped = min(int(Fraction(str(self.cutoff)) * len(members)), len(members) - keep)
        rest = np.sort(members[hardest_first(scores.difficulty[members])[dropped:]])
        strata = stratum_of(scores.values[rest].astype(np.float64), self.strata)
        budgets = stratum_budgets(np.bincount(strata, minlength=self.strata), keep)
        chosen = [rng.choice(rest[strata == s], int(budgets[s]), replace=False) for s in np.flatnonzero(budgets)]
        picked: Ids = np.concatenate(chosen)
        return picked


def stratum_of(values: NDArray[np.float64], strata: int) -> NDArray[np.int64]:
    """Return each value's stratum among `strata` intervals of equal width over the values' range.

    >>> stratum_of(np.array([0.0, 0.9, 1.0, 5.0, 10.0]), 10).tolist()
    [0, 0, 1, 5, 9]
    """
    low, high = values.min(), values.max()
    if low == high:
        return np.zeros(len(values), dtype=np.int64)
    position = np.floor((values - low) / (high - low) * strata).astype(np.int64)
    inside: NDArray[np.int64] = np.minimum(position, strata - 1)
    return inside


def stratum_budgets(populations: NDArray[np.int64], keep: int) -> NDArray[np.int64]:
    """Return how many samples each stratum gives: evenly, small strata whole; `keep` in all.

    >>> stratum_budgets(np.array([3, 0, 50, 10, 200]), 100).tolist()
    [3, 0, 43, 10, 44]
    """
    budgets = np.zeros(len(populations), dtype=np.int64)
    left = keep
    for visited, stratum in enumerate(np.argsort(populations, kind="stable")):
        budgets[stratum] = min(int(populations[stratum]), left // (len(populations) - visited))
        left -= int(budgets[stratum])
    return budgets
