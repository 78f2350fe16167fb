"""`top`: keep one end of the ranking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from thresher.errors import InputError
from thresher.selectors._base import Selector
from thresher.selectors._quota import easiest_first, hardest_first, per_class
from thresher.types import Ids, Pool, Scores


@dataclass(frozen=True)
class Top(Selector):
    """Keep the `keep` hardest samples, or the easiest.

    Formula: the first `keep` ids of the ranking by `scores.difficulty`, falling for `end="hard"` and rising for
    `end="easy"`; equal difficulties are ordered by id. `scores.difficulty` knows the score's own direction, so "hard"
    is the high end of EL2N and the low end of AUM. With `balanced=True` every class keeps the same share (largest
    remainder), its own hardest.

    Source: TDDS (Zhang et al. 2024), EL2N (Paul et al. 2021), Forgetting (Toneva et al. 2019), Dyn-Unc (He et al.
    2024), DUAL (Cho et al. 2025) and AUM as used by CCS (Zheng et al. 2023).
    Differences to the official codes: ties are ordered by id (theirs by an unstable sort), the count is exact (see
    `keep_count`), and AUM keeps the LOWEST, as CCS's code does (the TDDS supplementary's text says highest; its numbers say
    lowest).

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
        if self.end not in ("hard", "easy"):
            raise InputError(f"Expected top's end to be 'hard' or 'easy', but got {self.end!r}.")

    def pick(self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator) -> Ids:
        """Return the ids of that end, sorted."""
        difficulty = scores.difficulty
        order = hardest_first if self.end == "hard" else easiest_first

        def choose(members: Ids, quota: int) -> Ids:
            return members[order(difficulty[members])[:quota]]

        if self.balanced:
            return per_class(pool, keep, self.name, choose)
        return np.sort(order(difficulty)[:keep])
