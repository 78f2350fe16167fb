"""`learnable`: what a training of the coreset's share can learn, without suspects, evenly over difficulty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.errors import InputError
from thresher.selectors._base import Selector
from thresher.selectors._quota import class_quotas
from thresher.selectors._strata import stratum_budgets, stratum_of
from thresher.suspects import Suspects, find_suspects
from thresher.types import Ids, Pool, Scores

_OPEN, _LATE, _SUSPECT = range(3)


@dataclass(frozen=True)
class Learnable(Selector):
    """Leave out suspects and what is learned too late, then draw evenly from strata of the score, class by class.

    With c (N,) the share of the epochs in which a sample was classified right (`pool.aux["correctness"]`), m (N,) its mean
    logit margin (`pool.aux["logit_margin"]`) and r = keep / N:
    1. leave out the suspects that `thresher.suspects.find_suspects` finds in m (`suspects=False`: nobody is suspected);
    2. leave out the late ones, 1 - c > r: they were wrong for longer than the share of the full training that the
       coreset's training is (`late=False`: nothing is late);
    3. inside every class draw its quota (proportional, by largest remainder) from `strata` intervals of equal width of the
       score, small strata whole, as `stratified` does. `strata=1` is a uniform draw.
    Where a class has fewer left than its quota, late samples come back, the earliest learned first, then suspects, the
    highest margin first. So nothing is left out at keep = N. `balanced=False` takes all samples for one class.

    Raises InputError where an auxiliary score is missing, or a correctness lies outside [0, 1].

    Source: this library (decision 0022). Made of the strata of Zheng et al. 2023 (CCS), the correctness of Swayamdipta et
    al. 2020 (Dataset Cartography) and the margins of Pleiss et al. 2020 (AUM); that easier samples are to be kept the fewer
    are kept is Sorscher et al. 2022.

    >>> scores = Scores(np.array([0.9, 0.8, 0.5, -0.5, -0.9], dtype=np.float32), "low")
    >>> right = np.array([1, 0.9, 0.7, 0.3, 0.0], dtype=np.float32)
    >>> pool = Pool(5, np.zeros(5, dtype=np.int64), aux={"correctness": right, "logit_margin": 3 * scores.values})
    >>> Learnable().pick(scores, pool, 2, np.random.default_rng(0)).tolist()  # of those wrong in at most 2 of 5 epochs
    [0, 1]
    """

    suspects: bool = True
    late: bool = True
    strata: int = 50
    balanced: bool = True

    def __post_init__(self) -> None:
        if self.strata < 1:
            raise InputError(f"Expected at least one stratum, but got {self.strata!r}.")

    def pick(self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator) -> Ids:
        """Return the drawn ids, sorted."""
        found, wrong = self._found(pool), self._wrong(pool)
        level = self._levels(found, wrong, keep)
        tie = found.margins if found is not None else -scores.difficulty
        back = np.lexsort((-tie, np.where(level == _LATE, wrong, 0.0), level))  # open ones, then who comes back first
        targets = pool.need_targets("learnable(balanced=True)") if self.balanced else np.zeros(pool.n, dtype=np.int64)
        values, kept = scores.values.astype(np.float64), []
        for label, quota in enumerate(class_quotas(targets, keep).tolist()):
            members = back[targets[back] == label]
            window = members[: max(quota, int((level[members] == _OPEN).sum()))]
            kept.append(self._drawn(window, values[window], quota, rng))
        return np.sort(np.concatenate(kept)).astype(np.int64, copy=False)

    def explain(self, scores: Scores, pool: Pool, keep: int) -> Mapping[str, Any]:
        """Return what was left out and why, with a sentence that says so."""
        found, share = self._found(pool), keep / pool.n
        level = self._levels(found, self._wrong(pool), keep)
        suspects, late = int((level == _SUSPECT).sum()), int((level == _LATE).sum())
        hardest = level[np.argsort(-scores.difficulty, kind="stable")[:keep]]
        return {
            **({} if found is None else found.to_json()),
            "late": late,
            "latest_learned": round(share, 4) if self.late else None,
            "of_random": {"suspects": round(share * suspects), "late": round(share * late)},
            "of_hardest_first": {"suspects": int((hardest == _SUSPECT).sum()), "late": int((hardest == _LATE).sum())},
            "text": f"{_told(found, pool.n)}; "
            + (f"left out {late} that were wrong in more than {share:.0%} of the epochs; " if self.late else "")
            + f"drew {keep} of the {pool.n - suspects - late} others. A random draw would have held about "
            f"{round(share * suspects)} suspects and {round(share * late)} late ones, hardest first "
            f"{int((hardest == _SUSPECT).sum())} and {int((hardest == _LATE).sum())}",
        }

    def _levels(self, found: Suspects | None, wrong: NDArray[np.float64], keep: int) -> NDArray[np.int64]:
        """Return (N,) whether a sample may be drawn, is late, or a suspect."""
        late = (wrong > keep / len(wrong) + 1e-6) & self.late  # shares of epochs are float32
        level = np.where(late, _LATE, _OPEN)
        return level if found is None else np.where(found.mask, _SUSPECT, level)

    def _found(self, pool: Pool) -> Suspects | None:
        return find_suspects(_aux(pool, "logit_margin")) if self.suspects else None

    def _wrong(self, pool: Pool) -> NDArray[np.float64]:
        right = _aux(pool, "correctness").astype(np.float64)
        if not ((right >= 0) & (right <= 1)).all():
            raise InputError(f"Expected a correctness in [0, 1], but got {right.min():g} to {right.max():g}.")
        return 1 - right

    def _drawn(self, window: Ids, values: NDArray[np.float64], quota: int, rng: np.random.Generator) -> Ids:
        """Return `quota` of a class's window, evenly from its strata."""
        if quota in (0, len(window)):
            return window[:quota]
        low, high = (np.full(len(window), edge) for edge in (values.min(), values.max()))
        stratum = stratum_of(values, low, high, self.strata)
        populations = np.bincount(stratum, minlength=self.strata)
        shuffled = rng.permutation(len(window))
        by_stratum = np.split(shuffled[np.argsort(stratum[shuffled], kind="stable")], np.cumsum(populations)[:-1])
        budgets = stratum_budgets(populations, quota)
        drawn: Ids = window[np.concatenate([rows[:some] for rows, some in zip(by_stratum, budgets, strict=True)])]
        return drawn


def _told(found: Suspects | None, n: int) -> str:
    if found is None:
        return "suspects were not looked for"
    count = int(found.mask.sum())
    if not count:
        return f"no suspects (the logit margins have one hump: separation {found.separation:.1f})"
    return f"left out {count} suspects ({count / n:.1%}; the logit margins have two humps, {found.separation:.1f} apart)"


def _aux(pool: Pool, name: str) -> NDArray[np.float32]:
    if name not in pool.aux:
        raise InputError(
            f"learnable needs the {name} of every sample in pool.aux[{name!r}], but it is not there. Score with it as well "
            "(the method `auto` asks for it by itself)."
        )
    return np.asarray(pool.aux[name], dtype=np.float32)
