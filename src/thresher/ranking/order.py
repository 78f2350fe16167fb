"""An order of the samples, and what says of each whether it lies before a cut of that order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from thresher.ranking.blocks import Block
from thresher.ranking.groups import Counts, Groups
from thresher.ranking.keys import NAN, Hashes, Keys, id_hash, key_values, order_keys
from thresher.types import Floats


@dataclass(frozen=True)
class Ranking:
    """An order of the samples: `hardest` or `easiest` first, or `drawn` at random as `seed` says.

    Equally hard samples follow one another by the hash of their ids. A drawn order does not look at the scores.
    """

    order: Literal["hardest", "easiest", "drawn"]
    seed: int = 0

    def keys(self, block: Block) -> Keys:
        """Return (M,) uint32, smaller for samples that come earlier."""
        if self.order == "drawn":
            return (id_hash(np.arange(block.first, block.first + len(block)), self.seed) >> np.uint64(32)).astype(np.uint32)
        return order_keys(block.values, self.falling(block))

    def falling(self, block: Block) -> bool:
        """Return whether larger scores come earlier."""
        return (self.order == "hardest") == (block.hard_end == "high")

    def hashes(self, block: Block, rows: NDArray[np.int64]) -> Hashes:
        """Return what decides between equal keys, of some rows."""
        return id_hash(block.first + rows, self.seed)


@dataclass(frozen=True, eq=False)
class Cut:
    """Says of each sample whether it lies before the cut of its group: a `Mask`.

    Group g's samples up to the key `keys[g]`, and those with that very key up to the hash `hashes[g]`; a key of -1 is before
    all samples.
    """

    ranking: Ranking
    groups: Groups
    keys: Counts
    hashes: Hashes

    def __call__(self, block: Block) -> NDArray[np.bool_]:
        """Return (M,) bool."""
        group, falling = self.groups.of(block), False
        place: NDArray[Any]
        bounds: NDArray[Any]
        if self._by_key:
            place, bounds = self.ranking.keys(block), self._bounds
        else:  # scores compare faster than keys are made
            falling = self.ranking.falling(block)
            place, bounds = block.values, self._values[falling]
        bound = bounds[0] if group is None else bounds[group]
        stays: NDArray[np.bool_] = place > bound if falling else place < bound
        tied = np.flatnonzero(place == bound)
        mine = np.zeros(len(tied), dtype=np.int64) if group is None else group[tied]
        real = (mine >= 0) & (self.keys[mine] >= 0)
        stays[tied] = real & (self.ranking.hashes(block, tied) <= self.hashes[mine])
        return stays

    @cached_property
    def _by_key(self) -> bool:
        """Whether scores must be compared by their keys, since some bound is no number's: a bin may end at one that is
        NaN's, or -0's, which compares as 0 does."""
        real = self._bounds[:-1][self.keys >= 0]  # of groups of which something stays
        numbers = (order_keys(key_values(real, falling), falling) == real for falling in (False, True))
        return self.ranking.order == "drawn" or bool((real == NAN).any()) or not all(one.all() for one in numbers)

    @cached_property
    def _bounds(self) -> Keys:
        """(G + 1,): -1 is no group, and finds the last entry; 0 is before all scores, and compares with none."""
        return np.append(np.maximum(self.keys, 0), 0).astype(np.uint32)

    @cached_property
    def _values(self) -> tuple[Floats, Floats]:
        """The bounds as scores, for rising and for falling ones."""
        return key_values(self._bounds), key_values(self._bounds, falling=True)
