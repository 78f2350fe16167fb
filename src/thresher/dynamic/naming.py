"""Rules by the names that users type."""

from __future__ import annotations

import dataclasses

from thresher.dynamic._base import Rule
from thresher.dynamic.infobatch import InfoBatch
from thresher.dynamic.redraw import Redraw
from thresher.methods import parse_spec
from thresher.registry import build

_RULES: dict[str, type[Rule]] = {"infobatch": InfoBatch, "redraw": Redraw}


def parse_rule(text: str, dataset: str = "") -> Rule:
    """Return the rule that `infobatch`, `infobatch:ratio=0.3` or `redraw:method=ccs:keep=0.3:every=2` names.

    Parameters that are not a redraw's own go to its method (`redraw:method=tdds:window=5`); `dataset` names the data set
    whose published settings a redraw uses. Raises UnknownNameError for an unknown rule, InputError for malformed text, and
    what the rule raises.

    >>> parse_rule("infobatch:ratio=0.3")
    InfoBatch(ratio=0.3, delta=0.875)
    >>> parse_rule("redraw:method=tdds:keep=0.3:window=5").method
    'tdds:window=5'
    """
    name, given = parse_spec(text)
    if name == "redraw":
        own = {field.name for field in dataclasses.fields(Redraw)}
        methods = [f"{key}={value}" for key, value in given.items() if key not in own]
        mine = {key: value for key, value in given.items() if key in own}
        given = {"dataset": dataset, **mine, "method": ":".join([given.get("method", "tdds"), *methods])}
    return build("rule", _RULES, name, given)
