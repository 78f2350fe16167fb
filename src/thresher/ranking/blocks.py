"""Samples as selectors see them: blocks of consecutive ids, in memory or read from a file, and steps that run over them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from thresher.types import Floats, HardEnd, Ids, Pool, Scores

R = TypeVar("R")
MANY = 1 << 23
"""Samples from which on a glimpse of them is worth its time."""
GLIMPSES, GLIMPSE = 32, 1 << 14
"""Blocks of a glimpse, and rows of each: half a million samples tell a quantile to 0.0004."""
BLOCK = 1 << 16
"""Rows of a block: what a step makes of it stays in the processor's cache, and below the sizes for which every array is new
memory from the system. Four times as many rows take a hash of the ids three times as long."""


@dataclass(frozen=True, eq=False)
class Block:
    """The samples `first` to `first + M - 1`: `values` (M,) float32 scores, `targets` (M,) int64 where asked for."""

    first: int
    values: Floats
    hard_end: HardEnd = "high"
    targets: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.values)


class Step(ABC, Generic[R]):
    """Something to find out about all samples: from one block, and from what was found in two parts. Travels to workers."""

    @abstractmethod
    def __call__(self, block: Block) -> R:
        """Return what this block says."""

    @abstractmethod
    def merge(self, one: R, other: R) -> R:
        """Return what two parts say together, whichever comes first; may reuse `one`."""

    def add(self, found: R, block: Block) -> R:
        """Return what was found together with what one more block says; may reuse `found`."""
        return self.merge(found, self(block))


class Samples(Protocol):
    """All `n` samples to select from, wherever they lie."""

    @property
    def n(self) -> int:
        """How many there are."""

    def labelled(self, who: str) -> Samples:
        """Return the samples with their class labels in every block; raises InputError saying that `who` needs them."""

    def reduce(self, step: Step[R]) -> R:
        """Return what a step finds out about all samples."""

    def glimpse(self) -> Iterable[Block]:
        """Yield a few blocks from all over, without labels, to guess from; none where reading all costs hardly more."""


Mask = Callable[[Block], NDArray[np.bool_]]
"""Which samples of a block stay, (M,) bool. Travels to workers."""


@dataclass(frozen=True)
class InMemory:
    """Samples whose scores and labels are arrays."""

    scores: Scores
    pool: Pool

    @property
    def n(self) -> int:
        """How many there are."""
        return self.pool.n

    def labelled(self, who: str) -> InMemory:
        """Return these samples, if their labels are known."""
        self.pool.need_targets(who)
        return self

    def blocks(self) -> Iterator[Block]:
        """Yield the samples, block by block."""
        values, targets = self.scores.values, self.pool.targets
        for first in range(0, self.n, BLOCK):
            rows = slice(first, first + BLOCK)
            yield Block(first, values[rows], self.scores.hard_end, None if targets is None else targets[rows])

    def reduce(self, step: Step[R]) -> R:
        """Return what a step finds out about all samples."""
        return reduce_blocks(step, self.blocks())

    def glimpse(self) -> Iterator[Block]:
        """Yield short blocks, evenly spaced."""
        if self.n >= MANY:
            for first in range(0, self.n - GLIMPSE, self.n // GLIMPSES):
                yield Block(first, self.scores.values[first : first + GLIMPSE], self.scores.hard_end)

    def where(self, mask: Mask) -> Ids:
        """Return the ids that stay, sorted."""
        return np.concatenate([block.first + np.flatnonzero(mask(block)) for block in self.blocks()])


def reduce_blocks(step: Step[R], blocks: Iterable[Block]) -> R:
    """Run a step over blocks, at least one, in their order."""
    rest = iter(blocks)
    found = step(next(rest))
    for block in rest:
        found = step.add(found, block)
    return found
