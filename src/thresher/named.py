"""What is named after the file it is defined in, and has parameters: scorers, selectors, rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from numbers import Real
from typing import Any

import numpy as np

from thresher.arrays import plain_float
from thresher.errors import InputError
from thresher.types import is_whole

_KINDS: dict[str, tuple[str, Callable[[object], bool]]] = {
    "int": ("an integer", is_whole),
    "float": ("a number", lambda value: isinstance(value, Real) and not isinstance(value, bool)),
    "bool": ("True or False", lambda value: isinstance(value, (bool, np.bool_))),
    "str": ("a text", lambda value: isinstance(value, str)),
}


def check_fields(of: Any) -> None:
    """Raise InputError if a dataclass field declared as int, float, bool or str, or one of these or None, holds a value of
    another type. Fields of other types are not checked."""
    for one in fields(of):
        declared = one.type if isinstance(one.type, str) else getattr(one.type, "__name__", "")
        kind = declared.removesuffix(" | None")
        value, optional = getattr(of, one.name), kind != declared
        if kind in _KINDS and not (optional and value is None):
            wanted, fits = _KINDS[kind]
            if not fits(value):
                told = f"{wanted} or None" if optional else wanted
                raise InputError(f"Expected {one.name} of {type(of).__name__} as {told}, but got {value!r}.")


@dataclass(frozen=True)
class Named:
    """Base of what has a file of its own and is named after it. Fields are parameters.

    NumPy's numbers are kept as Python's: a float as the one with its decimal form, since this is what is computed with and
    written down. Raises InputError for a parameter whose type is not the declared one.
    """

    def __post_init__(self) -> None:
        check_fields(self)
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, np.generic):
                plain = plain_float(value) if isinstance(value, np.floating) else value.item()
                object.__setattr__(self, one.name, plain)

    @property
    def name(self) -> str:
        """Its name: the name of the file it is defined in."""
        return type(self).__module__.rsplit(".", 1)[-1]

    def params(self) -> dict[str, Any]:
        """JSON-ready parameters, in the order of their declaration; NumPy numbers as Python's."""
        return {key: value.item() if isinstance(value, np.generic) else value for key, value in asdict(self).items()}
