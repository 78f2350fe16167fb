"""Settings of the whole process that are held while somebody needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Held(Generic[T]):
    """A setting that several trainings at once may ask for: the last to leave puts back what the first found.

    >>> setting = {"threads": 8}
    >>> threads = Held(lambda: setting["threads"], lambda value: setting.update(threads=value))
    >>> with threads.at(2):
    ...     print(setting["threads"])
    2
    >>> setting["threads"]
    8
    """

    def __init__(self, read: Callable[[], T], write: Callable[[T], object]) -> None:
        self._read, self._write = read, write
        self._lock, self._inside = Lock(), 0

    @contextmanager
    def at(self, value: T) -> Iterator[None]:
        """Hold the setting at `value` in the block; of others that are inside, the last to enter decides."""
        with self._lock:
            if not self._inside:
                self._before = self._read()
            self._inside += 1
            self._write(value)
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._write(self._before)
