"""`thresher methods`: the table of methods, scorers and selectors, and the card of one of them. Does not import torch."""

from __future__ import annotations

import inspect
from typing import Any

from thresher.commands.output import Output
from thresher.errors import ThresherError, one_line
from thresher.methods import METHODS, card, find, is_selector
from thresher.registry import Room, scorers, selectors


def methods_command(*, name: str | None, say: Output) -> None:
    """`thresher methods`."""
    if name is not None:
        say.line(card(name))
        say.result({"method": _about(name), "card": card(name)})
        return
    own = {key: _summary(scorers(), key) for key in scorers() if key not in METHODS}
    rules = {key: _summary(selectors(), key) for key in selectors()}
    refused = [*scorers().refused, *selectors().refused]
    width = max(map(len, [*METHODS, *own, *rules]))
    for title, entries in (
        ("", {key: method.title for key, method in METHODS.items()}),
        ("Scorers without a published method; used as one, they keep the hardest:", own),
        ("Selectors, for any of these (el2n:selector=stratified):", rules),
    ):
        if title:
            say.line(f"\n{title}")
        for key, about in entries.items():
            say.line(f"{key:<{width}}  {about}")
    for sentence in refused:
        say.note(sentence)
    say.result({"methods": [_about(key) for key in METHODS], "scorers": own, "selectors": rules, "refused": refused})


def _summary(room: Room[Any], name: str) -> str:
    """Return the first line of a docstring, or the reason why it is not available."""
    try:
        return (inspect.getdoc(room[name]) or "").partition("\n")[0]
    except ThresherError as error:
        return one_line(error)


def _about(name: str) -> dict[str, str] | None:
    """Return a method's entry; None for a selector, which is a part of one."""
    if is_selector(name):
        return None
    method = find(name)
    return {
        "name": method.name, "title": method.title, "scorer": method.scorer_name, "selector": method.selector_name,
        "computes": method.computes, "formula": method.formula, "direction": method.direction, "source": method.paper,
    }  # fmt: skip
