"""Finds scorers and selectors by themselves: one file each in their packages, the file's name is theirs."""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
import typing
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

from thresher.errors import InputError, UnknownNameError, nearest
from thresher.scorers._base import Scorer
from thresher.selectors._base import Selector
from thresher.types import HardEnd, Named

T = TypeVar("T", bound=Named)
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@cache
def scorers() -> dict[str, type[Scorer]]:
    """Return every scorer class by name.

    >>> sorted(scorers())[:2]
    ['aum', 'class_distance']
    """
    return _walk("thresher.scorers", Scorer)  # type: ignore[type-abstract]


def usual_end(column: str) -> HardEnd:
    """Return which end is hard of a score column that does not say: its scorer's, as its name tells, else "high".

    >>> usual_end("aum[T=30]"), usual_end("correctness"), usual_end("my_score")
    ('low', 'low', 'high')
    """
    scorer = scorers().get(column.partition("[")[0])
    return "high" if scorer is None else scorer.hard_end


@cache
def selectors() -> dict[str, type[Selector]]:
    """Return every selector class by name.

    >>> sorted(selectors())[:2]
    ['beta', 'learnable']
    """
    return _walk("thresher.selectors", Selector)  # type: ignore[type-abstract]


def make_scorer(name: str, params: Mapping[str, Any] | None = None) -> Scorer:
    """Return the scorer `name` with `params`, whose values may be text as typed on a command line.

    Raises UnknownNameError for an unknown name, InputError for an unknown parameter or an impossible value.

    >>> make_scorer("tdds", {"window": "5"})
    TDDS(window=5, decay=0.9, absolute=True, spread='norm')
    """
    return build("scorer", scorers(), name, params or {})


def make_selector(name: str, params: Mapping[str, Any] | None = None) -> Selector:
    """Return the selector `name` with `params`; as `make_scorer`."""
    return build("selector", selectors(), name, params or {})


def _walk(package: str, base: type[T]) -> dict[str, type[T]]:
    found: dict[str, type[T]] = {}
    for info in pkgutil.iter_modules(import_module(package).__path__):
        if info.name.startswith("_"):
            continue
        module = import_module(f"{package}.{info.name}")
        for value in vars(module).values():
            if inspect.isclass(value) and issubclass(value, base) and value.__module__ == module.__name__:
                found[info.name] = value
    return dict(sorted(found.items()))


def build(kind: str, known: Mapping[str, type[T]], name: str, params: Mapping[str, Any]) -> T:
    """Return the dataclass that `name` names among those `known`, with `params`, whose values may be text.

    `kind` is what such a thing is called in errors. Raises as `make_scorer`.
    """
    if name not in known:
        raise UnknownNameError(f"Expected a {kind}, one of {', '.join(known)}, but got {name!r}{nearest(name, known)}.")
    cls = known[name]
    types = typing.get_type_hints(cls)
    fields = [field.name for field in dataclasses.fields(cls)]
    unknown = sorted(set(params) - set(fields))
    if unknown:
        has = f"its parameters are {', '.join(fields)}" if fields else "it has none"
        raise InputError(f"The {kind} {name} has no parameter {', '.join(unknown)}; {has}.")
    return cls(**{key: _convert(name, key, value, types[key]) for key, value in params.items()})


def _convert(name: str, key: str, value: Any, wanted: Any) -> Any:
    """Return `value` as the type of the field, or raise InputError."""
    choices = typing.get_args(wanted) if typing.get_origin(wanted) is typing.Literal else None
    if choices is not None:
        if value not in choices:
            raise InputError(f"Expected {name}'s {key} to be one of {', '.join(map(str, choices))}, but got {value!r}.")
        return value
    if wanted is str and isinstance(value, str):
        return value
    try:
        if wanted is bool:
            return value if isinstance(value, bool) else _WORDS[str(value).lower()]
        if wanted is int and not isinstance(value, bool):
            return int(value) if isinstance(value, str) or value == int(value) else _refuse()
        if wanted is float and not isinstance(value, bool):
            return float(value)
    except (ValueError, KeyError, TypeError):
        pass
    raise InputError(f"Expected {name}'s {key} as {getattr(wanted, '__name__', wanted)}, but got {value!r}.")


def _refuse() -> typing.NoReturn:
    raise ValueError
