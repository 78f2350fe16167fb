"""`random`: an uninformed score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from thresher.errors import InputError
from thresher.scorers._base import Scorer, State
from thresher.types import Floats, Frame, HardEnd, Pool


@final
@dataclass(frozen=True)
class Random(Scorer):
    """Give every sample a uniform random number in [0, 1), (N,) float32, a function of `seed` alone.

    The method `random` does not read this score: it makes a new draw for every seed with the selector `uniform`.

    Fails: under label noise, since wrong labels are kept as often as they occur; at small shares rare classes may be left
    empty. Every other method must beat it at the same cost.

    Source: the baseline of every study.

    >>> Random(seed=1).compute({}, Pool(2)).tolist() == Random(seed=1).compute({}, Pool(2)).tolist()
    True
    """

    seed: int = 0
    hard_end: ClassVar[HardEnd] = "high"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seed < 0:
            raise InputError(f"Expected seed >= 0, but got {self.seed}.")

    @property
    def needs(self) -> tuple[str, ...]:
        """No signals."""
        return ()

    @property
    def min_epochs(self) -> int:
        """No dynamics are needed."""
        return 0

    def init(self, n: int) -> State:
        """No state."""
        return {}

    def update(self, state: State, frame: Frame) -> None:
        """Do nothing."""

    def compute(self, state: State, pool: Pool) -> Floats:
        """Return the numbers."""
        return np.random.default_rng(self.seed).random(pool.n, dtype=np.float32)

    def definition(self, values: Mapping[str, NDArray[np.float64]], pool: Pool) -> NDArray[np.float64]:
        """The same stream, one number at a time."""
        rng = np.random.default_rng(self.seed)
        return np.array([rng.random(dtype=np.float32) for _ in range(pool.n)], dtype=np.float64)
