"""`class_distance`: how far a sample is from the median of its class; Moderate's score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from thresher.scorers._base import Scorer, State
from thresher.types import Floats, Frame, HardEnd, Pool


@final
@dataclass(frozen=True)
class ClassDistance(Scorer):
    """Take the distance of a sample's features from the median of its class.

        centre[y] = feature-wise median of h over class y,     s = || h - centre[y] ||_2

    h are the penultimate features of the trained network in evaluation mode, without augmentation (`Pool.features`, from
    the evaluation pass). Scores are (N,) float32 >= 0; high = far. The selector `near_median` keeps the middle ranks.
    Samples without features score NaN and are ignored by the median.

    Fails: if a class consists of several groups, since the median then lies between them; and without features (from an
    evaluation pass that keeps them). All features of a class must fit into memory.

    Source: X. Xia et al., "Moderate Coreset: A Universal Method of Data Selection for Real-world Data-efficient Deep
    Learning", ICLR 2023, and its official code.
    Differences from the official code: the network is in evaluation mode (there, batch normalisation keeps using batch
    statistics), and it is the last checkpoint, not the best on the test set.

    >>> features = np.array([[0.0], [1.0], [5.0]], dtype=np.float32)
    >>> pool = Pool(3, targets=np.array([0, 0, 0]), features=features)
    >>> ClassDistance().compute({}, pool).tolist()
    [1.0, 0.0, 4.0]
    """

    hard_end: ClassVar[HardEnd] = "high"
    by_class: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[str, ...]:
        """No signals: it reads the pool."""
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
        """Return the distances; raises InputError where the pool has no targets or features."""
        targets, features = pool.need_targets(self.name), pool.need_features(self.name)
        result = np.full(pool.n, np.nan, dtype=np.float32)
        known = ~np.isnan(features).any(axis=1)
        for label in np.unique(targets):
            members = np.flatnonzero((targets == label) & known)
            if len(members):
                rows = features[members].astype(np.float64)
                result[members] = np.linalg.norm(rows - np.median(rows, axis=0), axis=1)
        return result

    def definition(self, values: Mapping[str, NDArray[np.float64]], pool: Pool) -> NDArray[np.float64]:
        """Sample by sample."""
        targets, features = pool.need_targets(self.name), pool.need_features(self.name).astype(np.float64)
        result = np.full(pool.n, np.nan)
        for n in np.flatnonzero(~np.isnan(features).any(axis=1)):
            same = features[targets == targets[n]]
            same = same[~np.isnan(same).any(axis=1)]
            centre = [sorted(column)[len(column) // 2] for column in same.T]
            if len(same) % 2 == 0:
                centre = [(sorted(c)[len(c) // 2] + sorted(c)[len(c) // 2 - 1]) / 2 for c in same.T]
            result[n] = np.sqrt(((features[n] - np.array(centre)) ** 2).sum())
        return result
