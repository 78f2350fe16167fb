"""Independent pieces of work, in one process and in several."""

from __future__ import annotations

import inspect
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, cast, get_type_hints

import pytest

from thresher.engines import make_engine
from thresher.engines.local import WorkerDied
from thresher.errors import InputError, MissingPackageError
from thresher.stepwise import Steps, stepwise

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


class Memory:
    """What a training holds."""


def out_of_memory(held: list[weakref.ref[Memory]]) -> None:
    memory = Memory()
    held.append(weakref.ref(memory))
    try:
        raise MemoryError
    except MemoryError as error:  # as a capture does, which is ended in its own way
        raise RuntimeError("out of memory") from error


@pytest.mark.parametrize(("name", "workers"), [("threads", 2), ("turns", 1), ("serial", 1)])
def test_what_a_failed_call_held_is_free_for_those_that_follow(name: str, workers: int) -> None:
    held: list[weakref.ref[Memory]] = []
    left: list[Any] = []
    errors: list[Exception] = []
    running, last = threading.Event(), threading.Event()

    def wait_for_the_last(_: Any) -> None:
        running.set()
        last.wait(30)

    def check(_: Any) -> None:
        left.append([ref() for ref in held])
        last.set()

    beside: list[Item] = [(wait_for_the_last, None)] if workers > 1 else []
    items: list[Item] = [*beside, (out_of_memory, held), (check, None)]
    with make_engine(name, workers) as engine:
        engine.run(items, call, on_result=lambda *_: None, on_failure=lambda item, error: errors.append(error))
    assert left == [[None]]
    assert [str(error) for error in errors] == ["out of memory"]


def test_threads_work_on_as_what_they_found_out_is_their_own() -> None:
    found = []
    for _ in range(3):
        with make_engine("threads", 2) as engine:
            meeting = threading.Barrier(2, timeout=30)
            engine.run(
                range(4), lambda number, meeting=meeting: (lambda: (meeting.wait(), threading.get_ident())[1], ()),
                on_result=lambda number, thread: found.append(thread),
            )  # fmt: skip
    assert len(found) == 12
    assert len(set(found)) == 2


def test_turns_are_a_step_of_each_and_whole_calls_are_one() -> None:
    seen: list[tuple[int, int]] = []

    @stepwise
    def count(number: int) -> Steps[int]:
        for step in range(number):
            seen.append((number, step))
            yield
        return number

    def call(number: int) -> tuple[Any, tuple[int]]:
        return (count if number else abs), (number,)

    done: list[int] = []
    admitted: list[int] = []

    def admit(number: int) -> bool:
        admitted.append(number)
        return number != 9

    engine = make_engine("turns", 2)
    engine.run([3, 1, 9, 0, 2], call, on_result=lambda number, result: done.append(result), admit=admit)
    assert seen == [(3, 0), (1, 0), (3, 1), (3, 2), (2, 0), (2, 1)]
    assert (done, admitted) == ([1, 0, 3, 2], [3, 1, 9, 0, 2])
    assert count(3) == 3
    assert str(inspect.signature(count)) == "(number: 'int') -> 'int'"
    engine.run([], call, on_result=lambda *_: None)


@stepwise
def wait(number: int, left: list[int], fails: int, unclosable: int | None = None) -> Steps[None]:
    """Wait for ever, but where the number is the one that fails after a step; `left` gets the numbers that end."""
    try:
        while True:
            yield
            if number == fails:
                raise ValueError(f"{number} failed")
    finally:
        left.append(number)
        if number == unclosable:
            raise OSError(f"{number} was not closed")


def test_a_call_that_is_not_ended_is_closed_where_it_stands() -> None:
    left: list[int] = []
    with pytest.raises(ValueError, match="2 failed"):
        make_engine("turns", 3).run(range(4), lambda number: (wait, (number, left, 2)), on_result=lambda *_: None)
    assert left == [2, 0, 1]


def test_a_call_that_cannot_be_closed_keeps_none_of_the_others() -> None:
    left: list[int] = []
    with pytest.raises(OSError, match="1 was not closed"):
        make_engine("turns", 3).run(range(3), lambda number: (wait, (number, left, 0, 1)), on_result=lambda *_: None)
    assert left == [0, 1, 2]


def test_an_interrupt_between_two_steps_ends_them() -> None:
    left: list[str] = []

    @stepwise
    def wait() -> Steps[None]:
        try:
            while True:
                yield
        finally:
            left.append("left")

    whole: Any = wait

    def interrupt(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code is not whole.__code__:
            return None
        if event == "line" and len(lines) == 20:
            raise KeyboardInterrupt
        lines.append(frame.f_lineno)
        return interrupt

    lines, before = list[int](), sys.gettrace()
    sys.settrace(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt) as told:
            wait()
    finally:
        sys.settrace(before)
    assert left == ["left"]  # though the traceback is kept, as an interactive session keeps its last
    assert told.value.__traceback__ is not None


def test_a_call_in_steps_tells_what_the_whole_of_it_returns() -> None:
    def body(number: int) -> Steps[int]:
        yield
        return number

    whole = stepwise(body)
    assert inspect.signature(whole).return_annotation == "int"
    assert get_type_hints(whole) == {"number": int, "return": int}
    assert get_type_hints(whole.steps)["return"] == Steps[int]


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
        InputError, match=r"one of serial, turns, threads, processes, ray, but got 'processs' \(did you mean processes\?\)"
    ):
        make_engine("processs")
    for workers in (0, 10**20):
        with pytest.raises(InputError, match=f"1 to 65536 workers, but got {workers}"):
            make_engine("processes", workers)
    with pytest.raises(InputError, match="only with the engine ray"):
        make_engine("processes", address="127.0.0.1:6379")


def test_without_ray_its_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"Install thresher\[ray\]"):
        make_engine("ray")


def test_a_program_that_starts_work_as_it_is_imported_is_told_so(tmp_path: Path) -> None:
    place = tmp_path / "program.py"
    place.write_text(
        "from thresher.cores import threads\n"
        "from thresher.engines.local import Processes\n"
        "with Processes(2) as engine:\n"
        "    engine.run([1, 2], lambda share: (threads, (share,)), on_result=print)\n"
    )
    done = subprocess.run([sys.executable, str(place)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (end,) = [line for line in done.stderr.splitlines() if line.startswith("thresher.")]  # Python may warn after it
    assert 'only under `if __name__ == "__main__":`' in end
