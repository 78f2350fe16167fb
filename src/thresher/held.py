"""Settings of the whole process, or of a thread, that are held while somebody needs them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Generic, TypeVar

T = TypeVar("T")


class Held(Generic[T]):
    """A setting that several trainings at once may ask for: the last to leave puts back what the first found.

    With `of_thread` every thread has a setting of its own, as of the cores that torch uses.

    >>> setting = {"threads": 8}
    >>> threads = Held(lambda: setting["threads"], lambda value: setting.update(threads=value))
    >>> with threads.at(2):
    ...     print(setting["threads"])
    2
    >>> setting["threads"]
    8
    """

    def __init__(self, read: Callable[[], T], write: Callable[[T], object], *, of_thread: bool = False) -> None:
        self._read, self._write = read, write
        self._lock = threading.RLock()  # a training that is collected as garbage leaves wherever its thread is
        self._state = threading.local() if of_thread else SimpleNamespace()

    @contextmanager
    def at(self, value: T) -> Iterator[None]:
        """Hold the setting at `value` in the block; of those that are inside, the last to have entered decides."""
        inside: dict[object, T] = self._state.__dict__.setdefault("inside", {})
        own = object()
        with self._lock:
            if not inside:
                inside[None] = self._read()
            inside[own] = value
        try:
            self._decide(inside)
            yield
        finally:
            with self._lock:
                del inside[own]
                self._decide(inside)
                if inside.keys() == {None}:
                    inside.clear()

    def _decide(self, inside: dict[object, T]) -> None:
        with self._lock:
            self._write([*inside.values()][-1])
