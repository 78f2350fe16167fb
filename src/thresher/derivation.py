"""TDDS's (T, K) from a recording alone, for `tdds:at=auto`: no test set, no further training (decision 0012).

As a training goes on, TDDS turns to harder samples: what is easy has stopped changing. So T, and K a little, decide how hard
a coreset is. Published settings were found with the test set in view. Here the ranking may settle for as long as the coreset
holds few samples that are learned late (`thresher.learned`), which follows both the kept share and how well the surrogate
learned: where it has learned nearly everything, hard samples may be kept, and where it has not, they may not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from thresher.errors import InputError, TooFewEpochsError
from thresher.keep import keep_count
from thresher.learned import late
from thresher.methods import ResolvedMethod
from thresher.replay import Request, Source, replay
from thresher.scorers.correctness import Correctness
from thresher.scorers.tdds import TDDS
from thresher.selectors.top import Top
from thresher.types import Pool

LENGTHS = (5, 10, 15, 20, 30, 50, 70, 90, 120, 160, 200, 300)
WINDOWS = (5, 10, 20)
MOST_LATE = 1 / 3
"""The largest share of late samples that a coreset may hold; a round number, found on three sets (decision 0012)."""

Key = TypeVar("Key")


@dataclass(frozen=True)
class Setting:
    """TDDS's trajectory length `epochs` (T) and window (K), and what a coreset of it would be like.

    `late` is the share, in [0, 1], of the kept samples that are learned late.
    """

    epochs: int
    window: int
    late: float


def grid(epochs: int) -> list[tuple[int, int]]:
    """Return the (T, K) that are tried on a recording of that many epochs, its end included.

    >>> grid(12)
    [(5, 5), (10, 5), (10, 10), (12, 5), (12, 10)]
    """
    lengths = sorted({length for length in LENGTHS if length <= epochs} | {epochs})
    return [(length, window) for length in lengths for window in WINDOWS if window <= length]


def candidates(
    source: Source, keeps: Sequence[float], on_step: Callable[[int, int], None] | None = None
) -> dict[float, list[Setting]]:
    """Return for each kept share what every (T, K) of the grid would keep, from one pass over the recording.

    `on_step(done, total)` is called as epochs are read.
    """
    pairs = grid(source.epochs)
    if not pairs:
        raise TooFewEpochsError(
            f"Expected a recording of at least {min(WINDOWS)} epochs to derive (T, K) from, but it has {source.epochs}. "
            "Record more, or set T and the window yourself: tdds:at=4:window=3."
        )
    requests = [Request(f"{length},{window}", TDDS(window=window), length) for length, window in pairs]
    columns = replay(source, [*requests, Request("correctness", Correctness())], on_step=on_step)
    correctness = columns["correctness"].values
    if np.isnan(correctness).any():
        unseen = int(np.isnan(correctness).sum())
        raise InputError(
            f"Expected a recording of every sample to derive (T, K) from, but {unseen} of {source.n} were never seen. "
            "Record with drop_last=False, or set T and the window yourself: tdds:at=30:window=10."
        )
    pool, top, nothing_drawn = Pool(source.n), Top(), np.random.default_rng(0)
    found: dict[float, list[Setting]] = {}
    for keep in keeps:
        count, lates = keep_count(source.n, keep), late(correctness, keep)
        kept = {pair: top.pick(columns[f"{pair[0]},{pair[1]}"], pool, count, nothing_drawn) for pair in pairs}
        found[keep] = [Setting(*pair, float(lates[ids].mean())) for pair, ids in kept.items()]
    return found


def derive(source: Source, keep: float, on_step: Callable[[int, int], None] | None = None) -> Setting:
    """Return TDDS's (T, K) for the share `keep` in (0, 1] of a recording of at least 5 epochs.

    Of the grid's settings whose coresets hold at most a third of late samples the one with the longest T, and of these the
    smallest K; where all hold more, the one that holds the fewest. Raises TooFewEpochsError for shorter recordings,
    InputError if `correct` was not recorded or some samples were never seen.
    """
    return best(candidates(source, [keep], on_step)[keep])


def best(settings: Sequence[Setting]) -> Setting:
    """Return the longest setting that keeps few late samples, the smallest window first; else the one that keeps fewest.

    >>> best([Setting(5, 5, 0.1), Setting(10, 10, 0.2), Setting(10, 5, 0.3), Setting(20, 5, 0.6)])
    Setting(epochs=10, window=5, late=0.3)
    >>> best([Setting(5, 5, 0.4), Setting(10, 5, 0.5)]).epochs
    5
    """
    fitting = [s for s in settings if s.late <= MOST_LATE]
    if not fitting:
        return min(settings, key=lambda s: (s.late, -s.epochs, s.window))
    return max(fitting, key=lambda s: (s.epochs, -s.window))


def settle(methods: Mapping[Key, ResolvedMethod], keeps: Mapping[Key, float], source: Source) -> dict[Key, ResolvedMethod]:
    """Return the methods, those that wait for a recording with (T, K) derived from it; `keeps` has each one's kept share.

    A recording that is too short, or does not say who was right, leaves them as they are.
    """
    waiting = {key: method for key, method in methods.items() if method.derive}
    if not waiting or source.epochs < min(WINDOWS) or "correct" not in source.signals:
        return dict(methods)
    found = candidates(source, list(dict.fromkeys(keeps[key] for key in waiting)))
    return {key: _settled(m, best(found[keeps[key]])) if key in waiting else m for key, m in methods.items()}


def _settled(method: ResolvedMethod, setting: Setting) -> ResolvedMethod:
    why = (
        f"{method.name}: T={setting.epochs}, K={setting.window}: derived from the recording; {setting.late:.0%} of what it "
        f"keeps is learned late (the longest T with at most {MOST_LATE:.0%}, else the least)"
    )
    scorer = replace(method.scorer, window=setting.window)  # type: ignore[call-arg]  # TDDS's, see methods
    return replace(method, scorer=scorer, at=setting.epochs, notice=why, derive=False)
