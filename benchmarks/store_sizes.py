"""A trajectory store's size and the time to write it, against samples and epochs, beside a plain file of as many bytes.

    python benchmarks/store_sizes.py                 all sizes, each in a process of its own
    python benchmarks/store_sizes.py side N T FOLDER one of them: N samples, T epochs

The signals of a training pass, random values, the same every epoch (nothing is compressed). Both ways are synced: a store
after every file, the plain file after every epoch.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from _growth import Series, drawn
from _measure import Target, alternate, finish, median, parser, python, run_child

SIGNALS = ("change", "correct", "entropy", "error_norm", "logit_margin", "loss", "prob_margin", "target_prob")


def write(n: int, epochs: int, folder: Path) -> dict[str, float]:
    """Write both; return seconds and bytes of each."""
    import numpy as np

    from thresher.trajectory.writer import TrajectoryWriter
    from thresher.types import Frame

    rng, ids = np.random.default_rng(0), np.arange(n)
    values = {name: rng.random(n, dtype=np.float32) for name in SIGNALS}
    values["correct"].round(out=values["correct"])
    targets = rng.integers(10, size=n)
    started = time.perf_counter()
    with TrajectoryWriter.create(folder / "store", n, 10, SIGNALS) as store:
        for epoch in range(epochs):
            store.append(Frame(epoch, ids, values, n), targets=targets if epoch == 0 else None)
    seconds = time.perf_counter() - started
    files = [path for path in (folder / "store").rglob("*") if path.is_file()]
    size, manifest = sum(path.stat().st_size for path in files), (folder / "store" / "manifest.json").stat().st_size
    shutil.rmtree(folder / "store")
    started = time.perf_counter()
    with (folder / "plain").open("wb") as file:
        for _ in range(epochs):
            for column in values.values():
                file.write(column.data)
            file.flush()
            os.fsync(file.fileno())
    plain = time.perf_counter() - started
    return {"seconds": seconds, "bytes": size, "files": len(files), "manifest": manifest, "plain": plain}


def main() -> None:
    """Measure, fit, report."""
    if sys.argv[1:2] == ["side"]:
        print(json.dumps(write(int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))))
        return
    arguments = parser(__doc__)
    arguments.add_argument("--samples", type=int, default=10**7)
    arguments.add_argument("--epochs", type=int, default=32)
    arguments.add_argument("--rounds", type=int, default=3)
    args = arguments.parse_args()
    if args.quick:
        args.samples, args.epochs, args.rounds = 10**5, 8, 1
    wide = [(args.samples // part, max(1, args.epochs // 8)) for part in (1000, 100, 10, 1)]
    long = [(args.samples // 10, max(1, args.epochs // part)) for part in (8, 4, 2, 1)]

    def one(n: int, epochs: int) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            return json.loads(run_child(python("store_sizes.py", "side", n, epochs, folder)).output)  # type: ignore[no-any-return]

    sizes = list(dict.fromkeys([*wide, *long]))
    told = alternate({f"{n} x {t}": lambda n=n, t=t: one(n, t) for n, t in sizes}, args.rounds)  # type: ignore[misc]
    found, rows = {}, []
    for (n, epochs), runs in zip(sizes, told.values(), strict=True):
        seconds, plain = (median([run[side] for run in runs]) for side in ("seconds", "plain"))
        size = runs[0]["bytes"]
        numbers = 4 * len(SIGNALS) * n * epochs
        if size < numbers:
            sys.exit(f"The store of {n} samples and {epochs} epochs has {size} bytes for {numbers} of numbers.")
        found[n, epochs] = size / 1e9, seconds
        row = [f"N = {n:_}, T = {epochs}".replace("_", " "), size / 1e6, size / numbers, seconds, size / seconds / 1e6]
        rows.append([*row, numbers / plain / 1e6, int(runs[0]["files"]), runs[0]["manifest"] / 1e3])
    lines = [("N", f"T = {wide[0][1]}", 0, wide), ("T", f"N = {long[0][0]}", 1, long)]
    series = [
        Series(cost, unit, size, line, [(place[axis], found[place][which]) for place in places])
        for size, line, axis, places in lines
        for which, cost, unit in ((0, "store", "GB"), (1, "writing", "s"))
    ]
    largest = found[wide[-1]][0] * 1e9 / (4 * len(SIGNALS) * wide[-1][0] * wide[-1][1])
    header = ["", "store MB", "times the bytes of the numbers", "seconds", "MB/s", "MB/s, plain file", "files"]
    finish(
        "store_sizes", args, [*header, "manifest kB"], rows,
        sizes={"signals": len(SIGNALS), "rounds": args.rounds},
        targets=[Target("times the bytes of its numbers, largest store", largest, "<=", 1.1)],
        notes=[one.note() for one in series],
        raw={"growth": drawn(series), **told},
    )  # fmt: skip


if __name__ == "__main__":
    main()
