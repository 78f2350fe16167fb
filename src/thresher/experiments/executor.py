"""Runs independent pieces of work in this process or in several, as they fit.

A piece is an item and a call that a worker can make for it: a function of a module, and its arguments.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

T = TypeVar("T")
Call = tuple[Callable[..., Any], tuple[Any, ...]]


class WorkerDied(RuntimeError):
    """A worker process ended without a word, as one that the system killed for its memory does."""


def run_all(
    items: Sequence[T],
    call: Callable[[T], Call],
    *,
    processes: int = 1,
    on_result: Callable[[T, Any], None],
    on_failure: Callable[[T, Exception], None] | None = None,
    admit: Callable[[T], bool] = lambda item: True,
) -> None:
    """Run `call(item)` for every item, at most `processes` at a time, and tell `on_result` of each end.

    An item that fails is told to `on_failure`, and the others go on; without it the first failure ends everything and is
    raised. `admit` is asked just before an item would start; where it says no, the item is left out. An interrupt
    starts nothing more, waits for the workers (they are interrupted too), and passes through.
    """
    failed = on_failure or _raise
    if processes <= 1 or len(items) <= 1:
        for item in items:
            if not admit(item):
                continue
            function, arguments = call(item)
            try:
                result = function(*arguments)
            except Exception as error:
                failed(item, error)
            else:
                on_result(item, result)
        return
    waiting = list(items)
    while waiting:
        waiting = _run_pool(waiting, call, processes, on_result, failed, admit)


def _run_pool(
    waiting: list[T],
    call: Callable[[T], Call],
    processes: int,
    on_result: Callable[[T, Any], None],
    failed: Callable[[T, Exception], None],
    admit: Callable[[T], bool],
) -> list[T]:
    """Run items in one pool until they are done or it breaks; return those that never started."""
    # "spawn": forking a process that has used torch's thread pool may hang.
    context = multiprocessing.get_context("spawn")
    running: dict[Future[Any], T] = {}
    broken = False
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_end_with, initargs=(os.getpid(),)) as pool:
        try:
            while (waiting and not broken) or running:
                while waiting and not broken and len(running) < processes:
                    item = waiting.pop(0)
                    if admit(item):
                        function, arguments = call(item)
                        running[pool.submit(function, *arguments)] = item
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    item = running.pop(future)
                    try:
                        result = future.result()
                    except BrokenProcessPool:
                        broken = True  # and so are all that run: which of them was to blame is not known
                        failed(item, WorkerDied("A worker process was killed; the system may have run out of memory."))
                    except Exception as error:
                        failed(item, error)
                    else:
                        on_result(item, result)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return waiting


def _raise(item: object, error: Exception) -> None:
    raise error


def _end_with(parent: int) -> None:
    """End this worker soon after its parent is gone (`kill -9`), so that no orphan goes on computing."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
