"""What a selector is: a frozen dataclass that turns scores into a coreset of exactly `keep` samples."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from thresher.named import Named
from thresher.ranking.blocks import InMemory, Mask, Samples
from thresher.types import Ids, Pool, Scores


@dataclasses.dataclass(frozen=True)
class Selector(Named, ABC):
    """Base of all selectors. Subclasses are final, frozen dataclasses; their fields are their parameters.

    A selector that can decide which samples to keep without holding them all in memory extends `Rule`, which can also
    select from files of any size. `rank_based` says that only the order of difficulties matters.
    """

    rank_based: ClassVar[bool] = False

    @abstractmethod
    def pick(self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator) -> Ids:
        """Return exactly `keep` sample ids, sorted and unique. `keep` is a count in [1, N]; scores hold no NaN.

        The public entry point is `thresher.select`, which checks the input and wraps the ids into a `Coreset`.
        """

    def pick_and_tell(
        self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator
    ) -> tuple[Ids, Mapping[str, Any]]:  # fmt: skip
        """Return what `pick` does, and a JSON-ready explanation to store in the coreset; empty if the rule says it all.

        If it is not empty, `text` is a sentence for people.
        """
        return self.pick(scores, pool, keep, rng), {}


class Rule(Selector):
    """Base of selectors that see samples block by block, in memory or from a file; the coreset is the same either way."""

    @abstractmethod
    def kept(self, samples: Samples, keep: int, rng: np.random.Generator) -> Mask:
        """Return a mask that tells for every sample whether it is one of the `keep` that are kept."""

    def pick(self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator) -> Ids:
        """Return the kept ids, sorted."""
        samples = InMemory(scores, pool)
        return samples.where(self.kept(samples, keep, rng))


def draw_seed(rng: np.random.Generator) -> int:
    """Return the seed of a random ranking: given it, every sample's place in the draw is a function of its id."""
    return int(rng.integers(2**64, dtype=np.uint64))
