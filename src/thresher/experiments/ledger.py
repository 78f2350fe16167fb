"""What a run cost: the time of every stage is written into the run's log, and read from there for the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from thresher.files import parse_json
from thresher.methods import AUTO, FULL, RANDOM, ResolvedMethod, parse_spec
from thresher.report import Cost, Ledger


class Clock:
    """Writes how long every epoch and every stage took into a log, `log(event, **details)`.

    The first epoch holds the set-up, the last the evaluation pass. One that was interrupted and trained again counts once,
    with its last time.

    >>> lines = []
    >>> clock = Clock(lambda event, **details: lines.append((event, sorted(details))))
    >>> clock.epoch(1)
    >>> clock.stage("scored")
    >>> lines
    [('epoch', ['epoch', 'seconds']), ('scored', ['seconds'])]
    """

    def __init__(self, log: Callable[..., None]) -> None:
        self._log, self._last = log, time.perf_counter()

    def start(self) -> None:
        """Count from now on."""
        self._last = time.perf_counter()

    def _lap(self) -> float:
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        return round(seconds, 4)

    def epoch(self, epoch: int) -> None:
        """Log the time of an epoch that has just ended; `epoch` counts completed ones."""
        self._log("epoch", epoch=epoch, seconds=self._lap())

    def stage(self, event: str) -> None:
        """Log the time of a stage that has just ended."""
        self._log(event, seconds=self._lap())


def epochs_needed(method: ResolvedMethod, recorded: int) -> int:
    """Return after how many of the `recorded` epochs everything that the method reads is final.

    Where (T, K) were derived from the recording, that took all of it, however few of its epochs are scored.
    """
    if parse_spec(method.name)[1].get("at") == AUTO:
        return recorded
    read = [at or int(scorer.params().get("epochs", recorded)) for scorer, at in method.columns.values()]
    return min(max(read), recorded)


def ledger(
    log: Path, n: int, surrogate_epochs: int, coreset_epochs: int, resolved: Mapping[tuple[str, float], ResolvedMethod],
    results: Sequence[Mapping[str, Any]],
) -> Ledger:  # fmt: skip
    """Return the costs of the run with this log; times that the log lacks are None.

    A pass is one sample through the network, forward and backward: the measure that does not depend on the machine.
    """
    epochs, scored = _times(log)
    known = all(epoch in epochs for epoch in range(1, surrogate_epochs + 1))
    groups: dict[tuple[str, float], list[Mapping[str, Any]]] = {}
    for result in results:
        groups.setdefault((result["method"], result["keep"]), []).append(result)
    seconds = {key: sum(r["seconds"] for r in group) / len(group) for key, group in groups.items()}
    costs = []
    for (label, keep), method in resolved.items():
        if (label, keep) not in groups or label == FULL:
            continue
        looks = method.scorer.name != RANDOM  # which needs no surrogate at all
        needed = epochs_needed(method, surrogate_epochs) if looks else 0
        kept = int(groups[label, keep][0]["kept"])
        costs.append(Cost(label, keep, needed, seconds[label, keep], kept * coreset_epochs))
    return Ledger(
        surrogate_epochs,
        n * surrogate_epochs,
        sum(epochs[e] for e in range(1, surrogate_epochs + 1)) if known else None,
        scored,
        n * coreset_epochs,
        seconds.get((FULL, 1.0)),
        tuple(costs),
    )


def _times(log: Path) -> tuple[dict[int, float], float | None]:
    """Return the seconds of every epoch and those of scoring, of each the last entry; None where there is none."""
    epochs: dict[int, float] = {}
    scored: float | None = None
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    for line in lines:
        try:
            entry = parse_json(line)
        except ValueError:  # the line that a crash cut off
            continue
        if not isinstance(entry, dict) or not isinstance(entry.get("seconds"), int | float):
            continue
        if entry.get("event") == "epoch" and isinstance(entry.get("epoch"), int):
            epochs[entry["epoch"]] = float(entry["seconds"])
        elif entry.get("event") == "scored":
            scored = float(entry["seconds"])
    return epochs, scored
