"""Several coreset trainings at once against one after another, on one machine or one GPU, start of the processes included.

    python benchmarks/packing.py --data cifar10 --data-dir DIR --model resnet18 --device cuda --at-once 4 8 --trainings 8 \
        --engines turns threads
    python benchmarks/packing.py                     digits on the CPU, one single-threaded training per core

Both sides run the same trainings (random coresets, seeds 0, 1, ...). Each training has the threads that are left for it, and
sums in another order with more of them: how far accuracies differ is told.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from _measure import Target, alternate, finish, median, parser

from thresher.coreset import Coreset
from thresher.data import load
from thresher.engines import engine_of
from thresher.experiments.job import Job
from thresher.experiments.jobs import run_jobs
from thresher.train.spec import TrainSpec


def options() -> argparse.Namespace:
    """Read the command line."""
    arguments = parser(__doc__)
    for name, default in (("trainings", 4), ("epochs", 30), ("batch", 32), ("rounds", 3)):
        arguments.add_argument(f"--{name}", type=int, default=default)
    arguments.add_argument("--at-once", type=int, nargs="+", default=[os.cpu_count() or 1])
    arguments.add_argument("--keep", type=float, default=0.5)
    for name, text in (("data", "digits"), ("model", "tiny"), ("device", "cpu"), ("precision", "fp32")):
        arguments.add_argument(f"--{name}", default=text)
    arguments.add_argument("--data-dir")
    arguments.add_argument("--engines", nargs="+", help="in which way at once, the first being judged; default: the usual")
    args = arguments.parse_args()
    if args.quick:
        args.trainings, args.epochs, args.rounds = 2, 2, 1
    return args


def planned(args: argparse.Namespace, folder: Path) -> list[Job]:
    """Write a random coreset per seed and return its training."""
    data = load(args.data, Path(args.data_dir) if args.data_dir else None)
    n = len(data.train)
    spec = TrainSpec(args.model, epochs=args.epochs, batch_size=args.batch, lr=0.05, precision=args.precision).to_json()
    jobs = []
    for seed in range(args.trainings):
        ids = np.sort(np.random.default_rng(seed).choice(n, round(args.keep * n), replace=False))
        kept, path = Coreset(ids, None, n, {"fingerprint": data.fingerprint}), folder / f"{seed}.parquet"
        kept.save(path)
        place = (str(path), kept.digest)
        jobs.append(Job("random", args.keep, len(ids), args.data, args.data_dir, data.fingerprint, spec, seed, *place))
    return jobs


def run(jobs: Sequence[Job], processes: int, device: str, engine: str | None = None) -> tuple[float, list[float]]:
    """Run all jobs anew; return the seconds and the accuracies."""
    threads = max(1, (os.cpu_count() or 1) // processes)
    with tempfile.TemporaryDirectory() as results:
        started = time.perf_counter()
        found = run_jobs(jobs, Path(results), device=device, processes=processes, threads=threads, engine=engine)
        return time.perf_counter() - started, [result["test_accuracy"] for result in found]


def main() -> None:
    """Measure, compare, report."""
    args = options()
    gpu = args.device.startswith("cuda")
    engines = args.engines or [engine_of(args.device)]
    single, packed = "one after another", {
        f"{number} at once, {engine}": (number, engine) for engine in engines for number in args.at_once
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        jobs = planned(args, Path(folder))
        ways = {single: partial(run, jobs, 1, args.device)}
        ways |= {way: partial(run, jobs, number, args.device, engine) for way, (number, engine) in packed.items()}
        if gpu:
            run(jobs[:1], 1, args.device)  # warm-up: the first training of a process starts the device
        results = alternate(ways, args.rounds)
    seconds = {side: median([spent for spent, _ in found]) for side, found in results.items()}
    pairs = [(one, other) for way in packed for one, other in zip(results[single][0][1], results[way][0][1], strict=True)]
    spread = max(abs(one - other) for one, other in pairs)
    best = min(seconds[way] for way, (_, engine) in packed.items() if engine == engines[0])
    finish(
        "packing",
        args,
        ["", "seconds", "trainings an hour", "times faster"],
        [[side, value, 3600 * args.trainings / value, seconds[single] / value] for side, value in seconds.items()],
        sizes={
            "data": args.data, "model": args.model, "trainings": args.trainings, "kept": jobs[0].kept,
            "batch": args.batch, "epochs": args.epochs, "device": args.device, "rounds": args.rounds,
        },
        targets=[Target("times one at a time", seconds[single] / best, ">=", 2.0)] if gpu else [],
        notes=[f"largest difference in accuracy between the ways: {100 * spread:.2f} points (thread counts differ)"],
        raw=results,
    )  # fmt: skip


if __name__ == "__main__":
    main()
