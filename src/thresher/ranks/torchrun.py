"""`Ranks` over torch.distributed: the one place that imports it.

Small values and rows in main memory travel through a gloo group of our own, rows on a GPU through the default group where
that is NCCL's. What torch raises when a process is gone becomes one clear RankLostError.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from thresher.errors import InputError, RankLostError, ThresherError
from thresher.ranks import Alone, Ranks

Rows = TypeVar("Rows")
_ON_HOST, _ON_GPU, _EMPTY = range(3)
_LOST = ("connection closed", "connection reset", "gloo", "nccl", "timed out", "broken pipe", "socket")
_LONG = timedelta(days=30)  # of a command: ranks may wait for others' trainings; who dies is noticed at once all the same
_known: tuple[Any, TorchRanks] | None = None


class TorchRanks:
    """The ranks of torch.distributed's default group; see `Ranks`. Making one is a call that every rank must make."""

    def __init__(self, timeout: timedelta | None = None) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        with _watched("setting up"):
            self._host: dist.ProcessGroup | None = dist.new_group(backend="gloo", timeout=timeout or _patience())
        self._nccl = "nccl" in dist.get_backend()

    def leave(self) -> None:
        """Give up the group; nothing can be shared afterwards."""
        self._host = None

    def share(self, topic: str, value: Any = None) -> list[Any]:
        """Return the value of every rank."""
        text = torch.frombuffer(bytearray(json.dumps([topic, value]).encode()), dtype=torch.uint8)
        with _watched(topic):
            sizes = [torch.zeros(1, dtype=torch.int64, device="cpu") for _ in range(self.size)]
            dist.all_gather(sizes, torch.tensor([len(text)], device="cpu"), group=self._host)
            longest = max(int(size) for size in sizes)
            texts = [torch.zeros(longest, dtype=torch.uint8, device="cpu") for _ in range(self.size)]
            dist.all_gather(texts, nn.functional.pad(text, (0, longest - len(text))), group=self._host)
        said = [json.loads(bytes(t[: int(size)].tolist())) for t, size in zip(texts, sizes, strict=True)]
        for rank, (other, _) in enumerate(said):
            if other != said[0][0]:
                raise InputError(
                    f"Expected all ranks at the same call, but rank 0 is at {said[0][0]} and rank {rank} at {other}. "
                    "Call end_epoch, scores, pool and load_state_dict on every rank, in the same order."
                )
        return [value for _, value in said]

    def exchange(self, rows: Rows, counts: Sequence[int]) -> tuple[Rows, list[int]]:
        """Send rows to their ranks and return those that came."""
        array = isinstance(rows, np.ndarray)
        tensor: Tensor = torch.from_numpy(np.ascontiguousarray(rows)) if array else rows  # type: ignore[assignment]
        kind = _EMPTY if not len(tensor) else _ON_GPU if tensor.is_cuda else _ON_HOST
        with _watched("exchange"):
            asked = [torch.zeros(self.size + 1, dtype=torch.int64, device="cpu") for _ in range(self.size)]
            dist.all_gather(asked, torch.tensor([*counts, kind], device="cpu"), group=self._host)
            came = [int(theirs[self.rank]) for theirs in asked]
            fast = self._nccl and all(int(theirs[-1]) != _ON_HOST for theirs in asked)
            sent = tensor.contiguous().to(_own_device(tensor) if fast else torch.device("cpu"))
            got = sent.new_empty((sum(came), *tensor.shape[1:]))
            dist.all_to_all_single(got, sent, came, list(counts), group=None if fast else self._host)
            found = got.to(tensor.device)
        return (found.numpy() if array else found), came  # type: ignore[return-value]


def _own_device(tensor: Tensor) -> torch.device:
    """Return the GPU on which this process talks to others: that of its rows, which need not be the current one, or, without
    rows, the one that the group was made for, if it was told so, else the current one."""
    bound: torch.device | None = getattr(dist.group.WORLD, "bound_device_id", None)
    return tensor.device if tensor.is_cuda else bound or torch.device("cuda")


def _patience() -> timedelta | None:
    """Return how long ranks may wait for one another: as long as the default group's may, where that is longer than torch's
    usual time, which a new group would be given. None where this version of torch does not tell."""
    group: Any = dist.group.WORLD
    try:
        times: list[timedelta] = [group._get_backend(device).options._timeout for device in group._device_types]
    except (AttributeError, RuntimeError):  # not public
        return None
    return max([timedelta(minutes=30), *times])


def ranks_of_default_group(timeout: timedelta | None = None) -> TorchRanks:
    """Return the ranks of the default group, made once for each."""
    global _known
    group = dist.group.WORLD
    if _known is None or _known[0] is not group:
        _known = (group, TorchRanks(timeout))
        atexit.register(_forget)
    return _known[1]


def _forget() -> None:
    """Let go of the groups, which ends their threads: one that still runs when the interpreter is torn down aborts it."""
    global _known
    if _known is not None:
        _known[1].leave()
    _known = None
    gc.collect()


@contextmanager
def joined(device: str) -> Iterator[tuple[Ranks, str]]:
    """Join the processes that torchrun started, and leave them at the end: gives the ranks and this one's device.

    Without torchrun, or with one process of it, that is `Alone`. A GPU is that of the process's local rank. SIGTERM, which
    torchrun sends to all when one has died, ends the block with RankLostError. Raises InputError where processes of one
    machine have no GPU each.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        yield Alone(), device
        return
    if device.startswith("cuda"):
        device = _own_gpu(device)
        torch.cuda.set_device(device)
    usual = signal.signal(signal.SIGTERM, _told_to_stop)
    try:
        with _watched("setting up"):
            dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        with watched("training"):
            yield ranks_of_default_group(_LONG), device
        ranks_of_default_group().share("farewell")  # who leaves while another still listens looks like one who died
        _forget()
        dist.destroy_process_group()
    finally:
        signal.signal(signal.SIGTERM, usual)


def _own_gpu(device: str) -> str:
    """Return this process's GPU; raises InputError where it would be another's too, or is not there."""
    local, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if device != "cuda" and int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 1:
        raise InputError(f"Expected --device cuda under torchrun, which gives each process its own GPU, but got {device}.")
    if device == "cuda" and local >= count:
        raise InputError(
            f"Expected a GPU for each process of this machine, but process {local + 1} finds {count}. Start as many "
            "processes as there are GPUs (torchrun --nproc-per-node), or train on --device cpu."
        )
    return device if device != "cuda" else f"cuda:{local}"


def _told_to_stop(number: int, frame: FrameType | None) -> None:
    raise _lost("this one was told to stop (SIGTERM)")


def parallel(model: nn.Module, example: Tensor) -> nn.Module:
    """Return the model whose backward pass averages the gradients over all ranks, in an order that a resume repeats.

    `example` is a batch as the model takes it, on its device.
    """
    wrapped = DistributedDataParallel(model, device_ids=[example.device] if example.is_cuda else None)
    # After its first backward pass it deals the gradients anew into buckets, in the order in which they came, and three
    # numbers or more are summed in an order that hangs on their place there. A pass that counts for nothing settles it, so
    # that a resumed training does not begin with other sums.
    kept = [buffer.clone() for buffer in model.buffers()]
    model.train()
    wrapped(example).sum().backward()
    with torch.no_grad():
        for buffer, value in zip(model.buffers(), kept, strict=True):
            buffer.copy_(value)
    model.zero_grad(set_to_none=True)
    return wrapped


def send_from_first(tensors: Sequence[Tensor]) -> None:
    """Give every rank rank 0's contents of these tensors, in place."""
    with _watched("training"):
        for tensor in tensors:
            dist.broadcast(tensor, 0)


@contextmanager
def watched(what: str) -> Iterator[None]:
    """Turn what torch raises in the block because another rank is gone into RankLostError; other errors pass."""
    try:
        yield
    except ThresherError:
        raise
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or any(word in str(error).lower() for word in _LOST):
            raise _lost(f"in {what}") from error
        raise


@contextmanager
def _watched(what: str) -> Iterator[None]:
    """The same for a block in which nothing else can go wrong."""
    try:
        yield
    except RuntimeError as error:
        raise _lost(f"in {what}: {error}") from error


def _lost(what: str) -> RankLostError:
    rank = dist.get_rank() if dist.is_initialized() else int(os.environ.get("RANK", "0"))
    return RankLostError(
        f"Rank {rank} stops, as another rank has ended or did not answer ({what}). Every committed epoch is intact: find "
        "what ended the first rank, and run the same command again with as many ranks to go on from there."
    )
