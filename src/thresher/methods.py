"""Methods ready to run: `resolve` puts in what was published for a data set and a kept share, and says so.

`METHODS` is the table of the literature, `card` prints one method with everything that matters for using and citing it.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from thresher.errors import InputError, TooFewEpochsError, UnknownNameError
from thresher.keep import keep_share
from thresher.literature import METHODS, Method
from thresher.registry import make_scorer, make_selector, scorers, selectors
from thresher.scorers._base import Scorer
from thresher.selectors._base import Selector
from thresher.settings.published import Published

__all__ = ["METHODS", "Method", "ResolvedMethod", "card", "find", "parse_spec", "resolve"]

_LENGTHS = ("window", "epochs")  # parameters that count epochs; a short recording shortens what was not asked for
_SHORTEST = {"tdds": 3}


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
    if name in METHODS:
        return METHODS[name]
    if name in scorers():
        return Method(name, f"the scorer {name}, hardest kept", name)
    raise UnknownNameError(f"Expected a method, one of {', '.join(METHODS)}, but got {name!r}. See `thresher methods`.")


def parse_spec(text: str) -> tuple[str, dict[str, str]]:
    """Return name and overrides of `name[:key=value[:key=value...]]`.

    >>> parse_spec("tdds:window=5:at=10")
    ('tdds', {'window': '5', 'at': '10'})
    """
    name, *pairs = text.split(":")
    overrides: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not (key and equals and value) or key in overrides:
            raise InputError(f"Expected a method such as tdds or tdds:window=5:at=10, but got {text!r}.")
        overrides[key] = value
    return name.strip(), overrides


def resolve(label: str, dataset: str, keep: float | str, epochs_available: int | None = None) -> ResolvedMethod:
    """Return the method that `label` names with the settings published for `dataset` and the kept share.

    `label` is a name, or a name with parameters of its scorer or selector after colons: `tdds:window=5:at=10`,
    `ccs:cutoff=0.3`, `el2n:selector=stratified`. What is given there wins over what is published. With
    `epochs_available` (epochs recorded), published settings that need more are shortened, and the notice says so.

    Raises UnknownNameError for an unknown method, InputError for an unknown or impossible parameter, TooFewEpochsError
    where a given `at` is beyond the recording.

    >>> tdds = resolve("tdds", "cifar10", 0.1)
    >>> tdds.at, tdds.scorer.params()["window"]
    (10, 5)
    >>> tdds.notice
    'tdds: T=10, K=5: published for cifar10/resnet18 at 90 % pruned'
    """
    name, given = parse_spec(label)
    method = find(name)
    share = keep_share(keep)
    selector_name = given.pop("selector", method.selector_name)
    given_at = _epoch(label, given.pop("at", None), epochs_available)
    mine, theirs = _split(label, method.scorer_name, selector_name, given)
    published = method.settings(dataset, share) if method.settings is not None else Published()
    own = selector_name == method.selector_name
    scorer_params = {**method.scorer_params, **published.scorer, **mine}
    selector_params = {**(method.selector_params if own else {}), **(published.selector if own else {}), **theirs}
    at = given_at if given_at is not None else published.at
    overridden = bool(given_at is not None or set(mine) & set(published.scorer) or set(theirs) & set(published.selector))
    why = "" if overridden else published.why
    if epochs_available is not None:
        at, scorer_params, shortened = _shorten(method.scorer_name, scorer_params, set(mine), at, epochs_available)
        why = "; ".join(part for part in (why, shortened) if part)
    aux_length = {"epochs": scorer_params["epochs"]} if "epochs" in scorer_params else {}
    aux = {key: make_scorer(other, aux_length) for key, other in method.aux.items()} if own else {}
    return ResolvedMethod(
        label,
        make_scorer(method.scorer_name, scorer_params),
        make_selector(selector_name, selector_params),
        aux,
        f"{label}: {why}" if why else "",
        at,
    )


def _epoch(label: str, text: str | None, available: int | None) -> int | None:
    """Return the epoch to ask at that a label names."""
    if text is None:
        return None
    if not text.isdigit() or int(text) < 1:
        raise InputError(f"Expected at as a whole number of completed epochs in {label!r}, but got {text!r}.")
    if available is not None and int(text) > available:
        raise TooFewEpochsError(f"{label} asks after {text} epochs, but {available} are recorded. Record more.")
    return int(text)


def _split(label: str, scorer: str, selector: str, given: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the parameters of the scorer and those of the selector."""
    if selector not in selectors():
        raise UnknownNameError(f"Expected a selector, one of {', '.join(selectors())}, but got {selector!r} in {label!r}.")
    owners = [{f.name for f in dataclasses.fields(cls)} for cls in (scorers()[scorer], selectors()[selector])]
    unknown = sorted(set(given) - owners[0] - owners[1])
    if unknown:
        raise InputError(
            f"{label!r} names the parameter {', '.join(unknown)}, but the scorer {scorer} has {sorted(owners[0])}, the "
            f"selector {selector} has {sorted(owners[1])}; `at` and `selector` can be given to every method."
        )
    mine = {key: value for key, value in given.items() if key in owners[0]}
    return mine, {key: value for key, value in given.items() if key not in owners[0]}


def _shorten(
    name: str, params: Mapping[str, Any], given: set[str], at: int | None, available: int
) -> tuple[int | None, dict[str, Any], str]:
    """Return `at`, scorer parameters and a sentence, all within the epochs that were recorded."""
    said = []
    if at is not None and at > available:
        at = None
        said.append(f"only {available} epochs are recorded: asked at their end")
    limit = at if at is not None else available
    defaults = {f.name: f.default for f in dataclasses.fields(scorers()[name])}
    params = dict(params)
    for key in _LENGTHS:
        wanted = params.get(key, defaults.get(key))
        room = limit - int(name == "dyn_unc")  # its last epoch does not count
        shortest = _SHORTEST.get(name, 2 if key == "window" else 1)
        if key in defaults and key not in given and isinstance(wanted, int) and wanted > room >= shortest:
            params[key] = room
            said.append(f"{key} shortened from {wanted} to {room}, the epochs there are")
    return at, params, "; ".join(said)


def card(name: str) -> str:
    """Return what the named method computes, formula, parameters with defaults, direction, source and differences."""
    method = find(name)
    chosen = [("scorer", scorers()[method.scorer_name], method.scorer_params)]
    chosen += [(f"also reads {key}", scorers()[other], {}) for key, other in method.aux.items()]
    lines = [_parameters(*one) for one in chosen]
    lines.append(_parameters("selector", selectors()[method.selector_name], method.selector_params))
    parts = (
        ("computes", method.computes),
        ("formula", method.formula),
        ("direction", method.direction),
        ("parameters", "\n".join(lines)),
        ("published", method.settings_text),
        ("source", method.paper),
        ("differs", method.differences),
    )
    return f"{method.name}: {method.title}\n\n" + "\n".join(_entry(title, text) for title, text in parts if text)


def _parameters(role: str, cls: type[Scorer] | type[Selector], fixed: Mapping[str, Any]) -> str:
    """Return one line: a scorer or selector with its parameters and their defaults."""
    values = ", ".join(f"{f.name}={fixed.get(f.name, f.default)!r}" for f in dataclasses.fields(cls))
    return f"{role} {cls.__module__.rsplit('.', 1)[-1]}({values})"


def _entry(title: str, text: str) -> str:
    wrapped = "\n".join(textwrap.fill(line, 100) for line in text.splitlines())
    return f"{title:<12}" + textwrap.indent(wrapped, " " * 12).lstrip()
