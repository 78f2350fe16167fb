"""`uniform`: a fair draw that ignores the scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from thresher.ranking.blocks import Mask, Samples
from thresher.ranking.cut import first_of
from thresher.ranking.order import Ranking
from thresher.selectors._base import Rule, draw_seed
from thresher.selectors._quota import grouped


@dataclass(frozen=True)
class Uniform(Rule):
    """Draw `keep` samples uniformly without replacement, whatever their scores.

    Formula: every subset of `keep` ids is equally likely; `balanced=True` draws the same share of every class (largest
    remainder). Each id gets a random rank, a function of seed and id, and the first `keep` ids are drawn. So a smaller draw
    of the same seed lies within a larger one (balanced, but for the rounding of quotas), and `stratified`, which draws by
    the same ranks, shares more with it than by chance. Draws of different seeds are independent.

    Fails: if a class is rare: without `balanced=True` it may be left empty.

    Source: the Random baseline of every study.
    Differences from the official codes: seeded (CCS and DUAL draw from generators that are never seeded).

    >>> from thresher.types import Pool, Scores
    >>> scores = Scores(np.zeros(5, dtype=np.float32))
    >>> Uniform().pick(scores, Pool(5), 5, np.random.default_rng(0)).tolist()
    [0, 1, 2, 3, 4]
    """

    balanced: bool = False

    rank_based: ClassVar[bool] = True

    def kept(self, samples: Samples, keep: int, rng: np.random.Generator) -> Mask:
        """Return the mask of the drawn samples."""
        samples, groups, sizes, quotas = grouped(samples, keep, self.name, self.balanced)
        return first_of(samples, Ranking("drawn", draw_seed(rng)), groups, quotas, sizes=sizes)
