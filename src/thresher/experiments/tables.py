"""Tables of results: means with intervals, gaps to Random paired by seed.

Intervals are two-sided 95 % Student t intervals of the mean over seeds; with one seed there is none. All
seeds share one surrogate, so no interval shows how much another one would change a method's coreset.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from thresher.methods import FULL, RANDOM
from thresher.report.percent import gap_text, plus_minus, seeds_text


@dataclass(frozen=True)
class Row:
    """One line of the table. Accuracies in percent; half-widths are None with one seed.

    `gap` is the mean over shared seeds, `n_pairs` of them, of (this method's accuracy - Random's) at the same kept share.
    `n_diverged` trainings ended with a loss that is no number; their accuracies count as they are.
    """

    method: str
    keep: float
    kept: int
    n_seeds: int
    accuracy_mean: float
    accuracy_half_width: float | None
    gap_mean: float | None
    gap_half_width: float | None
    n_pairs: int
    seconds: float
    n_diverged: int = 0


def looked_at(result: Mapping[str, Any], every: int) -> bool:
    """Return whether a result has the best accuracy over the epochs, measured after every so many of them.

    >>> looked_at({"best_test_accuracy": 0.5, "eval_every": 5}, 1), looked_at({"best_test_accuracy": 0.5}, 1)
    (False, True)
    """
    # results of earlier versions do not say at which epochs theirs was measured
    return result.get("best_test_accuracy") is not None and result.get("eval_every", every) == every


def mean_best(results: Sequence[Mapping[str, Any]], every: int = 0) -> float | None:
    """Return the mean in percent of the best accuracies over the epochs, None if a result lacks its own.

    It is also None if they were not measured at the same epochs (every `every` ones, if given): the best of more is higher.

    >>> best = {"best_test_accuracy": 0.5}
    >>> mean_best([best, {"best_test_accuracy": 0.75}]), mean_best([best, {"test_accuracy": 0.5}])
    (62.5, None)
    >>> mean_best([{**best, "eval_every": 1}, {**best, "eval_every": 5}]), mean_best([{**best, "eval_every": 5}], 1)
    (None, None)
    """
    if len({r.get("eval_every") for r in results}) > 1 or (every and not all(looked_at(r, every) for r in results)):
        return None
    bests = [float(r["best_test_accuracy"]) for r in results if r.get("best_test_accuracy") is not None]
    return 100 * sum(bests) / len(bests) if results and len(bests) == len(results) else None


def mean_interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the half-width of its 95 % Student t interval (None for fewer than two values).

    >>> mean, half = mean_interval([1.0, 2.0, 3.0])
    >>> round(mean, 3), round(half, 3)
    (2.0, 2.484)
    """
    array = np.asarray(values, dtype=np.float64)
    if len(array) < 2:
        return float(array.mean()), None
    half = stdtrit(len(array) - 1, 0.975) * array.std(ddof=1) / np.sqrt(len(array))
    return float(array.mean()), float(half)


def table(results: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Group result records by (method, keep) and pair them with Random by seed; full data first, then by keep."""
    groups: dict[tuple[str, float], dict[int, Mapping[str, Any]]] = {}
    for result in results:
        groups.setdefault((result["method"], result["keep"]), {})[result["seed"]] = result
    order = sorted(groups, key=lambda key: (key[0] != FULL, -key[1], key[0] != RANDOM))
    return [_row(key, groups) for key in order]


def _row(key: tuple[str, float], groups: Mapping[tuple[str, float], Mapping[int, Mapping[str, Any]]]) -> Row:
    method, keep = key
    by_seed = groups[key]
    mean, half = mean_interval([100 * r["test_accuracy"] for r in by_seed.values()])
    gap, gap_half = None, None
    random = groups.get((RANDOM, keep), {})
    shared = sorted(set(by_seed) & set(random)) if method not in (RANDOM, FULL) else []
    if shared:
        gaps = [100 * (by_seed[s]["test_accuracy"] - random[s]["test_accuracy"]) for s in shared]
        gap, gap_half = mean_interval(gaps)
    seconds = float(np.mean([r["seconds"] for r in by_seed.values()]))
    kept = int(next(iter(by_seed.values()))["kept"])
    diverged = sum(bool(r.get("diverged")) for r in by_seed.values())
    return Row(method, keep, kept, len(by_seed), mean, half, gap, gap_half, len(shared), seconds, diverged)


def keep_text(share: float) -> str:
    """Return a kept share as the command line takes it: everything is 1.0, since 1 is one sample.

    >>> keep_text(1.0), keep_text(0.1)
    ('1.0', '0.1')
    """
    return "1.0" if share == 1 else f"{share:g}"


def markdown(rows: Sequence[Row]) -> str:
    """Return the table in Markdown."""
    lines = [
        "| method | keep | kept | accuracy % | gap to Random | seeds | seconds |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for r in rows:
        accuracy = plus_minus(r.accuracy_mean, r.accuracy_half_width)
        gap = gap_text(r.gap_mean, r.gap_half_width, r.n_pairs, r.n_seeds)
        seeds = seeds_text(r.n_seeds, r.n_diverged)
        lines.append(f"| {r.method} | {keep_text(r.keep)} | {r.kept} | {accuracy} | {gap} | {seeds} | {r.seconds:.1f} |")
    return "\n".join(lines) + "\n"
