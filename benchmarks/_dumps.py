"""Makes and reads official TDDS dumps, as child processes of `score_dumps.py`.

python benchmarks/_dumps.py make FOLDER SAMPLES CLASSES EPOCHS
python benchmarks/_dumps.py read FOLDER WINDOW EPOCHS        prints the seconds and bytes of reading alone
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def make(folder: Path, n: int, classes: int, epochs: int) -> None:
    """Write logits that look real: random walks, the own class's logit growing with the sample's own speed, then flat."""
    import numpy as np

    rng = np.random.default_rng(0)
    rows = np.arange(n)
    targets = rng.integers(0, classes, n)
    logits = rng.standard_normal((n, classes), dtype=np.float32)
    speed = rng.uniform(0.2, 1.0, n).astype(np.float32)
    for epoch in range(epochs):
        logits += 0.3 * rng.standard_normal((n, classes), dtype=np.float32)
        logits[rows, targets] += speed * np.float32(np.exp(-epoch / 10))
        order = rng.permutation(n)
        shown = logits[order] + 0.3 * rng.standard_normal((n, classes), dtype=np.float32)  # the augmented view
        np.save(folder / f"{epoch}_Output.npy", shown)
        np.save(folder / f"{epoch}_Index.npy", order.astype(np.int64))
        np.save(folder / f"{epoch}_Loss.npy", np.zeros(n, dtype=np.float32))


def read(folder: Path, window: int, epochs: int) -> None:
    """Read the files that `thresher score` reads, one after the other into one buffer, and do nothing with them."""
    from thresher.scorers.tdds import TDDS

    trailing = TDDS(window=window).trailing_epochs or epochs
    first = max(0, epochs - trailing - 1)  # the change of the first epoch needs the one before
    paths = [folder / f"{epoch}_{kind}.npy" for epoch in range(first, epochs) for kind in ("Output", "Index")]
    buffer = memoryview(bytearray(1 << 20))
    total = 0
    started = time.perf_counter()
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while got := file.readinto(buffer):
                total += got
    print(json.dumps({"seconds": time.perf_counter() - started, "bytes": total, "epochs": epochs - first}))


if __name__ == "__main__":
    command, where, *numbers = sys.argv[1:]
    {"make": make, "read": read}[command](Path(where), *map(int, numbers))
