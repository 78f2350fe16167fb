"""Writes the pages that follow from the code and from docs/results, so that they cannot disagree. `make docs` runs this."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from writers import cards, commands, decisions, results, scale, signals

HERE = Path(__file__).parent

PAGES: dict[str, Callable[[], str]] = {
    "methods.md": cards.overview,
    **cards.pages(),
    "signals.md": signals.page,
    "scale.md": scale.page,
    "commands.md": commands.page,
    "results/numbers.md": results.page,
    "decisions/README.md": decisions.page,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).parent.mkdir(exist_ok=True)
        (HERE / name).write_text(page(), encoding="utf-8")
