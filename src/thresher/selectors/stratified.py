"""`stratified`: the coverage-centric sampling of CCS."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from thresher.errors import InputError
from thresher.keep import share_times
from thresher.ranking.blocks import Block, Mask, Samples, Step
from thresher.ranking.cut import first_of
from thresher.ranking.groups import Groups
from thresher.ranking.order import Cut, Ranking
from thresher.selectors._base import Rule, draw_seed
from thresher.selectors._quota import grouped
from thresher.types import Floats


@dataclass(frozen=True)
class Stratified(Rule):
    """Drop the hardest share `cutoff` (CCS's beta), then draw evenly from score strata.

    Formula:
    1. drop the `floor(cutoff * N)` hardest samples (ties by a hash of the id), a share of the full N;
    2. cut `[lo, hi]`, the range of the remaining scores, into `strata` intervals of equal WIDTH, half-open except the
       last, which holds the maximum;
    3. visit the strata by ascending population (ties: lower scores first); with R strata left to visit, including this one,
       it gets `min(population, floor(left / R))` of the samples left to assign. Empty strata get 0 but count in R;
    4. draw that many from each stratum, uniformly without replacement (as `uniform` does).
    `balanced=True` does all of this within every class, with quotas by largest remainder; if a quota was rounded up, its
    class drops one sample fewer.

    Raises InputError if the cutoff leaves fewer samples than are to be kept.

    Fails: if `cutoff` does not suit the data: too small, and wrong labels remain (in strata of their own, which are drawn
    from as much as any other); too large, and hard but correctly labelled samples are dropped. One outlier widens all
    strata.

    Source: Zheng et al. 2023 (CCS), Algorithm 1 and official code.
    Differences from the official code: too large a cutoff is an error (there, fewer samples are returned, silently);
    `hi` is the maximum itself, closed (there, `1.0001 * max`, half-open, which is wrong for maxima <= 0); `strata` is
    respected (there, always 50); seeded; the count is exact (see `keep_count`); one score is used for both the cutoff and
    the strata (there, the cutoff is always by AUM: for exactly that use an AUM scorer, as the method `ccs` does).

    >>> from thresher.types import Pool, Scores
    >>> scores = Scores(np.arange(10, dtype=np.float32))
    >>> Stratified(cutoff=0.2).pick(scores, Pool(10), 8, np.random.default_rng(0)).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7]
    """

    cutoff: float = 0.0
    strata: int = 50
    balanced: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.cutoff < 1:
            raise InputError(f"Expected the cutoff as a share in [0, 1) to drop, but got {self.cutoff!r}.")
        if self.strata < 1:
            raise InputError(f"Expected at least one stratum, but got {self.strata!r}.")

    def kept(self, samples: Samples, keep: int, rng: np.random.Generator) -> Mask:
        """Return the mask of the drawn samples."""
        n, share = samples.n, Fraction(str(self.cutoff))
        drops = int(share_times(share, n))
        if n - drops < keep:
            raise InputError(
                f"Expected a cutoff that leaves {keep} of {n} samples, but cutoff={self.cutoff} drops the "
                f"{drops} hardest and leaves {n - drops}. Use a cutoff of at most 1 - keep = "
                f"{(n - keep) * 10**6 // n / 10**6:g}, or keep fewer."  # rounded up, it would be refused again
            )
        samples, groups, sizes, quotas = grouped(samples, keep, self.name, self.balanced)
        dropped = np.array([min(int(share_times(share, int(m))), int(m - k)) for m, k in zip(sizes, quotas, strict=True)])
        rest = _Rest(groups, first_of(samples, Ranking("hardest"), groups, dropped) if dropped.any() else None)
        low, high = samples.reduce(_Range(rest, len(sizes)))
        strata = _Strata(rest, low, high, self.strata)
        populations = samples.reduce(_Populations(strata, len(sizes)))
        budgets = [stratum_budgets(row, int(quota)) for row, quota in zip(populations, quotas, strict=True)]
        ranking = Ranking("drawn", draw_seed(rng))
        return first_of(samples, ranking, strata, np.concatenate(budgets), sizes=populations.reshape(-1))


@dataclass(frozen=True, eq=False)
class _Rest:
    """The samples left by the cutoff, in their groups."""

    groups: Groups
    dropped: Cut | None

    def inside(self, block: Block) -> NDArray[np.bool_]:
        """Return (M,) bool: which samples are left."""
        return np.ones(len(block), dtype=np.bool_) if self.dropped is None else ~self.dropped(block)


@dataclass(frozen=True, eq=False)
class _Range(Step[tuple[Floats, Floats]]):
    """Smallest and largest score of what is left in every group."""

    rest: _Rest
    count: int

    def __call__(self, block: Block) -> tuple[Floats, Floats]:
        inside, group = self.rest.inside(block), self.rest.groups.of(block)
        values = block.values[inside]
        low, high = np.full(self.count, np.inf, np.float32), np.full(self.count, -np.inf, np.float32)
        if group is None:
            low[0], high[0] = values.min(initial=np.inf), values.max(initial=-np.inf)
        else:
            np.minimum.at(low, group[inside], values)
            np.maximum.at(high, group[inside], values)
        return low, high

    def merge(self, one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        return np.minimum(one[0], other[0]), np.maximum(one[1], other[1])


@dataclass(frozen=True, eq=False)
class _Strata:
    """The strata of every group as groups of their own: number `group * count + stratum`."""

    rest: _Rest
    low: Floats
    high: Floats
    count: int

    def of(self, block: Block) -> NDArray[np.int64]:
        group = self.rest.groups.of(block)
        mine = 0 if group is None else group
        strata = stratum_of(block.values, self.low[mine], self.high[mine], self.count)
        if group is not None:
            strata += group * self.count
        if self.rest.dropped is not None:
            strata[self.rest.dropped(block)] = -1
        return strata


@dataclass(frozen=True, eq=False)
class _Populations(Step[NDArray[np.int64]]):
    """How many samples every stratum has, (groups, strata)."""

    strata: _Strata
    groups: int

    def __call__(self, block: Block) -> NDArray[np.int64]:
        counts = np.bincount(self.strata.of(block) + 1, minlength=1 + self.groups * self.strata.count)
        return counts[1:].reshape(self.groups, -1).astype(np.int64)  # the first one is of those that were dropped

    def merge(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
        return one + other


def stratum_of(values: Floats, low: Floats | np.float32, high: Floats | np.float32, strata: int) -> NDArray[np.int64]:
    """Return (M,) the stratum of each value among `strata` intervals of equal width over [low, high], (M,) or scalar each.

    Values outside the interval are in the first or last stratum.

    >>> values, low, high = np.array([0.0, 0.9, 1.0, 5.0, 10.0], np.float32), np.float32(0), np.float32(10)
    >>> stratum_of(values, low, high, 10).tolist()
    [0, 0, 1, 5, 9]
    """
    first = np.asarray(low, dtype=np.float64)
    width = np.asarray(high, dtype=np.float64) - first
    place = values.astype(np.float64)
    place -= first
    place /= np.where(width > 0, width, 1.0)
    place *= strata
    return np.clip(place, 0, strata - 1, out=place).astype(np.int64)  # a number beyond int64 cannot be cast


def stratum_budgets(populations: NDArray[np.int64], keep: int) -> NDArray[np.int64]:
    """Return how many samples each stratum gives: equally many, small strata all of theirs; `keep` in total.

    >>> stratum_budgets(np.array([3, 0, 50, 10, 200]), 100).tolist()
    [3, 0, 43, 10, 44]
    """
    budgets = np.zeros(len(populations), dtype=np.int64)
    left = keep
    for visited, stratum in enumerate(np.argsort(populations, kind="stable")):
        budgets[stratum] = min(int(populations[stratum]), left // (len(populations) - visited))
        left -= int(budgets[stratum])
    return budgets
