"""Specs as text, for the command line and for jobs in other processes: `0.2:seed=1`, `intended:share=0.06:fog=0.2`."""

from __future__ import annotations

import dataclasses
import math
import numbers
import typing
from fractions import Fraction
from typing import Any, TypeVar

from thresher.arrays import plain_float
from thresher.errors import InputError, nearest
from thresher.keep import share_times

T = TypeVar("T")


def parse(cls: type[T], text: str, example: str) -> T:
    """Return the frozen dataclass `cls` that `text` names: its first field's value, then `key=value` after colons.

    Raises InputError for an unknown or repeated key and for a value that should be a number but is not, and what `cls`
    raises.
    """
    hints = typing.get_type_hints(cls)
    first, *others = (field.name for field in dataclasses.fields(cls))  # type: ignore[arg-type]
    if not isinstance(text, str):
        raise InputError(f"Expected a text such as {example!r}, but got {text!r}.")
    head, *pairs = text.split(":")
    given = {first: head.strip()}
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not value or key in given:
            raise InputError(f"Expected values such as {example}, each key once, but got {text!r}.")
        if key not in others:
            raise InputError(f"There is no {key!r} in {text!r}{nearest(key, others)}. There are: {', '.join(others)}.")
        given[key] = value
    return cls(**{key: _converted(key, value, hints[key], text, example) for key, value in given.items()})


def canonical(spec: Any) -> str:
    """Return the shortest text that `parse` reads as `spec`: the first field, and the others that are not the default."""
    first, *others = dataclasses.fields(spec)
    changed = [(field.name, getattr(spec, field.name)) for field in others if getattr(spec, field.name) != field.default]
    return ":".join([str(getattr(spec, first.name)), *(f"{name}={value}" for name, value in changed)])


def exact(share: float) -> Fraction:
    """Return the fraction that the share's decimal form denotes: 0.2 is a fifth.

    >>> exact(0.2)
    Fraction(1, 5)
    """
    return Fraction(repr(float(share)))


def exact_count(share: float, n: int) -> int:
    """Return floor(share n) in exact arithmetic, of a share that was subtracted too.

    >>> exact_count(0.29, 100), int(0.29 * 100), exact_count(1 - 0.9, 100)
    (29, 28, 10)
    """
    return math.floor(share_times(exact(share), n))


def plain_numbers(spec: Any, limits: dict[str, tuple[float, float]]) -> None:
    """Make every field in `limits` Python's float, `seed` an int: equal specs have one text, one count, one fingerprint.

    NumPy's floats become those with their decimal form: of 1000 samples, 0.7 in 32 bits is 700. Raises InputError unless
    each is a finite number within [low, high], and `seed` an integer.
    """
    for name, (low, high) in limits.items():
        value, whole = getattr(spec, name), name == "seed"
        number = isinstance(value, numbers.Integral if whole else numbers.Real) and not isinstance(value, bool)
        if not number or not low <= value <= high or value == math.inf:
            wanted = f"in [{low:g}, {high:g}]" if high < math.inf else f">= {low:g}"
            raise InputError(f"Expected {name} as a {'whole ' if whole else ''}number {wanted}, but got {value!r}.")
        object.__setattr__(spec, name, int(value) if whole else plain_float(value))


def _converted(key: str, value: str, wanted: Any, text: str, example: str) -> Any:
    """Return the text of one value converted to the type of its field."""
    if wanted not in (int, float):
        return value
    try:
        return wanted(value)
    except ValueError:
        kind = "a whole number" if wanted is int else "a number"
        raise InputError(f"Expected {key} as {kind}, as in {example}, but got {value!r} in {text!r}.") from None
