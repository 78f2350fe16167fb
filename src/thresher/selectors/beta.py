"""`beta`: DUAL's Beta-weighted draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thresher.errors import InputError
from thresher.ranking.keys import id_hash
from thresher.selectors._base import Selector
from thresher.selectors._draw import draw_keys, log_weights
from thresher.selectors._quota import hardest_first
from thresher.types import Ids, Pool, Scores

_EDGE = 1e-7  # mean probabilities are kept this far from 0 and 1, where the density is 0 or infinite


@dataclass(frozen=True)
class Beta(Selector):
    """Draw samples by score times a Beta density over the mean target probability, easier ones the more are pruned.

    Formula, with m (N,) the mean target probability in `pool.aux["mean_prob"]`, P = 1 - keep / N and mu_D the mean of m
    over the `anchors` samples of highest difficulty:
        b = total * (1 - mu_D) * (1 - P ** c_d),    a = total + 1 - b,
        w_n = BetaPDF(m_n; a, b) * score_n,
    and `keep` samples are drawn one after another without replacement, with probability proportional to w among the
    remaining ones. The density's mean is 1 - b / (total + 1): pruning more moves it to easier samples.

    Parameters: `c_d` is 4 in the official CIFAR script and 11 in the ImageNet script (the paper reportedly has 5.5 for
    CIFAR-10; not verified). `total` 15 and `a = 16 - b` are from the official code.

    Raises InputError if `mean_prob` is missing or outside [0, 1].

    Fails: if `c_d` does not suit the data; it is published for three data sets. The whole score table must fit into
    memory, since samples are drawn one after another.

    Source: Cho et al. 2025 (DUAL), official code.
    Differences from the official code: seeded; exactly `keep` samples (there, one fewer at keep 0.1 and 0.2 on CIFAR);
    weights in log space with m kept 1e-7 away from 0 and 1 (there, an infinite density gives NaN); samples of zero weight
    are taken only when nothing else is left, by a hash of the id (there, an error); negative difficulties are shifted to 0.

    >>> scores = Scores(np.array([0.5, 0.0, 0.2, 0.4], dtype=np.float32))
    >>> pool = Pool(4, aux={"mean_prob": np.array([0.5, 0.9, 0.1, 0.6], dtype=np.float32)})
    >>> Beta().pick(scores, pool, 3, np.random.default_rng(0)).tolist()
    [0, 2, 3]
    """

    c_d: float = 4.0
    total: float = 15.0
    anchors: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 < self.c_d < float("inf") and 0 < self.total < float("inf")):
            raise InputError(f"Expected positive c_d and total, but got c_d={self.c_d!r}, total={self.total!r}.")
        if self.anchors < 1:
            raise InputError(f"Expected at least one anchor sample, but got {self.anchors!r}.")

    def pick(self, scores: Scores, pool: Pool, keep: int, rng: np.random.Generator) -> Ids:
        """Return the drawn ids, sorted."""
        keys = draw_keys(self.log_weights(scores, pool, keep), rng)
        order = np.lexsort((id_hash(np.arange(pool.n)), -keys))
        return np.sort(order[:keep]).astype(np.int64, copy=False)

    def log_weights(self, scores: Scores, pool: Pool, keep: int) -> NDArray[np.float64]:
        """Return (N,) float64 ln w up to a constant; -inf where the score is 0."""
        mean_prob = self._mean_prob(pool)
        a, b = self.shape(scores, mean_prob, keep)
        inside = np.clip(mean_prob, _EDGE, 1 - _EDGE)
        density: NDArray[np.float64] = (a - 1) * np.log(inside) + (b - 1) * np.log1p(-inside)
        return density + log_weights(scores.difficulty)

    def shape(self, scores: Scores, mean_prob: NDArray[np.float64], keep: int) -> tuple[float, float]:
        """Return the Beta density's (a, b) for `keep` of the N samples."""
        anchors = hardest_first(scores.difficulty)[: self.anchors]
        pruned = 1 - keep / len(mean_prob)
        b = self.total * (1 - float(mean_prob[anchors].mean())) * (1 - pruned**self.c_d)
        return self.total + 1 - b, b

    def _mean_prob(self, pool: Pool) -> NDArray[np.float64]:
        if "mean_prob" not in pool.aux:
            raise InputError(
                "beta needs the mean target probability of every sample in pool.aux['mean_prob'], but it is not there. "
                "Score with mean_prob too (`thresher.methods.resolve` of dual_beta returns the scorers and the selector)."
            )
        mean_prob = np.asarray(pool.aux["mean_prob"], dtype=np.float64)
        if not ((mean_prob >= 0) & (mean_prob <= 1 + 1e-6)).all():
            raise InputError(
                f"Expected mean target probabilities in [0, 1], but got {mean_prob.min():g} to {mean_prob.max():g}."
            )
        return mean_prob
