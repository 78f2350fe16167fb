"""TDDS's (T, K) from a recording alone, for `tdds:at=auto`: no test set, no further training. An experiment (decision 0012).

As a training goes on, TDDS turns to harder samples: what is easy has stopped changing. So T, and K a little, decide how hard
a coreset is. Published settings were found with the test set in view. Here a difficulty is aimed at: the less is kept, the
easier it had better be (Sorscher et al. 2022; Cho et al. 2025), and what is kept of everything is as hard as everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from thresher.errors import InputError
from thresher.keep import keep_count
from thresher.methods import ResolvedMethod
from thresher.replay import Request, Source, replay
from thresher.scorers.aum import AUM
from thresher.scorers.tdds import TDDS
from thresher.selectors.top import Top
from thresher.types import Floats, Pool

LENGTHS = (5, 10, 15, 20, 30, 50, 70, 90, 120, 160, 200, 300)
WINDOWS = (5, 10, 20)
NEUTRAL = 0.5
"""The mean rank of a coreset that is as hard as the data: Random's, in expectation."""
EASE = 0.1
"""How much easier, in mean rank, the smallest coresets are aimed to be; a round number (decision 0012)."""

Key = TypeVar("Key")


@dataclass(frozen=True)
class Setting:
    """TDDS's trajectory length `epochs` (T) and window (K), and what a coreset of it would be like.

    `rank` is the mean over the kept samples of their rank by AUM, hardest 0, easiest 1; the whole data set's is 0.5.
    """

    epochs: int
    window: int
    rank: float


def target(keep: float) -> float:
    """Return the mean rank to aim at for a kept share in (0, 1]: `0.5 + 0.1 (1 - keep)`.

    >>> target(1), round(target(0.1), 3)
    (0.5, 0.59)
    """
    return NEUTRAL + EASE * (1 - keep)


def grid(epochs: int) -> list[tuple[int, int]]:
    """Return the (T, K) that are tried on a recording of that many epochs, its end included.

    >>> grid(12)
    [(5, 5), (10, 5), (10, 10), (12, 5), (12, 10)]
    """
    lengths = sorted({length for length in LENGTHS if length <= epochs} | {epochs})
    return [(length, window) for length in lengths for window in WINDOWS if window <= length]


def ranks(source: Source, keeps: Sequence[float]) -> dict[float, list[Setting]]:
    """Return for each kept share what every (T, K) of the grid would keep, from one pass over the recording."""
    pairs = grid(source.epochs)
    requests = [Request(f"{length},{window}", TDDS(window=window), length) for length, window in pairs]
    columns = replay(source, [*requests, Request("aum", AUM())])
    margins = columns["aum"].values
    if np.isnan(margins).any():
        raise InputError(
            f"Expected a recording of every sample to derive (T, K) from, but {int(np.isnan(margins).sum())} of {source.n} "
            "were never seen. Record with drop_last=False, or give T and the window yourself: tdds:at=30:window=10."
        )
    rank = _rank(margins)
    pool, top, nothing_drawn = Pool(source.n), Top(), np.random.default_rng(0)
    found: dict[float, list[Setting]] = {}
    for keep in keeps:
        count = keep_count(source.n, keep)
        kept = {pair: top.pick(columns[f"{pair[0]},{pair[1]}"], pool, count, nothing_drawn) for pair in pairs}
        found[keep] = [Setting(*pair, float(rank[ids].mean())) for pair, ids in kept.items()]
    return found


def derive(source: Source, keep: float) -> Setting:
    """Return TDDS's (T, K) for the share `keep` in (0, 1] of a recording of at least 5 epochs.

    Of the grid's settings, the one whose coreset has the mean AUM rank nearest to `target(keep)`; of equals the longest T.
    Raises TooFewEpochsError for shorter recordings, InputError where it has no margins, or samples that it never saw.
    """
    return best(ranks(source, [keep])[keep], keep)


def best(settings: Sequence[Setting], keep: float) -> Setting:
    """Return the setting whose coreset is nearest in difficulty to the target; of equally near ones the longest.

    >>> best([Setting(5, 5, 0.75), Setting(10, 5, 0.55), Setting(20, 5, 0.30)], keep=0.1).epochs
    10
    """
    aim = target(keep)
    return min(settings, key=lambda s: (abs(s.rank - aim), -s.epochs, s.window))


def settle(methods: Mapping[Key, ResolvedMethod], keeps: Mapping[Key, float], source: Source) -> dict[Key, ResolvedMethod]:
    """Return the methods, those that wait for a recording with (T, K) derived from it; `keeps` has each one's kept share.

    A recording that is too short, or has no margins, leaves them as they are.
    """
    waiting = {key: method for key, method in methods.items() if method.derive}
    if not waiting or source.epochs < min(WINDOWS) or "prob_margin" not in source.signals:
        return dict(methods)
    found = ranks(source, list(dict.fromkeys(keeps[key] for key in waiting)))
    return {
        key: _settled(m, best(found[keeps[key]], keeps[key]), keeps[key]) if key in waiting else m
        for key, m in methods.items()
    }


def _settled(method: ResolvedMethod, setting: Setting, keep: float) -> ResolvedMethod:
    why = (
        f"{method.name}: T={setting.epochs}, K={setting.window}: derived from the recording, for what it keeps has a mean "
        f"rank of {setting.rank:.2f}, aimed at {target(keep):.2f} (0 hardest, 1 easiest)"
    )
    scorer = replace(method.scorer, window=setting.window)  # type: ignore[call-arg]  # TDDS's, see methods
    return replace(method, scorer=scorer, at=setting.epochs, notice=why, derive=False)


def _rank(values: Floats) -> NDArray[np.float64]:
    """Return (N,) ranks between 0 (lowest) and 1."""
    ranked = np.empty(len(values), dtype=np.float64)
    ranked[np.argsort(values, kind="stable")] = (np.arange(len(values)) + 0.5) / len(values)
    return ranked
