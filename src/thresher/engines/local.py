"""The engines of one machine: several processes, or several threads of this one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from thresher.engines import Call
from thresher.engines.turns import Serial, forget_locals, raise_failure
from thresher.errors import ThresherError

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

T = TypeVar("T")
_KILLED = (
    "A worker process was killed; the system may have run out of memory. Finished work is kept: run the same command "
    "again with fewer workers (--jobs, --workers)."
)
_NOT_BEGUN = (
    "No worker process could begin: each runs the program that starts it once more, as a module. Expected a program in a "
    'file, which starts work only under `if __name__ == "__main__":`. Add that line, or ask for one worker.'
)


class WorkerDied(ThresherError, RuntimeError):
    """A worker process ended without an error message, as when the system kills it for its memory use."""


class Processes:
    """Several processes on this machine. They start with the first call, so that having nothing to do costs nothing."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: Executor | None = None
        self._others: set[BaseProcess] = set()
        self._begun: Event | None = None

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
                    except BrokenProcessPool:  # an idle worker died: no item is to blame
                        waiting.insert(0, item)
                        broken = True
            for future in wait_for(running, return_when=FIRST_COMPLETED).done:
                item = running.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    broken = True  # all running items fail: which of them was to blame is not known
                    failed(item, WorkerDied(_KILLED if self._begun is None or self._begun.is_set() else _NOT_BEGUN))
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
            self._begun = context.Event()
            self._pool = ProcessPoolExecutor(
                self.workers, mp_context=context, initializer=_begin_worker, initargs=(os.getpid(), self._begun)
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
    """Several threads of this process, for scoring, where NumPy works for long without Python's lock. Trainings that share
    a GPU take turns in one thread instead (`turns`)."""

    def _started(self) -> Executor:
        if self._pool is None:
            self._pool = _Daemons()
        return self._pool

    def _give_up(self) -> None:
        self._pool = None  # its threads end with the process


class _Daemons(Executor):
    """Daemon threads, for which an interrupted process does not wait: as many as there are calls at once."""

    _idle: list[_Worker] = []  # noqa: RUF012 - shared by all engines
    _taking = threading.Lock()

    def __init__(self) -> None:
        self._running: set[Future[Any]] = set()

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Start the call, in an idle thread if there is one (`_Worker`)."""
        future: Future[T] = Future()
        with self._taking:
            while self._idle and not self._idle[-1].is_alive():  # a fork inherits the list, but not the threads
                self._idle.pop()
            worker = self._idle.pop() if self._idle else _Worker(self._give_back)
        self._running = {other for other in self._running if not other.done()} | {future}
        worker.start_call(future, partial(function, *args, **kwargs))
        return future

    @classmethod
    def _give_back(cls, worker: _Worker) -> None:
        with cls._taking:
            cls._idle.append(worker)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the running calls, if asked to; there are no others, since each starts at once."""
        if wait:
            wait_for(self._running)


class _Worker(threading.Thread):
    """A thread that outlives its calls: cuDNN remembers the fastest kernels for each thread, and finding them takes the
    first seconds of a training. It is given back before the end of its call is known, so that the next one finds it idle."""

    def __init__(self, give_back: Callable[[_Worker], None]) -> None:
        super().__init__(daemon=True)
        self._calls, self._give_back = SimpleQueue[tuple[Future[Any], Callable[[], Any]]](), give_back

    def start_call(self, future: Future[Any], call: Callable[[], Any]) -> None:
        """Make the call and give its result to `future`."""
        self._calls.put((future, call))
        if self.ident is None:
            self.start()

    def run(self) -> None:
        """Make one call after another, for as long as the process lives."""
        while True:
            self._make(*self._calls.get())

    def _make(self, future: Future[Any], call: Callable[[], Any]) -> None:
        try:
            result = call()
        except BaseException as error:
            forget_locals(error)
            self._give_back(self)
            future.set_exception(error)
        else:
            self._give_back(self)
            future.set_result(result)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C in the block; outside the main thread, which alone can do so, change nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def _begin_worker(parent: int, begun: Event) -> None:
    """Leave Ctrl-C to the parent, and end soon after it is gone (`kill -9`), so that no orphan goes on computing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    begun.set()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
