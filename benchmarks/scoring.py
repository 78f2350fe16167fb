"""Scoring a store against its size: samples, epochs, and workers on one machine. Whole `thresher score` processes.

Every store holds the signals that TDDS, Dyn-Unc, EL2N and Forgetting read, as random values, and all four are scored with
`--exact`, so that every epoch is read. What several workers gain is judged on the largest store, against one.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from _measure import Child, Target, alternate, finish, median, parser, python, run_child

METHODS, CLASSES = "tdds,dyn_unc,el2n,forgetting", 1000


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


def measure(folder: Path, n: int, epochs: int, workers: list[int], rounds: int) -> dict[int, list[Child]]:
    """Make a store and score it with every number of workers in turn."""
    run_child(python("scoring.py", "--make", folder / "store", "--samples", n, "--epochs", epochs))
    runs = {}
    for count in workers:
        command = [sys.executable, "-m", "thresher.cli", "score", str(folder / "store"), "--method", METHODS, "--exact"]
        command += ["--out", str(folder / f"{count}.parquet"), "--workers", str(count)]
        command += ["--engine", "processes" if count > 1 else "serial"]
        runs[str(count)] = lambda c=command: run_child(c)
    found = {int(count): children for count, children in alternate(runs, rounds).items()}  # type: ignore[arg-type]
    contents = {(folder / f"{count}.parquet").read_bytes() for count in workers}
    if len(contents) != 1:
        sys.exit("Different numbers of workers gave different score files.")
    return found


def main() -> None:
    """Measure, compare, report."""
    arguments = parser(__doc__)
    arguments.add_argument("--samples", type=int, default=1_281_167)
    arguments.add_argument("--epochs", type=int, default=90)
    arguments.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--make", type=Path)
    args = arguments.parse_args()
    if args.make:
        return write_store(args.make, args.samples, args.epochs)
    del args.make
    if args.quick:
        args.samples, args.epochs, args.rounds = 200_000, 30, 1
    sizes = [(args.samples // part, args.epochs) for part in (64, 16, 4, 1)]
    sizes += [(args.samples // 4, args.epochs // part) for part in (2, 3)]
    rows, raw, speedups = [], {}, []
    for n, epochs in sorted(sizes, key=lambda size: size[0] * size[1]):
        with tempfile.TemporaryDirectory() as name:
            found = measure(Path(name), n, epochs, [1, args.workers], args.rounds)
        pairs = [one.seconds / other.seconds for one, other in zip(found[1], found[args.workers], strict=True)]
        alone, several = (median([child.seconds for child in found[count]]) for count in (1, args.workers))
        peak = median([child.peak_bytes for child in found[1]]) / 2**20
        speedups.append((n * epochs, median(pairs)))
        rows.append([f"N = {n}, T = {epochs}", alone, several, median(pairs), 1e9 * alone / (n * epochs), peak])
        raw[f"{n} x {epochs}"] = {count: [[round(c.seconds, 4), c.peak_bytes] for c in found[count]] for count in found}
    header = ["", "1 worker s", f"{args.workers} workers s", "times faster", "ns a sample and epoch", "peak MiB, 1 worker"]
    finish(
        "scoring", args, header, rows,
        sizes={"methods": METHODS, "workers": args.workers, "rounds": args.rounds},
        targets=[Target(f"times faster with {args.workers} workers, largest store", max(speedups)[1], ">=", 1.7)],
        notes=[
            "every number of workers gives the same file, byte for byte",
            "times faster is the median of the rounds' ratios, each of two runs side by side in time",
            f"{os.cpu_count()} cores, load average before the end {os.getloadavg()[0]:.2g}: other work on the machine "
            "takes from several workers more than from one",
        ],
        raw=raw,
    )  # fmt: skip


if __name__ == "__main__":
    main()
