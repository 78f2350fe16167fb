"""The full boards' cells in the order in which they are wanted, on one GPU, as far as the time goes.

    cp -r docs/results/full-scale/results docs/results/full-scale/coresets DIR
    python recipes/full_scale.py --data-dir DATA --out DIR --limit-minutes 60 --jobs 8

What `thresher reproduce` runs target by target, here by how much a cell is wanted: `auto` with wrong labels, whose coresets
are there; CIFAR-100 and CIFAR-10 at keep 0.1 and 0.2, TDDS beside Random, every candidate (T, K) of CIFAR-100; `auto` on
clean data; label noise and corruption. Two lanes, each in this order: the trainings that need no recording run beside what
does, since one training alone does not fill a GPU. Results are `reproduce`'s own: the same command goes on from them, and
`thresher reproduce TARGET --precision bf16 --out DIR` writes the board.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from thresher.boards.cells import Cell, Filter
from thresher.boards.reproduce import Place, run_cells
from thresher.commands.options import pick_device
from thresher.commands.reproduce import Variant
from thresher.engines import engine_of
from thresher.experiments.pace import Pace

WANTED = [  # target, conditions, seeds; the scaled loss, if it is not the published one
    ("auto", "change=noise keep=0.1 method=auto", range(3)),
    ("auto", "change=noise keep=0.3,0.5 method=auto", range(1)),
    ("table6", "data=cifar100 keep=0.1 batch=32 method=random,tdds T=none", range(3)),
    ("table6", "data=cifar100 keep=0.1 batch=128 method=random,tdds", range(3)),  # Table 10's batch size
    (
        "table6",
        "data=cifar100 keep=0.1 batch=32 method=tdds T=none",
        range(3),
        "none",
    ),  # by samples or by loss?
    ("table6", "data=cifar10 keep=0.1 batch=32 method=random,tdds", range(3)),
    ("table6", "data=cifar100 keep=0.2 batch=64 method=random,tdds", range(3)),
    ("table6", "data=cifar10 keep=0.2 batch=64 method=random,tdds", range(3)),
    ("table6", "data=cifar100 T=10,20,30,60,70,90", range(1)),
    ("auto", "change=noise keep=0.1", range(3)),
    ("auto", "change=noise keep=0.3,0.5", range(3)),
    ("auto", "change=none keep=0.1 data=cifar100", range(3)),
    ("auto", "change=none keep=0.2 data=cifar100", range(3)),
    ("auto", "change=none keep=0.1 data=cifar10", range(3)),
    ("table10", "method=random,tdds,moderate", range(3)),
    ("table9", "method=random,tdds,moderate", range(3)),
    ("table6", "method=moderate batch=32,64", range(3)),
]


def wanted(only: set[str]) -> list[list[Cell]]:
    """Return the cells by wish, those of each first seed before its second."""
    found = []
    for target, conditions, seeds, *loss in WANTED:
        there = Variant("bf16", False, *loss).entries(target, "full")
        admits = Filter.parse(conditions, there).admits
        cells = [cell for seed in seeds for entry in there if admits(entry) for cell in entry.cells([seed])]
        found.append([cell for cell in cells if not only or cell.data in only])
    return [cells for cells in found if cells]


def shared_pace(device: str, jobs: int, limit_minutes: float | None) -> Pace:
    """Return the pace of two `run_cells` at once: so many trainings share a GPU, a recording with those of the other."""
    gpu = device.startswith("cuda")
    return Pace(device, None, limit_minutes, sharing=2 * jobs if gpu else 2, beside=jobs if gpu else 1)


def main() -> None:
    """Run wish after wish in either lane, until all is done or time is up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit-minutes", type=float)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--eval-every", type=int, default=0, help="measure the test set every so many epochs, too")
    parser.add_argument("--only", default="", help="data sets, with commas between; all of them without it")
    args = parser.parse_args()
    device, begun = pick_device(args.device), time.monotonic()
    place = Place(args.out, args.data_dir, device, args.jobs, None, engine_of(device), eval_every=args.eval_every)
    pace = shared_pace(device, args.jobs, args.limit_minutes)

    def tell(event: str, details: dict[str, Any]) -> None:
        keys = ("label", "epoch", "method", "keep", "seed", "test_accuracy", "seconds", "reason")
        if event in ("epoch", "result", "failure"):
            shown = " ".join(f"{details[key]}" for key in keys if key in details)
            print(f"{time.monotonic() - begun:7.1f} {event} {shown}", flush=True)

    wishes = wanted({name for name in args.only.split(",") if name})

    def lane(recorded: bool) -> None:
        for cells in wishes:
            outcome = run_cells([cell for cell in cells if cell.recorded is recorded], place, pace, tell)
            for cell, why in [*outcome.failed.items(), *outcome.left.items()]:
                print(f"not done: {cell.data} {cell.method} {cell.keep:g} seed {cell.seed}: {why}", flush=True)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lane, (False, True)))


if __name__ == "__main__":
    main()
