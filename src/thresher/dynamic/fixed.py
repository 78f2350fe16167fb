"""`fixed`: a static coreset as a rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from thresher.coreset import Coreset
from thresher.dynamic._base import Live, Rule
from thresher.errors import FingerprintError, InputError


@dataclass(frozen=True, eq=False)
class Fixed(Rule):
    """Show the same coreset in every epoch, with its weights if it has any.

    >>> import numpy as np
    >>> rule = Fixed(Coreset(np.array([1, 4]), None, 10))
    >>> rule.due(0, 5), rule.due(1, 5), rule.params()["kept"]
    (True, False, 2)
    """

    coreset: Coreset

    def __post_init__(self) -> None:
        if not isinstance(self.coreset, Coreset):
            raise InputError(
                f"Expected a thresher.Coreset to show, but got {type(self.coreset).__name__}. From ids alone make one with "
                "Coreset(ids, None, n)."
            )

    def params(self) -> dict[str, Any]:
        """What identifies the coreset."""
        return {"kept": len(self.coreset), "digest": self.coreset.digest}

    def due(self, epoch: int, epochs: int) -> bool:
        """Once."""
        return epoch == 0

    def reads(self, epoch: int, epochs: int) -> bool:
        """Never."""
        return False

    def draw(self, live: Live, seed: int) -> Coreset:
        """Return the coreset. Raises FingerprintError if it was selected from another number of samples."""
        if self.coreset.n != live.pool.n:
            raise FingerprintError(
                f"Expected a coreset selected from {live.pool.n} samples, but this one was selected from {self.coreset.n}. "
                "Give the coreset of this data set."
            )
        return self.coreset
