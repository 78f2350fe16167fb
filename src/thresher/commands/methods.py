"""`thresher methods`: the table of the literature, and the card of one method. No torch is imported here."""

from __future__ import annotations

from thresher.commands.output import Output
from thresher.methods import METHODS, card, find


def methods_command(*, name: str | None, say: Output) -> None:
    """`thresher methods`."""
    if name is not None:
        say.line(card(name))
        say.result({"method": _about(name), "card": card(name)})
        return
    width = max(map(len, METHODS))
    for key, method in METHODS.items():
        say.line(f"{key:<{width}}  {method.title}")
    say.result({"methods": [_about(key) for key in METHODS]})


def _about(name: str) -> dict[str, str]:
    method = find(name)
    return {
        "name": method.name, "title": method.title, "scorer": method.scorer_name, "selector": method.selector_name,
        "computes": method.computes, "formula": method.formula, "direction": method.direction, "source": method.paper,
    }  # fmt: skip
