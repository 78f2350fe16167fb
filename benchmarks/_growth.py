"""Costs against sizes: measured points, the exponents that fit them, and how a result keeps them for the figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Series:
    """What one cost was at several sizes: `points` are (size, cost), all above 0; `line` says at which other sizes."""

    cost: str
    unit: str
    size: str
    line: str
    points: Sequence[tuple[float, float]]

    @property
    def exponent(self) -> float:
        """The slope of the least-squares line through the points' logarithms: cost is about size to this power.

        >>> round(Series("time", "s", "N", "", [(1, 2), (10, 20), (100, 200)]).exponent, 6)
        1.0
        """
        logs = [(math.log(size), math.log(cost)) for size, cost in self.points]
        middle = [sum(column) / len(logs) for column in zip(*logs, strict=True)]
        across = sum((x - middle[0]) * (y - middle[1]) for x, y in logs)
        return across / sum((x - middle[0]) ** 2 for x, _ in logs)

    @property
    def last_exponent(self) -> float:
        """The slope between the two largest sizes, where what a process costs at any size weighs least."""
        return Series(self.cost, self.unit, self.size, self.line, sorted(self.points)[-2:]).exponent

    def note(self) -> str:
        """Return the exponents in words."""
        where = f" ({self.line})" if self.line else ""
        return (
            f"{self.cost}{where} over {len(self.points)} sizes: {self.size}^{self.exponent:.2f}, "
            f"between the two largest {self.size}^{self.last_exponent:.2f}"
        )


def drawn(series: Iterable[Series]) -> list[dict[str, Any]]:
    """Return what `figure.py` reads from a result's `raw["growth"]`."""
    return [{**asdict(one), "exponent": round(one.exponent, 4), "last": round(one.last_exponent, 4)} for one in series]
