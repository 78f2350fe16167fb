"""What recording costs a training step on a GPU, and how near the signals come to the memory's speed. Needs a GPU.

Steps run in blocks, with and without `Recorder.update` in turn, the device waited for only at the ends of a block. The
overhead is the median difference within pairs of blocks over the median plain block, and each epoch's `end_epoch`, spread
over its steps, is added. The signals' bandwidth counts what TDDS cannot avoid to move: the logits and the previous
log-probabilities are read, the new ones written. The card's is that of a copy, bytes read plus bytes written.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from _measure import Target, finish, median, parser

from thresher.experiments.recording import RECORDED
from thresher.models import build
from thresher.recorder import Recorder
from thresher.scorers.tdds import TDDS
from thresher.signals import EVAL_PREFIX
from thresher.train.spec import TrainSpec, build_optimizer
from thresher.train.step import make_step

CLASSES = 100
EVERY = [name for name in RECORDED if not name.startswith(EVAL_PREFIX)]


def overhead(args: argparse.Namespace, batch: int, graphs: bool, signals: list[str]) -> dict[str, float]:
    """Return milliseconds of a plain step, of a recorded one more, of `end_epoch` per step, and their share."""
    device, n = torch.device(args.device), args.samples
    steps = min(args.block, args.samples // batch // 4)
    spec = TrainSpec(args.model, batch_size=batch, precision="bf16")
    scorers = {} if signals else {"tdds": TDDS(window=10)}
    recorder = Recorder(n, CLASSES, scorers, extra_signals=signals, missing="allow", device=device)
    with torch.cuda.stream(torch.cuda.Stream(device)):  # type: ignore[no-untyped-call]
        model = build(args.model, CLASSES, 3, seed=0).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        step = make_step(model, build_optimizer(spec, model), spec, device, graphs=graphs)
        step.set_lr(0.01)
        images = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
        targets = (torch.arange(n, device=device) % CLASSES).to(torch.int64)
        batches = torch.randperm(n, device=device).split(batch)  # type: ignore[no-untyped-call]

        def block(first: int, record: bool) -> float:
            torch.cuda.synchronize()
            started = time.perf_counter()
            for ids in batches[first : first + steps]:
                labels = targets[ids]
                logits = step(images, labels, ids)
                if record:
                    recorder.update(logits, labels, ids)
            torch.cuda.synchronize()
            return (time.perf_counter() - started) / steps

        block(0, False)
        for _ in range(2):  # the second epoch has changes
            block(0, True)
            started = time.perf_counter()
            recorder.end_epoch()
            ending = (time.perf_counter() - started) * batch / n
        plain, differences = [], []
        for pair in range(args.pairs):
            first = pair * steps % (len(batches) - 1 - steps)
            found = {way: block(first, way) for way in ((True, False) if pair % 2 else (False, True))}
            recorder.end_epoch()
            plain.append(found[False])
            differences.append(found[True] - found[False])
    ms = {"step": median(plain), "update": median(differences), "ending": ending}
    quarters = sorted(differences)[args.pairs // 4], sorted(differences)[3 * args.pairs // 4]
    return {
        **{name: 1000 * value for name, value in ms.items()},
        "low": 1000 * quarters[0],
        "high": 1000 * quarters[1],
        "share": (ms["update"] + ms["ending"]) / ms["step"],
    }


def seconds(call: Any, repeats: int) -> float:
    """Return the median seconds of a call on the device."""
    found = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        end.synchronize()
        found.append(begin.elapsed_time(end) / 1000)
    return median(found)


def bandwidths(args: argparse.Namespace, classes: int) -> tuple[float, float]:
    """Return bytes a second of TDDS's update over N samples of `classes`, and of a copy of as many."""
    n = min(args.values // classes, 2_000_000)
    recorder = Recorder(n, classes, {"tdds": TDDS(window=10)}, missing="allow", device=args.device)
    source = torch.randn(n, classes, device=args.device)
    targets = torch.arange(n, device=args.device) % classes
    orders = [torch.randperm(n, device=args.device).split(8192) for _ in range(args.repeats + 1)]  # type: ignore[no-untyped-call]
    rows = [source[: len(ids)] for ids in orders[0]]

    def epoch() -> None:
        for ids, logits in zip(orders.pop(), rows, strict=True):
            recorder.update(logits, targets[ids], ids)
        recorder._place().settle(recorder._train_names, recorder.epoch)

    times = []
    for _ in range(args.repeats + 1):
        times.append(seconds(epoch, 1))
        recorder._place().start_epoch()  # what the scorers do with an epoch happens in main memory
    other = torch.empty_like(source)
    copy = seconds(lambda: other.copy_(source), args.repeats)
    return 3 * source.nbytes / median(times[1:]), 2 * source.nbytes / copy


def main() -> None:
    """Measure, report."""
    arguments = parser(__doc__)
    for name, default in (("samples", 50_000), ("block", 40), ("pairs", 31), ("repeats", 5), ("values", 400_000_000)):
        arguments.add_argument(f"--{name}", type=int, default=default)
    arguments.add_argument("--batches", type=int, nargs="+", default=[128, 1024])
    arguments.add_argument("--model", default="resnet18")
    arguments.add_argument("--device", default="cuda")
    args = arguments.parse_args()
    if args.quick:
        args.block, args.pairs, args.values = 10, 3, 40_000_000
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
        ["batch", "step", "signals", "step ms", "update ms", "quartiles of update ms", "end_epoch a step ms", "overhead %"],
        [
            [*key, ms["step"], ms["update"], f"{ms['low']:.3f} to {ms['high']:.3f}", ms["ending"], 100 * ms["share"]]
            for key, ms in found.items()
        ],
        sizes={"model": args.model, "N": args.samples, "C": CLASSES, "pairs": args.pairs, "block": args.block},
        targets=[
            Target(f"overhead of recording, batch {batch}, {step} step, {what}", ms["share"], "<=", 0.02)
            for (batch, step, what), ms in found.items()
        ],
        notes=[
            f"C = {classes}: TDDS's update moves {ours / 1e9:.0f} GB/s, a copy {copy / 1e9:.0f} GB/s ({ours / copy:.0%})"
            for classes, (ours, copy) in speed.items()
        ],
        raw={"overhead": {" ".join(map(str, key)): value for key, value in found.items()}, "bandwidths": speed},
    )  # fmt: skip


if __name__ == "__main__":
    main()
