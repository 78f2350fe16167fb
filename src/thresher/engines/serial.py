"""The engine of this process: one call after another. It starts at once, without what other processes need."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from thresher.engines import Call

T = TypeVar("T")


class Serial:
    """One call after another, in this process."""

    workers = 1

    def run(
        self,
        items: Sequence[T],
        call: Callable[[T], Call],
        *,
        on_result: Callable[[T, Any], None],
        on_failure: Callable[[T, Exception], None] | None = None,
        admit: Callable[[T], bool] = lambda item: True,
    ) -> None:
        """See `Engine.run`."""
        failed = on_failure or raise_failure
        for item in items:
            if not admit(item):
                continue
            function, arguments = call(item)
            try:
                result = function(*arguments)
            except Exception as error:
                if on_failure is not None:
                    forget_locals(error)
                failed(item, error)
            else:
                on_result(item, result)

    def __enter__(self) -> Serial:
        return self

    def __exit__(self, *reason: object) -> None:
        return None


def raise_failure(item: object, error: Exception) -> None:
    """Take a failure for the end of everything."""
    raise error


def forget_locals(error: BaseException) -> None:
    """Forget the local variables of the calls that an error has ended: a model and its memory on a GPU, which would else
    stay there as long as anybody holds the error."""
    ended: BaseException | None = error
    while ended is not None:
        traceback.clear_frames(ended.__traceback__)
        ended = ended.__cause__ or ended.__context__
