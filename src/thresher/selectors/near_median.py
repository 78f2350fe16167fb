"""`near_median`: the middle of the ranking, as Moderate keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from thresher.ranking.blocks import Block, Mask, Samples
from thresher.ranking.cut import first_of
from thresher.ranking.order import Cut, Ranking
from thresher.selectors._base import Rule
from thresher.selectors._quota import grouped


@dataclass(frozen=True)
class NearMedian(Rule):
    """Keep the `keep` samples around the median of the ranking.

    Formula: with the samples ranked by ascending difficulty over the WHOLE set (ties by a hash of the id) and
    r = keep / N, keep the ranks `[start, start + keep)`, `start = round(N * (0.5 - r / 2)) = round((N - keep) / 2)`, halves
    to even.
    `balanced=True` does this within every class, with quotas by largest remainder.

    Fails: where hard samples matter, as at large shares: both ends are dropped, whatever they hold. Without
    `balanced=True` a class whose scores differ from the others' may be left empty.

    Source: Xia et al. 2023 (Moderate coreset), official code.
    Differences from the official code: the count is exact (there, both ends are rounded), `start` is computed in integers,
    ties are ordered by a hash of the id.

    >>> from thresher.types import Pool, Scores
    >>> scores = Scores(np.array([5, 1, 4, 2, 3], dtype=np.float32))
    >>> NearMedian().pick(scores, Pool(5), 3, np.random.default_rng(0)).tolist()
    [2, 3, 4]
    """

    balanced: bool = False

    rank_based: ClassVar[bool] = True

    def kept(self, samples: Samples, keep: int, rng: np.random.Generator) -> Mask:
        """Return the mask of the middle ranks."""
        samples, groups, sizes, quotas = grouped(samples, keep, self.name, self.balanced)
        starts = np.array([middle_start(int(n), int(k)) for n, k in zip(sizes, quotas, strict=True)])
        ranking = Ranking("easiest")
        return _Between(first_of(samples, ranking, groups, starts), first_of(samples, ranking, groups, starts + quotas))


@dataclass(frozen=True, eq=False)
class _Between:
    """Keeps what is before one cut but not before an earlier one."""

    low: Cut
    high: Cut

    def __call__(self, block: Block) -> NDArray[np.bool_]:
        return self.high(block) & ~self.low(block)


def middle_start(n: int, keep: int) -> int:
    """Return the first rank kept: `round((n - keep) / 2)`, halves to even, in integers.

    >>> [middle_start(50000, k) for k in (35000, 5000)], middle_start(4, 3), middle_start(6, 3)
    ([7500, 22500], 0, 2)
    """
    half, odd = divmod(n - keep, 2)
    return half + (odd and half % 2)
