"""The engines of one machine: several processes, or several threads of this one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from thresher.engines import Call
from thresher.engines.serial import Serial, raise_failure
from thresher.errors import ThresherError

T = TypeVar("T")
_KILLED = (
    "A worker process was killed; the system may have run out of memory. What is finished is kept: run the same command "
    "again, with fewer at once (--jobs, --workers)."
)


class WorkerDied(ThresherError, RuntimeError):
    """A worker process ended without a word, as one that the system killed for its memory does."""


class Processes:
    """Several processes on this machine. They start with the first call, so that nothing to do costs nothing."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: Executor | None = None
        self._others: set[BaseProcess] = set()

    def run(
        self,
        items: Sequence[T],
        call: Callable[[T], Call],
        *,
        on_result: Callable[[T, Any], None],
        on_failure: Callable[[T, Exception], None] | None = None,
        admit: Callable[[T], bool] = lambda item: True,
    ) -> None:
        """See `Engine.run`. A single item, or a single worker, is not worth a process."""
        if self.workers <= 1 or (len(items) <= 1 and self._pool is None):
            Serial().run(items, call, on_result=on_result, on_failure=on_failure, admit=admit)
            return
        waiting, failed = list(items), on_failure or raise_failure
        try:
            while waiting:
                waiting = self._run(waiting, call, on_result, failed, admit)
        except KeyboardInterrupt:  # what is finished is on disk; what runs is given up, not waited for
            self._give_up()
            raise
        except BaseException:
            self._close()
            raise

    def _run(
        self,
        waiting: list[T],
        call: Callable[[T], Call],
        on_result: Callable[[T, Any], None],
        failed: Callable[[T, Exception], None],
        admit: Callable[[T], bool],
    ) -> list[T]:
        """Run items in one pool until they are done or it breaks; return those that never started."""
        pool = self._started()
        running: dict[Future[Any], T] = {}
        broken = False
        while (waiting and not broken) or running:
            while waiting and not broken and len(running) < self.workers:
                item = waiting.pop(0)
                if admit(item):
                    function, arguments = call(item)
                    try:
                        with _interrupts_ignored():  # a worker that this starts inherits it
                            running[pool.submit(function, *arguments)] = item
                    except BrokenProcessPool:  # a worker died that had nothing to do: nobody's fault
                        waiting.insert(0, item)
                        broken = True
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
        if broken:
            self._close()
        return waiting

    def _started(self) -> Executor:
        if self._pool is None:
            # "spawn": forking a process that has used torch's thread pool may hang.
            context, self._others = multiprocessing.get_context("spawn"), set(multiprocessing.active_children())
            self._pool = ProcessPoolExecutor(
                self.workers, mp_context=context, initializer=_begin_worker, initargs=(os.getpid(),)
            )
        return self._pool

    def _give_up(self) -> None:
        for process in set(multiprocessing.active_children()) - self._others:
            process.terminate()
        self._close()

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *reason: object) -> None:
        self._close()


class Threads(Processes):
    """Several threads of this process: for trainings that share one GPU, whose kernels overlap only within a process."""

    def _started(self) -> Executor:
        if self._pool is None:
            self._pool = _Daemons()
        return self._pool

    def _give_up(self) -> None:
        self._pool = None  # its threads end with the process


class _Daemons(Executor):
    """A thread for every call, which an interrupted process does not wait for."""

    def __init__(self) -> None:
        self._running: set[threading.Thread] = set()

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Start the call."""
        future: Future[T] = Future()

        def work() -> None:
            try:
                future.set_result(function(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        self._running = {thread for thread in self._running if thread.is_alive()}
        thread = threading.Thread(target=work, daemon=True)
        self._running.add(thread)
        thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the calls that run, if asked to: nothing waits for its turn."""
        for thread in self._running if wait else ():
            thread.join()


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
