"""Captured steps and what trainings share on a GPU, with a graph that a CPU can replay in the place of CUDA's."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from thresher.data import load
from thresher.engines import make_engine
from thresher.recorder import Recorder
from thresher.stepwise import Steps, stepwise
from thresher.train import loop, step
from thresher.train.loop import fit
from thresher.train.spec import TrainSpec
from thresher.train.step import GraphedStep, Streams, on_device

DIGITS = load("digits")


class Graph(TorchDispatchMode):
    """Does on a CPU what CUDA's graph does: what is launched while it captures is kept and changes nothing; a replay
    launches all of it again, with the memory and the numbers of then."""

    def __init__(self, *, ends: bool = True) -> None:
        super().__init__()
        self.given: tuple[int, int] | None = None
        self.calls: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self.replays, self._before, self._ends, self._ended = 0, dict[int, tuple[Tensor, Tensor]](), ends, False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given, names = kwargs or {}, func._schema.arguments
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        made = {id(out) for *_, outs in self.calls for out in outs}
        for name, value in [*zip(names, args, strict=False), *((n, given[n.name]) for n in names if n.name in given)]:
            written = name.alias_info is not None and name.alias_info.is_write
            for tensor in tree_leaves(value) if written or name.name in ("running_mean", "running_var") else ():
                if isinstance(tensor, Tensor) and id(tensor) not in made:
                    self._before.setdefault(id(tensor), (tensor, tensor.clone()))
        result = func(*args, **given)
        aliases = any(returned.alias_info is not None for returned in func._schema.returns)
        self.calls.append((func, args, given, [] if aliases else [t for t in tree_leaves(result) if isinstance(t, Tensor)]))
        self.keep = [*getattr(self, "keep", ()), result]
        return result

    def end(self) -> None:
        """Undo what the capture has changed."""
        for tensor, value in self._before.values():
            tensor.detach().copy_(value)
        self._ended = self._ends
        if not self._ends:
            raise RuntimeError("the capture was invalidated")

    def pool(self) -> tuple[int, int]:
        if not self._ended:
            raise RuntimeError("no successful capture")
        return self.given or (0, id(self))

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        for func, args, given, outs in self.calls:
            again = [t for t in tree_leaves(func(*args, **given)) if isinstance(t, Tensor)]
            for out, value in zip(outs, again, strict=False):
                out.detach().copy_(value)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Graph]:
    """Let trainings on a CPU be captured; gives the graphs."""
    made: list[Graph] = []

    @contextmanager
    def capture(graph: Graph, pool: Any, stream: Any, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        graph.given = pool
        assert step._ALONE.locked()
        made.append(graph)
        try:
            with graph:
                yield
        finally:
            graph.end()

    def make_step(*args: Any) -> GraphedStep:
        made = GraphedStep(*args[:-1])
        made._lr = torch.zeros(())  # as on a GPU
        return made

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
    monkeypatch.setattr(loop, "make_step", make_step)
    return made


@pytest.mark.parametrize("changes", [{}, {"precision": "bf16"}, {"clip_norm": 0.5, "label_smoothing": 0.1}], ids=str)
def test_replayed_steps_are_the_plain_ones_bit_for_bit(
    changes: dict[str, Any], graphs: list[Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = TrainSpec("tiny", epochs=6, batch_size=64, lr=0.05, **changes)
    ids, scale = np.arange(0, 3 * 64 + 20), np.linspace(0.2, 1, len(DIGITS.train), dtype=np.float32)
    found = []
    for way in (True, False):
        if not way:
            monkeypatch.undo()
        recorder = Recorder(len(DIGITS.train), 10, {}, extra_signals=["loss"], missing="allow")
        seen: list[Any] = []
        watched = recorder.end_epoch

        def end_epoch(recorder: Any = recorder, seen: Any = seen, watched: Callable[[], None] = watched) -> None:
            seen.append(recorder._place().values["loss"].numpy().copy())
            watched()

        recorder.end_epoch = end_epoch  # type: ignore[method-assign, assignment]
        result = fit(DIGITS, spec, 3, ids=ids, recorder=recorder, loss_scale=scale)
        found.append((np.array(seen), result.train_loss, result.test_accuracy, result.mean_loss_scale))
    for replayed, plain in zip(*found, strict=True):
        np.testing.assert_array_equal(replayed, plain)
    # three batches of 64 an epoch and one of 20: of either size the first three are plain steps, the fourth is captured
    assert [graph.replays for graph in graphs] == [6 * 3 - 3, 6 - 3]
    assert len({graph.pool() for graph in graphs}) == 1  # they share their memory


def test_a_step_that_cannot_be_captured_is_trained_plainly(graphs: list[Graph], monkeypatch: pytest.MonkeyPatch) -> None:
    spec, ids, train = TrainSpec("tiny", epochs=5, batch_size=64, lr=0.05), np.arange(128), GraphedStep._train

    def waits(self: GraphedStep, *args: Any) -> Tensor:
        logits = train(self, *args)
        logits.sum().item()
        return logits

    monkeypatch.setattr(GraphedStep, "_train", waits)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: Graph(ends=False))
    with pytest.warns(
        UserWarning, match="continues without CUDA graphs.*: operation not permitted when stream is capturing"
    ):
        refused = fit(DIGITS, spec, 0, ids=ids)
    assert [graph.replays for graph in graphs] == [0]
    monkeypatch.undo()
    assert refused.train_loss == fit(DIGITS, spec, 0, ids=ids).train_loss


@pytest.mark.parametrize("ends", [True, False])
def test_memory_that_runs_out_in_a_capture_is_told_as_that(
    ends: bool, graphs: list[Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    train, open_before = GraphedStep._train, len(step._OPEN)

    def fails(self: GraphedStep, *args: Any) -> Tensor:
        if graphs:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train(self, *args)

    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: Graph(ends=ends))
    monkeypatch.setattr(GraphedStep, "_train", fails)
    with pytest.raises(RuntimeError) as told:
        fit(DIGITS, TrainSpec("tiny", epochs=1, batch_size=64), 0)
    assert isinstance(told.value if ends else told.value.__context__, torch.OutOfMemoryError)
    assert len(step._OPEN) - open_before == (not ends)  # torch frees the memory of one that was ended with its graph
    assert not step._ALONE.locked()


def test_what_may_wait_for_a_device_keeps_captures_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    inside: list[str] = []

    class Watched(step.Step):
        def exclusive(self) -> Any:
            @contextmanager
            def entered() -> Iterator[None]:
                inside.append("in")
                yield
                inside.append("out")

            return entered()

    monkeypatch.setattr(loop, "make_step", lambda *args: Watched(*args[:-1]))
    evaluate = loop.evaluate
    monkeypatch.setattr(loop, "evaluate", lambda *args: (inside.append("evaluate"), evaluate(*args))[1])
    common: dict[str, Any] = {"checkpoint": tmp_path / "c.safetensors", "resume": True, "ids": np.arange(64)}
    for _ in range(2):  # the second goes on after the last epoch, and only evaluates
        fit(DIGITS, TrainSpec("tiny", epochs=1, batch_size=64), 0, **common)
        assert inside[-3:] == ["in", "evaluate", "out"]
        inside.append("next")


def test_a_plain_step_on_a_gpu_keeps_captures_away() -> None:
    alone: list[bool] = []
    model = torch.nn.Linear(4, 2)

    def forward(values: Tensor) -> Tensor:
        alone.append(step._ALONE.locked())
        return model(values)

    made = step.Step(forward, torch.optim.SGD(model.parameters(), 0.1), TrainSpec("tiny"), torch.device("cpu"))
    for made.device in (torch.device("cpu"), torch.device("cuda")):
        made(torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64), torch.arange(3))
    assert alone == [False, True]
    assert not step._ALONE.locked()


class Stream:
    """One of those that torch deals out in turn."""

    dealt = 0

    def __init__(self, device: Any) -> None:
        self.number = Stream.dealt % 4
        Stream.dealt += 1

    def wait_stream(self, other: Any) -> None: ...
    def synchronize(self) -> None: ...


@pytest.fixture
def current(monkeypatch: pytest.MonkeyPatch) -> list[Stream]:
    """Pretend a GPU; gives the streams that are current, the innermost last."""
    found: list[Stream] = []

    @contextmanager
    def stream(entered: Stream) -> Iterator[None]:
        assert entered.number not in [other.number for other in found]
        found.append(entered)
        try:
            yield
        finally:
            found.remove(entered)

    fakes = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "Stream": Stream,
        "stream": stream,
        "current_device": lambda: 0,
        "device": lambda device: nullcontext(),
        "current_stream": lambda device: None,
    }
    for name, value in fakes.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(Stream, "dealt", 0)
    monkeypatch.setattr(step, "_STREAMS", Streams())
    return found


def test_no_two_trainings_have_one_stream(current: list[Stream]) -> None:
    failures = iter([True, False] * 100)

    @stepwise
    @on_device
    def failing(*, device: str) -> Steps[None]:
        yield
        raise KeyError

    @stepwise
    @on_device
    def train(depth: int, *, device: str) -> Steps[int]:
        for _ in range(5):
            if depth:
                train(depth - 1, device=device)
            yield
        if depth == 0 and len(current) == 3 and next(failures):
            with pytest.raises(KeyError):
                failing(device="cuda:0")
        return current[-1].number

    assert train(2, device="cuda") == 0
    assert Stream.dealt == 4


def test_trainings_in_turn_each_have_their_stream_in_their_steps(current: list[Stream]) -> None:
    seen: dict[int, list[int]] = {}
    before = torch.backends.cudnn.benchmark

    @stepwise
    @on_device
    def train(number: int, *, device: str) -> Steps[int]:
        try:
            for _ in range(3 + number):
                assert torch.backends.cudnn.benchmark
                seen.setdefault(number, []).append(current[-1].number)
                yield
                assert len(current) == 1
            if number == 2:
                raise MemoryError
        finally:
            seen[number].append(current[-1].number)
        return number

    def call(number: int) -> Any:
        return partial_steps(train, number), ()

    done, failed = list[int](), list[int]()
    with make_engine("turns", 3) as engine:
        engine.run(
            range(5), call, on_result=lambda number, result: done.append(result),
            on_failure=lambda number, error: failed.append(number), admit=lambda number: not current,
        )  # fmt: skip
        assert (done, failed, current) == ([0, 1, 3, 4], [2], [])
        assert {number: sorted(set(streams)) for number, streams in seen.items()} == {0: [0], 1: [1], 2: [2], 3: [0], 4: [1]}
        seen.clear()
        with pytest.raises(MemoryError):  # the others are closed, on their streams
            engine.run([1, 4, 2, 0], call, on_result=lambda number, result: done.append(result))
    assert all(len(set(streams)) == 1 for streams in seen.values())
    assert not current
    assert torch.backends.cudnn.benchmark is before


def test_a_training_that_is_collected_as_garbage_gives_its_stream_back(
    current: list[Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    @stepwise
    @on_device
    def train(*, device: str) -> Steps[int]:
        yield
        return current[-1].number

    class Collecting(Stream):
        def __init__(self, device: Any) -> None:
            gc.collect()  # as may happen wherever something is made
            super().__init__(device)

    monkeypatch.setattr(torch.cuda, "Stream", Collecting)
    lost: list[Any] = [train.steps(device="cuda")]
    next(lost[0])
    lost.append(lost)  # only the collector finds it
    del lost
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.extend(train(device="cuda") for _ in range(2)), daemon=True)
    thread.start()
    thread.join(30)
    assert len(found) == 2
    assert Stream.dealt == 2  # the first one's was used again


def partial_steps(train: Any, number: int) -> Any:
    """Return the training on the GPU as a function without arguments that can be run in steps."""

    @stepwise
    def made() -> Steps[int]:
        return (yield from train.steps(number, device="cuda"))

    return made


def test_captured_trainings_in_turn_are_those_one_by_one(graphs: list[Graph]) -> None:
    spec = TrainSpec("tiny", epochs=6, batch_size=64, lr=0.05)
    done: dict[int, float | None] = {}
    order: list[int] = []

    def trained(seed: int) -> Steps[float | None]:
        found = yield from fit.steps(
            DIGITS, spec, seed, ids=np.arange(3 * 64 + 20 * seed), on_epoch=lambda progress: order.append(seed)
        )
        return found.train_loss

    for engine in (make_engine("turns", 3), make_engine("serial")):
        engine.run(range(4), lambda seed: (stepwise(trained), (seed,)), on_result=done.__setitem__)
        if order[:2] != [0, 0]:
            in_turn, replays = done.copy(), [graph.replays for graph in graphs]
            assert sorted(order[:3]) == [0, 1, 2]
            order.clear()
    assert done == in_turn
    assert len(replays) == 7  # two sizes of batch each, but for the seed without a last one
    assert len({graph.pool() for graph in graphs[:7]}) == 4  # one memory each
