"""How many more steps a GPU takes where several trainings' captured steps are launched in turn by one thread.

It is what the engine `turns` can reach at most: nothing but steps, of networks of their own, each on a stream of its own,
on batches that are there. Between them nothing is read, evaluated or written.

    python benchmarks/gpu_streams.py --batches 32 128 --streams 1 2 4 8
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from _measure import Target, alternate, finish, median, parser

from thresher.models import build
from thresher.train.spec import TrainSpec, build_optimizer
from thresher.train.step import make_step

CLASSES = 100
Training = Callable[[], None]


def training(model: str, batch: int, device: torch.device) -> Training:
    """Return a function that launches one step of a network of its own, captured by now."""
    stream, spec = torch.cuda.Stream(device), TrainSpec(model, batch_size=batch, precision="bf16")  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        net = build(model, CLASSES, 3, seed=0).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        step = make_step(net, build_optimizer(spec, net), spec, device)
        step.set_lr(0.01)
        images = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
        ids = torch.arange(batch, device=device)
        labels = ids % CLASSES

    def launch() -> None:
        with torch.cuda.stream(stream):
            step(images, labels, ids)

    for _ in range(5):
        launch()
    return launch


def rate(trainings: list[Training], steps: int) -> float:
    """Return the steps a second, of all trainings together."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(steps):
        for launch in trainings:
            launch()
    torch.cuda.synchronize()
    return steps * len(trainings) / (time.perf_counter() - started)


def main() -> None:
    """Measure, report."""
    arguments = parser(__doc__)
    for name, default in (("steps", 60), ("rounds", 3)):
        arguments.add_argument(f"--{name}", type=int, default=default)
    for name, several in (("batches", [32, 128]), ("streams", [1, 2, 4, 8])):
        arguments.add_argument(f"--{name}", type=int, nargs="+", default=several)
    arguments.add_argument("--model", default="resnet18")
    arguments.add_argument("--device", default="cuda")
    args: argparse.Namespace = arguments.parse_args()
    if args.quick:
        args.steps, args.rounds, args.streams = 5, 1, [1, 2]
    torch.backends.cudnn.benchmark = True  # as in `fit`
    device, rates = torch.device(args.device), dict[str, list[float]]()
    kinds = {f"batch {batch}, {count} streams": (batch, count) for batch in args.batches for count in args.streams}
    for batch in args.batches:
        trainings = [training(args.model, batch, device) for _ in range(max(args.streams))]
        ways = {way: partial(rate, trainings[:count], args.steps) for way, (size, count) in kinds.items() if size == batch}
        rates |= alternate(ways, args.rounds)
        del trainings, ways
    speed = {kinds[way]: median(found) for way, found in rates.items()}
    faster = {(batch, count): value / speed[batch, min(args.streams)] for (batch, count), value in speed.items()}
    finish(
        "gpu_streams",
        args,
        ["batch", "streams", "steps a second", "times faster"],
        [[*kind, value, faster[kind]] for kind, value in speed.items()],
        sizes={"model": args.model, "steps": args.steps, "rounds": args.rounds, "device": args.device},
        targets=[Target("times one stream, smallest batch", max(v for (b, _), v in faster.items() if b == min(args.batches)),
                        ">=", 2.0)],
        raw=rates,
    )  # fmt: skip


if __name__ == "__main__":
    main()
