"""A rule of dynamic pruning: a frozen dataclass that turns the live scores into one epoch's coreset.

A rule has no state of its own: the scores it uses are in the Recorder, its last draw in the sampler. So an epoch's draw
is a function of (scores, seed, epoch), the same on every rank and after every resume.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from thresher.coreset import Coreset
from thresher.named import Named
from thresher.scorers._base import Scorer
from thresher.types import Pool, Scores

_DRAW = 2  # the stream of draws; 0 and 1 are those of order and augmentation


@dataclasses.dataclass(frozen=True)
class Live:
    """What a rule sees when epoch `epoch` (counted from 0) of `epochs` begins.

    `scores` are those of the rule's own scorers over the completed epochs, NaN where a sample was not seen; empty if the
    rule reads none in this epoch. `pool` has the number of samples and, if scores are read, the targets.
    """

    epoch: int
    epochs: int
    scores: Mapping[str, Scores]
    pool: Pool


@dataclasses.dataclass(frozen=True)
class Rule(Named, ABC):
    """Base of all rules. Subclasses are frozen dataclasses; their fields are their parameters."""

    @property
    def scorers(self) -> Mapping[str, Scorer]:
        """The scorers by column name that the Recorder must have."""
        return {}

    @property
    def reads_evaluation(self) -> bool:
        """True if scores come from an evaluation pass, which must then precede every draw that reads scores."""
        return False

    @abstractmethod
    def due(self, epoch: int, epochs: int) -> bool:
        """Return whether epoch `epoch` gets a new draw; if not, the previous one still applies. True for epoch 0."""

    @abstractmethod
    def reads(self, epoch: int, epochs: int) -> bool:
        """Return whether this epoch's draw reads the scores; False while there are none."""

    @abstractmethod
    def draw(self, live: Live, seed: int) -> Coreset:
        """Return what the epoch shows: ids, and weights if losses must be rescaled. Pure."""


def everything(n: int) -> Coreset:
    """Return all samples.

    >>> everything(3).ids.tolist()
    [0, 1, 2]
    """
    return Coreset(np.arange(n, dtype=np.int64), None, n)


def draw_seed(seed: int, epoch: int) -> int:
    """Return the seed of an epoch's draw.

    >>> draw_seed(0, 1) == draw_seed(0, 1), draw_seed(0, 1) == draw_seed(0, 2)
    (True, False)
    """
    return int(np.random.SeedSequence([seed, epoch, _DRAW]).generate_state(1, np.uint32)[0])
