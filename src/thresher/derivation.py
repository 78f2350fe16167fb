"""TDDS's (T, K) from a recording alone, for data sets without published ones: no test set, no further training.

As a training goes on, TDDS turns to harder samples: what is easy has stopped changing. So T, and K a little, decide how hard
a coreset is. Published settings were found with the test set in view; here that setting is taken whose coreset is as hard,
on average, as the whole data set, so that TDDS decides which samples are kept and not how hard they are.
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

Key = TypeVar("Key")


@dataclass(frozen=True)
class Setting:
    """TDDS's trajectory length `epochs` (T) and window (K), and what a coreset of it would be like.

    `rank` is the mean over the kept samples of their rank by AUM, hardest 0, easiest 1; the whole data set's is 0.5.
    """

    epochs: int
    window: int
    rank: float


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

    Of the grid's settings, the one whose coreset has the mean AUM rank nearest to 0.5; of equals the longest T. Raises
    TooFewEpochsError for shorter recordings, InputError where the recording has no margins or samples that it never saw.
    """
    return best(ranks(source, [keep])[keep])


def best(settings: Sequence[Setting]) -> Setting:
    """Return the setting whose coreset is nearest in difficulty to the data set; of equally near ones the longest.

    >>> best([Setting(5, 5, 0.61), Setting(10, 5, 0.45), Setting(20, 5, 0.30)]).epochs
    10
    """
    return min(settings, key=lambda s: (abs(s.rank - NEUTRAL), -s.epochs, s.window))


def settle(methods: Mapping[Key, ResolvedMethod], keeps: Mapping[Key, float], source: Source) -> dict[Key, ResolvedMethod]:
    """Return the methods, those that wait for a recording with (T, K) derived from it; `keeps` has each one's kept share.

    A recording that is too short, or has no margins, leaves them as they are.
    """
    waiting = {key: method for key, method in methods.items() if method.derive}
    if not waiting or source.epochs < min(WINDOWS) or "prob_margin" not in source.signals:
        return dict(methods)
    found = ranks(source, list(dict.fromkeys(keeps[key] for key in waiting)))
    return {key: _settled(m, best(found[keeps[key]])) if key in waiting else m for key, m in methods.items()}


def _settled(method: ResolvedMethod, setting: Setting) -> ResolvedMethod:
    why = (
        f"{method.name}: T={setting.epochs}, K={setting.window}: derived from the recording, for what it keeps comes "
        f"nearest to being as hard as the data (mean rank {setting.rank:.2f}; 0 hardest, 0.5 the whole set)"
    )
    scorer = replace(method.scorer, window=setting.window)  # type: ignore[call-arg]  # TDDS's, see methods
    return replace(method, scorer=scorer, at=setting.epochs, notice=why, derive=False)


def _rank(values: Floats) -> NDArray[np.float64]:
    """Return (N,) ranks between 0 (lowest) and 1."""
    ranked = np.empty(len(values), dtype=np.float64)
    ranked[np.argsort(values, kind="stable")] = (np.arange(len(values)) + 0.5) / len(values)
    return ranked
