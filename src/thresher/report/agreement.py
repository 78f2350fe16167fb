"""How far methods agree: what they keep in common, and how alike their rankings are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from thresher.report.content import Content


@dataclass(frozen=True)
class Matrix:
    """A square table: `cells[i][j]` between `names[i]` and `names[j]`, None where it cannot be said."""

    title: str
    note: str
    names: tuple[str, ...]
    cells: tuple[tuple[float | None, ...], ...]

    def strength(self, value: float | None) -> float:
        """Return how strongly a cell is coloured: by how far it is from nothing, whatever its sign."""
        return 0.0 if value is None else min(1.0, abs(value))


def overlap(content: Content, keep: float, said: str) -> Matrix | None:
    """Return the share of common samples of every two methods at one kept share, in [0, 1]; None below two methods."""
    chosen = content.selected(keep)
    if len(chosen) < 2:
        return None
    n = max(len(content.targets), *(int(s.ids.max()) + 1 for s in chosen.values()))
    masks = np.zeros((len(chosen), n), dtype=np.float32)
    for row, selection in enumerate(chosen.values()):
        masks[row, selection.ids] = 1
    sizes = masks.sum(axis=1)
    common = (masks @ masks.T) / np.minimum.outer(sizes, sizes)
    cells = tuple(tuple(float(value) for value in row) for row in common)
    return Matrix(f"{said} kept", f"by chance: {100 * float(sizes.mean() / n):.0f} %", tuple(chosen), cells)


def ranks(content: Content) -> Matrix | None:
    """Return Spearman's correlation of every two scores, each counted towards its hard end; None below two scores."""
    if len(content.scores) < 2:
        return None
    sign = {"high": 1.0, "low": -1.0}
    values = [sign[c.hard_end] * c.values.astype(np.float64) for c in content.scores]
    cells = tuple(tuple(spearman(one, other) for other in values) for one in values)
    names = tuple(column.name for column in content.scores)
    return Matrix("Spearman's rank correlation of difficulty", "0: unrelated", names, cells)


def spearman(one: NDArray[np.floating], other: NDArray[np.floating]) -> float | None:
    """Return Spearman's correlation of two (N,) where both are finite; None where there is none to be said."""
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < 2 or np.ptp(one[both]) == 0 or np.ptp(other[both]) == 0:
        return None
    return float(stats.spearmanr(one[both], other[both]).statistic)
