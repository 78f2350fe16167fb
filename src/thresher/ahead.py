"""Reading ahead: reading, decoding and NumPy need no turn at the interpreter, so a thread can do them meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T], depth: int = 2) -> Iterator[T]:
    """Yield items while a thread makes the next ones; what making one raises is raised in its turn.

    >>> list(ahead(iter("abc")))
    ['a', 'b', 'c']
    """
    waiting, iterator = deque[Future[T | None]](), iter(items)
    with ThreadPoolExecutor(1) as thread:
        try:
            while True:
                while len(waiting) < depth:
                    waiting.append(thread.submit(next, iterator, None))
                item = waiting.popleft().result()
                if item is None:
                    return
                yield item
        finally:
            for future in waiting:
                future.cancel()
