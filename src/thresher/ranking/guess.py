"""Guesses of where a cut of a ranking lies, from what is known beforehand or a glimpse of the samples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from thresher.ranking.blocks import Samples
from thresher.ranking.groups import Counts
from thresher.ranking.keys import NAN, Keys
from thresher.ranking.order import Ranking


class Between(NamedTuple):
    """A guess: group g's cut lies from the key `low[g]` to `high[g]`, and so do about `size` samples of all groups."""

    low: Keys
    high: Keys
    size: float


def of_draw(left: Counts, sizes: Counts | None) -> Between | None:
    """Return where the cuts of a draw must be expected, if the sizes of the groups are known.

    Which share of a group's hashes lies before a number is binomial: six standard deviations hold it, and for the few of a
    small share 36 samples more.
    """
    if sizes is None:
        return None
    some = np.maximum(sizes, 1)  # an empty group is not open, whatever is reckoned for it
    share = left / some
    around = 6 * np.sqrt(share * (1 - share) / some) + 36 / some
    low = (np.clip(share - around, 0, 1) * NAN).astype(np.uint32)
    high = (np.clip(share + around, 0, 1) * NAN).astype(np.uint32)
    return Between(low, high, (sizes * ((high - low) / float(NAN)))[left > 0].sum())


def of_glimpse(samples: Samples, ranking: Ranking, left: Counts) -> Between | None:
    """Return where the cut of a single group must be expected, judging by a few blocks of its samples.

    The mean over blocks of the share before a key is nearly normal: six of its standard errors hold it. They are taken from
    how much the blocks differ, since neighbours may be alike (one class after another, say).
    """
    seen = [ranking.keys(block) for block in samples.glimpse()] if len(left) == 1 and left[0] else []
    if len(seen) < 2:
        return None
    keys = np.concatenate(seen)
    share, last = left[0] / samples.n, len(keys) - 1
    middle = np.partition(keys, int(share * last))[int(share * last)]
    shares = np.array([(one <= middle).mean() for one in seen])
    around = 6 * shares.std(ddof=1) / np.sqrt(len(seen)) + 36 / len(keys)
    first, end = int(np.floor((share - around) * last)), int(np.ceil((share + around) * last))
    keys.partition([max(first, 0), min(end, last)])
    low = keys[first] if first >= 0 else np.uint32(0)
    high = keys[end] if end <= last else NAN
    return Between(np.array([low]), np.array([high]), ((keys >= low) & (keys <= high)).mean() * samples.n)
