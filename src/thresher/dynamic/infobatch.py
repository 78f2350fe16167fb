"""`infobatch`: drop a random part of the well-learned samples, and let the rest of them count for more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from thresher.coreset import Coreset
from thresher.data.spec_text import exact, exact_count
from thresher.dynamic._base import Live, Rule, everything
from thresher.errors import InputError
from thresher.keep import share_times
from thresher.scorers._base import Scorer
from thresher.scorers.last_loss import LastLoss

_COLUMN = "last_loss"


@dataclass(frozen=True)
class InfoBatch(Rule):
    """In each epoch drop a random share `ratio` of the samples whose last loss is below the mean.

    Formula, with L_i the loss of sample i when it was last shown, m the number of samples with L_i < mean L and
    d = floor(ratio m) of them dropped:

        w_i = m / (m - d)   for those of the m that are kept,    1   for all others

    so that E[ sum_kept w_i g_i ] = sum_all g_i over the draw for any g_i: an epoch's gradients, taken at one point, sum
    in expectation to those of the full data, from fewer steps. So the mean gradient of a step is larger than that of the
    full data by the factor N / kept, less than 1 / (1 - ratio); the learning rate is not changed, as published. The last
    epochs, from `delta` times their number on, show everything. So does the first, since there are no losses yet.

    `ratio` in [0, 1), `delta` in [0, 1]; published 0.5 and 0.875. Raises InputError for values outside.

    Source: Z. Qin et al., "InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning", ICLR 2024, and its
    official code.
    Differences from the official code: floor(ratio m) are dropped (there, floor((1 - ratio) m) are kept, one fewer if
    ratio m is not an integer, and a ratio above 0.9 becomes 0.9); w is m / (m - d), which is 1 / (1 - ratio) if ratio m is
    an integer and keeps the sum unbiased if not; a sample that was not seen yet (a loader that drops its last batch) is
    never dropped and not part of the mean (there, the package gives it the loss 3 and the older research copy 1); the
    weights are 1 in the last epochs even if delta times the epochs is not an integer (there, those of the last draw are
    kept), and then one epoch more prunes than there; on several ranks all samples of a draw are shown (there, the
    remainder is dropped); draws depend on (seed, epoch), no global generator is seeded and no DataLoader is patched.

    >>> from thresher.types import Pool, Scores
    >>> losses = Scores(np.array([0.1, 0.2, 0.3, 0.4, 4.0], dtype=np.float32))
    >>> drawn = InfoBatch().draw(Live(1, 8, {"last_loss": losses}, Pool(5)), seed=0)
    >>> len(drawn), sorted(drawn.weights.tolist())
    (3, [1.0, 2.0, 2.0])
    """

    ratio: float = 0.5
    delta: float = 0.875

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.ratio < 1:
            raise InputError(f"Expected ratio in [0, 1), the share of well-learned samples to drop, but got {self.ratio}.")
        if not 0 <= self.delta <= 1:
            raise InputError(f"Expected delta in [0, 1], the share of the epochs that prune, but got {self.delta}.")

    @property
    def scorers(self) -> Mapping[str, Scorer]:
        """The last loss."""
        return {_COLUMN: LastLoss()}

    def due(self, epoch: int, epochs: int) -> bool:
        """Every epoch."""
        return True

    def reads(self, epoch: int, epochs: int) -> bool:
        """From the second epoch to the last one that prunes."""
        return 0 < epoch < share_times(exact(self.delta), epochs)  # 0.55 * 100 is a float above 55

    def draw(self, live: Live, seed: int) -> Coreset:
        """Return the epoch's samples and their weights."""
        if not self.reads(live.epoch, live.epochs):
            return everything(live.pool.n)
        losses = live.scores[_COLUMN].values.astype(np.float64)
        seen = ~np.isnan(losses)
        learned = np.flatnonzero(losses < losses[seen].mean())  # NaN is not
        dropped = exact_count(self.ratio, len(learned))
        if not dropped:
            return everything(live.pool.n)
        weights = np.ones(live.pool.n, dtype=np.float32)
        weights[learned] = len(learned) / (len(learned) - dropped)
        kept = np.ones(live.pool.n, dtype=np.bool_)
        kept[np.random.default_rng(seed).choice(learned, dropped, replace=False)] = False
        ids = np.flatnonzero(kept).astype(np.int64)
        return Coreset(ids, weights[ids], live.pool.n)
