"""Children of a process that has imported everything: real processes, without the seconds that starting one takes."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any


def fork(work: Callable[[], object]) -> int:
    """Run `work` in a child process and return its id; it ends with status 0 or, after a traceback, with 1."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def ended(child: int) -> int:
    """Wait for a child and return its exit status, that of a signal negative."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def answer(work: Callable[[], Any]) -> Any:
    """Return what `work` gives (JSON-ready) in a child of its own, so that this process stays as it was.

    It must start no threads: those would not be there in the children that are forked from it later.
    """
    reading, writing = os.pipe()

    def tell() -> None:
        os.close(reading)
        with os.fdopen(writing, "w") as pipe:
            json.dump(work(), pipe)

    child = fork(tell)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    status = ended(child)
    if status:
        raise RuntimeError(f"a check ended with status {status}; what it found is above")
    return json.loads(said)


def import_what(work: Callable[[], object]) -> None:
    """Import here what `work` imports in a child, so that later children need not; raises RuntimeError where that starts
    threads, which would be missing in them. (Arrow has one of its own from the start, and knows of forks.)"""
    before = len(os.listdir("/proc/self/task"))

    def names() -> list[str]:
        work()
        return list(sys.modules)

    for name in answer(names):
        if name not in sys.modules and not name.startswith("__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    threads = len(os.listdir("/proc/self/task"))
    if threads > before:
        raise RuntimeError(
            f"expected no threads of imports, so that this process may fork, but there are {threads - before}"
        )


def kill_after(child: int, seconds: float) -> bool:
    """Send SIGKILL to a child after so many seconds; return whether that ended it, and not its own end before.

    Raises RuntimeError where it has failed before.
    """
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    status = ended(child)
    if status > 0:
        raise RuntimeError(f"a job failed by itself with status {status}; what it said is above")
    return status == -signal.SIGKILL


def die_at(event: int) -> None:
    """Let this process kill itself with SIGKILL at the `event`-th file operation from now on (from 1)."""
    left = event

    def look(name: str, _: Any) -> None:
        nonlocal left
        if name in FILE_EVENTS:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)


def count_events(work: Callable[[], object]) -> int:
    """Return how many file operations `work` does, in a child of its own."""

    def counted() -> int:
        seen = 0

        def look(name: str, _: Any) -> None:
            nonlocal seen
            seen += name in FILE_EVENTS

        sys.addaudithook(look)
        work()
        return seen

    return int(answer(counted))


FILE_EVENTS = {
    "open",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.mkdir",
    "os.listdir",
    "os.scandir",
    "shutil.rmtree",
    "glob.glob",
}
