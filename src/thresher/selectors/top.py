"""`top`: keep one end of the ranking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from thresher.errors import InputError
from thresher.ranking.blocks import Mask, Samples
from thresher.ranking.cut import first_of
from thresher.ranking.order import Ranking
from thresher.selectors._base import Rule
from thresher.selectors._quota import grouped


@dataclass(frozen=True)
class Top(Rule):
    """Keep the `keep` hardest samples, or the easiest.

    Formula: the first `keep` ids of the ranking by `scores.difficulty`, descending for `end="hard"` and ascending for
    `end="easy"`; ties are ordered by a hash of the id (`thresher.ranking.keys`). `scores.difficulty` accounts for the
    score's own direction, so "hard" is the high end of EL2N and the low end of AUM. With `balanced=True` every class keeps
    the same share (largest remainder) of its own hardest samples.

    Fails: at small shares, where the hardest are wrong labels and outliers, and similar samples are kept together.
    Without `balanced=True` a class that is easier than the others may be left empty.

    Source: TDDS (Zhang et al. 2024), EL2N (Paul et al. 2021), Forgetting (Toneva et al. 2019), Dyn-Unc (He et al.
    2024), DUAL (Cho et al. 2025) and AUM as used by CCS (Zheng et al. 2023).
    Differences from the official codes: ties are ordered by a hash of the id (theirs by an unstable sort), the count is
    exact (see `keep_count`), and AUM keeps the LOWEST, as CCS's code does (the text of the TDDS supplementary says highest;
    its numbers say lowest).

    >>> from thresher.types import Pool, Scores
    >>> scores = Scores(np.array([0.3, 0.9, 0.1, 0.9], dtype=np.float32))
    >>> Top().pick(scores, Pool(4), 2, np.random.default_rng(0)).tolist()
    [1, 3]
    >>> Top(end="easy").pick(scores, Pool(4), 2, np.random.default_rng(0)).tolist()
    [0, 2]
    """

    end: Literal["hard", "easy"] = "hard"
    balanced: bool = False

    rank_based: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.end not in ("hard", "easy"):
            raise InputError(f"Expected top's end to be 'hard' or 'easy', but got {self.end!r}.")

    def kept(self, samples: Samples, keep: int, rng: np.random.Generator) -> Mask:
        """Return the mask of that end."""
        samples, groups, _, quotas = grouped(samples, keep, self.name, self.balanced)
        return first_of(samples, Ranking("hardest" if self.end == "hard" else "easiest"), groups, quotas)
