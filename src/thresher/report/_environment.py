"""How the templates are read: every text that is put into a page is escaped."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader


def templates(package: str = "thresher.report") -> Environment:
    """Return a new environment with the templates of a room."""
    return Environment(loader=PackageLoader(package, "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
