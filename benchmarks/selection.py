"""Selecting a tenth of many scores from a file: `thresher select` in bounded memory against NumPy on arrays in memory.

Whole processes, imports included, and two calls alone, on scores in memory, without reading a file or writing a coreset:
`np.partition`, which is what selection is measured against, and ours that finds the same cut. Files lie in the page cache.
Memory is the peak resident size of the process.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from _growth import Series, drawn
from _measure import Child, Target, alternate, finish, median, parser, python, run_child

MEMORY, OURS, BALANCED, CCS = "in memory (NumPy)", "thresher select", "thresher select, 100 classes", "thresher select, CCS"
PARTITION, CUT = "np.partition alone", "our cut alone, scores in memory"
CLASSES = 100
FAST = (
    "np.partition works with AVX-512 where the processor has it, a few times faster than without; reading the scores from "
    "their file then takes longer, in both ways"
)


def make(path: Path, n: int) -> None:
    """Write a score file of n normal scores, chunk by chunk."""
    import numpy as np

    from thresher.score_file import ScoreColumn
    from thresher.score_table import write_score_parts

    rng, size = np.random.default_rng(0), 1 << 20
    sizes = [min(size, n - first) for first in range(0, n, size)]
    parts = (({"tdds": rng.standard_normal(m, dtype=np.float32)}, rng.integers(CLASSES, size=m)) for m in sizes)
    write_score_parts(path, {"tdds": ScoreColumn("high", {"scorer": "tdds"})}, True, parts)


def in_memory(path: Path, out: Path) -> None:
    """Select with `np.partition` from the column in memory, and write the ids."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = pq.read_table(path, columns=["tdds"], memory_map=True).column("tdds").to_numpy()
    keep = -(-len(values) // 10)  # as `thresher select` rounds
    threshold = np.partition(values, len(values) - keep)[len(values) - keep]
    ids = np.flatnonzero(values >= threshold)
    pq.write_table(pa.table({"sample_id": ids}), out)


def calls(path: Path) -> None:
    """Find the cut in the same scores in memory by `np.partition` and by ours in turn; print the seconds of each call."""
    import time

    import numpy as np
    import pyarrow.parquet as pq

    from thresher.ranking.blocks import Block, InMemory
    from thresher.ranking.cut import first_of
    from thresher.ranking.groups import Everybody
    from thresher.ranking.order import Ranking
    from thresher.types import Pool, Scores

    values = pq.read_table(path, columns=["tdds"], memory_map=True).column("tdds").to_numpy()
    keep, samples = -(-len(values) // 10), InMemory(Scores(values), Pool(len(values)))
    seconds: dict[str, list[float]] = {PARTITION: [], CUT: []}
    for _ in range(3):
        started = time.perf_counter()
        threshold = np.partition(values, len(values) - keep)[len(values) - keep]
        between = time.perf_counter()
        cut = first_of(samples, Ranking("hardest"), Everybody(), np.array([keep]))
        seconds[CUT].append(time.perf_counter() - between)
        seconds[PARTITION].append(between - started)
        last = Block(0, np.array([threshold, np.nextafter(threshold, np.float32(-np.inf))]))
        if cut(last)[1] or not cut(Block(0, np.array([np.nextafter(threshold, np.float32(np.inf))])))[0]:
            sys.exit("The two calls cut elsewhere.")
    print(json.dumps(seconds))


def measure(args: argparse.Namespace, folder: Path, n: int) -> dict[str, list[Child]]:
    """Make the file and run all sides in turn."""
    scores = folder / "scores.parquet"
    run_child(python("selection.py", "--make", scores, "--samples", n))
    select = [sys.executable, "-m", "thresher.cli", "select", str(scores), "--keep", "0.1", "--data", "none"]
    commands = {
        MEMORY: python("selection.py", "--in-memory", scores, folder / "memory.parquet"),
        OURS: [*select, "--method", "tdds", "--out", str(folder / "ours.parquet")],
        BALANCED: [*select, "--method", "tdds:balanced=True", "--out", str(folder / "balanced.parquet")],
        CCS: [*select, "--method", "tdds:selector=stratified:cutoff=0.1", "--out", str(folder / "ccs.parquet")],
    }
    commands[CUT] = python("selection.py", "--calls", scores)
    return alternate({name: lambda c=command: run_child(c) for name, command in commands.items()}, args.rounds)  # type: ignore[misc]


def same(folder: Path, n: int) -> bool:
    """Return whether both ways kept the same samples, but for those that share the last score that is kept."""
    import numpy as np
    import pyarrow.parquet as pq

    ours, memory = (pq.read_table(folder / f"{name}.parquet").column("sample_id").to_numpy() for name in ("ours", "memory"))
    return len(ours) == -(-n // 10) and not len(np.setdiff1d(ours, memory)) and len(memory) - len(ours) < 1000


def main() -> None:
    """Measure, compare, report."""
    arguments = parser(__doc__)
    arguments.add_argument("--samples", type=int, default=10**8)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    arguments.add_argument("--in-memory", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments.add_argument("--calls", type=Path, help=argparse.SUPPRESS)
    args = arguments.parse_args()
    if args.make:
        return make(args.make, args.samples)
    if args.in_memory:
        return in_memory(*args.in_memory)
    if args.calls:
        return calls(args.calls)
    del args.make, args.in_memory, args.calls
    if args.quick:
        args.samples, args.rounds = 10**6, 1
    sizes = [args.samples // 1000, args.samples // 100, args.samples // 10, args.samples]
    rows, raw, ratios, clock = [], {}, {}, {}
    for n in sizes:
        with tempfile.TemporaryDirectory() as name:
            results = measure(args, Path(name), n)
            if not same(Path(name), n):
                sys.exit("The two ways kept different samples.")
        alone = [json.loads(child.output) for child in results.pop(CUT)]
        partition, cut = (median([one for found in alone for one in found[call]]) for call in (PARTITION, CUT))
        for side, found in results.items():
            seconds, peak = median([child.seconds for child in found]), median([child.peak_bytes for child in found])
            ratios[side, n] = seconds / partition, peak / 2**30
            clock[side, n] = seconds
            rows.append([f"{side}, N = {n:.0e}", seconds, seconds / partition, peak / 2**20])
        for call, seconds in ((CUT, cut), (PARTITION, partition)):
            clock[call, n] = seconds
            rows.append([f"{call}, N = {n:.0e}", seconds, seconds / partition, None])
        raw[f"{n}"] = {side: [[round(c.seconds, 4), c.peak_bytes] for c in found] for side, found in results.items()}
        raw[f"{n}"]["calls"] = alone
    sides = list(dict.fromkeys(side for side, _ in clock))
    series = [Series("clock", "s", "N", side, [(n, clock[side, n]) for n in sizes]) for side in sides]
    sides = [side for side in sides if side not in (CUT, PARTITION)]
    series += [Series("peak", "GiB", "N", side, [(n, ratios[side, n][1]) for n in sizes]) for side in sides]
    slowdown, peak = ratios[OURS, args.samples]
    finish(
        "selection", args, ["", "seconds", "times np.partition", "peak MiB"], rows,
        sizes={"N": args.samples, "keep": 0.1, "classes": CLASSES, "rounds": args.rounds},
        targets=[
            Target("times np.partition, the cut alone, scores in memory", clock[CUT, n] / partition, "<=", 3.0),
            Target("times np.partition alone, whole process", slowdown, "<=", 3.0),
            Target("times the in-memory way, both whole processes", clock[OURS, n] / clock[MEMORY, n], "<=", 3.0),
            Target("peak GiB", peak, "<=", 1.0),
        ],
        notes=[
            "both ways keep the same samples; of those with the very last score that is kept, ours keeps as many as fit",
            FAST,
            *(one.note() for one in series),
        ],
        raw={"growth": drawn(series), **raw},
    )  # fmt: skip


if __name__ == "__main__":
    main()
