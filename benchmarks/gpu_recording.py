"""What recording costs a training step on a GPU, and how near the signals come to the memory's speed.

Steps run in blocks, with and without `Recorder.update` in turn, the device waited for only at the ends of a block. Each
epoch's `end_epoch`, after every sample was shown, is spread over its steps and added to what `update` costs. For a captured
step, which the device bounds, that is the median difference within pairs of blocks. A plain step is bound by the host, which
launches some thousand operations, and varies by more than an update takes: there it is the host's time within `update`
itself, the mean over a block, the median over the blocks. Operations are those that `update` launches, views not counted.

The signals' bandwidth counts what TDDS cannot avoid to move: the logits and the previous log-probabilities are read, the new
ones written. It is that of whole epochs of batches of 8192 rows, which the host's launches bound, and that of one look at as
many rows as wait at most, which the device bounds. The card's is that of a copy, bytes read plus bytes written.

`--device cpu --quick --model tiny` tries all of it without a GPU; there batches do not wait, and no step is captured.
"""

from __future__ import annotations

import argparse
import time
from contextlib import nullcontext
from typing import Any

import torch
from _measure import Target, finish, median, parser, timed
from torch.utils._python_dispatch import TorchDispatchMode

from thresher.experiments.recording import RECORDED
from thresher.models import build
from thresher.recorder import Recorder
from thresher.scorers.tdds import TDDS
from thresher.signals import EVAL_PREFIX
from thresher.train.spec import TrainSpec, build_optimizer
from thresher.train.step import make_step

CLASSES = 100
EVERY = [name for name in RECORDED if not name.startswith(EVAL_PREFIX)]


class Launches(TorchDispatchMode):
    """Counts the operations that launch a kernel."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        aliases = [returned.alias_info for returned in func._schema.returns]
        self.count += not any(alias is not None and not alias.is_write for alias in aliases)
        return func(*args, **(kwargs or {}))


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def overhead(args: argparse.Namespace, batch: int, graphs: bool, signals: list[str]) -> dict[str, float]:
    """Return milliseconds of a plain step, of a recorded one more, of the host in `update`, of `end_epoch` per step; their
    share, and operations per update."""
    device, n = torch.device(args.device), args.samples
    steps = min(args.block, args.samples // batch // 4)
    spec = TrainSpec(args.model, batch_size=batch, precision="bf16")
    scorers = {} if signals else {"tdds": TDDS(window=10)}
    recorder = Recorder(n, CLASSES, scorers, extra_signals=signals, missing="allow", device=device)
    launches = Launches()
    stream: Any = torch.cuda.stream(torch.cuda.Stream(device)) if device.type == "cuda" else nullcontext()  # type: ignore[no-untyped-call]
    with stream:
        model = build(args.model, CLASSES, 3, seed=0).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        step = make_step(model, build_optimizer(spec, model), spec, device, graphs=graphs)
        step.set_lr(0.01)
        images = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
        targets = (torch.arange(n, device=device) % CLASSES).to(torch.int64)
        batches = [(targets[ids], ids) for ids in torch.randperm(n, device=device).split(batch)]  # type: ignore[no-untyped-call]

        def block(first: int, record: bool) -> tuple[float, float]:
            """Return the seconds of a step and, of them, the host's in `update`."""
            inside = 0.0
            synchronize(device)
            started = time.perf_counter()
            for labels, ids in batches[first : first + steps]:
                logits = step(images, labels, ids)
                if record:
                    before = time.perf_counter()
                    recorder.update(logits, labels, ids)
                    inside += time.perf_counter() - before
            synchronize(device)
            return (time.perf_counter() - started) / steps, inside / steps

        block(0, False)
        endings, others = [], torch.randn(batch, CLASSES, device=device)
        for _ in range(4):  # from the second epoch on there are changes
            block(0, True)
            with launches:
                for labels, ids in batches[steps:]:
                    recorder.update(others[: len(ids)], labels, ids)
            synchronize(device)
            endings.append(timed(recorder.end_epoch) / len(batches))
        plain, differences, inside = [], [], []
        for pair in range(args.pairs):
            first = pair * steps % (len(batches) - 1 - steps)
            found = {way: block(first, way) for way in ((True, False) if pair % 2 else (False, True))}
            recorder.end_epoch()
            plain.append(found[False][0])
            differences.append(found[True][0] - found[False][0])
            inside.append(found[True][1])
    ms = {"step": median(plain), "update": median(differences), "host": median(inside), "ending": median(endings[1:])}
    quarters = sorted(differences)[args.pairs // 4], sorted(differences)[3 * args.pairs // 4]
    return {
        **{name: 1000 * value for name, value in ms.items()},
        "low": 1000 * quarters[0],
        "high": 1000 * quarters[1],
        "operations": launches.count / (4 * (len(batches) - steps)),
        "share": (ms["update" if graphs else "host"] + ms["ending"]) / ms["step"],
    }


def seconds(device: torch.device, call: Any) -> float:
    """Return the seconds of a call on the device."""
    if device.type != "cuda":
        return timed(call)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1000


def bandwidths(args: argparse.Namespace, classes: int) -> dict[str, float]:
    """Return bytes a second of TDDS's update over N samples of `classes`, of a look alone and of a copy, the host's seconds
    an update, and operations per update and per look."""
    device, n = torch.device(args.device), min(args.values // classes, 2_000_000)
    recorder = Recorder(n, classes, {"tdds": TDDS(window=10)}, missing="allow", device=device)
    source, labels = torch.randn(n, classes, device=device), torch.zeros(n, dtype=torch.int64, device=device)

    def batches_of(parts: Any) -> list[tuple[torch.Tensor, ...]]:
        return [(source[: len(ids)], labels[: len(ids)], ids) for ids in parts]

    def settle() -> None:
        recorder._place().settle(recorder._train_names, recorder.epoch)

    def epoch(batches: Any) -> None:
        nonlocal host
        for batch in batches:
            before = time.perf_counter()
            recorder.update(*batch)
            host += time.perf_counter() - before
        settle()

    times, inside, looks, launches = [], [], [], Launches()
    for _ in range(args.repeats + 1):
        order, host = torch.randperm(n, device=device), 0.0
        batches = batches_of(order.split(8192))  # type: ignore[no-untyped-call]
        synchronize(device)
        times.append(seconds(device, lambda batches=batches: epoch(batches)))  # type: ignore[misc]
        inside.append(host / len(batches))
        recorder._place().start_epoch()  # what the scorers do with an epoch happens in main memory
        waiting = batches_of(order[: (1 << 23) // classes].tensor_split(4))  # as many rows as wait at most
        for batch in waiting:
            recorder.update(*batch)
        synchronize(device)
        looks.append(seconds(device, settle) / sum(len(ids) for *_, ids in waiting))
        recorder._place().start_epoch()
    with launches:
        epoch(batches)
    every = launches.count / len(batches)
    recorder._place().start_epoch()
    for batch in waiting:
        recorder.update(*batch)
    launches = Launches()
    with launches, torch.no_grad():
        settle()
    other = torch.empty_like(source)
    copy = median([seconds(device, lambda: other.copy_(source)) for _ in range(args.repeats)])
    return {
        "update": 3 * source.nbytes / median(times[1:]),
        "look": 12 * classes / median(looks[1:]),
        "copy": 2 * source.nbytes / copy,
        "host": median(inside[1:]),
        "operations": every,
        "operations of a look": launches.count,
    }


def main() -> None:
    """Measure, report."""
    arguments = parser(__doc__)
    for name, default in (("samples", 50_000), ("block", 40), ("pairs", 21), ("repeats", 5), ("values", 400_000_000)):
        arguments.add_argument(f"--{name}", type=int, default=default)
    arguments.add_argument("--batches", type=int, nargs="+", default=[128, 1024])
    arguments.add_argument("--model", default="resnet18")
    arguments.add_argument("--device", default="cuda")
    args = arguments.parse_args()
    if args.quick:
        args.block, args.pairs, args.values = 10, 3, 400_000 if args.device == "cpu" else 40_000_000
    torch.backends.cudnn.benchmark = True  # as in `fit`
    found = {
        (batch, "graph" if graphs else "plain", what): overhead(args, batch, graphs, EVERY if what == "all" else [])
        for batch in args.batches
        for graphs in (True, False)
        for what in ("tdds", "all")
    }
    speed = {classes: bandwidths(args, classes) for classes in (10, 100, 1000)}
    finish(
        "gpu_recording",
        args,
        [
            "batch", "step", "signals", "step ms", "update ms", "quartiles of update ms", "host µs a step",
            "operations a step", "end_epoch a step ms", "overhead %",
        ],
        [
            [
                *key, ms["step"], ms["update"], f"{ms['low']:.3f} to {ms['high']:.3f}", 1000 * ms["host"], ms["operations"],
                ms["ending"], 100 * ms["share"],
            ]
            for key, ms in found.items()
        ],
        sizes={"model": args.model, "N": args.samples, "C": CLASSES, "pairs": args.pairs, "block": args.block},
        targets=[
            Target(
                f"overhead of recording{'' if step == 'graph' else ', host time'}, batch {batch}, {step} step, {what}",
                ms["share"],
                "<=",
                0.02,
            )
            for (batch, step, what), ms in found.items()
        ],
        notes=[
            f"C = {classes}: TDDS's update moves {of['update'] / 1e9:.0f} GB/s, a look alone {of['look'] / 1e9:.0f} GB/s, "
            f"a copy {of['copy'] / 1e9:.0f} GB/s; an update takes the host {1e6 * of['host']:.0f} µs and "
            f"{of['operations']:.1f} operations, a look {of['operations of a look']}"
            for classes, of in speed.items()
        ],
        raw={"overhead": {" ".join(map(str, key)): value for key, value in found.items()}, "bandwidths": speed},
    )  # fmt: skip


if __name__ == "__main__":
    main()
