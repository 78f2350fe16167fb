"""The board's page: one table of published and measured numbers, and heat maps, as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thresher.report._environment import templates


@dataclass(frozen=True)
class HeatMap:
    """A grid of accuracies in percent: `values[row][column]`, None where nothing was run."""

    title: str
    row_label: str
    column_label: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]

    def strength(self, value: float) -> float:
        """Return where a value lies between the smallest (0) and the largest (1) of the grid."""
        known = [v for line in self.values for v in line if v is not None]
        low, high = min(known), max(known)
        return 1.0 if high == low else (value - low) / (high - low)


def board_page(
    title: str, description: str, headings: Sequence[str], lines: Sequence[Sequence[str]],
    heat_maps: Sequence[HeatMap] = (), facts: Mapping[str, Any] | None = None,
) -> str:  # fmt: skip
    """Return the board as HTML; nothing is loaded from elsewhere, and every text is shown as text."""
    return (
        templates()
        .get_template("board.html.j2")
        .render(title=title, description=description, headings=headings, lines=lines, heat_maps=heat_maps, facts=facts or {})
    )
