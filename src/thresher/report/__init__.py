"""The report: one self-contained HTML file. `Content` says what goes in, `render` makes the page from it.

Nothing here reads a run directory or trains; `thresher.experiments.reporting` gathers the content.
"""

from __future__ import annotations

from thresher.report.content import Content, DataMap, Line, ScoreColumn, Selection


def render(content: Content) -> str:
    """Return the report as HTML: no scripts, styles, fonts or images from elsewhere; equal content gives equal text."""
    from thresher.report.page import page  # here: Matplotlib and Jinja take a second to import

    return page(content)


__all__ = ["Content", "DataMap", "Line", "ScoreColumn", "Selection", "render"]
