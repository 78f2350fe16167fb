"""Scoring a folder of official TDDS dumps: `thresher score` against the official way, whole processes, imports included.

Both read the same files from the page cache, and their modules' bytecode as an installation has it. Memory is the peak
resident size of the process.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from _measure import Child, Target, alternate, finish, median, parser, python, run_child

OFFICIAL, OURS, EXACT, READING = "official way (torch)", "thresher score", "thresher score --exact", "reading only"


def measure(args: argparse.Namespace, folder: Path) -> dict[str, list[Child]]:
    """Make the dumps and run all sides in turn."""
    dumps = folder / "dumps"
    dumps.mkdir()
    run_child(python("_dumps.py", "make", dumps, args.samples, args.classes, args.epochs))
    score = [sys.executable, "-m", "thresher.cli", "score", str(dumps), "--method", "tdds"]
    score += ["--window", str(args.window), "--at", str(args.epochs), "--out"]
    commands = {
        OFFICIAL: python("_official_way.py", dumps, args.window, args.epochs, folder / "official.npy"),
        OURS: [*score, str(folder / "ours.parquet")],
        EXACT: [*score, str(folder / "exact.parquet"), "--exact"],
        READING: python("_dumps.py", "read", dumps, args.window, args.epochs),
    }
    for script in (commands[OURS], commands[OFFICIAL]):
        run_child(script)  # from here on everything is in the page cache, bytecode included
    return alternate({name: lambda c=command: run_child(c) for name, command in commands.items()}, args.rounds)  # type: ignore[misc]


def difference(folder: Path) -> tuple[float, float, bool]:
    """Return the largest relative difference of the scores, judged and plain, and whether --exact gave the same bits.

    Both sides round logarithms to float32, an absolute error of some 1e-7 whatever the score, so near 0 a quotient says
    nothing: judged is the difference relative to the score or to a twentieth of the median score, whichever is larger.
    """
    import numpy as np

    from thresher.score_table import read_scores

    official = np.load(folder / "official.npy").astype(np.float64)
    ours = read_scores(folder / "ours.parquet").columns["tdds"].values
    exact = read_scores(folder / "exact.parquet").columns["tdds"].values
    gap = np.abs(ours - official)
    judged = gap / np.maximum(np.abs(official), np.median(official) / 20)
    return float(judged.max()), float(np.max(gap / np.abs(official))), bool(np.array_equal(ours, exact))


def main() -> None:
    """Measure, compare, report."""
    arguments = parser(__doc__)
    for name, default in (("samples", 50_000), ("classes", 100), ("epochs", 30), ("window", 10), ("rounds", 5)):
        arguments.add_argument(f"--{name}", type=int, default=default)
    args = arguments.parse_args()
    if args.quick:
        args.samples, args.rounds = 5_000, 2
    with tempfile.TemporaryDirectory() as name:
        results = measure(args, Path(name))
        relative, plain, same = difference(Path(name))
    if not (relative < 1e-4 and same):
        sys.exit(f"The scores differ: by {relative:.2g} from the official way, or --exact changed them (same bits: {same}).")
    seconds = {side: median([child.seconds for child in found]) for side, found in results.items()}
    memory = {side: median([child.peak_bytes for child in found]) / 2**20 for side, found in results.items()}
    reads = [json.loads(child.output) for child in results[READING]]
    reading = median([found["seconds"] for found in reads])
    rows = [
        [side, seconds[side], seconds[OFFICIAL] / seconds[side], memory[side], memory[OFFICIAL] / memory[side]]
        for side in (OFFICIAL, OURS, EXACT)
    ]
    finish(
        "score_dumps",
        args,
        ["", "seconds", "times faster", "peak MiB", "times smaller"],
        rows,
        sizes={"N": args.samples, "C": args.classes, "T": args.epochs, "K": args.window, "rounds": args.rounds},
        targets=[
            Target("share of the official way's time", seconds[OURS] / seconds[OFFICIAL], "<=", 1 / 12),
            Target("share of the official way's memory", memory[OURS] / memory[OFFICIAL], "<=", 1 / 10),
        ],
        notes=[
            f"largest relative difference of the scores: {relative:.2g} (with scores near 0: {plain:.2g}); "
            "--exact gives the same bits",
            f"ours reads {reads[0]['epochs']} of {args.epochs} epochs; reading those bytes alone takes {reading:.3g} s, "
            f"{reading / seconds[OURS]:.0%} of it",
        ],
        raw={side: [[round(c.seconds, 4), c.peak_bytes] for c in found] for side, found in results.items()},
    )


if __name__ == "__main__":
    main()
