"""How the templates are read: every text that is put into a page is escaped."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader


def templates() -> Environment:
    """Return a new environment with the templates of the report."""
    return Environment(
        loader=PackageLoader("thresher.report", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
