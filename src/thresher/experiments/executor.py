"""Runs independent pieces of work in this process or in several, as they fit.

A piece is an item and a call that a worker can make for it: a function of a module, and its arguments.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from thresher.errors import ThresherError

T = TypeVar("T")
Call = tuple[Callable[..., Any], tuple[Any, ...]]
_KILLED = (
    "A worker process was killed; the system may have run out of memory. What is finished is kept: run the same command "
    "again, with a smaller --jobs."
)


class WorkerDied(ThresherError, RuntimeError):
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
    raised. `admit` is asked just before an item would start; where it says no, the item is left out. An interrupt ends
    the workers at once, whatever they are at, and passes through.
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
    context, others = multiprocessing.get_context("spawn"), set(multiprocessing.active_children())
    running: dict[Future[Any], T] = {}
    broken = False
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_begin_worker, initargs=(os.getpid(),)) as pool:
        try:
            while (waiting and not broken) or running:
                while waiting and not broken and len(running) < processes:
                    item = waiting.pop(0)
                    if admit(item):
                        function, arguments = call(item)
                        with _interrupts_ignored():  # a worker that this starts inherits it
                            running[pool.submit(function, *arguments)] = item
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    item = running.pop(future)
                    try:
                        result = future.result()
                    except BrokenProcessPool:
                        broken = True  # and so are all that run: which of them was to blame is not known
                        failed(item, WorkerDied(_KILLED))
                    except Exception as error:
                        failed(item, error)
                    else:
                        on_result(item, result)
        except KeyboardInterrupt:  # what is finished is on disk; what runs is given up, not waited for
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            pool.shutdown(cancel_futures=True)
            raise
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return waiting


def _raise(item: object, error: Exception) -> None:
    raise error


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C for a moment; only the main thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def _begin_worker(parent: int) -> None:
    """Leave Ctrl-C to the parent, and end soon after it is gone (`kill -9`), so that no orphan goes on computing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
