"""What a selector is: a frozen dataclass that turns scores into a coreset of exactly `keep` samples."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from thresher.ranking.blocks import InMemory, Mask, Samples
from thresher.types import Ids, Named, Pool, Scores


@dataclasses.dataclass(frozen=True)
class Selector(Named, ABC):
    """Base of all selectors. Subclasses are final, frozen dataclasses; their fields are their parameters.

    One that can say which samples it keeps without holding them all extends `Rule`, which selects from files of any size
    too. `rank_based` says that only the order of difficulties matters, so that a score's direction does not.
    """

    rank_based: ClassVar[bool] = False

    @abstractmethod
    def pick(self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator) -> Ids:
        """Return exactly `keep` sample ids, sorted and unique. `keep` is a count in [1, N]; scores hold no NaN.

        The public entrance is `thresher.select`, which checks the input and wraps the ids into a `Coreset`.
        """

    def pick_and_tell(
        self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator
    ) -> tuple[Ids, Mapping[str, Any]]:  # fmt: skip
        """Return what `pick` does, and what a coreset is to remember of why; JSON-ready, nothing where the rule says it.

        Where there is something, `text` is a sentence for people.
        """
        return self.pick(scores, pool, keep, rng), {}


class Rule(Selector):
    """Base of the selectors that see samples block by block, in memory or from a file: the same coreset either way."""

    @abstractmethod
    def kept(self, samples: Samples, keep: int, rng: np.random.Generator) -> Mask:
        """Return what says of every sample whether it is one of the `keep` that stay."""

    def pick(self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator) -> Ids:
        """Return the ids that stay, sorted."""
        samples = InMemory(scores, pool)
        return samples.where(self.kept(samples, keep, rng))


def draw_seed(rng: np.random.Generator) -> int:
    """Return the seed of a drawn ranking: with it, every sample's place in the draw is a function of its id."""
    return int(rng.integers(2**64, dtype=np.uint64))
