"""The named methods of the literature: which scorer, which selector, with which published settings.

`METHODS` is the table, `resolve` puts in what was published for a data set and a kept share (and says so), `card` prints
one method with everything that matters for using and for citing it.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from thresher.errors import InputError, TooFewEpochsError, UnknownNameError
from thresher.keep import keep_share
from thresher.scorers._base import Scorer
from thresher.selectors._base import Selector
from thresher.settings import published
from thresher.settings.published import Published


@dataclass(frozen=True)
class Method:
    """A scorer and a selector that the literature knows by one name.

    `scorer_params` and `selector_params` are what the method fixes beyond their defaults; `aux` maps the names of further
    scores the selector reads (`pool.aux`) to scorers; `settings(dataset, share)` gives what was published for a case.
    """

    name: str
    title: str
    scorer_name: str
    selector_name: str = "top"
    computes: str = ""
    formula: str = ""
    direction: str = "keeps the highest scores"
    paper: str = ""
    differences: str = ""
    scorer_params: Mapping[str, Any] = field(default_factory=dict)
    selector_params: Mapping[str, Any] = field(default_factory=dict)
    aux: Mapping[str, str] = field(default_factory=dict)
    settings: Callable[[str, Fraction], Published] | None = None
    settings_text: str = ""

    def card(self) -> str:
        """Return what it computes, formula, parameters with defaults, direction, source and differences, as text."""
        from thresher.registry import scorers, selectors

        chosen = [("scorer", scorers()[self.scorer_name], self.scorer_params)]
        chosen += [(f"pool.aux[{key!r}]", scorers()[name], {}) for key, name in self.aux.items()]
        parameters = [_parameters(*one) for one in chosen]
        parameters.append(_parameters("selector", selectors()[self.selector_name], self.selector_params))
        parts = [
            ("computes", self.computes),
            ("formula", self.formula),
            ("direction", self.direction),
            ("parameters", "\n".join(parameters)),
            ("published", self.settings_text),
            ("source", self.paper),
            ("differs", self.differences),
        ]
        return f"{self.name}: {self.title}\n\n" + "\n".join(_entry(name, text) for name, text in parts if text)


@dataclass(frozen=True)
class ResolvedMethod:
    """A method ready to run: scorers and selector built, `at` completed epochs to ask at (None = the end of the recording).

    `name` is the label it was asked for by; `notice` says what was picked and why, "" where nothing was to pick.
    """

    name: str
    scorer: Scorer
    selector: Selector
    aux_scorers: Mapping[str, Scorer] = field(default_factory=dict)
    notice: str = ""
    at: int | None = None


def find(name: str) -> Method:
    """Return the method of that name; a scorer without a method of its own stands for itself with `top`.

    Raises UnknownNameError.

    >>> find("ccs").scorer_name, find("ccs").selector_name
    ('aum', 'stratified')
    """
    from thresher.registry import scorers

    if name in METHODS:
        return METHODS[name]
    if name in scorers():
        return Method(name, f"the scorer {name}, hardest kept", name)
    raise UnknownNameError(f"Expected a method, one of {', '.join(METHODS)}, but got {name!r}. See `thresher methods`.")


def card(name: str) -> str:
    """Return the card of the named method."""
    return find(name).card()


def parse_spec(text: str) -> tuple[str, dict[str, str]]:
    """Return name and overrides of `name[:key=value[:key=value...]]`; further commas separate as colons do.

    >>> parse_spec("tdds:window=5:at=10")
    ('tdds', {'window': '5', 'at': '10'})
    """
    name, *pairs = text.replace(",", ":").split(":")
    overrides: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not (key and equals and value) or key in overrides:
            raise InputError(f"Expected a method such as tdds or tdds:window=5:at=10, but got {text!r}.")
        overrides[key] = value
    return name.strip(), overrides


def resolve(
    spec: str, dataset: str, keep: float | str, epochs_available: int | None = None, *, surrogate: str | None = None
) -> ResolvedMethod:
    """Return the method that `spec` names with the settings published for `dataset` and the kept share.

    `spec` is a name, or a name with parameters of scorer or selector after colons: `tdds:window=5:at=10`,
    `ccs:cutoff=0.3`, `el2n:selector=stratified`. What is given there wins over what is published. With
    `epochs_available` (epochs recorded), settings that need more are shortened, and the notice says so.

    Raises UnknownNameError for an unknown method, InputError for an unknown or impossible parameter, TooFewEpochsError where
    a given `at` is beyond the recording.

    >>> tdds = resolve("tdds", "cifar10", 0.1)
    >>> tdds.at, tdds.scorer.params()["window"]
    (10, 5)
    >>> tdds.notice
    'tdds: T=10, K=5: published for cifar10/resnet18 at 90 % pruned'
    """
    from thresher.registry import make_scorer, make_selector

    name, overrides = parse_spec(spec)
    method = find(name)
    if "selector" in overrides:
        method = dataclasses.replace(
            method, selector_name=overrides.pop("selector"), selector_params={}, aux={}, settings=None
        ) if overrides["selector"] != method.selector_name else _without(method, overrides)
    share = keep_share(keep)
    return _build(method, spec, dataset, share, overrides, epochs_available, surrogate)
