"""Rules by the names that people type."""

from __future__ import annotations

import dataclasses
from typing import Any

from thresher.dynamic._base import Rule
from thresher.dynamic.infobatch import InfoBatch
from thresher.dynamic.redraw import Redraw
from thresher.errors import InputError, UnknownNameError, nearest
from thresher.methods import parse_spec

_RULES: dict[str, type[InfoBatch] | type[Redraw]] = {"infobatch": InfoBatch, "redraw": Redraw}


def parse_rule(text: str, dataset: str = "") -> Rule:
    """Return the rule that `infobatch`, `infobatch:ratio=0.3` or `redraw:method=ccs:keep=0.3:every=2` names.

    What a redraw does not know itself goes to its method (`redraw:method=tdds:window=5`); `dataset` names the one whose
    published settings a redraw uses. Raises UnknownNameError for another rule, InputError for what is no such text, and what
    the rule raises.

    >>> parse_rule("infobatch:ratio=0.3")
    InfoBatch(ratio=0.3, delta=0.875)
    >>> parse_rule("redraw:method=tdds:keep=0.3:window=5").method
    'tdds:window=5'
    """
    name, given = parse_spec(text)
    if name not in _RULES:
        raise UnknownNameError(f"Expected a rule, one of {', '.join(_RULES)}, but got {name!r}{nearest(name, _RULES)}.")
    rule = _RULES[name]
    kinds = {field.name: field.type for field in dataclasses.fields(rule)}
    mine: dict[str, Any] = {key: _read(text, key, kinds[key], value) for key, value in given.items() if key in kinds}
    rest = [f"{key}={value}" for key, value in given.items() if key not in kinds]
    if rule is InfoBatch:
        if rest:
            raise InputError(f"Expected parameters of infobatch, {', '.join(kinds)}, but got {', '.join(rest)}.")
        return InfoBatch(**mine)
    method = ":".join([mine.pop("method", "tdds"), *rest])
    return Redraw(method, **{"dataset": dataset, **mine})


def _read(text: str, key: str, kind: Any, value: str) -> Any:
    """Return a value as its field has it."""
    try:
        return {"float": float, "int": int}.get(kind, str)(value)
    except ValueError:
        raise InputError(f"Expected {key} as a number in {text!r}, but got {value!r}.") from None
