"""How many operations the Recorder launches on an accelerator, where each costs the host some ten microseconds whatever its
size: counted on torch's device without memory, so that they do not grow unnoticed."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from thresher import recorder as recording
from thresher.experiments.recording import RECORDED
from thresher.ranks import Alone
from thresher.ranks.owners import Owners
from thresher.recorder import Recorder
from thresher.recording.collect import Collector
from thresher.recording.intake import _largest
from thresher.scorers import TDDS
from thresher.signals import EVAL_PREFIX

N, C = 100_000, 1000  # 8355 rows wait at most
EVERY = [name for name in RECORDED if not name.startswith(EVAL_PREFIX)]


class Launches(TorchDispatchMode):
    """Counts operations: those that launch a kernel, and those that only give another view of a tensor.

    All that an operation takes must be on the device: what comes from elsewhere would fail there, or be copied to it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernels = self.views = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        taken = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        assert {value.device.type for value in taken} <= {"meta"}, func
        aliases = [returned.alias_info for returned in func._schema.returns]
        view = any(alias is not None and not alias.is_write for alias in aliases)
        self.views, self.kernels = self.views + view, self.kernels + (not view)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a function that updates a Recorder with a batch and returns what that launched."""
    monkeypatch.setattr(recording, "check_logits", lambda logits: None)  # of the first batch alone

    def update(recorder: Recorder, rows: int) -> tuple[int, int]:
        logits, (targets, ids) = torch.empty(rows, C, device="meta"), torch.zeros(2, rows, dtype=torch.int64, device="meta")
        with Launches() as launches:
            recorder.update(logits.requires_grad_(), targets, ids)
        return launches.kernels, launches.views

    return update


def recorder(signals: list[str], ranks: int = 1) -> Recorder:
    ours = Recorder(N, C, {"tdds": TDDS()}, extra_signals=signals, device="meta")
    if ranks > 1:
        ours._collector = Collector(Alone(), Owners(N, 100, ranks), ours._train_names, [], False)
    return ours


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("signals", [[], EVERY], ids=["tdds", "all"])
def test_a_batch_that_waits_is_three_copies(signals: list[str], ranks: int, count: Any) -> None:
    ours = recorder(signals, ranks)
    count(ours, 128)
    assert count(ours, 128) == (3, 4)  # of logits, targets and ids, each into a part of its place; logits without gradient


@pytest.mark.parametrize(
    ("ranks", "signals", "most"), [(1, [], 31), (1, EVERY, 73), (2, [], 22), (2, EVERY, 63)],
    ids=["tdds", "all", "tdds of a rank", "all of a rank"],
)  # fmt: skip
def test_a_look_at_all_that_wait(ranks: int, signals: list[str], most: int, count: Any) -> None:
    ours = recorder(signals, ranks)
    for rows in (2048, 2048, 2048, 1000):  # an epoch's last batch is smaller
        count(ours, rows)
    with Launches() as launches, torch.no_grad():
        ours._place().settle(ours._train_names, 0)
    assert 9 < launches.kernels <= most


def test_a_batch_for_which_no_other_one_could_wait_is_looked_at_without_a_copy(count: Any) -> None:
    ours = recorder([])
    count(ours, 8192)
    assert count(ours, 8192)[0] <= 31
    assert count(ours, 128)[0] == 3 + 3  # three places are made
    assert count(ours, 128)[0] == 3


@pytest.mark.parametrize(("signals", "looks"), [([], 4), (EVERY, 5)], ids=["tdds", "all"])
def test_the_batches_of_an_epoch_of_one_of_several_ranks(signals: list[str], looks: int, count: Any) -> None:
    ours = recorder(signals, 2)
    assert sum(count(ours, 128)[0] for _ in range(391)) < looks * 391  # 50 000 rows


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38, -3e38, 1.0])
def test_the_largest_value_shows_whatever_is_not_finite_wherever_it_lies(value: float) -> None:
    def norm(logits: Tensor) -> Tensor:  # what an accelerator does
        return torch.linalg.vector_norm(logits, math.inf)

    for position in range(40):
        logits = torch.full((4, 10), -1.0)
        logits[:2] = 3e38 if abs(value) == 3e38 else 1.0  # of which a sum would be infinite
        logits.view(-1)[position] = value
        for found in (_largest(logits), norm(logits)):
            torch.testing.assert_close(found, torch.tensor(abs(value)), equal_nan=True, rtol=0, atol=0)
    assert _largest(torch.zeros(0, 3)) == _largest(torch.zeros(3, 0)) == 0


class Apples(Tensor):
    """Logits on a device whose norm passes over NaN."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device("mps")

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.linalg.vector_norm:
            args = (args[0].as_subclass(Tensor).nan_to_num(0, math.inf, -math.inf), *args[1:])
        return super().__torch_function__(func, types, args, kwargs)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3.0])
def test_nan_is_found_where_the_norm_passes_over_it(value: float) -> None:
    logits = torch.ones(4, 10)
    logits[2, 3] = value
    found = _largest(logits.as_subclass(Apples)).as_subclass(Tensor)
    torch.testing.assert_close(found, torch.tensor(abs(value)), equal_nan=True)
