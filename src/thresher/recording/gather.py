"""Scores and labels of all samples on every rank, from what each owns. Every rank must call these alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.ranks import Ranks, together
from thresher.scorers._base import Scorer, State, computed
from thresher.types import Floats, Pool


def everywhere(ranks: Ranks, values: NDArray[Any]) -> NDArray[Any]:
    """Return the (n,) values of all ranks in the order of ids, on each of them."""
    if ranks.size == 1:
        return values
    gathered, _ = ranks.exchange(np.concatenate([values] * ranks.size), [len(values)] * ranks.size)
    return gathered


def if_all_known(ranks: Ranks, targets: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    """Return the labels of this rank's samples if those of all samples are known, else None; -1 is an unknown one."""
    return targets if all(ranks.share("pool", targets is not None and not bool((targets < 0).any()))) else None


def scores_of_all(ranks: Ranks, scorer: Scorer, state: State, pool: Pool, n: int) -> Floats:
    """Return the (N,) scores on every rank; `state` and `pool` are of the samples that this one owns.

    A scorer that reads signals treats each sample by itself (its conformance suite holds it to that), so each rank
    computes its own. One that reads features goes class by class, one that reads nothing is computed as a whole.
    """
    if ranks.size == 1:
        return computed(scorer, state, pool)
    if scorer.by_class:
        return everywhere(ranks, _by_class(ranks, scorer, pool))
    if not scorer.needs:
        targets = None if pool.targets is None else everywhere(ranks, pool.targets)
        return computed(scorer, scorer.init(n), Pool(n, targets, None, pool.num_classes))
    with together(ranks, f"scores of {scorer.name}"):
        values = computed(scorer, state, pool)
    return everywhere(ranks, values)


def _by_class(ranks: Ranks, scorer: Scorer, pool: Pool) -> Floats:
    """Return the scores of the owned samples; the classes take turns, one on each rank, so that no rank holds more
    features than those it owns and one class."""
    topic = f"scores of {scorer.name}"
    widths = ranks.share(topic, None if pool.features is None else pool.features.shape[1])
    width = next((w for w in widths if w is not None), None)
    features = pool.features
    if features is None and width is not None:  # of these samples none was evaluated
        features = np.full((pool.n, width), np.nan, dtype=np.float32)
    with together(ranks, topic):
        mine = Pool(pool.n, pool.targets, features, pool.num_classes)
        targets, features = mine.need_targets(scorer.name), mine.need_features(scorer.name)
    result = np.full(pool.n, np.nan, dtype=np.float32)
    failure: Exception | None = None
    for turn in range(0, pool.num_classes or 0, ranks.size):
        members = [np.flatnonzero(targets == turn + rank) for rank in range(ranks.size)]
        rows = np.concatenate(members)
        came, counts = ranks.exchange(features[rows], [len(m) for m in members])
        values = np.full(len(came), np.nan, dtype=np.float32)
        if len(came) and failure is None:
            label = np.full(len(came), turn + ranks.rank, dtype=np.int64)
            try:
                values = computed(scorer, scorer.init(len(came)), Pool(len(came), label, came, pool.num_classes))
            except Exception as error:  # kept, so that the others are not left waiting
                failure = error
        result[rows], _ = ranks.exchange(values, counts)
    with together(ranks, topic):
        if failure is not None:
            raise failure
    return result
