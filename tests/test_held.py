"""Settings that are held while somebody needs them."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from thresher.experiments.jobs import THREADS
from thresher.held import Held


class Setting:
    """A number of the whole process."""

    def __init__(self) -> None:
        self.value = 8
        self.held = Held(lambda: self.value, self.set)

    def set(self, value: int) -> None:
        if value < 1:
            raise ValueError(value)
        self.value = value


def test_of_those_inside_the_last_to_have_entered_decides() -> None:
    setting, seen = Setting(), []
    first, second, third = (setting.held.at(value) for value in (1, 2, 3))
    for step in (first.__enter__, second.__enter__, third.__enter__):
        step()
        seen.append(setting.value)
    for leaving in (second, third, first):
        leaving.__exit__(None, None, None)
        seen.append(setting.value)
    assert seen == [1, 2, 3, 3, 1, 8]


def test_a_value_that_is_refused_holds_nothing() -> None:
    setting = Setting()
    with pytest.raises(ValueError, match="-1"), setting.held.at(-1):
        pass
    with setting.held.at(2):
        with pytest.raises(ValueError, match="0"), setting.held.at(0):
            pass
        assert setting.value == 2
    assert setting.value == 8


def test_the_cores_that_torch_uses_are_put_back_in_every_thread() -> None:
    entered, left = [threading.Event(), threading.Event()], threading.Event()
    after: dict[int, int] = {}

    def work(number: int) -> None:
        torch.set_num_threads(2 + number)
        if number:
            entered[0].wait(30)
        with THREADS.at(1):
            entered[number].set()
            (left if number else entered[1]).wait(30)
        after[number] = torch.get_num_threads()
        left.set()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    before = torch.get_num_threads()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert after == {0: 2, 1: 3}
    assert torch.get_num_threads() == before


def test_who_is_collected_as_garbage_while_another_enters_does_not_wait_for_it() -> None:
    values: list[Any] = []
    held: Held[int] = Held(lambda: 8, lambda value: (gc.collect(), values.append(value)))

    def inside() -> Iterator[None]:
        with held.at(1):
            yield

    lost: Any = [inside()]
    next(lost[0])
    lost.append(lost)  # only the collector finds it
    del lost
    done = threading.Thread(target=lambda: held.at(2).__enter__(), daemon=True)
    done.start()
    done.join(30)
    assert not done.is_alive()
