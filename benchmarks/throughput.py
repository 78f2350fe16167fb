"""Training throughput: the house's loop (`fit`) against a plain PyTorch loop with a worker loader, same network and batch.

The plain loop is the usual one: PIL crop and flip, tensor and normalisation per image in worker processes, float32, NCHW,
a metric read every step; on a GPU cuDNN looks for its fastest kernels, as in the official code. The house's keeps the
images on the training device as uint8, crops and flips whole batches there, and runs channels-last with bfloat16 autocast,
on a GPU as a CUDA graph. Both are timed over whole epochs after a first one, in which workers start, kernels are chosen and
graphs are captured.

    python benchmarks/throughput.py --data-dir DIR        real CIFAR-10; without it random images of the same shape
    python benchmarks/throughput.py --device cuda --steps 390 --workers 2 8 --compile
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _measure import Target, alternate, finish, median, parser, timed
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from thresher.data import Data, load
from thresher.data.base import ArraySplit
from thresher.models import build
from thresher.train.loop import fit
from thresher.train.spec import TrainSpec

MEAN, STD = (0.4914, 0.4824, 0.4467), (0.2471, 0.2436, 0.2616)


class Pictures(Dataset[tuple[Tensor, int]]):
    """What a plain loop reads: one picture at a time, flipped, cropped and normalised by itself."""

    def __init__(self, data: Data) -> None:
        assert isinstance(data.train, ArraySplit)
        self.images = data.train.images.permute(0, 2, 3, 1).numpy()
        self.targets = data.train.targets
        self.mean, self.std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture = Image.fromarray(self.images[index])
        if torch.rand(()) < 0.5:
            picture = ImageOps.mirror(picture)
        left, top = torch.randint(0, 9, (2,)).tolist()
        picture = ImageOps.expand(picture, 4).crop((left, top, left + 32, top + 32))
        pixels = torch.from_numpy(np.array(picture).transpose(2, 0, 1)).float().div(255)
        return (pixels - self.mean) / self.std, int(self.targets[index])


def plain_loop(data: Data, model: str, batch: int, workers: int, device: torch.device) -> Callable[[], None]:
    """Return a function that trains one epoch; its worker processes are running already."""
    loader = DataLoader(
        Pictures(data), batch, shuffle=True, num_workers=workers, persistent_workers=True, pin_memory=device.type == "cuda"
    )
    net = build(model, data.num_classes, data.channels, seed=0).to(device)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, 0.9, weight_decay=5e-4, nesterov=True)
    next(iter(loader))  # starts the workers

    def epoch() -> None:
        net.train()
        total = 0.0
        for images, targets in loader:
            images, targets = images.to(device, non_blocking=True), targets.to(device, non_blocking=True)
            loss = F.cross_entropy(net(images), targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item()

    epoch()
    return epoch


def house_loop(data: Data, spec: TrainSpec, device: torch.device, epochs: int, graphs: bool = True) -> Callable[[], float]:
    """Return a function that trains and returns the mean seconds of an epoch after the first."""

    def run() -> float:
        ends: list[float] = []
        fit(
            data, replace(spec, epochs=epochs + 2), 0, device=device, graphs=graphs, until=epochs + 1,
            on_epoch=lambda progress: ends.append(time.perf_counter()),
        )  # fmt: skip
        return (ends[-1] - ends[0]) / epochs

    return run


def real_or_random(args: argparse.Namespace) -> Data:
    """Return CIFAR-10, or random images of its shape, cut to the number of steps, with a test set of one batch."""
    count = args.steps * args.batch
    if args.data_dir is not None:
        whole = load("cifar10", args.data_dir)
        assert isinstance(whole.train, ArraySplit)
        images, targets = whole.train.images[:count], whole.train.targets[:count]
    else:
        source = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=source)
        targets = np.arange(count) % 10
    few = ArraySplit(images[:10], targets[:10])
    names = tuple(map(str, range(10)))
    return Data("cifar10", ArraySplit(images, targets), few, names, MEAN, STD, "crop_flip", 32, 3)


def main() -> None:
    """Measure, report."""
    arguments = parser(__doc__)
    for name, default in (("steps", 8), ("batch", 128), ("rounds", 3), ("threads", 2), ("epochs", 1)):
        arguments.add_argument(f"--{name}", type=int, default=default)
    arguments.add_argument("--workers", type=int, nargs="+", default=[2], help="of the plain loop, which is run with each")
    arguments.add_argument("--model", default="resnet18")
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--data-dir", type=Path)
    arguments.add_argument("--compile", action="store_true", help="the house's loop in bf16 with and without torch.compile")
    args = arguments.parse_args()
    if args.quick:
        args.steps, args.batch, args.rounds, args.model = 4, 32, 2, "small"
    torch.set_num_threads(args.threads)
    device, data = torch.device(args.device), real_or_random(args)

    def ours(graphs: bool = True, **changes: object) -> Callable[[], float]:
        spec = TrainSpec(args.model, epochs=1, batch_size=args.batch, **changes)  # type: ignore[arg-type]
        return house_loop(data, spec, device, args.epochs, graphs)

    gpu = device.type == "cuda"
    torch.backends.cudnn.benchmark = gpu  # for the plain loop; ours sets it itself
    plain_loops = {
        f"plain loop, fp32 NCHW, {workers} workers": plain_loop(data, args.model, args.batch, workers, device)
        for workers in args.workers
    }
    runs = {
        **{side: partial(timed, epoch) for side, epoch in plain_loops.items()},
        **({} if args.compile else {"ours, fp32": ours()}),
        **({"ours, bf16, no graphs": ours(False, precision="bf16")} if gpu and not args.compile else {}),
        "ours, bf16": ours(precision="bf16"),
        **({"ours, bf16, compiled": ours(precision="bf16", compile=True)} if args.compile else {}),
    }
    if not gpu:  # there the first epoch, which is not timed, does as much
        for run in runs.values():
            run()  # warm-up: kernels, allocator, compilation
    results = alternate(runs, args.rounds)
    images = args.steps * args.batch
    speed = {side: images / median(found) for side, found in results.items()}
    plain = max(speed[side] for side in plain_loops)
    best = max(value for side, value in speed.items() if "bf16" in side)
    finish(
        "throughput",
        args,
        ["", "images a second", "times faster"],
        [[side, value, value / plain] for side, value in speed.items()],
        sizes={
            "model": args.model, "batch": args.batch, "steps": args.steps, "rounds": args.rounds, "device": args.device,
            "threads": args.threads, "workers": " and ".join(map(str, args.workers)), "epochs": args.epochs,
            "images": "CIFAR-10" if args.data_dir else "random",
        },
        targets=[Target("times the faster plain loop's images a second", best / plain, ">=", 5 if gpu else 2)],
        raw={side: [round(value, 4) for value in found] for side, found in results.items()},
    )  # fmt: skip


if __name__ == "__main__":
    main()
