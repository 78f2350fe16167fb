"""Methods ready to run: `resolve` fills in the settings published for a data set and a kept share, and says so.

`METHODS` is the table of the literature; `card` describes one method with everything needed to use and cite it.
"""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from collections.abc import Mapping
from typing import Any

from thresher.errors import InputError, TooFewEpochsError, UnknownNameError, nearest
from thresher.keep import keep_share
from thresher.literature import METHODS, Method
from thresher.registry import make_scorer, make_selector, parse_spec, scorers, selectors
from thresher.resolved import ResolvedMethod
from thresher.scorers._base import Scorer, check_end
from thresher.selectors._base import Selector
from thresher.settings.published import Published

__all__ = ["METHODS", "Method", "ResolvedMethod", "card", "find", "is_selector", "parse_methods", "parse_spec", "resolve"]

AUTO, RANDOM = "auto", "random"
FULL = "full"
"""What results call a training on everything; not a method, since nothing is selected."""
_DIGITS = 18  # of a number of epochs; Python refuses to read thousands, with an error of its own
_LENGTHS = ("epochs", "window")  # parameters that count epochs; a short recording shortens what was not asked for


def find(name: str) -> Method:
    """Return the method of that name; a scorer that belongs to no method becomes one with the selector `top`.

    Raises UnknownNameError, and for a scorer that cannot be used whatever the registry raises.

    >>> find("ccs").scorer_name, find("ccs").selector_name
    ('aum', 'stratified')
    """
    if name in METHODS:
        return METHODS[name]
    if name in scorers():
        cls = scorers()[name]
        computes = (inspect.getdoc(cls) or "").partition("\n")[0]
        direction = f"keeps the {'highest' if cls.hard_end == 'high' else 'LOWEST'} scores (hardest first)"
        return Method(name, f"the scorer {name}, hardest kept", name, computes=computes, direction=direction)
    more = [key for key in scorers() if key not in METHODS]
    said = f"Expected a method, one of {', '.join(METHODS)}, or a scorer, {', '.join(more)}, but got {name!r}"
    if name in selectors():
        raise UnknownNameError(f"{said}, which is a selector. Combine it with a method: tdds:selector={name}.")
    raise UnknownNameError(f"{said}{nearest(name, [*METHODS, *more, *selectors()])}. See `thresher methods`.")


def is_selector(name: str) -> bool:
    """Return whether this is the name of a selector and of no method or scorer."""
    return name not in METHODS and name not in scorers() and name in selectors()


def parse_methods(text: str) -> tuple[str, ...]:
    """Return method labels from `tdds,random` or `all`; parameters follow a colon (`tdds:window=5`).

    >>> parse_methods("random,tdds:window=5")
    ('random', 'tdds:window=5')
    """
    if text == "all":
        return tuple(METHODS)
    labels = tuple(part.strip() for part in text.split(",") if part.strip())
    if not labels or len(set(labels)) != len(labels):
        raise InputError(f"Expected distinct methods, comma-separated, or all, but got {text!r}.")
    return labels


def resolve(
    label: str, dataset: str, keep: float | str, epochs_available: int | None = None, surrogate: str | None = None
) -> ResolvedMethod:  # fmt: skip
    """Return the method that `label` names, with the settings published for `dataset` and the kept share.

    `label` is a name, or a name with parameters of its scorer or selector after colons: `tdds:window=5:at=10`,
    `ccs:cutoff=0.3`, `el2n:selector=stratified`. These override the published settings. With `epochs_available` (epochs
    recorded), published settings that need more epochs are shortened, and the notice says so; those in the label never are.
    `surrogate` is the recorded model, for which some settings differ (TDDS on ImageNet).

    Raises UnknownNameError for an unknown method or selector; InputError for an unknown or invalid parameter or share, or
    if a method that reads the last evaluation pass is asked before the end; TooFewEpochsError if the label asks for more
    epochs than there are, or there are too few for the method at all (a TDDS window needs 3).

    >>> tdds = resolve("tdds", "cifar10", 0.1)
    >>> tdds.at, tdds.scorer.params()["window"]
    (10, 5)
    >>> tdds.notice
    'tdds: T=10, K=5: published for cifar10/resnet18 at 90 % pruned'
    """
    name, given = parse_spec(label)
    method = find(name)
    if not isinstance(dataset, str):
        raise InputError(f"Expected the name of a data set, or '' for none in particular, but got {dataset!r}.")
    share = keep_share(keep)
    selector_name = given.pop("selector", method.selector_name)
    at_text = given.pop("at", None)
    derive = at_text == AUTO
    asked_at = _epoch(label, None if derive else at_text, epochs_available)
    mine, theirs = _split(label, method.scorer_name, selector_name, given)
    published = method.settings(dataset, share, surrogate) if method.settings is not None else Published()
    if derive:
        published = _to_derive(label, method, mine)
    own = selector_name == method.selector_name
    if method.name == "random" and own and mine:
        raise InputError(
            f"Expected random without parameters, since its draw follows the run's seed (--seeds), but got {label!r}."
        )
    usual = {**method.selector_params, **published.selector} if own else {}
    scorer = make_scorer(method.scorer_name, {**method.scorer_params, **published.scorer, **mine})
    if epochs_available is not None:
        check_end(label, scorer, asked_at, epochs_available)
    at, late = (asked_at, "") if asked_at is not None else _when(published.at, scorer, epochs_available)
    limit = at if at is not None else epochs_available
    scorer, shortened = _shorten(label, scorer, set(mine), limit)
    said = [
        _why(published.why, {**published.scorer, "at": published.at}, {**mine, "at": asked_at}),
        _why(published.selector_why, published.selector, theirs) if own else "",
        late,
        shortened,
    ]
    notice = "; ".join(part for part in said if part)
    return ResolvedMethod(
        label,
        scorer,
        make_selector(selector_name, {**usual, **theirs}),
        _aux_scorers(label, method, selector_name, scorer, limit),
        f"{label}: {notice}" if notice else "",
        at,
        derive,
    )


def _to_derive(label: str, method: Method, asked: Mapping[str, str]) -> Published:
    """Return placeholder settings for TDDS until its (T, K) are derived."""
    if method.scorer_name != "tdds" or asked:
        raise InputError(f"Expected at=auto only for TDDS and without other scorer parameters, but got {label!r}.")
    return Published({"window": 10}, why="(T, K) to be derived from the recording")


def _epoch(label: str, text: str | None, available: int | None) -> int | None:
    """Return the epoch to score after that a label names."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text)):
        raise InputError(f"Expected at as a whole number of completed epochs, or auto, in {label!r}, but got {text!r}.")
    if available is not None and int(text) > available:
        raise TooFewEpochsError(f"{label} asks for {text} epochs, but {available} are recorded. Record more.")
    return int(text)


def _when(published: int | None, scorer: Scorer, available: int | None) -> tuple[int | None, str]:
    """Return the published epoch to score after, or None (the end) and the reason if that is not possible."""
    if published is None:
        return None, ""
    if available is not None and published > available:
        return None, f"only {available} epochs are recorded: scored at their end"
    if scorer.params().get("window", 0) > published:  # a window that was asked for; published ones fit
        return None, f"after {published} epochs there is no window of {scorer.params()['window']}: scored at the end"
    return published, ""


def _shorten(label: str, scorer: Scorer, asked: set[str], limit: int | None) -> tuple[Scorer, str]:
    """Return the scorer with parameters that were not asked for cut to `limit` epochs, and a sentence on that.

    Raises TooFewEpochsError if that is not possible.
    """
    if limit is None:
        return scorer, ""
    if not _fits(scorer, asked, limit):
        least = _least(scorer, asked, limit)
        raise TooFewEpochsError(
            f"{label} needs at least {least} epochs, but is scored after {limit}. Record more epochs, or ask for less."
        )
    cut, lengths = _cut(scorer, limit), scorer.params()
    said = [f"{key} shortened from {lengths[key]} to {new}, for {limit} epochs" for key, new in cut.items()]
    return dataclasses.replace(scorer, **cut), "; ".join(said)


def _cut(scorer: Scorer, limit: int) -> dict[str, int]:
    """Return the parameters counted in epochs that exceed `limit`, with their reduced values."""
    lengths = {key: value for key, value in scorer.params().items() if key in _LENGTHS}
    fitting = {"epochs": limit, "window": lengths.get("window", 0) - max(0, scorer.min_epochs - limit)}
    return {key: fitting[key] for key, value in lengths.items() if fitting[key] < value}


def _least(scorer: Scorer, asked: set[str], short: int) -> int:
    """Return the fewest epochs that fit, by halving: `short` do not, and as many as the longest parameter do."""
    lengths = [value for key, value in scorer.params().items() if key in _LENGTHS]
    enough: int = max([scorer.min_epochs, *lengths])
    while enough - short > 1:
        middle = (short + enough) // 2
        short, enough = (short, middle) if _fits(scorer, asked, middle) else (middle, enough)
    return enough


def _fits(scorer: Scorer, asked: set[str], limit: int) -> bool:
    cut = _cut(scorer, limit)
    try:
        return not asked & set(cut) and dataclasses.replace(scorer, **cut).min_epochs <= limit
    except InputError:
        return False


def _why(why: str, picked: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Return the sentence on what was picked and what of it the label overrides; "" if it overrides everything."""
    left = [key for key, value in picked.items() if value is not None and asked.get(key) is None]
    if not (why and left):
        return ""
    overrides = [key for key in picked if asked.get(key) is not None and str(asked[key]) != str(picked[key])]
    return f"{why}, but {', '.join(f'{key}={asked[key]}' for key in overrides)} as asked for" if overrides else why


def _aux_scorers(label: str, method: Method, selector: str, scorer: Scorer, limit: int | None) -> dict[str, Scorer]:
    """Return the scorers of the additional scores that the selector reads, over the same early epochs as the method's."""
    own = selector == method.selector_name
    reader = method if own else next((m for m in METHODS.values() if m.selector_name == selector), method)
    names = reader.aux if reader.selector_name == selector else {}
    params = {key: value for key, value in scorer.params().items() if own and key == "epochs"}
    found = {}
    for key, other in names.items():
        name, given = parse_spec(other)
        found[key] = _shorten(label, make_scorer(name, {**given, **params}), set(), limit)[0]
    return found


def _split(label: str, scorer: str, selector: str, given: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the parameters of the scorer and those of the selector."""
    if selector not in selectors():
        raise UnknownNameError(
            f"Expected a selector, one of {', '.join(selectors())}, but got {selector!r} in {label!r}"
            f"{nearest(selector, selectors())}."
        )
    owners = [{f.name for f in dataclasses.fields(cls)} for cls in (scorers()[scorer], selectors()[selector])]
    unknown = sorted(set(given) - owners[0] - owners[1])
    if unknown:
        has = [", ".join(sorted(names)) or "none" for names in owners]
        raise InputError(
            f"{label!r} names the parameter {', '.join(unknown)}, but the scorer {scorer} has {has[0]} and the selector "
            f"{selector} has {has[1]}; every method also takes `at` and `selector`."
        )
    mine = {key: value for key, value in given.items() if key in owners[0]}
    return mine, {key: value for key, value in given.items() if key not in owners[0]}


def card(name: str) -> str:
    """Return a method's formula, parameters, direction, source and differences; for a scorer or selector, its docstring."""
    if is_selector(name):
        about = f"{name}: a selector, for the scores of any method (el2n:selector={name})"
        cls = selectors()[name]
        return f"{about}\n\n{_about(cls)}\n\n{_entry('parameters', _parameters('selector', cls, {}))}"
    method = find(name)
    chosen = [("scorer", scorers()[method.scorer_name], method.scorer_params)]
    for key, other in method.aux.items():
        also, given = parse_spec(other)
        chosen.append((f"also reads {key}", scorers()[also], given))
    lines = [_parameters(*one) for one in chosen]
    lines.append(_parameters("selector", selectors()[method.selector_name], method.selector_params))
    own = method.name not in METHODS
    parts = (
        ("computes", "" if own else method.computes),
        ("formula", method.formula),
        ("direction", method.direction),
        ("parameters", "\n".join(lines)),
        ("published", method.settings_text),
        ("source", method.paper),
        ("differs", method.differences),
    )
    about = f"{_about(chosen[0][1])}\n\n" if own else ""
    return f"{method.name}: {method.title}\n\n{about}" + "\n".join(_entry(title, text) for title, text in parts if text)


def _about(cls: type[Scorer] | type[Selector]) -> str:
    """Return the docstring of a scorer or selector without its example."""
    return (inspect.getdoc(cls) or "").partition("\n\n>>> ")[0]


def _parameters(role: str, cls: type[Scorer] | type[Selector], fixed: Mapping[str, Any]) -> str:
    """Return one line: a scorer or selector with its parameters and their defaults."""
    values = ", ".join(f"{f.name}={fixed.get(f.name, f.default)!r}" for f in dataclasses.fields(cls))
    return f"{role} {cls.__module__.rsplit('.', 1)[-1]}({values})"


def _entry(title: str, text: str) -> str:
    wrapped = "\n".join(textwrap.fill(line, 100) for line in text.splitlines())
    return f"{title:<12}" + textwrap.indent(wrapped, " " * 12).lstrip()
