"""The report: one self-contained HTML file. `Content` says what goes in, `render` makes the page from it.

Nothing here reads a run directory or trains; `thresher.experiments.reporting` gathers the content.
"""

from __future__ import annotations

from thresher.report.content import (
    Content,
    Cost,
    DataMap,
    Ledger,
    Line,
    Published,
    ScoreColumn,
    Selection,
    Settling,
    Suspects,
)


def render(content: Content) -> str:
    """Return the report as HTML: nothing in it comes from elsewhere, and equal content gives equal text."""
    from thresher.report.page import page  # here: Matplotlib and Jinja take a second to import

    return page(content)


__all__ = [
    "Content",
    "Cost",
    "DataMap",
    "Ledger",
    "Line",
    "Published",
    "ScoreColumn",
    "Selection",
    "Settling",
    "Suspects",
    "render",
]
