"""The engines that stay in the calling thread: several calls in turn, a step at a time, or one call after another. They need
no other process and start at once.

Taking turns lets trainings share a GPU: a step is only launched, and the device works on those of all trainings. With a
thread for each, every training would search for the fastest kernels by itself, they would hold up one another's launches,
and only one could capture steps at a time. Here the first training finds the kernels for all that are like it.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

from thresher.engines import Call
from thresher.stepwise import Steps, steps_of

T = TypeVar("T")


class Turns:
    """Several calls in turn, a step at a time (`stepwise`), in the calling thread."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(
        self,
        items: Sequence[T],
        call: Callable[[T], Call],
        *,
        on_result: Callable[[T, Any], None],
        on_failure: Callable[[T, Exception], None] | None = None,
        admit: Callable[[T], bool] = lambda item: True,
    ) -> None:
        """See `Engine.run`. If this ends early, unfinished calls are closed where they stand."""
        waiting, running, failed = deque(items), deque[tuple[T, Steps[Any]]](), on_failure or raise_failure
        try:
            while waiting or running:
                while waiting and len(running) < self.workers:
                    if admit(item := waiting.popleft()):
                        function, arguments = call(item)
                        running.append((item, steps_of(function, *arguments)))
                if not running:
                    continue
                item, steps = running[0]
                try:
                    next(steps)
                except StopIteration as end:
                    running.popleft()
                    on_result(item, end.value)
                except Exception as error:
                    running.popleft()
                    if on_failure is not None:
                        forget_locals(error)
                    failed(item, error)
                else:
                    running.rotate(-1)
        finally:
            with ExitStack() as closing:  # all of them, also where one cannot be closed or an interrupt comes again
                for _, steps in reversed(running):
                    closing.callback(steps.close)

    def __enter__(self) -> Turns:
        return self

    def __exit__(self, *reason: object) -> None:
        return None


class Serial(Turns):
    """One call after another."""

    def __init__(self) -> None:
        super().__init__(1)


def raise_failure(item: object, error: Exception) -> None:
    """Raise the failure of an item: without `on_failure`, the first one ends everything."""
    raise error


def forget_locals(error: BaseException) -> None:
    """Clear the local variables of the calls that an error has ended: otherwise a model among them would stay in a GPU's
    memory as long as anybody holds the error."""
    ended: BaseException | None = error
    while ended is not None:
        traceback.clear_frames(ended.__traceback__)
        ended = ended.__cause__ or ended.__context__
