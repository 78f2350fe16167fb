"""What a report shows of a recording: each sample's mean signals and trajectory, and when rankings settle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from thresher.keep import keep_count
from thresher.ranking.keys import id_hash
from thresher.replay import Request, Source, replay
from thresher.report import DataMap, Settling
from thresher.report.agreement import spearman
from thresher.scorers._base import Scorer
from thresher.selectors._quota import hardest_first
from thresher.signals import EVAL_PREFIX
from thresher.trajectory.reader import Trajectory
from thresher.types import Floats, Ids, Scores

_MOST_RANKED = 50_000
"""Samples whose rankings are compared over the epochs: a correlation needs no more."""
_CELLS = 48
OnStep = Callable[[float, float], None]


def nothing(done: float, total: float) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Means:
    """Per sample over the recorded epochs, (N,) float32, NaN where it was never seen; None where not recorded."""

    target_prob: Floats
    variability: Floats
    correct: Floats | None
    error_norm: Floats | None
    logit_margin: Floats | None
    epochs: int

    def map(self, shown: Ids | None = None, trajectories: Floats | None = None) -> DataMap:
        """Return the data map, with what some samples show."""
        ids = np.empty(0, dtype=np.int64) if shown is None else shown
        return DataMap(self.target_prob, self.variability, self.correct, self.epochs, ids, trajectories)


def means(trajectory: Trajectory, on_step: OnStep = nothing) -> Means:
    """Return the mean signals of every sample, read in one pass with sums in float64; `on_step(epochs read, of all)`."""
    wanted = [s for s in ("target_prob", "correct", "error_norm", "logit_margin") if s in trajectory.signals]
    total = {name: np.zeros(trajectory.n) for name in wanted}
    count, squares = np.zeros(trajectory.n), np.zeros(trajectory.n)
    for frame in trajectory.frames(wanted, 0, trajectory.epochs):
        seen = ~np.isnan(frame.values["target_prob"])
        ids = frame.ids[seen]
        count[ids] += 1
        squares[ids] += frame.values["target_prob"][seen].astype(np.float64) ** 2
        for name in wanted:
            total[name][ids] += frame.values[name][seen]
        on_step(frame.epoch + 1, trajectory.epochs)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN of a sample never seen
        found = {name: (values / count).astype(np.float32) for name, values in total.items()}
        mean = total["target_prob"] / count
        variability = np.sqrt(np.maximum(squares / count - mean**2, 0.0)).astype(np.float32)
    return Means(
        found["target_prob"], variability, found.get("correct"), found.get("error_norm"), found.get("logit_margin"),
        trajectory.epochs,
    )  # fmt: skip


def trajectories(trajectory: Trajectory, ids: Ids, on_step: OnStep = nothing) -> Floats:
    """Return the target probability of the samples `ids` (S,), sorted, in every epoch: (S, T), NaN where not seen.

    `on_step(done, total)` is called after every epoch.
    """
    found = np.full((len(ids), trajectory.epochs), np.nan, dtype=np.float32)
    for frame in trajectory.frames(["target_prob"], 0, trajectory.epochs):
        if frame.complete:
            found[:, frame.epoch] = frame.values["target_prob"][ids]
        else:
            here = np.isin(ids, frame.ids, assume_unique=True)
            found[here, frame.epoch] = frame.values["target_prob"][np.searchsorted(frame.ids, ids[here])]
        on_step(frame.epoch + 1, trajectory.epochs)
    return found


def spread_over_map(found: Means, count: int, first: Sequence[Ids] = ()) -> Ids:
    """Return about `count` ids, sorted: those of `first`, then samples from all over the map, however rare their place is.

    The map is cut into cells, and every cell gives its samples in turn, drawn by the hash of their ids.
    """
    chosen = np.unique(np.concatenate([np.empty(0, np.int64), *first]))[:count]
    usable = np.flatnonzero(np.isfinite(found.target_prob) & np.isfinite(found.variability))
    rest = np.setdiff1d(usable, chosen)
    rest = rest[np.argsort(id_hash(rest), kind="stable")]
    x = np.minimum(found.variability[rest] / max(float(found.variability[usable].max(initial=0)), 1e-6), 1)
    cell = (x * (_CELLS - 1)).astype(np.int64) * _CELLS + (found.target_prob[rest] * (_CELLS - 1)).astype(np.int64)
    order = np.argsort(cell, kind="stable")
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    turn = np.empty(len(rest), dtype=np.int64)  # how many of its cell came before
    turn[order] = np.arange(len(rest)) - np.repeat(starts, np.diff(starts, append=len(rest)))
    taken = rest[np.argsort(turn, kind="stable")[: max(0, count - len(chosen))]]
    ids: Ids = np.union1d(chosen, taken)
    return ids


def checkpoints(epochs: int) -> tuple[int, ...]:
    """Return at most 8 numbers of completed epochs, dense where rankings still move: early.

    >>> checkpoints(200), checkpoints(5)
    ((2, 4, 7, 14, 28, 54, 104, 200), (2, 3, 4, 5))
    """
    if epochs < 3:
        return ()
    return tuple(np.unique(np.geomspace(2, epochs, 8).round().astype(np.int64)).tolist())


def settling(source: Source, scorers: Iterable[Scorer], keep: float, on_step: OnStep = nothing) -> tuple[Settling, ...]:
    """Return for each scorer that follows the training how its ranking after some epochs agrees with the last one.

    Those that read an evaluation pass at the end, or nothing, have no earlier ranking and are left out.
    `on_step(done, total)` is called after every epoch.
    """
    if source.n > _MOST_RANKED:
        source = source.only(np.linspace(0, source.n - 1, _MOST_RANKED).astype(np.int64))
    points = checkpoints(source.epochs)
    usable = [
        scorer for scorer in dict.fromkeys(scorers)
        if scorer.needs and set(scorer.needs) <= set(source.signals) and not scorer.reads_pool
        and not any(name.startswith(EVAL_PREFIX) for name in scorer.needs)
    ]  # fmt: skip
    asked = {
        scorer: [at for at in points if at >= max(2, scorer.min_epochs)]
        for scorer in usable
    }  # fmt: skip
    asked = {scorer: when for scorer, when in asked.items() if len(when) > 1}
    if not asked:
        return ()
    requests = [Request(f"{k}:{at}", scorer, at) for k, (scorer, when) in enumerate(asked.items()) for at in when]
    columns = replay(source, requests, on_step=on_step)
    count = keep_count(source.n, keep)
    names = _names(list(asked))
    made = []
    for k, (scorer, when) in enumerate(asked.items()):
        last = columns[f"{k}:{when[-1]}"]
        pairs = [_agreement(columns[f"{k}:{at}"], last, count) for at in when]
        made.append(Settling(names[scorer], tuple(when), tuple(p[0] for p in pairs), tuple(p[1] for p in pairs)))
    return tuple(made)


def _names(scorers: Sequence[Scorer]) -> dict[Scorer, str]:
    """Return what tells scorers apart: their names, with the window where two share one."""
    alike = [scorer.name for scorer in scorers]
    return {
        s: s.name if alike.count(s.name) == 1 else f"{s.name} ({', '.join(f'{k}={v}' for k, v in s.params().items())})"
        for s in scorers
    }


def _agreement(early: Scores, last: Scores, count: int) -> tuple[float, float]:
    """Return Spearman's correlation of two rankings, and the share of the `count` hardest that they have in common."""
    both = np.isfinite(early.values) & np.isfinite(last.values)
    one, other = early.difficulty[both], last.difficulty[both]
    if len(one) < 2:
        return float("nan"), float("nan")
    correlation = spearman(one, other)
    count = min(count, len(one))
    common = np.intersect1d(hardest_first(one)[:count], hardest_first(other)[:count], assume_unique=True)
    return float("nan") if correlation is None else correlation, len(common) / count
