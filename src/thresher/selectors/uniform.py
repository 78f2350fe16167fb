"""`uniform`: a fair draw that ignores the scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from thresher.selectors._base import Selector
from thresher.selectors._quota import per_class
from thresher.types import Ids, Pool, Scores


@dataclass(frozen=True)
class Uniform(Selector):
    """Draw `keep` samples uniformly without replacement, whatever their scores.

    Formula: every subset of `keep` ids is equally likely; `balanced=True` draws the same share of every class (largest
    remainder).
    Source: the Random baseline of every study.
    Differences to the official codes: seeded (CCS and DUAL draw from generators that are never seeded).

    >>> scores = Scores(np.zeros(5, dtype=np.float32))
    >>> Uniform().pick(scores, Pool(5), 5, np.random.default_rng(0)).tolist()
    [0, 1, 2, 3, 4]
    """

    balanced: bool = False

    rank_based: ClassVar[bool] = True

    def pick(self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator) -> Ids:
        """Return the drawn ids, sorted."""

        def choose(members: Ids, quota: int) -> Ids:
            return rng.choice(members, quota, replace=False)

        if self.balanced:
            return per_class(pool, keep, self.name, choose)
        return np.sort(choose(np.arange(pool.n, dtype=np.int64), keep))
