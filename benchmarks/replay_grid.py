"""Scores for a grid of trajectory lengths and windows: one `replay` of the whole grid against one `replay` per cell.

The store holds every signal of a recording (those of the evaluation pass in the last epoch, as `thresher record` writes
them) with random values. Opening the store is part of every measurement.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from _measure import Target, alternate, finish, median, parser, timed

from thresher.experiments.recording import RECORDED
from thresher.replay import grid_requests, open_source, replay
from thresher.signals import EVAL_PREFIX
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Floats, Frame

WINDOWS = (3, 5, 10, 15, 20)
LENGTHS = 10
CLASSES = 100


def write_store(folder: Path, n: int, epochs: int) -> None:
    """Write a store of random signals."""
    rng = np.random.default_rng(0)
    ids = np.arange(n)
    with TrajectoryWriter.create(folder, n, CLASSES, RECORDED) as store:
        for epoch in range(epochs):
            names = [s for s in RECORDED if epoch == epochs - 1 or not s.startswith(EVAL_PREFIX)]
            values = {name: rng.random(n, dtype=np.float32) for name in names}
            if epoch == 0:  # there is no earlier prediction to change from
                values["change"].fill(np.nan)
                values["signed_change"].fill(np.nan)
            targets = rng.integers(0, CLASSES, n) if epoch == 0 else None
            store.append(Frame(epoch, ids, values, n), targets=targets)


def whole_grid(folder: Path, ats: list[int]) -> dict[str, Floats]:
    """Score all cells in one pass."""
    found = replay(open_source(folder), grid_requests("tdds", WINDOWS, ats, {}))
    return {column: scores.values for column, scores in found.items()}


def cell_by_cell(folder: Path, ats: list[int]) -> dict[str, Floats]:
    """Score every cell in a pass of its own."""
    result = {}
    for request in grid_requests("tdds", WINDOWS, ats, {}):
        result[request.column] = replay(open_source(folder), [request])[request.column].values
    return result


def main() -> None:
    """Measure, compare, report."""
    arguments = parser(__doc__)
    for name, default in (("samples", 50_000), ("epochs", 200), ("rounds", 5)):
        arguments.add_argument(f"--{name}", type=int, default=default)
    args = arguments.parse_args()
    if args.quick:
        args.samples, args.epochs, args.rounds = 2_000, 200, 2
    ats = [args.epochs * (i + 1) // LENGTHS for i in range(LENGTHS)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "trajectory"
        writing = timed(lambda: write_store(folder, args.samples, args.epochs))
        size = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
        first, second = whole_grid(folder, ats), cell_by_cell(folder, ats)
        if any(not np.array_equal(values, second[column], equal_nan=True) for column, values in first.items()):
            raise SystemExit("The two ways gave different scores.")
        runs = {"cell by cell": lambda: timed(lambda: cell_by_cell(folder, ats))}
        runs["whole grid at once"] = lambda: timed(lambda: whole_grid(folder, ats))
        results = alternate(runs, args.rounds)
    seconds = {side: median(found) for side, found in results.items()}
    cells = len(ats) * len(WINDOWS)
    finish(
        "replay_grid",
        args,
        ["", "seconds", "times faster", "ms a cell"],
        [[side, value, seconds["cell by cell"] / value, 1000 * value / cells] for side, value in seconds.items()],
        sizes={"N": args.samples, "epochs": args.epochs, "T": str(ats), "K": str(list(WINDOWS)), "rounds": args.rounds},
        targets=[Target("seconds for the whole grid", seconds["whole grid at once"], "<=", 2.0)],
        notes=[
            f"{cells} cells; both ways give the same bits",
            f"the store: {size / 2**20:.0f} MiB, written and synced in {writing:.3g} s "
            f"({1000 * writing / args.epochs:.3g} ms an epoch)",
        ],
        raw=results,
    )


if __name__ == "__main__":
    main()
