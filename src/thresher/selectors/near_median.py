"""`near_median`: Moderate's middle of the ranking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from thresher.selectors._base import Selector
from thresher.selectors._quota import easiest_first, per_class
from thresher.types import Ids, Pool, Scores


@dataclass(frozen=True)
class NearMedian(Selector):
    """Keep the `keep` samples around the median of the ranking.

    Formula: with the samples ranked by rising difficulty over the WHOLE set (equal ones by id) and r = keep / N, keep
    the ranks `[start, start + keep)`, `start = round(N * (0.5 - r / 2)) = round((N - keep) / 2)`, halves to even.
    `balanced=True` does so inside every class, with quotas by largest remainder.

    Source: Xia et al. 2023 (Moderate coreset), official code.
    Differences to the official code: the count is exact (there both ends are rounded), `start` is computed in integers,
    ties are ordered by id.

    >>> scores = Scores(np.array([5, 1, 4, 2, 3], dtype=np.float32))
    >>> NearMedian().pick(scores, Pool(5), 3, np.random.default_rng(0)).tolist()
    [2, 3, 4]
    """

    balanced: bool = False

    rank_based: ClassVar[bool] = True

    def pick(self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator) -> Ids:
        """Return the ids of the middle ranks, sorted."""
        difficulty = scores.difficulty

        def choose(members: Ids, quota: int) -> Ids:
            start = middle_start(len(members), quota)
            return members[easiest_first(difficulty[members])[start : start + quota]]

        if self.balanced:
            return per_class(pool, keep, self.name, choose)
        return np.sort(choose(np.arange(pool.n, dtype=np.int64), keep))


def middle_start(n: int, keep: int) -> int:
    """Return the first rank kept: `round((n - keep) / 2)`, halves to even, in integers.

    >>> [middle_start(50000, k) for k in (35000, 5000)], middle_start(4, 3), middle_start(6, 3)
    ([7500, 22500], 0, 2)
    """
    half, odd = divmod(n - keep, 2)
    return half + (odd and half % 2)
