"""What a selector is: a frozen dataclass that turns scores into a coreset of exactly `keep` samples."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from thresher.types import Ids, Pool, Scores


@dataclasses.dataclass(frozen=True)
class Selector(ABC):
    """Base of all selectors. Subclasses are final, frozen dataclasses; their fields are their parameters.

    `rank_based` says that only the order of difficulties matters, so that a score's direction does not.
    """

    rank_based: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The selector's name: the name of the file it lives in."""
        return type(self).__module__.rsplit(".", 1)[-1]

    def params(self) -> dict[str, Any]:
        """JSON-ready parameters, in the order of their declaration."""
        return dataclasses.asdict(self)

    @abstractmethod
    def pick(self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator) -> Ids:
        """Return exactly `keep` sample ids, sorted and unique. `keep` is a count in [1, N]; scores hold no NaN.

        The public entrance is `thresher.select`, which checks the input and wraps the ids into a `Coreset`.
        """
