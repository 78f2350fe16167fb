"""`learnable`: what training on the kept share can learn, without suspects, drawn by score."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.errors import InputError
from thresher.learned import late
from thresher.ranking.keys import id_hash
from thresher.selectors._base import Selector
from thresher.selectors._draw import draw_keys, log_weights
from thresher.selectors._quota import class_quotas, hardest_first
from thresher.suspects import Suspects, find_suspects
from thresher.types import Ids, Pool, Scores

_OPEN, _LATE, _SUSPECT = range(3)


@dataclass(frozen=True)
class Learnable(Selector):
    """Leave out suspects and samples learned too late, then draw by score, class by class.

    With w (N,) the share of epochs in which a sample was misclassified (1 - `pool.aux["correctness"]`), m (N,) its
    mean logit margin (`pool.aux["logit_margin"]`) and r = keep / N:
    1. leave out the suspects that `thresher.suspects.find_suspects` finds in m (`suspects=False`: no sample is suspected);
    2. leave out late samples, those with w > t + r (1 - t), t the 0.55 quantile of w over the samples that are not suspects:
       of the time in which a typical sample is right, they missed more than the kept share (`late=False`: no sample is
       late). So less than 0.45 of them are left out when little is kept, fewer if the surrogate has learned more, and none
       at r = 1;
    3. within every class draw its quota (proportional, by largest remainder) of the rest one after another without
       replacement, with probability proportional to score among the remaining ones (`weighted=False`: equal probability).
       Samples that score 0 come after all others, in random order.
    If a class has fewer samples left than its quota, late samples are added back, the earliest learned first, then suspects,
    the highest margin first. So nothing is left out at keep = N. `balanced=False` treats all samples as one class. Scores
    are oriented so that hard samples weigh most, and shifted to 0 if any is negative.

    Raises InputError if an auxiliary score is missing or a correctness is outside [0, 1].

    Fails: if wrong labels form no separate hump (few of them on a hard data set, or one class consistently labelled as
    another): no sample is suspected then. Lateness is measured on the surrogate; a much smaller network needs easier
    samples. The 0.55 was fitted to CIFAR-10 at a tenth; at a hundredth, 45 images of a class, leaving out more than half is
    four to seven points better (decision 0028).

    Source: this library (decision 0022). It combines the correctness of Swayamdipta et al. 2020 (Dataset Cartography), the
    margins of Pleiss et al. 2020 (AUM) and the weighted draw of Cho et al. 2025 (DUAL); that samples should be easier the
    fewer are kept is from Sorscher et al. 2022.

    >>> scores = Scores(np.array([0.1, 0.9, 0.8, 0.5, 0.0], dtype=np.float32))
    >>> right = np.array([1, 0.9, 0.7, 0.3, 0.0], dtype=np.float32)
    >>> pool = Pool(5, np.zeros(5, dtype=np.int64), aux={"correctness": right, "logit_margin": 3 - 5 * scores.values})
    >>> Learnable().pick(scores, pool, 2, np.random.default_rng(0)).tolist()  # the last two are late
    [1, 2]
    """

    suspects: bool = True
    late: bool = True
    weighted: bool = True
    balanced: bool = True

    def pick(self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator) -> Ids:
        """Return the drawn ids, sorted."""
        return self.pick_and_tell(scores, pool, keep, rng)[0]

    def pick_and_tell(
        self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator
    ) -> tuple[Ids, Mapping[str, Any]]:  # fmt: skip
        """Return the drawn ids, and what was left out and why, with a sentence for people."""
        found = find_suspects(_aux(pool, "logit_margin")) if self.suspects else None
        right = _correctness(pool)
        suspect = np.zeros(pool.n, dtype=bool) if found is None else found.mask
        level = np.where(self.late & late(right, keep / pool.n, ~suspect), _LATE, _OPEN)
        level[suspect] = _SUSPECT
        ids = self._drawn(scores, pool, keep, rng, found, right, level)
        return ids, self._why(scores, ids, found, right, level)

    def _drawn(
        self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator, found: Suspects | None,
        right: NDArray[np.float64], level: NDArray[np.int64],
    ) -> Ids:  # fmt: skip
        keys = draw_keys(log_weights(scores.difficulty) if self.weighted else np.zeros(pool.n), rng)
        margins = np.zeros(pool.n) if found is None else found.margins
        within = np.select([level == _OPEN, level == _LATE], [-keys, -right], -margins)
        targets = pool.need_targets("learnable(balanced=True)") if self.balanced else np.zeros(pool.n, dtype=np.int64)
        quotas = class_quotas(targets, keep)
        chance = np.where(level == _OPEN, rng.random(pool.n), 0)  # of those who score 0: their keys are all the same
        first = np.lexsort((id_hash(np.arange(pool.n)), chance, within, level, targets))  # class by class
        sizes = np.bincount(targets)
        place = np.arange(pool.n) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # of each in its class
        return np.sort(first[place < np.repeat(quotas, sizes)]).astype(np.int64, copy=False)

    def _why(
        self, scores: Scores, ids: Ids, found: Suspects | None, right: NDArray[np.float64], level: NDArray[np.int64]
    ) -> Mapping[str, Any]:
        n, share = len(level), len(ids) / len(level)
        there, kept, hardest = (
            {"suspects": int((of == _SUSPECT).sum()), "late": int((of == _LATE).sum())}
            for of in (level, level[ids], level[hardest_first(scores.difficulty)[: len(ids)]])
        )
        first = round(float(1 - right[level == _LATE].max()), 4) if there["late"] else None
        least = "" if first is None else f"{math.floor(round(100 * first, 2))}%"  # rounded up, it were not the least
        told = f"{_late(there['late'])} (wrong in at least {least} of the epochs); " if least else ""
        of_random = {key: round(share * count) for key, count in there.items()}
        otherwise = (
            f". A random draw would have held about {_suspects(of_random['suspects'])} and {_late(of_random['late'])}, "
            f"the hardest samples {hardest['suspects']} and {hardest['late']}"
        )
        back = f", and {_late(kept['late'])} and {_suspects(kept['suspects'])} to fill up" if any(kept.values()) else ""
        return {
            **({} if found is None else found.to_json()),
            "late": there["late"],
            "late_from": first,
            "came_back": kept,
            "of_random": of_random,
            "of_hardest_first": hardest,
            "text": f"{_told(found, n)}; {told}drew {len(ids) - sum(kept.values())} of the {n - sum(there.values())} others"
            f"{back}{', classes in proportion' if self.balanced else ''}{otherwise if any(there.values()) else ''}",
        }


def _correctness(pool: Pool) -> NDArray[np.float64]:
    right = _aux(pool, "correctness").astype(np.float64)
    if not ((right >= 0) & (right <= 1)).all():
        raise InputError(f"Expected a correctness in [0, 1], but got {right.min():g} to {right.max():g}.")
    return right


def _late(count: int) -> str:
    return f"{count} late one{'' if count == 1 else 's'}"


def _suspects(count: int) -> str:
    return f"{count} suspect{'' if count == 1 else 's'}"


def _told(found: Suspects | None, n: int) -> str:
    if found is None:
        return "suspects were not searched for"
    count = int(found.mask.sum())
    if not count:
        return f"no suspects ({found.reason})"
    return f"{_suspects(count)} ({count / n:.1%}; the logit margins have two humps, separation {found.separation:.1f})"


def _aux(pool: Pool, name: str) -> NDArray[np.float32]:
    if name not in pool.aux:
        raise InputError(
            f"learnable needs the {name} of every sample in pool.aux[{name!r}], but it is not there. Score with it too "
            "(`thresher.methods.resolve` of auto returns the scorers and the selector)."
        )
    return np.asarray(pool.aux[name], dtype=np.float32)
