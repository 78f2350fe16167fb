"""The ledger as people read it: what a coreset cost, and after how many trainings that has paid."""

from __future__ import annotations

import math
from dataclasses import dataclass

from thresher.report.content import Content, Ledger


@dataclass(frozen=True)
class CostLine:
    """One method at one kept share. Times are seconds in words, `pays` the trainings from which it is cheaper, in words."""

    method: str
    keep: float
    epochs: int
    seconds: str
    seconds_share: str
    pays_seconds: str
    passes: str
    passes_share: str
    pays_passes: str
    key: float


def cost_lines(content: Content) -> tuple[CostLine, ...]:
    """Return a line a method and kept share, in the ledger's order."""
    ledger = content.ledger
    if ledger is None:
        return ()
    return tuple(_line(ledger, index) for index in range(len(ledger.costs)))


def _line(ledger: Ledger, index: int) -> CostLine:
    cost = ledger.costs[index]
    part = cost.epochs / ledger.epochs if ledger.epochs else 0.0
    before = None if ledger.surrogate_seconds is None else part * ledger.surrogate_seconds
    if before is not None and cost.epochs:
        before += ledger.scoring_seconds or 0.0
    full = ledger.full_seconds
    return CostLine(
        cost.method,
        cost.keep,
        cost.epochs,
        duration(cost.seconds),
        "–" if not full else f"{100 * cost.seconds / full:.0f} %",
        pays_from(before, full, cost.seconds),
        count(cost.passes),
        f"{100 * cost.passes / ledger.full_passes:.0f} %" if ledger.full_passes else "–",
        pays_from(part * ledger.surrogate_passes, ledger.full_passes, cost.passes),
        cost.seconds,
    )


def pays_from(before: float | None, full: float | None, each: float) -> str:
    """Return from which training on the coreset on it has cost less than as many trainings on everything.

    >>> pays_from(100.0, 100.0, 10.0), pays_from(0.0, 10.0, 1.0), pays_from(10.0, 5.0, 5.0), pays_from(None, 5.0, 1.0)
    ('2nd', '1st', 'never', '–')
    """
    if before is None or full is None:
        return "–"
    if full <= each:
        return "never"
    number = max(1, math.floor(before / (full - each)) + 1)
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def duration(seconds: float | None) -> str:
    """Return a duration in words.

    >>> duration(0.25), duration(74.6), duration(7300), duration(None)
    ('0.25 s', '1 min 15 s', '2 h 2 min', 'not measured')
    """
    if seconds is None:
        return "not measured"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"


def count(number: float) -> str:
    """Return a large number in words.

    >>> count(43110), count(10_000_000), count(120)
    ('43.1 thousand', '10 million', '120')
    >>> count(999_700), count(2.5e12)
    ('1 million', '2.5 trillion')
    """
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        # what three digits make a thousand of the smaller one is one of this
        if number >= 10 * size or (number >= 0.9995 * size and word != "thousand"):
            return f"{number / size:.3g} {word}"
    return f"{number:.0f}"
