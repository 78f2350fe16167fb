"""Independent pieces of work, in one process and in several."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

from thresher.experiments.executor import WorkerDied, run_all

Item = tuple[Callable[..., Any], Any]


def call(item: Item) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    return item[0], (item[1],)


@pytest.mark.parametrize("processes", [1, 2])
def test_one_failure_does_not_stop_the_others(processes: int) -> None:
    done: dict[Item, Any] = {}
    failed: dict[Item, str] = {}
    run_all(
        [(int, text) for text in ("1", "two", "3", "4", "5")], call, processes=processes, on_result=done.__setitem__,
        on_failure=lambda item, error: failed.update({item: type(error).__name__}), admit=lambda item: item[1] != "4",
    )  # fmt: skip
    assert done == {(int, "1"): 1, (int, "3"): 3, (int, "5"): 5}
    assert failed == {(int, "two"): "ValueError"}
    with pytest.raises(ValueError, match="two"):
        run_all([(int, "1"), (int, "two")], call, processes=processes, on_result=done.__setitem__)


def test_a_killed_worker_is_told_and_the_rest_goes_on() -> None:
    done: dict[Item, Any] = {}
    failed: dict[Item, Exception] = {}
    killed: Item = (signal.raise_signal, signal.SIGKILL)
    items = [killed, *((int, str(number)) for number in range(4))]
    run_all(items, call, processes=2, on_result=done.__setitem__, on_failure=failed.__setitem__)
    assert isinstance(failed[killed], WorkerDied)
    assert done.keys() | failed.keys() == set(items)
    assert len(done) >= 3  # at most the one that ran beside it went down too
