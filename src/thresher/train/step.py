"""The step of the training loop: forward, loss, backward, update; on a GPU replayed as a CUDA graph.

A small network on a fast GPU is limited by the launching of its several hundred kernels a step, not by their work. A graph
launches all of them at once: one step is captured, and from then on replayed on new inputs.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import wraps
from threading import Lock, RLock
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thresher.held import Held
from thresher.recording.arguments import as_device
from thresher.stepwise import Steps
from thresher.train.spec import TrainSpec

Forward = Callable[[Tensor], Tensor]
Mean = Callable[[Tensor, Tensor], Tensor]
P = ParamSpec("P")
R = TypeVar("R")
_WARM_UP = 3  # steps before the capture: lazy initialisation and the choice of algorithms happen in them
_ALONE = Lock()  # held by a capture, and by what may wait for the whole device, which fails while a thread captures
_OPEN: list[torch.cuda.CUDAGraph] = []


class Step:
    """One optimiser step on a batch; keeps the sums of an epoch on the device, so that nothing waits for it.

    `scale` (N,), if given, multiplies each batch's mean loss by its mean over the batch's samples.
    `weighed(losses, sample_ids)`, of shape (B,) both, takes the place of the mean loss, if given. On several ranks the
    `share` of a call multiplies the loss of this rank's part of the batch.
    """

    def __init__(
        self, forward: Forward, optimizer: torch.optim.Optimizer, spec: TrainSpec, device: torch.device,
        scale: Tensor | None = None, weighed: Mean | None = None,
    ) -> None:  # fmt: skip
        self.forward, self.optimizer, self.spec, self.device = forward, optimizer, spec, device
        self.scale, self.weighed = scale, weighed
        self.uncompiled: Forward = getattr(forward, "_orig_mod", forward)
        self.loss_sum, self.scale_sum = torch.zeros((), device=device), torch.zeros((), device=device)
        # on a GPU the learning rate lies there, where a captured step can read it
        self._lr = torch.zeros((), device=device) if device.type == "cuda" and spec.optimizer == "sgd" else None

    def exclusive(self) -> AbstractContextManager[object]:
        """Return the context for plain steps, evaluation and other work between steps: no thread captures meanwhile."""
        return _ALONE if self.device.type == "cuda" else nullcontext()

    def begin_epoch(self) -> None:
        """Forget the sums of the epoch before."""
        self.loss_sum.zero_()
        self.scale_sum.zero_()

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of the steps to come."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr if self._lr is None else self._lr
        if self._lr is not None:
            self._lr.fill_(lr)

    def __call__(self, images: Tensor, targets: Tensor, sample_ids: Tensor, share: float = 1.0) -> Tensor:
        """Train on one batch and return its logits (B, C) float32 from before the update."""
        with self.exclusive():
            return self._train(self.forward, images, targets, sample_ids, share)

    def _train(self, forward: Forward, images: Tensor, targets: Tensor, sample_ids: Tensor, share: float = 1.0) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.spec.precision == "bf16"):
            logits = forward(images)
        logits = logits.float()
        reduction = "mean" if self.weighed is None else "none"
        loss = F.cross_entropy(logits, targets, label_smoothing=self.spec.label_smoothing, reduction=reduction)
        if self.weighed is not None:
            loss = self.weighed(loss, sample_ids)
        if share != 1.0:
            loss = loss * share
        self.loss_sum += loss.detach()
        if self.scale is not None:
            batch_scale = self.scale[sample_ids].mean()
            self.scale_sum += batch_scale
            loss = loss * batch_scale
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.spec.clip_norm is not None:
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.spec.clip_norm)
        self.optimizer.step()
        return logits.detach()


@dataclass(frozen=True)
class _Captured:
    """A captured step on batches of one size: the memory that it reads its inputs from and writes its logits to."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, Tensor, Tensor]
    logits: Tensor

    def replay(self, *inputs: Tensor) -> Tensor:
        """Train on these inputs; the logits are overwritten by the next step."""
        for place, value in zip(self.inputs, inputs, strict=True):
            place.copy_(value)
        self.graph.replay()
        return self.logits


class GraphedStep(Step):
    """A step that is captured once for every size of batch (an epoch's last is smaller) and replayed.

    The logits it returns are overwritten by the next step. Call it on a stream of its own (`on_device`); threads may train
    side by side. Where the capture fails (a layer that waits for the device), it warns and goes on as a plain step.
    """

    _refused = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._calls, self._captured = Counter[int](), dict[int, _Captured]()

    def __call__(self, images: Tensor, targets: Tensor, sample_ids: Tensor, share: float = 1.0) -> Tensor:
        """See `Step`."""
        inputs, size = (images, targets, sample_ids), len(images)
        # an epoch's smaller last batch is not worth compiling for
        forward = self.forward if size == self.spec.batch_size else self.uncompiled
        if share == 1.0:
            self._calls[size] += 1
            if size not in self._captured and self._calls[size] > _WARM_UP and not self._refused:
                self._capture(forward, *inputs)
            if size in self._captured:
                return self._captured[size].replay(*inputs)
        with self.exclusive():
            return self._train(forward, *inputs, share)

    def _capture(self, forward: Forward, *inputs: Tensor) -> None:
        """Capture a step on copies of these inputs, without running it, if that is possible."""
        graph, (images, targets, sample_ids) = torch.cuda.CUDAGraph(), inputs
        places = (images.clone(), targets.clone(), sample_ids.clone())
        # graphs of one step may share memory: none reads what it has not written itself, and they never run at once
        pool = next((other.graph.pool() for other in self._captured.values()), None)
        stream = torch.cuda.current_stream()
        try:
            with _ALONE, torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
                logits = self._train(forward, *places)
        except RuntimeError as error:
            first = error.__context__ or error  # a capture that cannot be ended raises another error as it is left
            _keep_if_open(graph)
            if isinstance(first, torch.OutOfMemoryError):
                raise
            reason = str(first).splitlines()[0]
            warnings.warn(f"Training continues without CUDA graphs, several times slower: {reason}", stacklevel=3)
            self._refused = True
            return
        self.optimizer.zero_grad(set_to_none=True)  # the graph has gradients of its own
        self._captured[len(images)] = _Captured(graph, places, logits)


def _keep_if_open(graph: torch.cuda.CUDAGraph) -> None:
    """Keep a graph whose capture could not be ended: torch goes on asking it, at allocations, whether it captures."""
    try:
        graph.pool()
    except RuntimeError:
        _OPEN.append(graph)


def make_step(
    forward: Forward, optimizer: torch.optim.Optimizer, spec: TrainSpec, device: torch.device,
    scale: Tensor | None = None, weighed: Mean | None = None, graphs: bool = True,
) -> Step:  # fmt: skip
    """Return the step of a training: with `graphs`, a graphed one where device, optimiser and loss allow it."""
    possible = device.type == "cuda" and spec.optimizer == "sgd" and weighed is None  # weights change between epochs
    return (GraphedStep if graphs and possible else Step)(forward, optimizer, spec, device, scale, weighed)


class Streams:
    """Streams, each for one training at a time. torch deals out its 32 in turn, whether they are in use or not, and what one
    thread launches on a stream that another is capturing would become part of that graph."""

    def __init__(self) -> None:
        self._lock = RLock()  # a training that is collected as garbage gives its stream back wherever its thread is
        self._free: dict[int, list[torch.cuda.Stream]] = {}

    @contextmanager
    def one(self, device: torch.device) -> Iterator[torch.cuda.Stream]:
        """Give a stream of the device to use in the block."""
        index = torch.cuda.current_device() if device.index is None else device.index
        with self._lock:
            free = self._free.setdefault(index, [])
            stream = free.pop() if free else torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        try:
            yield stream
        finally:
            with self._lock:
                free.append(stream)


def _search_kernels(on: bool) -> None:
    torch.backends.cudnn.benchmark = on


KERNEL_SEARCH = Held(lambda: torch.backends.cudnn.benchmark, _search_kernels)
"""Whether cuDNN searches for its fastest kernels."""
_STREAMS = Streams()


def on_device(train: Callable[P, Steps[R]]) -> Callable[P, Steps[R]]:
    """Wrap a training: if its `device` is a GPU, it gets a stream of its own, so that several in one process overlap, and
    the fastest kernels."""

    @wraps(train)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Steps[R]:
        device, steps = as_device(str(kwargs.get("device", "cpu"))), train(*args, **kwargs)
        if device.type != "cuda":
            return (yield from steps)
        with _STREAMS.one(device) as stream, KERNEL_SEARCH.at(True):
            stream.wait_stream(torch.cuda.current_stream(device))
            try:
                while True:
                    with torch.cuda.device(device), torch.cuda.stream(stream):  # for this step: others set their own
                        try:
                            next(steps)
                        except StopIteration as end:
                            stream.synchronize()
                            return cast(R, end.value)
                    yield
            finally:
                with torch.cuda.device(device), torch.cuda.stream(stream):
                    steps.close()

    return wrapper
