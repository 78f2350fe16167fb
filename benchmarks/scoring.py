"""Scoring a store against its size: samples, epochs, and workers on one machine. Whole `thresher score` processes.

Every store holds the signals that the methods read, as random values, and all are scored with `--exact`, so that every epoch
is read. What several workers gain is judged on the largest store, against one, with the engine that `thresher score` takes
by itself for so many; there it is also measured what more workers than cores do, and how much more than one the cores
themselves do: as many processes that score alone, side by side.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from _growth import Series, drawn
from _measure import Child, Target, alternate, finish, median, parser, python, run_child

SEVERAL = (1, 2, 3, 4)  # workers on the largest store
METHODS, CLASSES = "tdds,dyn_unc,el2n,forgetting,aum,dual", 1000


def write_store(folder: Path, n: int, epochs: int) -> None:
    """Write a store of random signals."""
    import numpy as np

    from thresher.registry import make_scorer
    from thresher.replay import Request
    from thresher.trajectory.writer import TrajectoryWriter
    from thresher.types import Frame

    requests = [Request(name, make_scorer(name, {})) for name in METHODS.split(",")]
    names = sorted({signal for request in requests for signal in request.scorer.needs})
    rng, ids = np.random.default_rng(0), np.arange(n)
    with TrajectoryWriter.create(folder, n, CLASSES, names) as store:
        for epoch in range(epochs):
            values = {name: rng.random(n, dtype=np.float32) for name in names}
            values["correct"] = np.round(values["correct"])
            if epoch == 0:  # there is no earlier prediction to change from
                values["change"].fill(np.nan)
            store.append(Frame(epoch, ids, values, n), targets=rng.integers(CLASSES, size=n) if epoch == 0 else None)


def side_by_side(folder: Path, count: int) -> Child:
    """Run as many processes at once as there are workers, each of which scores the whole store alone; return the slowest."""
    with ThreadPoolExecutor(count) as pool:
        commands = [python("scoring.py", "--score", folder / "store", folder / f"apart-{k}.parquet") for k in range(count)]
        return max(pool.map(lambda command: run_child([*command, "--workers", "1"]), commands), key=lambda one: one.seconds)


def measure(folder: Path, n: int, epochs: int, workers: list[int], rounds: int, apart: int) -> dict[int, list[Child]]:
    """Make a store and score it with every number of workers in turn; 0 stands for `apart` processes at once, if any."""
    run_child(python("scoring.py", "--make", folder / "store", "--samples", n, "--epochs", epochs))
    runs = {}
    for count in workers:
        command = python("scoring.py", "--score", folder / "store", folder / f"{count}.parquet", "--workers", count)
        runs[str(count)] = lambda c=command: run_child(c)
    if apart:
        runs["0"] = lambda: side_by_side(folder, apart)
    found = {int(count): children for count, children in alternate(runs, rounds).items()}  # type: ignore[arg-type]
    contents = {(folder / f"{count}.parquet").read_bytes() for count in workers}
    if len(contents) != 1:
        sys.exit("Different numbers of workers gave different score files.")
    return found


def score(store: Path, out: Path, workers: int) -> None:
    """Run `thresher score` in this process, and print the processor seconds of it and its workers."""
    import resource

    from thresher.cli import main as command_line

    sys.argv = ["thresher", "score", str(store), "--method", METHODS, "--exact", "--out", str(out)]
    sys.argv += ["--workers", str(workers)] if workers > 1 else ["--engine", "serial"]
    try:
        command_line()
    except SystemExit as end:
        if end.code:
            raise
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps(sum(used.ru_utime + used.ru_stime for used in spent)))


def processor(child: Child) -> float:
    """Return the processor seconds of a process and its workers."""
    return float(json.loads(child.output.splitlines()[-1]))


def main() -> None:
    """Measure, compare, report."""
    arguments = parser(__doc__)
    arguments.add_argument("--samples", type=int, default=1_281_167)
    arguments.add_argument("--epochs", type=int, default=90)
    arguments.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--make", type=Path)
    arguments.add_argument("--score", type=Path, nargs=2)
    args = arguments.parse_args()
    if args.make:
        return write_store(args.make, args.samples, args.epochs)
    if args.score:
        return score(*args.score, args.workers)
    del args.make, args.score
    if args.quick:
        args.samples, args.epochs, args.rounds = 100_000, 60, 1
    sizes = [(args.samples // part, args.epochs) for part in (64, 16, 4, 1)]
    sizes += [(args.samples // 4, args.epochs // part) for part in (2, 3, 6)]
    rows, raw, speedups, spent, clock, cores = [], {}, [], {}, {}, 0.0
    for n, epochs in sorted(sizes, key=lambda size: size[0] * size[1]):
        with tempfile.TemporaryDirectory() as name:
            largest_one = n == args.samples
            counts = {1, args.workers, *(SEVERAL if largest_one else ())}
            apart = args.workers if largest_one else 0
            found = measure(Path(name), n, epochs, sorted(counts), args.rounds, apart)
        pairs = [one.seconds / other.seconds for one, other in zip(found[1], found[args.workers], strict=True)]
        alone, several = (median([child.seconds for child in found[count]]) for count in (1, args.workers))
        peak = median([child.peak_bytes for child in found[1]]) / 2**20
        busy = spent[n, epochs] = median([processor(child) for child in found[1]])
        clock[n, epochs] = {k: median([c.seconds for c in found[k]]) for k in sorted(found) if k}
        if largest_one:
            cores = median([args.workers * a.seconds / b.seconds for a, b in zip(found[1], found[0], strict=True)])
        speedups.append((n * epochs, median(pairs)))
        rows.append([f"N = {n}, T = {epochs}", alone, several, median(pairs), busy, 1e9 * busy / (n * epochs), peak])
        raw[f"{n} x {epochs}"] = {count: [[round(c.seconds, 4), c.peak_bytes] for c in found[count]] for count in found}
    largest = clock[args.samples, args.epochs]
    by_n, by_t = (sorted(place for place in spent if place[axis] == sizes[2][axis]) for axis in (1, 0))
    series = [
        Series("processor time", "s", "N", f"T = {args.epochs}", [(n, spent[n, t]) for n, t in by_n]),
        Series("processor time", "s", "T", f"N = {args.samples // 4}", [(t, spent[n, t]) for n, t in by_t]),
        Series("clock, 1 worker", "s", "N", f"T = {args.epochs}", [(n, clock[n, t][1]) for n, t in by_n]),
        Series("clock", "s", "W", f"N = {args.samples}, T = {args.epochs}", list(largest.items())),
    ]
    header = ["", "1 worker s", f"{args.workers} workers s", "times faster", "1 worker processor s"]
    header += ["processor ns a sample and epoch", "peak MiB, 1 worker"]
    finish(
        "scoring", args, header, rows,
        sizes={"methods": METHODS, "workers": args.workers, "rounds": args.rounds},
        targets=[
            Target(f"times faster with {args.workers} workers, largest store", max(speedups)[1], ">=", 1.7),
        ],
        notes=[
            "every number of workers gives the same file, byte for byte",
            "times faster is the median of the rounds' ratios, each of two runs side by side in time",
            *(one.note() for one in series[:-1]),
            "clock of the largest store: " + ", ".join(f"{count} workers {s:.3g} s" for count, s in largest.items()),
            f"what the cores give: {args.workers} processes at once that score the largest store alone do {cores:.3g} times "
            "the work of one (median of the rounds)",
            f"{os.cpu_count()} cores, load average before the end {os.getloadavg()[0]:.2g}: other work on the machine "
            "takes from several workers more than from one",
        ],
        raw={"growth": drawn(series), **raw},
    )  # fmt: skip


if __name__ == "__main__":
    main()
