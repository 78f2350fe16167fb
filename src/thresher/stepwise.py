"""Functions that can be run a step at a time, so that one thread can run several of them in turn (`engines.turns`).

The body of such a function is a generator: it yields where others may have their turn, and returns its result. What it
changes for the whole thread or process between two steps, others see; what belongs to it alone (CUDA's current stream, say)
is set in each step anew.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")
Result = TypeVar("Result", covariant=True)
Steps: TypeAlias = Generator[None, None, R]
"""What runs a step each time it is advanced, and ends with a result."""


class Stepwise(Protocol[P, Result]):
    """A function that runs to its end when it is called; `steps` takes the same arguments and gives its steps."""

    @property
    def steps(self) -> Callable[P, Generator[None, None, Result]]:
        """The function's body."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Result: ...


def stepwise(body: Callable[P, Steps[R]]) -> Stepwise[P, R]:
    """Return the function whose body is this generator.

    >>> @stepwise
    ... def total(numbers: list[int]) -> Steps[int]:
    ...     found = 0
    ...     for number in numbers:
    ...         found += number
    ...         yield
    ...     return found
    >>> total([1, 2, 3]), len(list(total.steps([1, 2, 3])))
    (6, 3)
    """

    @wraps(body)
    def whole(*args: P.args, **kwargs: P.kwargs) -> R:
        steps = body(*args, **kwargs)
        try:
            while True:
                next(steps)
        except StopIteration as end:
            return cast(R, end.value)
        finally:  # an interrupt may come between two steps, and its traceback would keep them, with all that they hold
            steps.close()

    told: Any = whole
    returned = str(signature(body).return_annotation).removeprefix("Steps[").removesuffix("]")
    told.steps, told.__signature__ = body, signature(body).replace(return_annotation=returned)
    told.__annotations__ = {**body.__annotations__, "return": returned}
    return cast("Stepwise[P, R]", whole)


def steps_of(function: Callable[..., R], *args: Any) -> Steps[R]:
    """Return the steps of a call; those of a function that is none of these are a single one."""
    return cast("Callable[..., Steps[R]]", getattr(function, "steps", None) or _at_once(function))(*args)


def _at_once(function: Callable[..., R]) -> Callable[..., Steps[R]]:
    def steps(*args: Any) -> Steps[R]:
        yield from ()
        return function(*args)

    return steps
