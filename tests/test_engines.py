"""Independent pieces of work, in one process and in several."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import pytest

from thresher.engines import make_engine
from thresher.engines.local import WorkerDied
from thresher.errors import InputError, MissingPackageError

Item = tuple[Callable[..., Any], Any]


def call(item: Item) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    return item[0], (item[1],)


@pytest.mark.parametrize("processes", [1, 2])
def test_one_failure_does_not_stop_the_others(processes: int) -> None:
    done: dict[Item, Any] = {}
    failed: dict[Item, str] = {}
    with make_engine("processes", processes) as engine:
        engine.run(
            [(int, text) for text in ("1", "two", "3", "4", "5")], call, on_result=done.__setitem__,
            on_failure=lambda item, error: failed.update({item: type(error).__name__}), admit=lambda item: item[1] != "4",
        )  # fmt: skip
    assert done == {(int, "1"): 1, (int, "3"): 3, (int, "5"): 5}
    assert failed == {(int, "two"): "ValueError"}
    with make_engine("processes", processes) as engine, pytest.raises(ValueError, match="two"):
        engine.run([(int, "1"), (int, "two")], call, on_result=done.__setitem__)


def test_threads_run_side_by_side_and_go_on_after_a_failure() -> None:
    meeting = threading.Barrier(3, timeout=30)
    done: dict[int, Any] = {}
    failed: dict[int, str] = {}

    def meet(number: int) -> int:
        meeting.wait()  # passes only where three are at it at once
        if number == 1:
            raise ValueError("one")
        return number + 10

    with make_engine("threads", 3) as engine:
        engine.run(
            range(6), lambda number: (meet, (number,)), on_result=done.__setitem__,
            on_failure=lambda number, error: failed.update({number: str(error)}),
        )  # fmt: skip
    assert done == {number: number + 10 for number in (0, 2, 3, 4, 5)}
    assert failed == {1: "one"}


def test_a_killed_worker_is_told_and_the_rest_goes_on() -> None:
    done: dict[Item, Any] = {}
    failed: dict[Item, Exception] = {}
    killed: Item = (signal.raise_signal, signal.SIGKILL)
    items = [killed, *((int, str(number)) for number in range(4))]
    with make_engine("processes", 2) as engine:
        engine.run(items, call, on_result=done.__setitem__, on_failure=failed.__setitem__)
        engine.run([(int, "7"), (int, "8")], call, on_result=done.__setitem__)  # the engine goes on with new workers
    assert isinstance(failed[killed], WorkerDied)
    assert done.keys() | failed.keys() == {*items, (int, "7"), (int, "8")}
    assert len(done) >= 5  # at most the one that ran beside it went down too


def test_a_worker_killed_while_it_waits_costs_nothing() -> None:
    done: dict[Item, Any] = {}
    failed: dict[Item, Exception] = {}
    with make_engine("processes", 2) as engine:
        others = set(multiprocessing.active_children())
        engine.run([(int, "1"), (int, "2")], call, on_result=done.__setitem__)
        for worker in set(multiprocessing.active_children()) - others:
            with suppress(ProcessLookupError):  # the pool noticed the first, and ended this one itself
                os.kill(cast(int, worker.pid), signal.SIGKILL)
            worker.join()
        time.sleep(0.5)  # the pool notices
        engine.run([(int, "3"), (int, "4")], call, on_result=done.__setitem__, on_failure=failed.__setitem__)
    assert sorted(done.values()) == [1, 2, 3, 4]
    assert not failed


def test_a_failure_that_ends_everything_waits_for_what_runs_in_threads() -> None:
    failing, ended = threading.Event(), threading.Event()

    def work(number: int) -> None:
        if number:
            failing.wait(30)
            time.sleep(0.3)
            ended.set()
        else:
            failing.set()
            raise ValueError("zero")

    with pytest.raises(ValueError, match="zero"), make_engine("threads", 2) as engine:
        engine.run([1, 0], lambda number: (work, (number,)), on_result=lambda number, result: None)
    assert ended.is_set()


def test_engines_that_cannot_be_made() -> None:
    with pytest.raises(
        InputError, match=r"one of serial, threads, processes, ray, but got 'processs' \(did you mean processes\?\)"
    ):
        make_engine("processs")
    for workers in (0, 10**20):
        with pytest.raises(InputError, match=f"1 to 65536 workers, but got {workers}"):
            make_engine("processes", workers)
    with pytest.raises(InputError, match="engine ray alone"):
        make_engine("processes", address="127.0.0.1:6379")


def test_without_ray_its_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"Install thresher\[ray\]"):
        make_engine("ray")
